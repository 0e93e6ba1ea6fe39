// Bodies of SimWorld and SimRandom.
#include "io/sim_world.h"

#include <algorithm>

#include "io/sim_io.h"
#include "io/sim_net.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

uint64_t SimRandom::next() {
  state_ += 0x9e3779b97f4a7c15;
  uint64_t mixed = state_;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

uint64_t SimRandom::below(uint64_t bound) {
  RINGBOLT_ASSERT(bound >= 1);
  return next() % bound;  // the bias does not matter here
}

Nanos SimRandom::between(SimRange range) {
  RINGBOLT_ASSERT(range.min >= 0 && range.min <= range.max);
  return range.min + static_cast<Nanos>(below(static_cast<uint64_t>(range.max - range.min) + 1));
}

SimWorld::SimWorld(const SimOptions& options)
    : options_(options), random_(options.seed), secrets_(~options.seed), net_(std::make_unique<SimNet>(*this)) {}

SimWorld::~SimWorld() { RINGBOLT_ASSERT(ios_.empty()); }

SimNode& SimWorld::add_node(const std::string& name) {
  auto [at, added] = nodes_.try_emplace(name, nullptr);
  RINGBOLT_ASSERT(added);
  at->second = std::make_unique<SimNode>(*this, name, nodes_.size());
  return *at->second;
}

SimNode& SimWorld::node(const std::string& name) {
  const auto at = nodes_.find(name);
  RINGBOLT_ASSERT(at != nodes_.end());
  return *at->second;
}

bool SimWorld::later(const Event& a, const Event& b) {
  return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
}

void SimWorld::after(Nanos delay, std::function<void()> action) {
  RINGBOLT_ASSERT(delay >= 0);
  events_.push_back({now_ + delay, next_sequence_++, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), later);
}

void SimWorld::notice_waiters() {
  for (auto& [id, io] : ios_) {
    if (io->waiters_runnable()) io->request_turn();
  }
}

bool SimWorld::step() {
  notice_waiters();
  if (events_.empty()) return false;
  std::pop_heap(events_.begin(), events_.end(), later);
  Event event = std::move(events_.back());
  events_.pop_back();
  RINGBOLT_ASSERT(event.time >= now_);
  now_ = event.time;
  ++events_run_;
  event.action();
  return true;
}

bool SimWorld::run_until(const std::function<bool()>& done, Nanos limit) {
  const Nanos end = now_ + limit;
  while (!done()) {
    notice_waiters();
    if (events_.empty() || events_.front().time > end) {
      now_ = end;
      return done();
    }
    step();
  }
  return true;
}

void SimWorld::run_for(Nanos duration) {
  run_until([] { return false; }, duration);
}

void SimWorld::trace(uint64_t what, uint64_t a, uint64_t b, uint64_t c) {
  for (const uint64_t word : {what, static_cast<uint64_t>(now_), a, b, c}) {
    trace_hash_ = (trace_hash_ ^ word) * 0x100000001b3;
    trace_hash_ ^= trace_hash_ >> 29;
  }
}

SimIo* SimWorld::find_io(uint64_t id) const {
  const auto at = ios_.find(id);
  return at == ios_.end() ? nullptr : at->second;
}

void SimWorld::finish(uint64_t io_id, uint64_t op_id, int32_t result) {
  if (SimIo* io = find_io(io_id)) io->finish(op_id, result);
}

}  // namespace ringbolt::io

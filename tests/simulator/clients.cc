// Bodies of Clients.
#include "clients.h"

#include <fmt/format.h>

#include "ringbolt/assert.h"

namespace ringbolt::sim {

void Clients::Connection::on_volume_gone(const std::string&) { owner->sent_away_ = true; }

Clients::Clients(io::SimWorld& world, const Plan& plan)
    : world_(world), plan_(plan), model_(plan.volume_bytes / kCellBytes), load_(world, model_, plan.seed) {
  LoadOptions& options = load_.options();
  options.depth = plan.connections * plan.depth;
  options.cells_max = plan.cells_max;
  options.aligned_percent = plan.aligned_percent;
  options.fua_percent = plan.fua_percent;
  options.pause_max = plan.pause_max;
  load_.on_write_answered = [this] { acknowledged(epoch_); };
  for (uint32_t i = 0; i < plan.connections; ++i) {
    connections_.push_back(std::make_unique<Connection>());
    connections_.back()->owner = this;
  }
}

Clients::~Clients() { leave(); }

/// Of the same volume two primaries must never both acknowledge: when a later one has, an earlier one does not any more. What an earlier
/// one still tells clients that had left it may be true, if the later one had it from the beginning: the model decides.
void Clients::acknowledged(Epoch epoch) {
  if (epoch < newest_acknowledged_ && two_primaries_.empty()) {
    two_primaries_ = fmt::format("the primary of epoch {} acknowledged a write after that of epoch {} had", epoch.value(), newest_acknowledged_.value());
  }
  newest_acknowledged_ = std::max(newest_acknowledged_, epoch);
}

void Clients::connect(Node& node, Epoch epoch, Promise promise) {
  RINGBOLT_ASSERT(node_ == nullptr);
  node_ = &node;
  boot_ = node.boots();
  epoch_ = epoch;
  promise_ = promise;
  working_ = scan_failed_ = sent_away_ = read_back_ = false;
  answered_before_ = load_.answered();
  for (const auto& connection : connections_) node.volume().attach(*connection);
  load_.start(node.volume(), node.pool());
  load_.pause();
  scan();
}

void Clients::scan() {
  scanning_ = true;
  std::function<void(uint64_t, std::optional<uint64_t>)> seen;
  // Entered only when all of it is known: a read of half the volume says nothing about the rest.
  const auto found = std::make_shared<std::vector<std::pair<uint64_t, std::optional<uint64_t>>>>();
  if (promise_ != Promise::kAll) seen = [found](uint64_t cell, std::optional<uint64_t> value) { found->emplace_back(cell, value); };
  load_.read_all(std::move(seen), [this, found](bool ok) {
    scanning_ = false;
    if (!ok) {
      scan_failed_ = true;
      return;
    }
    for (const auto& [cell, value] : *found) promise_ == Promise::kFlushed ? model_.recovered(cell, value) : model_.given_up(cell, value);
    promise_ = Promise::kAll;
    working_ = true;
    load_.resume();
  });
}

void Clients::leave() {
  if (node_ == nullptr) return;
  has_answered_ = has_answered_ || answered();
  const bool lives = node_->up() && node_->boots() == boot_;
  if (lives) {
    for (const auto& connection : connections_) node_->volume().detach(*connection);
  }
  load_.lost();
  node_ = nullptr;
  scanning_ = working_ = sent_away_ = false;
}

void Clients::send_at_most(uint64_t requests) {
  load_.options().requests_left = requests == 0 ? UINT64_MAX : requests;
  if (working_) load_.resume();
}

void Clients::pause() { load_.pause(); }

void Clients::read_back() {
  RINGBOLT_ASSERT(node_ != nullptr && idle());
  scanning_ = true;
  load_.read_all({}, [this](bool ok) {
    scanning_ = false;
    (ok ? read_back_ : scan_failed_) = true;
  });
}

std::string Clients::broken(bool thorough) { return thorough ? model_.check() : model_.violation(); }

}  // namespace ringbolt::sim

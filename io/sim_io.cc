// Bodies of SimIo and SimNode.
#include "io/sim_io.h"

#include <algorithm>
#include <cerrno>

#include "io/sim_trace.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::io {

namespace {

// Bounds the rounds of deferred work and pool waiters within one turn, as in the real loop.
constexpr int kEndRoundsMax = 4;

}  // namespace

// --- SimIo: time and the loop --------------------------------------------------------------------

SimIo::SimIo(SimWorld& world, SimNode& node) : world_(world), node_(node), id_(world.next_id()) {
  world_.ios_[id_] = this;
}

SimIo::~SimIo() {
  RINGBOLT_ASSERT(!in_turn_);
  if (!dead_) node_.on_io_destroyed(*this);
}

Nanos SimIo::now() const { return world_.now() + node_.clock_offset_; }

uint64_t SimIo::random() { return world_.secrets().next(); }

void SimIo::arm(Timer& timer, Nanos delay) {
  RINGBOLT_ASSERT(delay >= 0);
  if (dead_) return;
  timers_.arm(timer, now() + delay);
  if (!in_turn_) schedule_timers();
}

void SimIo::disarm(Timer& timer) { timers_.disarm(timer); }

void SimIo::defer(Deferred& deferred) {
  if (dead_) return;
  deferred_.push(deferred);
  if (!in_turn_) request_turn();
}

void SimIo::undefer(Deferred& deferred) { deferred_.remove(deferred); }

void SimIo::post(Message* message) {
  if (dead_) {
    message->discard();
    return;
  }
  static_cast<void>(mailbox_.push(message));
  request_turn();
}

void SimIo::request_turn() {
  if (dead_ || turn_requested_) return;
  turn_requested_ = true;
  const Nanos delay = world_.random().between(world_.options().turn) * node_.slow_factor_;
  world_.after(delay, [&world = world_, id = id_] {
    if (SimIo* io = world.find_io(id)) io->turn();
  });
}

void SimIo::schedule_timers() {
  if (dead_ || timers_.empty()) return;
  const Nanos deadline = timers_.next_deadline();
  if (timers_wake_at_ >= 0 && timers_wake_at_ <= deadline) return;
  timers_wake_at_ = deadline;
  world_.after(std::max<Nanos>(0, deadline - now()), [&world = world_, id = id_, deadline] {
    SimIo* io = world.find_io(id);
    if (io == nullptr || io->timers_wake_at_ != deadline) return;  // an earlier one took its place
    io->timers_wake_at_ = -1;
    io->request_turn();
  });
}

void SimIo::run_messages() {
  Message* message = mailbox_.take_all();
  while (message != nullptr) {
    Message* next = message->next_in_mailbox;
    if (dead_) {
      message->discard();
    } else {
      message->run();
    }
    message = next;
  }
}

void SimIo::run_ready() {
  if (ready_.empty()) return;
  // Sometimes all, sometimes a part: batches of every size happen.
  size_t batch = ready_.size();
  if (world_.random().chance(1, 3)) batch = 1 + world_.random().below(batch);
  while (batch-- > 0 && !dead_) {
    const Ready ready = ready_.front();
    ready_.pop_front();
    const auto at = pending_.find(ready.op_id);
    RINGBOLT_ASSERT(at != pending_.end());
    Completion& done = *at->second;
    pending_.erase(at);
    check_send(ready.op_id);
    world_.trace(kTraceComplete, id_, ready.op_id, static_cast<uint64_t>(ready.result));
    node_.disk_.delivered(ready.op_id);
    done.complete(ready.result);
  }
}

void SimIo::run_end_of_turn() {
  for (int round = 0; round < kEndRoundsMax && !dead_; ++round) {
    if (!waiters_runnable() && deferred_.empty()) break;
    if (waiters_runnable()) pool_->run_waiters();
    if (!dead_) deferred_.run(&dead_);
  }
  if (!dead_ && end_of_turn_) end_of_turn_();
}

void SimIo::turn() {
  turn_requested_ = false;
  if (node_.paused_) return;
  in_turn_ = true;
  world_.trace(kTraceTurn, id_, ready_.size());
  run_messages();
  run_ready();
  if (!dead_) timers_.fire_due(now(), &dead_);
  if (!dead_) run_end_of_turn();
  in_turn_ = false;
  if (dead_) return;
  if (!ready_.empty() || !mailbox_.empty() || !deferred_.empty() || waiters_runnable()) {
    request_turn();
  }
  schedule_timers();
}

void SimIo::die() {
  dead_ = true;
  world_.ios_.erase(id_);
  timers_.clear();
  deferred_.clear();
  ready_.clear();
  for (auto& [op_id, completion] : pending_) completion->state().pending = false;
  pending_.clear();
  sends_.clear();
  for (Message* message = mailbox_.take_all(); message != nullptr;) {
    Message* next = message->next_in_mailbox;
    message->discard();
    message = next;
  }
}

uint64_t SimIo::begin(Completion& done) {
  RINGBOLT_ASSERT(!done.state().pending);
  done.state().pending = true;
  const uint64_t op_id = world_.next_id();
  done.state().offset = op_id;
  pending_[op_id] = &done;
  return op_id;
}

namespace {

uint32_t crc_of(std::span<const iovec> parts) {
  uint32_t crc = 0;
  for (const iovec& part : parts) crc = crc32c(part.iov_base, part.iov_len, crc);
  return crc;
}

}  // namespace

void SimIo::watch_send(uint64_t op_id, std::span<const iovec> parts) {
  sends_[op_id] = {{parts.begin(), parts.end()}, crc_of(parts)};
}

void SimIo::check_send(uint64_t op_id) {
  const auto at = sends_.find(op_id);
  if (at == sends_.end()) return;
  // A kernel may read it until the very end: who gave it back or changed it before has lost bytes.
  RINGBOLT_ASSERT(crc_of(at->second.parts) == at->second.crc);
  sends_.erase(at);
}

void SimIo::finish(uint64_t op_id, int32_t result) {
  if (pending_.find(op_id) == pending_.end()) return;
  ready_.push_back({op_id, result});
  request_turn();
}

// --- SimIo: files --------------------------------------------------------------------------------

Result<FileInfo> SimIo::open_file(const std::string& path, const OpenOptions& options) {
  if (dead_) return make_error(Errc::kIo, path + ": the node is down");
  return node_.disk_.open(path, options);
}

Status SimIo::make_directory(const std::string& path) {
  if (dead_) return make_error(Errc::kIo, path + ": the node is down");
  return node_.disk_.make_directory(path);
}

void SimIo::close_file(File file) {
  if (!dead_) node_.disk_.close(file.fd);
}

void SimIo::submit_file(SimOpKind kind, File file, uint64_t offset, uint64_t bytes,
                        std::byte* target, const std::byte* source, Completion& done) {
  if (dead_) return;
  SimDisk::Request request;
  request.io_id = id_;
  done.state().fd = file.fd;
  request.op_id = begin(done);
  request.kind = kind;
  request.fd = file.fd;
  request.offset = offset;
  request.bytes = bytes;
  request.target = target;
  request.source = source;
  node_.disk_.submit(request);
}

void SimIo::read(File file, void* data, uint32_t length, uint64_t offset, Completion& done) {
  RINGBOLT_ASSERT(length >= 1 && length <= kFrameBytesMax && length % kBlockBytes == 0);
  RINGBOLT_ASSERT(offset % kBlockBytes == 0);
  RINGBOLT_ASSERT(reinterpret_cast<uintptr_t>(data) % kBlockBytes == 0);
  submit_file(SimOpKind::kRead, file, offset, length, static_cast<std::byte*>(data), nullptr, done);
}

void SimIo::write(File file, const void* data, uint32_t length, uint64_t offset, Completion& done) {
  RINGBOLT_ASSERT(length >= 1 && length <= kFrameBytesMax && length % kBlockBytes == 0);
  RINGBOLT_ASSERT(offset % kBlockBytes == 0);
  RINGBOLT_ASSERT(reinterpret_cast<uintptr_t>(data) % kBlockBytes == 0);
  submit_file(SimOpKind::kWrite, file, offset, length, nullptr, static_cast<const std::byte*>(data),
              done);
}

void SimIo::flush(File file, Completion& done) {
  submit_file(SimOpKind::kFlush, file, 0, 0, nullptr, nullptr, done);
}

void SimIo::zero(File file, uint64_t offset, uint64_t bytes, Completion& done) {
  RINGBOLT_ASSERT(bytes >= 1 && bytes % kBlockBytes == 0 && offset % kBlockBytes == 0);
  submit_file(SimOpKind::kZero, file, offset, bytes, nullptr, nullptr, done);
}

// --- SimIo: sockets ------------------------------------------------------------------------------

Result<Socket> SimIo::listen(const std::string& address) {
  if (dead_) return make_error(Errc::kIo, address + ": the node is down");
  return world_.net().listen(node_.name(), address);
}

std::string SimIo::local_address(Socket listener) {
  return dead_ ? std::string() : world_.net().local_address(listener.fd);
}

std::string SimIo::peer_address(Socket socket) {
  return dead_ ? std::string() : world_.net().peer_address(socket.fd);
}

void SimIo::accept(Socket listener, Completion& done) {
  if (dead_) return;
  done.state().fd = listener.fd;
  world_.net().accept({node_.name(), id_, begin(done)}, listener.fd);
}

void SimIo::connect(const std::string& address, Completion& done) {
  if (dead_) return;
  done.state().fd = -1;
  world_.net().connect({node_.name(), id_, begin(done)}, address);
}

void SimIo::receive(Socket socket, void* data, uint32_t length, bool exactly, Completion& done) {
  RINGBOLT_ASSERT(length >= 1);
  if (dead_) return;
  done.state().fd = socket.fd;
  world_.net().receive({node_.name(), id_, begin(done)}, socket.fd, static_cast<std::byte*>(data),
                       length, exactly);
}

void SimIo::send(Socket socket, std::span<iovec> iov, Completion& done) {
  RINGBOLT_ASSERT(!iov.empty() && iov.size() <= 64);
  if (dead_) return;
  done.state().fd = socket.fd;
  const uint64_t op_id = begin(done);
  watch_send(op_id, iov);
  world_.net().send({node_.name(), id_, op_id}, socket.fd, iov);
}

void SimIo::shutdown(Socket socket) {
  if (!dead_) world_.net().shutdown(socket.fd);
}

void SimIo::close_socket(Socket socket) {
  if (dead_) return;
  // Also what the network is done with but whose callback did not run yet counts as pending.
  for (const auto& [id, op] : pending_) RINGBOLT_ASSERT(op->state().fd != socket.fd);
  world_.net().close(socket.fd);
}

void SimIo::cancel(Completion& pending) {
  if (dead_ || !pending.pending()) return;
  world_.net().cancel(id_, pending.state().offset);
}

// --- SimNode -------------------------------------------------------------------------------------

SimNode::SimNode(SimWorld& world, std::string name, uint64_t index)
    : world_(world), name_(std::move(name)), index_(index), disk_(world, name_, index) {}

std::unique_ptr<SimIo> SimNode::create_io() {
  std::unique_ptr<SimIo> io(new SimIo(world_, *this));
  world_.trace(kTraceBoot, index_, ios_.size());
  if (world_.narrating()) world_.narrate(name_ + ": a process starts");
  if (ios_.empty()) world_.net().on_boot(name_);
  ios_.push_back(io.get());
  return io;
}

void SimNode::end_boot() {
  // In the order of creation; die() calls nobody but Message::discard().
  const std::vector<SimIo*> dying = std::move(ios_);
  ios_.clear();
  for (SimIo* io : dying) io->die();
}

void SimNode::crash() {
  if (!running()) return;
  world_.trace(kTraceCrash, index_);
  if (world_.narrating()) world_.narrate(name_ + ": the process is gone");
  disk_.crash();
  world_.net().on_crash(name_);
  end_boot();
}

void SimNode::power_loss(SimPowerLoss mode) {
  world_.trace(kTracePowerLoss, index_, static_cast<uint64_t>(mode));
  if (world_.narrating()) world_.narrate(name_ + ": power is lost");
  // Also without a process: what a killed one left unflushed or in flight is at stake.
  disk_.power_loss(mode);
  world_.net().on_power_loss(name_);
  end_boot();
}

void SimNode::set_slow_factor(uint32_t factor) {
  RINGBOLT_ASSERT(factor >= 1);
  slow_factor_ = factor;
  disk_.set_slow_factor(factor);
}

void SimNode::pause() { paused_ = true; }

void SimNode::resume() {
  paused_ = false;
  for (SimIo* io : ios_) io->request_turn();
}

void SimNode::jump_clock(Nanos forward) {
  RINGBOLT_ASSERT(forward >= 0);
  clock_offset_ += forward;
  for (SimIo* io : ios_) {
    io->timers_wake_at_ = -1;  // it was meant for the old clock
    io->request_turn();
  }
}

void SimNode::on_io_destroyed(SimIo& io) {
  if (ios_.size() == 1) {
    crash();
    return;
  }
  world_.net().forget_io(io.id_);
  disk_.forget_io(io.id_);
  std::erase(ios_, &io);
  io.die();
}

}  // namespace ringbolt::io

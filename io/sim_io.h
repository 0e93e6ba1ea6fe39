// The deterministic implementation of io::Io, and the node (host) that it runs on. Includes the
// rest of the simulation: this is the one header that a test needs.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/deferred_queue.h"
#include "io/io.h"
#include "io/mailbox.h"
#include "io/sim_disk.h"
#include "io/sim_net.h"
#include "io/sim_world.h"
#include "io/timer_heap.h"

namespace ringbolt::io {

class SimNode;

/// One shard of one boot of a node. Its loop has turns like the real one: messages, completions,
/// timers, deferred work, waiters of the pool, end of turn.
///
/// After the node's crash it is dead: it calls nobody, marks everything pending on it as not
/// pending, and its members do nothing, so that the objects built on it can be destroyed in peace.
/// It must not be destroyed from inside its own turn.
class SimIo final : public Io {
 public:
  ~SimIo() override;

  [[nodiscard]] Nanos now() const override;
  [[nodiscard]] uint64_t random() override;
  void arm(Timer& timer, Nanos delay) override;
  void disarm(Timer& timer) override;
  void defer(Deferred& deferred) override;
  void undefer(Deferred& deferred) override;

  Result<FileInfo> open_file(const std::string& path, const OpenOptions& options) override;
  Status make_directory(const std::string& path) override;
  void close_file(File file) override;
  void read(File file, void* data, uint32_t length, uint64_t offset, Completion& done) override;
  void write(File file, const void* data, uint32_t length, uint64_t offset,
             Completion& done) override;
  void flush(File file, Completion& done) override;
  void zero(File file, uint64_t offset, uint64_t bytes, Completion& done) override;

  Result<Socket> listen(const std::string& address) override;
  /// There is none here.
  Status set_congestion_control(Socket, const std::string&) override { return boost::outcome_v2::success(); }
  std::string local_address(Socket listener) override;
  std::string peer_address(Socket socket) override;
  void accept(Socket listener, Completion& done) override;
  void connect(const std::string& address, Completion& done) override;
  void receive(Socket socket, void* data, uint32_t length, bool exactly, Completion& done) override;
  void send(Socket socket, std::span<iovec> iov, Completion& done) override;
  void shutdown(Socket socket) override;
  void close_socket(Socket socket) override;
  void cancel(Completion& pending) override;

  /// Delivered by the event queue. After death: discarded.
  void post(Message* message);
  /// Its waiters run at the end of turns. Null detaches.
  void attach_pool(BufferPool* pool) { pool_ = pool; }
  /// Called at the end of every turn.
  void set_end_of_turn(std::function<void()> hook) { end_of_turn_ = std::move(hook); }
  /// Asks for a turn, as if something had become ready.
  void request_turn();
  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] size_t pending_operations() const { return pending_.size(); }

 private:
  friend class SimNode;
  friend class SimWorld;
  struct Ready {
    uint64_t op_id;
    int32_t result;
  };
  /// The memory that a send in flight is read from, and what it holds.
  struct Sent {
    std::vector<iovec> parts;
    uint32_t crc;
  };

  SimIo(SimWorld& world, SimNode& node);
  uint64_t begin(Completion& done);
  /// From here until it completes, the send's memory must stay and not change.
  void watch_send(uint64_t op_id, std::span<const iovec> parts);
  void check_send(uint64_t op_id);
  void submit_file(SimOpKind kind, File file, uint64_t offset, uint64_t bytes, std::byte* target,
                   const std::byte* source, Completion& done);
  void finish(uint64_t op_id, int32_t result);
  void turn();
  void run_messages();
  void run_ready();
  void run_end_of_turn();
  void schedule_timers();
  void die();
  [[nodiscard]] bool waiters_runnable() const {
    return pool_ != nullptr && pool_->waiters_runnable();
  }

  SimWorld& world_;
  SimNode& node_;
  uint64_t id_;
  bool dead_ = false;
  bool in_turn_ = false;
  bool turn_requested_ = false;
  Nanos timers_wake_at_ = -1;
  TimerHeap timers_;
  DeferredQueue deferred_;
  Mailbox mailbox_;
  BufferPool* pool_ = nullptr;
  std::function<void()> end_of_turn_;
  std::map<uint64_t, Completion*> pending_;
  std::map<uint64_t, Sent> sends_;
  std::deque<Ready> ready_;
};

/// A host: its disk outlives its boots. A boot begins with create_io() and ends with crash(),
/// power_loss(), or the destruction of its last SimIo, which counts as the process's exit.
class SimNode {
 public:
  SimNode(SimWorld& world, std::string name, uint64_t index);
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint64_t index() const { return index_; }
  SimDisk& disk() { return disk_; }
  [[nodiscard]] const SimDisk& disk() const { return disk_; }
  [[nodiscard]] bool running() const { return !ios_.empty(); }

  /// A shard of the present boot; the first one boots the node.
  std::unique_ptr<SimIo> create_io();
  /// kill -9 of the process. The SimIos are dead from here on; destroy what is built on them, then
  /// them. Connections end, writes in flight land later or never and keep their files busy
  /// meanwhile.
  void crash();
  /// The host goes dark: peers are told nothing, unflushed sectors fare as `mode` says. It is up
  /// again with the next create_io().
  void power_loss(SimPowerLoss mode);
  /// Multiplies disk latencies and the time between turns.
  void set_slow_factor(uint32_t factor);
  /// SIGSTOP: no turn until resume(). What devices and the network were asked for goes on meanwhile.
  void pause();
  void resume();
  /// Its monotonic clock goes forward at once, as after a suspended host's.
  void jump_clock(Nanos forward);

  // Shorthands for disk().
  [[nodiscard]] std::vector<std::byte> read_file(const std::string& path, uint64_t offset,
                                                 uint64_t bytes) const {
    return disk_.read_file(path, offset, bytes);
  }
  void write_file(const std::string& path, uint64_t offset, std::span<const std::byte> data) {
    disk_.write_file(path, offset, data);
  }

 private:
  friend class SimIo;
  void end_boot();
  void on_io_destroyed(SimIo& io);

  SimWorld& world_;
  std::string name_;
  uint64_t index_;
  uint32_t slow_factor_ = 1;
  bool paused_ = false;
  Nanos clock_offset_ = 0;
  SimDisk disk_;
  std::vector<SimIo*> ios_;
};

}  // namespace ringbolt::io

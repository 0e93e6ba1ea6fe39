// The real implementation of io::Io: one io_uring, its timers, its mailbox and its loop. One per
// shard, created, run and destroyed on the shard's own thread.
//
// One turn of the loop: messages, completions (a bounded batch), timers, pool waiters and deferred
// work, the caller's end-of-turn hook, then one system call that submits what all of these prepared
// and, if there is nothing else to do, waits. Before it waits it spins for a while, as long as
// spinning turns out to pay. No lock, no allocation, no other system call in the steady state.
//
// Nothing calls back from inside a submitting member: an operation that fails at once completes in
// the next turn.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <span>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/deferred_queue.h"
#include "io/io.h"
#include "io/mailbox.h"
#include "io/resolver.h"
#include "io/timer_heap.h"
#include "io/transfer.h"

struct io_uring_sqe;  // liburing stays in the ring_*.cc files

namespace ringbolt::io {

struct RingOptions {
  uint32_t submission_entries = 512;
  uint32_t completion_entries = 4096;
  /// How long to look for work before sleeping; 0: never.
  Nanos spin = 20 * kMicrosecond;
  /// TCP's congestion control of connections that it makes; empty: the host's.
  std::string tcp_congestion{};
  /// Bound of the kernel's worker threads for this ring (flushes, hole punches), per kind.
  uint32_t kernel_workers = 4;
  /// Largest size of the pool whose chunks get registered; 0: none are.
  uint64_t registered_bytes_max = 0;
  /// How connect() finds the addresses behind a host name; runs on threads of its own.
  Resolver::Resolve resolve = &io::resolve;
};

/// What the loop did so far. Owner's thread only.
struct RingCounters {
  uint64_t turns = 0;
  uint64_t enters = 0;       ///< system calls into the ring
  uint64_t submitted = 0;    ///< operations given to the kernel, internal ones included
  uint64_t completions = 0;  ///< completions taken from the kernel
  uint64_t continued = 0;    ///< transfers that were short or interrupted and went on
  uint64_t spins_paid = 0;
  uint64_t spins_unpaid = 0;
  uint64_t sleeps = 0;
  uint64_t doorbells = 0;  ///< times that another thread woke this one
  uint64_t fixed = 0;      ///< file transfers that used registered memory
  uint64_t messages = 0;   ///< from other threads
  /// Time since the loop began that went into looking for work in vain, and into the call that submits and waits. The rest
  /// was work.
  Nanos spinning = 0, asleep = 0;
};

class RingIo final : public Io {
 public:
  /// On the shard's thread. Errors: as check_host().
  static Result<std::unique_ptr<RingIo>> create(const RingOptions& options);
  /// On the shard's thread. Cancels and waits for whatever is still pending, without calling back,
  /// since the kernel writes into the callers' memory until then. Messages left are discarded.
  ~RingIo() override;

  /// Any thread. Takes `message` over; wakes the loop if it sleeps.
  void post(Message* message);
  /// Any thread, any number of times: run() returns at the end of a turn, once for all stops before
  /// it returned. It may be called again.
  void stop();
  /// The loop. `end_of_turn` (may be empty) is called once per turn, before submission. Returns
  /// when stopped, or with an error if the ring failed and the shard cannot go on.
  Status run(const std::function<void()>& end_of_turn);

  /// Its waiters run at the end of turns. Null detaches.
  void attach_pool(BufferPool* pool) { pool_ = pool; }
  /// The pool's `on_chunk`: file transfers from and to the chunk use registered memory from now on,
  /// unless registering fails; then they work as well, slower, and registration_failure() says why.
  void register_chunk(std::byte* data, size_t bytes);
  [[nodiscard]] const std::string& registration_failure() const { return registration_failure_; }

  /// Owner's thread only: RingOptions::spin, from now on.
  void set_spin(Nanos spin) { options_.spin = spin; }

  [[nodiscard]] const RingCounters& counters() const { return counters_; }
  /// How long the loop has been run, up to the beginning of this turn.
  [[nodiscard]] Nanos running_time() const { return began_ == 0 ? 0 : now_ - began_; }
  /// Messages that wait to be run, beside the one that runs now. They are counted one by one.
  [[nodiscard]] uint64_t messages_waiting() const;
  /// Operations submitted and not completed.
  [[nodiscard]] size_t pending_operations() const {
    return in_flight_ + failed_count_ + naming_.size();
  }

  [[nodiscard]] Nanos now() const override { return now_; }
  [[nodiscard]] uint64_t random() override;
  void arm(Timer& timer, Nanos delay) override;
  void disarm(Timer& timer) override { timers_.disarm(timer); }
  void defer(Deferred& deferred) override { deferred_.push(deferred); }
  void undefer(Deferred& deferred) override { deferred_.remove(deferred); }

  Result<FileInfo> open_file(const std::string& path, const OpenOptions& options) override;
  Status make_directory(const std::string& path) override;
  void close_file(File file) override;
  void read(File file, void* data, uint32_t length, uint64_t offset, Completion& done) override;
  void write(File file, const void* data, uint32_t length, uint64_t offset,
             Completion& done) override;
  void flush(File file, Completion& done) override;
  void zero(File file, uint64_t offset, uint64_t bytes, Completion& done) override;

  Result<Socket> listen(const std::string& address) override;
  Status set_congestion_control(Socket listener, const std::string& name) override;
  std::string local_address(Socket listener) override;
  std::string peer_address(Socket socket) override;
  void accept(Socket listener, Completion& done) override;
  void connect(const std::string& address, Completion& done) override;
  void receive(Socket socket, void* data, uint32_t length, bool exactly, Completion& done) override;
  void send(Socket socket, std::span<iovec> iov, Completion& done) override;
  void shutdown(Socket socket) override;
  void close_socket(Socket socket) override;
  void cancel(Completion& pending) override;

 private:
  friend struct RingIoProbe;  // tests of what a kernel does only when it is short of memory
  struct Ring;    // the io_uring itself; ring_internal.h
  struct Naming;  // a host name being looked up
  using Kind = RingKind;

  /// Posted once by stop().
  struct StopMessage final : Message {
    explicit StopMessage(RingIo& owner) : io(owner) {}
    void run() override { io.stopping_ = true; }
    void discard() override {}
    RingIo& io;
  };

  explicit RingIo(const RingOptions& options);
  Status set_up();
  void drain();

  // The loop (ring_loop.cc).
  void turn(const std::function<void()>& end_of_turn);
  void account_for_waiting();
  void run_messages();
  void run_failed();
  void reap();
  void run_end_of_turn(const std::function<void()>& end_of_turn);
  void wait_for_work();
  [[nodiscard]] bool work_here() const;
  [[nodiscard]] bool kernel_has_work() const;
  [[nodiscard]] bool spin_is_worthwhile();
  [[nodiscard]] bool spin();
  void sleep();
  void enter();
  void note_result(int result);
  io_uring_sqe* next_entry();
  void spill();
  void on_event(uint64_t tag, int32_t result);
  void listen_to_doorbell();

  // Operations (ring_ops.cc).
  void begin(Completion& done, Kind kind, int32_t fd);
  void issue(Completion& done);
  void issue_transfer(Completion& done, io_uring_sqe* entry);
  void finish_later(Completion& done, int32_t result);
  void on_completion(Completion& done, int32_t result);
  [[nodiscard]] bool continue_connect(Completion& done, int32_t& result);
  [[nodiscard]] int start_connect(Completion& done);
  void connect_to(Completion& done, std::vector<SocketAddress> addresses);
  void on_named(Naming& naming);
  void end_naming(Completion& done);
  static void abandon(Completion& done, int32_t result);

  RingOptions options_;
  std::unique_ptr<Ring> ring_;
  int doorbell_ = -1;
  uint64_t doorbell_value_ = 0;
  Nanos now_ = 0;
  Nanos began_ = 0;          ///< the first turn
  Nanos spinning_since_ = 0;  ///< 0: it does not
  Nanos asleep_since_ = 0;    ///< likewise
  const Message* messages_left_ = nullptr;
  TimerHeap timers_;
  DeferredQueue deferred_;
  BufferPool* pool_ = nullptr;
  RingCounters counters_;
  size_t in_flight_ = 0;
  Completion* first_failed_ = nullptr;
  Completion* last_failed_ = nullptr;
  size_t failed_count_ = 0;
  std::byte* chunks_ = nullptr;  ///< start of the pool
  size_t chunk_count_ = 0;       ///< in use, a gapless prefix of the pool
  size_t registered_bytes_ = 0;  ///< of that, registered
  std::string registration_failure_;
  std::vector<std::pair<int, std::string>> unix_listeners_;  // and where their names are
  int failure_ = 0;
  bool stopping_ = false;
  uint32_t spin_score_ = 512;  ///< of 1024: how often spinning paid lately
  uint32_t spins_skipped_ = 0;
  StopMessage stop_message_{*this};
  std::atomic<bool> stop_posted_{false};
  Mailbox mailbox_;
  std::vector<Naming*> naming_;  ///< owned by the resolver, or by the mailbox on their way back
  std::unique_ptr<Resolver> resolver_;
};

}  // namespace ringbolt::io

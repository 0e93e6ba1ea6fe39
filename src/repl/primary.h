// A volume in the role of primary: takes clients' requests, gives each record its Lsn, decides when a
// reply may be sent, and keeps the in-sync set. Owns one Shipper per replica.
//
// Replies: a plain write when its record is committed, FLUSH and FUA when everything up to it is
// stable (core/commit_rule over written and over durable positions), a read when the newest record
// that it saw is committed, so that no crash can take back what a client has seen.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/commit_rule.h"
#include "repl/request_queue.h"
#include "repl/shipper.h"
#include "repl/unstable_window.h"
#include "volume/request.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct PrimaryConfig {
  Durability durability = Durability::kSyncAll;
  Epoch epoch{1};
  std::vector<PeerAddress> replicas;
  io::Nanos replica_timeout = 5 * io::kSecond;
};

class PrimaryListener {
 public:
  virtual ~PrimaryListener() = default;
  /// Somebody holds a higher epoch: the volume stops being primary at once.
  virtual void on_primary_fenced(Epoch epoch, const std::string& by) = 0;
};

class Primary final : public ShipperOwner {
 public:
  Primary(io::Io& io, io::BufferPool& pool, Store& store, const PrimaryConfig& config, PrimaryListener& listener);
  ~Primary() override;
  Primary(const Primary&) = delete;
  Primary& operator=(const Primary&) = delete;

  /// Opens a new term and begins to ship. Clients' requests wait until the term record is committed.
  void start();
  /// Ends the role: requests that cannot be answered any more get kShutdown. With `drain`, first lets
  /// everything logged become stable (within a bounded time). `stopped` is called once; then no
  /// request, read or connection is left.
  void stop(bool drain, std::function<void()> stopped);

  void submit(Request& request);
  /// A higher epoch is known: from here on nothing is answered but with an error. stop() follows.
  void fence();

  // from the store
  void on_sealed();
  void on_positions();  ///< local written or durable moved
  void on_space();
  void on_failed();

  // for status
  [[nodiscard]] bool serving() const { return serving_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Shipper>>& shippers() const { return shippers_; }
  [[nodiscard]] bool in_sync(const std::string& replica) const;
  [[nodiscard]] const PrimaryConfig& config() const { return config_; }

  // ShipperOwner
  [[nodiscard]] Term term() const override { return term_; }
  [[nodiscard]] Lsn committed() const override { return committed_; }
  [[nodiscard]] Lsn stable() const override { return stable_; }
  [[nodiscard]] Lsn flush_wanted() const override { return flush_wanted_; }
  [[nodiscard]] SessionId next_session() override { return session_ = session_.next(); }
  void on_replica_changed(Shipper& shipper) override;
  void on_fenced(Epoch epoch, const std::string& by) override;

 private:
  /// A replica's part in the in-sync set.
  struct Member {
    enum class State : uint8_t {
      kOut,       ///< not in the set
      kProving,   ///< counts already; waiting for its barrier
      kAdding,    ///< counts already; the set with it is being recorded
      kIn,        ///< in the set
      kRemoving,  ///< counts still; the set without it is being recorded
    };
    State state = State::kOut;
    Lsn barrier;            ///< kProving: what it must have flushed; kOut: written, to be tried
    SessionId session;      ///< kProving, kAdding: of this session; kOut: where the barrier was set
    Lsn owed;               ///< what it owes since `owed_since`: written
    Lsn owed_durable;       ///< and flushed
    io::Nanos owed_since = 0;
    bool owing = false;
    bool recording = false;  ///< the superblock write under way changes its state
  };

  // primary.cc
  void on_term_recorded();
  void append_term_record();
  void advance();
  void watch_members();
  void prove(size_t index);
  void on_set_recorded();
  void record_set();
  void on_watch();
  void want_flush(Lsn target);
  void flush_now();
  void seal_if_due();
  void continue_stop();
  void on_drain_timeout();
  void end_stop();
  [[nodiscard]] bool required(size_t index) const { return members_[index].state != Member::State::kOut; }
  [[nodiscard]] uint64_t window_limit() const;

  // primary_requests.cc
  void submit_read(Request& request);
  void read_done(ReadJob& job, int error);
  void pump();
  bool admit(Request& request);
  bool admit_write(Request& request);
  bool admit_zero(Request& request);
  bool append_partial_block(Request& request, uint64_t block);
  bool refused(Request& request, Wal::Admission admission);
  bool may_append(uint32_t blocks);
  void appended(Request& request, Lsn lsn, uint32_t blocks);
  void admitted(Request& request);
  [[nodiscard]] bool needs_edges(const Request& request) const;
  [[nodiscard]] bool overlaps_unappended(const Request& request) const;
  bool read_edges(Request& request);
  void edge_read(ReadJob& job, int error);
  void release_edges(Request& request);
  void answer_ready();
  void answer(Request& request, RequestError error);
  void fail_all(RequestError error);

  /// A client's read, or the edge blocks of a request that is not block-aligned.
  struct ReadTask {
    ReadJob job;
    Primary* primary = nullptr;
    Request* request = nullptr;
    bool edge = false;
    uint64_t edge_block = 0;
    io::Buffer buffer;
  };
  ReadTask* take_task();
  void give_task(ReadTask* task);

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  PrimaryConfig config_;
  PrimaryListener& listener_;
  Term term_;
  Lsn term_first_;
  bool term_durable_ = false;
  bool term_open_ = false;
  bool serving_ = false;
  bool fenced_ = false;
  SessionId session_;
  Lsn committed_, stable_;
  Lsn flush_wanted_;
  UnstableWindow window_;

  std::vector<std::unique_ptr<Shipper>> shippers_;
  std::vector<Member> members_;
  bool set_recording_ = false;
  bool set_dirty_ = false;

  RequestQueue queue_;         // not appended yet, in order of arrival
  RequestQueue edges_ready_;   // their edge blocks are read: go first
  RequestQueue edges_reading_;
  RequestQueue waiting_commit_;  // in order of wait_lsn
  RequestQueue waiting_stable_;  // in order of wait_lsn
  RequestQueue waiting_reads_;   // any order
  bool pumping_ = false;
  std::vector<std::unique_ptr<ReadTask>> tasks_;
  std::vector<ReadTask*> free_tasks_;
  std::vector<ReadTask*> edges_;  // edge blocks being read or held until their request is appended
  size_t reads_in_flight_ = 0;

  bool stopping_ = false;
  bool draining_ = false;
  size_t shippers_stopping_ = 0;
  bool stopped_started_ = false;
  std::function<void()> stopped_;

  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Primary& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).primary->on_space(); }), primary(&owner) {}
    Primary* primary;
  } memory_{*this};
  SuperblockWaiterOf<&Primary::on_term_recorded> term_recorded_{*this};
  SuperblockWaiterOf<&Primary::on_set_recorded> set_recorded_{*this};
  io::DeferredOf<&Primary::seal_if_due> seal_{*this};
  io::DeferredOf<&Primary::flush_now> flush_{*this};
  io::DeferredOf<&Primary::advance> advance_soon_{*this};
  io::TimerOf<&Primary::on_watch> watch_{*this};
  io::Nanos watched_at_ = 0;
  io::TimerOf<&Primary::on_drain_timeout> drain_timeout_{*this};
};

}  // namespace ringbolt::repl

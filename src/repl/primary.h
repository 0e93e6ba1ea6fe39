// A volume in the role of primary: takes clients' requests, gives each record its Lsn, decides when a
// reply may be sent. Its replicas are InSyncSet's.
//
// Replies: a plain write when its record is committed, FLUSH and FUA when everything up to it is
// stable (core/commit_rule over written and over durable positions), a read when the newest record
// that it saw is committed, so that no crash can take back what a client has seen.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/commit_rule.h"
#include "repl/request_queue.h"
#include "repl/in_sync_set.h"
#include "repl/client_load.h"
#include "repl/logged_times.h"
#include "repl/request_meter.h"
#include "repl/unstable_window.h"
#include "volume/request.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct PrimaryConfig {
  Epoch epoch{1};
  Durability durability = Durability::kSyncAll;
  std::vector<core::ReplicaAddress> replicas;
  InSyncSetOptions members;
};

class PrimaryListener {
 public:
  virtual ~PrimaryListener() = default;
  /// Its term is durable: the role is in effect.
  virtual void on_primary_opened() = 0;
  /// Somebody holds this epoch or a higher one: the volume stops being primary at once.
  virtual void on_primary_fenced(Epoch epoch, const std::string& why) = 0;
  virtual void on_primary_serving() = 0;
  [[nodiscard]] virtual uint64_t next_connection() = 0;
  /// A fact for the engine.
  virtual void on_primary_fact(core::Event event) = 0;
  /// What it answers is counted there. Outlives it.
  [[nodiscard]] virtual RequestMeter& request_meter() = 0;
};

/// How far a configuration is. What comes later in this list is told later.
enum class ConfigureStep : uint8_t {
  kMembers,   ///< those that leave have left
  kUnproven,  ///< what was acknowledged before is not as safe yet as the new configuration says. May be for ever; not told if it is at once
  kInForce,   ///< now it is. Until then whoever looks for an heir must ask the copies of the configuration before, too
};

/// How a primary leaves.
enum class Farewell : uint8_t {
  kAtOnce,    ///< somebody else is primary
  kDrained,   ///< everything logged becomes stable first, within a bounded time
  kHandOver,  ///< and one replica that has everything is told so; this copy if there is none in that time
};

class Primary final : public InSyncSetOwner {
 public:
  Primary(io::Io& io, io::BufferPool& pool, Store& store, const PrimaryConfig& config, PrimaryListener& listener);
  ~Primary() override;
  Primary(const Primary&) = delete;
  Primary& operator=(const Primary&) = delete;

  /// Opens a new term. Clients' requests wait until the term record is committed.
  void start();
  /// Goes on under a higher epoch: a new term, without a word to clients. Answered by on_primary_opened().
  void raise_epoch(Epoch epoch);
  /// Ships to exactly these; `tell` says how far that is. A later call takes the place of one that is not done, of which nothing is told any
  /// more. Requires, so that there are not more of them than can be counted: nobody of an earlier one leaves still (ConfigureStep::kMembers).
  void configure(Durability durability, const std::vector<core::ReplicaAddress>& replicas, std::function<void(ConfigureStep)> tell);
  /// Ends the role: requests that cannot be carried out any more end with kShutdown. `stopped` is called once; then no
  /// request, read or connection is left.
  void stop(Farewell farewell, std::function<void()> stopped);

  void submit(Request& request);
  /// A higher epoch is known: from here on nothing is answered but with an error. stop() follows.
  void fence();

  // from the store
  void on_sealed();
  void on_positions();  ///< local written or durable moved
  void on_space();
  void on_failed();

  // for status and commands
  [[nodiscard]] bool serving() const override { return serving_; }
  [[nodiscard]] Durability durability() const { return config_.durability; }
  [[nodiscard]] bool term_is_durable() const { return term_durable_; }
  [[nodiscard]] InSyncSet& members() { return members_; }
  [[nodiscard]] const InSyncSet& members() const { return members_; }
  /// Whom kHandOver left everything to: a replica's id, this node's, or nobody.
  [[nodiscard]] const std::string& heir() const { return heir_; }
  /// How much of the log is not stable, and how much may be: a request that goes beyond that waits.
  [[nodiscard]] uint64_t unstable_blocks() const { return window_.blocks(); }
  [[nodiscard]] uint64_t unstable_limit_blocks() const { return window_limit(); }
  /// What was acknowledged before the configuration, where not all of it is as safe yet as that says.
  [[nodiscard]] std::optional<Lsn> unproven() const {
    return configuring_ && configuring_->told_unproven ? std::optional(configuring_->acknowledged) : std::nullopt;
  }
  /// Since when a copy that has all up to `position` is behind this one; empty: it is not. At most since this primary's start.
  [[nodiscard]] std::optional<io::Nanos> behind_since(Lsn position) const {
    return position >= store_.wal().sealed() ? std::nullopt : logged_times_.time_of(position.next());
  }

  // InSyncSetOwner
  [[nodiscard]] Term term() const override { return term_; }
  [[nodiscard]] Lsn committed() const override { return committed_; }
  [[nodiscard]] Lsn stable() const override { return stable_; }
  [[nodiscard]] Lsn flush_wanted() const override { return flush_wanted_; }
  [[nodiscard]] uint64_t next_sync() override { return ++syncs_; }
  [[nodiscard]] const ClientLoad& client_load() const override { return load_; }
  [[nodiscard]] uint64_t last_sync() const { return syncs_; }
  [[nodiscard]] uint64_t next_connection() override { return listener_.next_connection(); }
  [[nodiscard]] bool active() const override { return term_open_ && !fenced_ && !stopping_; }
  void on_replica_changed(Shipper& shipper) override;
  void on_barrier_answered(Shipper& shipper, SyncAckKind kind, Lsn durable) override { members_.on_barrier_answered(shipper, kind, durable); }
  void on_fenced(Epoch epoch, const std::string& why) override;
  void on_set_changed() override { io_.defer(advance_soon_); }
  void report(core::Event event) override { listener_.on_primary_fact(std::move(event)); }

 private:
  // primary.cc
  void on_term_recorded();
  void append_term_record();
  void advance();
  void answer_configured(Lsn written, Lsn durable);
  void begin_term(Term term);
  void raise_now();
  void want_flush(Lsn target);
  void flush_now();
  void seal_if_due();
  void continue_stop();
  void leave_everything();
  void on_drain_timeout();
  void end_stop();
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
  void merge_edges(const Request& request) const;
  void edge_read(ReadJob& job, int error);
  void release_edges(Request& request);
  void note_sealed();
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
    bool charged = false;  // to the volume's payload memory
  };
  ReadTask* take_task();
  void give_task(ReadTask* task);

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  PrimaryConfig config_;
  struct Configuring {
    uint64_t call = 0;
    Lsn acknowledged;  ///< so much must be written by the new rule
    Lsn flushed;       ///< and so much flushed
    bool members = false;  ///< they are as they are to be
    bool told_unproven = false;
    std::function<void(ConfigureStep)> tell;
  };
  std::optional<Configuring> configuring_;
  uint64_t configure_calls_ = 0;
  PrimaryListener& listener_;
  Term term_;
  Lsn term_first_;
  bool term_durable_ = false;
  bool term_open_ = false;
  bool serving_ = false;
  bool fenced_ = false;
  uint64_t syncs_ = 0;
  Epoch raise_to_;  // asked for, not begun
  Lsn committed_, stable_;
  Lsn flush_wanted_;
  UnstableWindow window_;
  ClientLoad load_;
  RequestMeter& meter_;
  LoggedTimes logged_times_;

  InSyncSet members_;

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
  bool handing_over_ = false;  // part of the drain
  bool hand_over_open_ = false;
  std::string heir_;
  bool members_stopping_ = false;
  bool members_stopped_ = false;
  std::function<void()> stopped_;

  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Primary& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).primary->on_space(); }), primary(&owner) {}
    Primary* primary;
  } memory_{*this};
  SuperblockWaiterOf<&Primary::on_term_recorded> term_recorded_{*this};
  io::DeferredOf<&Primary::seal_if_due> seal_{*this};
  io::DeferredOf<&Primary::flush_now> flush_{*this};
  io::DeferredOf<&Primary::advance> advance_soon_{*this};
  io::TimerOf<&Primary::on_drain_timeout> drain_timeout_{*this};
};

}  // namespace ringbolt::repl

// A primary's replicas: one Shipper each, who of them counts for durability, and the recorded set of those that do.
//
// The order in which the set changes is what a crash must not be able to exploit: a replica that comes back counts
// for commits first, then proves by a barrier that it has everything, then the set with it is recorded; one that
// leaves counts until the set without it is recorded.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/commit_rule.h"
#include "repl/shipper.h"
#include "ringbolt/probe.h"
#include "volume/store.h"

namespace ringbolt::repl {

/// The primary, as its replicas' set needs it.
class InSyncSetOwner : public ShipperOwner {
 public:
  /// Its term record is committed: it knows what is committed, and may add replicas.
  [[nodiscard]] virtual bool serving() const = 0;
  /// It runs: neither fenced nor stopping.
  [[nodiscard]] virtual bool active() const = 0;
  /// Who counts changed, or what it has: positions are to be looked at again (soon, not from inside).
  virtual void on_set_changed() = 0;
};

struct InSyncSetOptions {
  io::Nanos timeout = 5 * io::kSecond;
  /// A replica that owes acknowledgements stays in the set, and writes wait for it.
  bool wait_for_lost = false;
  std::shared_ptr<RebuildLimits> rebuild = std::make_shared<RebuildLimits>();  ///< of this node
};

class InSyncSet {
 public:
  InSyncSet(io::Io& io, io::BufferPool& pool, Store& store, InSyncSetOwner& owner, const InSyncSetOptions& options);
  ~InSyncSet();
  InSyncSet(const InSyncSet&) = delete;
  InSyncSet& operator=(const InSyncSet&) = delete;

  /// The replicas as an opening finds them; nothing is sent yet. `brand_new`: the volume has no record, so
  /// every copy is equal. Otherwise the superblock says who is in the set.
  void open(const std::vector<core::ReplicaAddress>& replicas, bool brand_new);
  /// From now on exactly these; `done` is called when those that leave have left: out of the recorded set, and quiet.
  void configure(const std::vector<core::ReplicaAddress>& replicas, std::function<void()> done);
  /// A replica is found at another address from now on. It stays what it is, and counts as before.
  void move(const std::string& id, const std::string& address);
  /// From now on; `options.rebuild` stays what it is.
  void change(io::Nanos timeout, bool wait_for_lost);
  /// It is a replica no more: it leaves the set, and whatever goes on with it ends. configure() forgets it.
  void drain(const std::string& id);
  /// Copies a replica anew, once the set without it is recorded: it has nothing that counts.
  void start_rebuild(const core::StartRebuild& command);
  /// A new term: sessions end, what was not finished is not counted.
  void begin_term();
  /// `stopped` is called when no connection is left. Nothing is recorded any more.
  void stop(std::function<void()> stopped);
  /// The store has failed: nothing is recorded any more.
  void on_failed();
  /// A change of the recorded set is under way.
  [[nodiscard]] bool recording() const { return set_recording_; }

  [[nodiscard]] Shipper* find(const std::string& id) const;
  [[nodiscard]] bool contains(const std::string& id) const;
  /// Writes wait for it: also one that is about to be recorded.
  [[nodiscard]] bool counts(const std::string& id) const;
  /// In the set, or about to leave it.
  [[nodiscard]] std::vector<std::string> ids() const;
  [[nodiscard]] size_t size() const { return members_.size(); }
  [[nodiscard]] Shipper& shipper(size_t index) const { return *members_[index]->shipper; }

  /// Most that positions() gives: one that leaves counts until it has left.
  static constexpr size_t kMembersMax = core::kCopiesMax;
  /// Fills `written` and `durable` (kMembersMax each) for the commit rule. Returns how many.
  size_t positions(std::span<core::CopyPosition> written, std::span<core::CopyPosition> durable) const;
  /// Looks at what each replica owes and what it has proven. After every change of a position.
  void watch();
  /// Frames were sealed or positions moved.
  void pump();
  /// More records may be durable here.
  void on_durable();
  void on_barrier_answered(Shipper& shipper, SyncAckKind kind, Lsn durable);

  /// The smallest WAL among those that have to store what is not stable yet; `blocks` if none is smaller.
  [[nodiscard]] uint64_t smallest_wal_blocks(uint64_t blocks) const;
  /// Every counting replica that is in a session knows that all up to `stable` is.
  [[nodiscard]] bool all_know(Lsn stable) const;
  /// The first replica in the set that has acknowledged everything as flushed; null if there is none. That it was sent everything, or
  /// knows what is stable, says nothing: what counts may be stable without it.
  [[nodiscard]] Shipper* successor() const;
  /// There is one that may still become it.
  [[nodiscard]] bool expects_successor() const;

 private:
  enum class State : uint8_t {
    kOut,       ///< not in the set
    kProving,   ///< counts already; waiting for its barrier
    kAdding,    ///< counts already; the set with it is being recorded
    kIn,        ///< in the set
    kRemoving,  ///< counts still; the set without it is being recorded
  };
  struct Member {
    std::unique_ptr<Shipper> shipper;
    State state = State::kOut;
    Lsn barrier;            ///< what it must have flushed; before that (kOut): written, to be tried
    SessionId session;      ///< `barrier` is of this session
    SessionId proven;       ///< the session whose end the primary has accepted
    bool asked = false;     ///< for the barrier
    std::optional<core::StartRebuild> rebuild;  ///< to begin when it has left the set
    Lsn owed;               ///< what it owes since `owed_since`: written
    Lsn owed_durable;       ///< and flushed
    io::Nanos owed_since = 0;
    bool owing = false;
    bool recording = false;  ///< the superblock write under way changes its state
    bool leaving = false;    ///< it is a replica no more
    bool stopped = false;
    std::string why;         ///< it left the set
  };

  void watch_debts(Member& member, io::Nanos now, io::Nanos missed, bool* watching);
  void prove(Member& member);
  void ask_barrier(Member& member);
  void accept(Member& member, Lsn durable);
  void leave(Member& member, std::string why);
  void record_set();
  void on_set_recorded();
  void on_watch();
  void let_go(Member& member);
  void remove_gone();
  [[nodiscard]] Lsn written_due() const { return store_.wal().written(); }
  [[nodiscard]] bool counts(const Member& member) const {
    if (member.state == State::kRemoving && defect(Defect::kLeftUnrecorded)) return false;
    return member.state != State::kOut;
  }
  [[nodiscard]] Member* member_of(const Shipper& shipper) const;
  std::unique_ptr<Member> make_member(const core::ReplicaAddress& replica);
  void report_removed(const Member& member);

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  InSyncSetOwner& owner_;
  [[nodiscard]] Shipper::Timing timing() const;

  InSyncSetOptions options_;
  std::vector<std::unique_ptr<Member>> members_;  // in the assignment's order
  std::vector<std::string> removed_;
  bool set_recording_ = false;
  bool set_dirty_ = false;
  uint64_t decisions_ = 0;  // of this term
  io::Nanos watched_at_ = 0;
  bool stopping_ = false;
  size_t shippers_stopping_ = 0;
  std::function<void()> configured_;
  std::function<void()> stopped_;
  SuperblockWaiterOf<&InSyncSet::on_set_recorded> set_recorded_{*this};
  io::TimerOf<&InSyncSet::on_watch> watch_{*this};
  io::DeferredOf<&InSyncSet::remove_gone> remove_{*this};
};

}  // namespace ringbolt::repl

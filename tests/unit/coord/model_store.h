// A model of etcd behind `coord::Store`: revisions, compare-and-swap, leases and watches, all in memory, by a clock that the test
// drives. No thread, no clock of its own: the same calls give the same answers. Clients of it can be cut off, lose answers, and
// have a member that does not know that it leads no more.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coord/boot_clock.h"
#include "coord/store.h"

namespace ringbolt::coord {

/// What all members agree on.
class ModelEtcd {
 public:
  [[nodiscard]] Instant now() const { return now_; }
  /// Leases that end meanwhile take their keys with them.
  void advance(Span span);
  void compact(Revision revision) { compacted_ = revision; }
  /// Another member leads; every lease begins anew, as it does in etcd.
  void elect();
  /// As an operator would: the lease is gone, and what is under it.
  void end_lease(LeaseId id);

  [[nodiscard]] Revision revision() const { return revision_; }
  [[nodiscard]] uint64_t changes() const { return changes_; }
  [[nodiscard]] const Entry* find(const std::string& key) const;

 private:
  friend class ModelStore;
  struct Life {
    int64_t seconds = 0;
    Instant ends_at{};
  };
  struct Change {
    Revision revision = 0;
    Event event;
  };
  struct Listener {
    Range range;
    Revision next = 0;  ///< the first one that has not been told
    WatchTaker taker;
  };

  [[nodiscard]] bool holds(const Compare& compare) const;
  [[nodiscard]] std::vector<Entry> look(const Range& range) const;
  void put(const std::string& key, const std::string& value, LeaseId lease, Revision at);
  bool remove(const Range& range, Revision at);
  Failure no_lease() const { return {Trouble::kNotFound, "model: requested lease not found", false}; }

  Instant now_ = Instant(std::chrono::hours(1));
  Revision revision_ = 1, compacted_ = 0;
  uint64_t term_ = 2, changes_ = 0;
  LeaseId last_lease_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<LeaseId, Life> leases_;
  std::vector<Change> history_;
};

class ModelStore final : public Store {
 public:
  explicit ModelStore(ModelEtcd& etcd, uint64_t member = 1) : etcd_(etcd), member_(member) {}

  // What can be wrong with it:
  bool reachable = true;
  bool denies = false;         ///< nothing is allowed
  bool lose_answers = false;   ///< what was asked for is done, and nobody is told
  bool leads_no_more = false;  ///< its member confirms leases on its own, as one of an older term
  bool deaf = false;           ///< watches say nothing

  /// Answers what is open, and what that leads to, and tells watches.
  void run();
  /// Ends all watches, as when the connection breaks.
  void break_watches();
  [[nodiscard]] uint64_t calls() const { return calls_; }

  void range(const Range& range, Done<Entries> done) override;
  void commit(const Transaction& transaction, Done<TransactionReply> done) override;
  void grant(int64_t seconds, Done<Lease> done) override;
  void renew(LeaseId id, Done<Lease> done) override;
  void revoke(LeaseId id, Done<Stamp> done) override;
  [[nodiscard]] std::unique_ptr<Watch> watch(const Range& range, Revision from, WatchTaker taker) override;

 private:
  [[nodiscard]] Stamp stamp() const { return {member_, etcd_.term_, etcd_.revision_}; }
  /// Does it when its turn comes, and answers.
  template <class T>
  void call(Done<T> done, std::function<Reply<T>()> act, bool changes);
  bool tell(ModelEtcd::Listener& listener);

  ModelEtcd& etcd_;
  const uint64_t member_;
  std::deque<std::function<void()>> answers_;
  uint64_t calls_ = 0;
  std::vector<std::weak_ptr<ModelEtcd::Listener>> listeners_;
};

}  // namespace ringbolt::coord

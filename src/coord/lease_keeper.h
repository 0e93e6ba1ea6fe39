// When a lease is to be granted, renewed and proven, and until when it surely holds. Pure: time is passed in, requests come out,
// one at a time.
//
// Surely: counted from when the request was sent, on a clock that also runs while the machine is suspended, less a tenth of the
// lease for clocks that differ in speed. A process that was stopped sees that its time is over the moment it looks.
//
// A member of etcd 3.4 that was cut off and does not know that it leads no more confirms leases that are gone. So a renewal counts
// only when a transaction has been committed after it (it needs a majority) that finds what is under the lease, answered by the
// same member in the same term: then the leader that renewed was the leader all the while.
#pragma once

#include <optional>

#include "coord/boot_clock.h"
#include "coord/store.h"

namespace ringbolt::coord {

class LeaseKeeper {
 public:
  /// `time`: whole seconds.
  explicit LeaseKeeper(Span time) : time_(time) {}

  enum class Request : uint8_t {
    kGrant,
    kProve,  ///< commit a transaction that puts, or finds, what is under the lease
    kRenew,  ///< and then prove
  };
  /// What is to be done now; it is under way then, until one of the calls below. nullopt: nothing, until wake().
  std::optional<Request> next(Instant now);
  [[nodiscard]] Instant wake() const { return open_ ? Instant::max() : next_at_; }

  void on_granted(const Lease& lease);
  /// `before`: how things stood before it was renewed.
  void on_renewed(const Stamp& before);
  /// By a transaction that was answered with `stamp`.
  void on_proven(Instant now, const Stamp& stamp);
  /// The request failed: it is repeated soon, but not before that time has passed.
  void on_failure(Instant now, Span after = Span::zero());
  /// What was under the lease is not there any more, or the lease itself is not: another one is to be granted, `after` that time.
  void on_lost(Instant now, Span after = Span::zero());

  [[nodiscard]] LeaseId id() const { return id_; }  ///< 0: none
  [[nodiscard]] bool surely_valid(Instant now) const { return now < valid_until_; }
  [[nodiscard]] Instant valid_until() const { return valid_until_; }
  [[nodiscard]] Span time() const { return time_; }

 private:
  /// Of the lease, for clocks: etcd's may run this much faster.
  static constexpr int kMarginPart = 10;
  static constexpr int kRenewalsPerLease = 3;
  static constexpr int kAttemptsPerLease = 10;

  [[nodiscard]] Span retry_after() const { return time_ / kAttemptsPerLease; }

  const Span time_;
  bool open_ = false;  ///< a request is under way
  Instant next_at_{};
  Instant sent_at_{};  ///< the grant or renewal that is to be proven
  LeaseId id_ = 0;
  bool to_prove_ = false;
  std::optional<Stamp> renewed_;  ///< how things stood at the renewal; nullopt: it was a grant, which a majority has committed
  Span granted_{};
  Instant valid_until_ = Instant::min();
};

}  // namespace ringbolt::coord

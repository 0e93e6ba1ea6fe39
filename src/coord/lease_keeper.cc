#include "coord/lease_keeper.h"

#include <algorithm>

#include "ringbolt/assert.h"

namespace ringbolt::coord {

std::optional<LeaseKeeper::Request> LeaseKeeper::next(Instant now) {
  if (open_ || now < next_at_) return std::nullopt;
  open_ = true;
  if (to_prove_) return Request::kProve;
  sent_at_ = now;
  return id_ == 0 ? Request::kGrant : Request::kRenew;
}

void LeaseKeeper::on_granted(const Lease& lease) {
  RINGBOLT_ASSERT(open_ && id_ == 0);
  open_ = false;
  id_ = lease.id;
  // Also if etcd grants more: others count on the time that was asked for.
  granted_ = std::min<Span>(time_, std::chrono::seconds(std::clamp<int64_t>(lease.seconds, 0, time_ / std::chrono::seconds(1))));
  renewed_.reset();
  to_prove_ = true;
}

void LeaseKeeper::on_renewed(const Stamp& before) {
  RINGBOLT_ASSERT(open_ && id_ != 0);
  open_ = false;
  renewed_ = before;
  to_prove_ = true;
}

void LeaseKeeper::on_proven(Instant now, const Stamp& stamp) {
  RINGBOLT_ASSERT(open_ && to_prove_);
  open_ = false;
  to_prove_ = false;
  // Another leader, or another member asked: whether the renewal was of any effect is not known.
  if (renewed_ && (renewed_->member != stamp.member || renewed_->term != stamp.term)) {
    next_at_ = now + retry_after();
    return;
  }
  valid_until_ = std::max(valid_until_, sent_at_ + granted_ - granted_ / kMarginPart);
  next_at_ = std::max(now, sent_at_ + time_ / kRenewalsPerLease);
}

void LeaseKeeper::on_failure(Instant now, Span after) {
  RINGBOLT_ASSERT(open_);
  open_ = false;
  // A grant is still to be proven; a renewal is better done again, as it may have been too long ago.
  if (renewed_) to_prove_ = false;
  next_at_ = now + std::max(after, retry_after());
}

void LeaseKeeper::on_lost(Instant now, Span after) {
  open_ = false;
  to_prove_ = false;
  id_ = 0;
  renewed_.reset();
  valid_until_ = Instant::min();
  next_at_ = now + after;
}

}  // namespace ringbolt::coord

// Making the volume larger. Replicas first, each durably, this copy last: so nobody ever has a record about blocks that his copy does not
// have, and a copy that is larger than the primary's has nothing but zeros there. What is not finished leaves such copies; they take the
// primary's size at the next session, or are a primary's next attempt ahead.
#include <fmt/format.h>

#include "log/log.h"
#include "repl/in_sync_set.h"
#include "repl/volume.h"

namespace ringbolt::repl {

Status Volume::may_resize(uint64_t bytes) const {
  if (!damage().empty()) return make_error(Errc::kIo, damage());
  if (!opened_ || stopping_) return make_error(Errc::kBusy, fmt::format("volume {} is not open", name()));
  if (primary_ == nullptr || serving_stopped_) {
    return make_error(Errc::kNotPermitted, fmt::format("volume {} is {} here; its primary makes it larger", name(), to_string(role_)));
  }
  if (bytes < size_bytes()) {
    return make_error(Errc::kInvalid, fmt::format("volume {} has {} bytes and cannot be made smaller", name(), size_bytes()));
  }
  if (!primary_->serving()) return make_error(Errc::kBusy, fmt::format("volume {} is not served yet; try again when it is", name()));
  if (resize_ || store_.growing()) return make_error(Errc::kBusy, fmt::format("volume {} is being made larger already", name()));
  const InSyncSet& members = primary_->members();
  for (size_t i = 0; i < members.size(); ++i) {
    const Shipper& shipper = members.shipper(i);
    const std::string& id = shipper.peer().id;
    if (shipper.rebuilding()) {
      return make_error(Errc::kNotPermitted, fmt::format("replica {} of volume {} is being rebuilt; wait for that, or cancel it", id, name()));
    }
    if (shipper.shipping() || !members.counts(id)) continue;
    return make_error(Errc::kNotPermitted, fmt::format("replica {} of volume {} counts for durability and is not connected; wait until it is back, or is "
                                                       "not waited for any more",
                                                       id, name()));
  }
  return boost::outcome_v2::success();
}

void Volume::resize(uint64_t bytes, std::function<void(Status)> done) {
  const Status may = may_resize(bytes);
  if (may.has_error() || bytes == size_bytes()) return done(may);
  resize_ = Resize{bytes, ++resize_orders_, 0, {}, std::move(done)};
  log::info({.volume = name()}, "is to be made larger, from {} to {} bytes", size_bytes(), bytes);
  // Here first, as an attempt: what has no room here needs to be asked of nobody.
  store_.make_room(bytes, [this, order = resize_->order](const Status& status) {
    if (!resize_ || resize_->order != order) return;
    if (status.has_error()) return finish_resize(status);
    grow_replicas();
  });
}

void Volume::grow_replicas() {
  resize_->waiting = 1;  // this function
  if (primary_ != nullptr && !serving_stopped_) {
    InSyncSet& members = primary_->members();
    for (size_t i = 0; i < members.size(); ++i) {
      Shipper& shipper = members.shipper(i);
      const std::string id = shipper.peer().id;
      ++resize_->waiting;
      shipper.grow(resize_->bytes, [this, id, order = resize_->order](const std::string& problem) {
        if (resize_ && resize_->order == order) on_replica_grown(id, problem);
      });
    }
  }
  if (--resize_->waiting == 0) on_replicas_grown();
}

void Volume::on_replica_grown(const std::string& replica, const std::string& problem) {
  if (!problem.empty()) {
    log::warn({.volume = name(), .replica = replica}, "replica {} has not become larger: {}", replica, problem);
    // Also one that does not count now: it will, and what it has no room for would keep it out for ever.
    const Shipper* const shipper = primary_ == nullptr ? nullptr : primary_->members().find(replica);
    const bool has_to = shipper != nullptr && (shipper->shipping() || primary_->members().counts(replica));
    if (has_to && resize_->problem.empty()) resize_->problem = fmt::format("replica {}: {}", replica, problem);
  }
  if (--resize_->waiting == 0) on_replicas_grown();
}

void Volume::on_replicas_grown() {
  if (!resize_->problem.empty()) {
    return finish_resize(make_error(Errc::kNotPermitted, fmt::format("volume {} stays at {} bytes: {}", name(), size_bytes(), resize_->problem)));
  }
  if (primary_ == nullptr || serving_stopped_) {
    return finish_resize(make_error(Errc::kNotPermitted, fmt::format("volume {} is not primary here any more", name())));
  }
  // One that has come back meanwhile was told the old size.
  InSyncSet& members = primary_->members();
  size_t larger = 1;
  for (size_t i = 0; i < members.size(); ++i) {
    const Shipper& shipper = members.shipper(i);
    if (shipper.peer_bytes() >= resize_->bytes) {
      ++larger;
      continue;
    }
    if (!members.counts(shipper.peer().id)) continue;  // called again, below
    return finish_resize(make_error(Errc::kBusy, fmt::format("volume {} stays at {} bytes: the session with replica {} has ended meanwhile; try again", name(),
                                                             size_bytes(), shipper.peer().id)));
  }
  // Whoever is missing then is not known to have room: without a majority nothing could be written any more, and nothing be made smaller.
  if (primary_->durability() == Durability::kSyncQuorum && larger <= (members.size() + 1) / 2) {
    return finish_resize(make_error(Errc::kNotPermitted, fmt::format("volume {} stays at {} bytes: {} of {} copies can become larger now, which is no majority", name(),
                                                                     size_bytes(), larger, members.size() + 1)));
  }
  for (size_t i = 0; i < members.size(); ++i) members.shipper(i).require_bytes(resize_->bytes);
  store_.grow(resize_->bytes, [this, order = resize_->order](const Status& status) {
    if (status.has_value()) on_grown();
    if (!resize_ || resize_->order != order) return;
    if (status.has_error() || (primary_ != nullptr && !serving_stopped_)) return finish_resize(status);
    // What size the volume has is its next primary's word.
    finish_resize(make_error(Errc::kNotPermitted, fmt::format("volume {} is not primary here any more; this copy has {} bytes", name(), size_bytes())));
  });
}

/// Records about what is new may come from now on.
void Volume::on_grown() {
  if (primary_ != nullptr) {
    InSyncSet& members = primary_->members();
    for (size_t i = 0; i < members.size(); ++i) members.shipper(i).require_bytes(0);
  }
  publish_refusal();
}

void Volume::finish_resize(const Status& status) {
  if (!resize_) return;
  if (status.has_error()) log::warn({.volume = name()}, "was not made larger: {}", status.error().message);
  const auto done = std::move(resize_->done);
  resize_.reset();
  if (status.has_error() && primary_ != nullptr) {
    InSyncSet& members = primary_->members();
    for (size_t i = 0; i < members.size(); ++i) members.shipper(i).take_growth_back();
  }
  done(status);
}

/// A primary whose volume is larger calls this copy, which was away when it grew, or is a new one. It calls again. Returns what to
/// answer it now.
std::string Volume::grow_for_primary(uint64_t bytes) {
  std::string why = fmt::format("the copy here is being made larger, from {} to {} bytes", size_bytes(), bytes);
  if (!growth_problem_.empty()) why += fmt::format("; the last attempt: {}", growth_problem_);
  // The primary does not go on with that one.
  const bool rebuilding = replica_ != nullptr && (replica_->rebuild().active() || !replica_->rebuild().quiet());
  if (rebuilding || store_.growing()) return why;
  // It calls again and again: what is tried again is not told again.
  if (growth_problem_.empty()) log::info({.volume = name()}, "its primary's volume is larger: this copy grows from {} to {} bytes", size_bytes(), bytes);
  store_.grow(bytes, [this](const Status& status) {
    const std::string problem = status.has_error() ? status.error().message : std::string();
    if (!problem.empty() && problem != growth_problem_) log::error({.volume = name()}, "this copy cannot follow its primary: {}", problem);
    growth_problem_ = problem;
    publish_refusal();
  });
  return why;
}

}  // namespace ringbolt::repl

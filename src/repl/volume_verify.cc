// An operator's comparisons of copies: begun here, carried out by the shippers, and what came of the last one of each replica.
#include <fmt/format.h>

#include <algorithm>

#include "core/plan.h"
#include "log/log.h"
#include "repl/volume.h"
#include "ringbolt/assert.h"

namespace ringbolt::repl {

void Volume::verify(const std::optional<std::string>& replica, const std::function<void(Status)>& done) {
  if (!damage().empty()) return done(make_error(Errc::kIo, damage()));
  if (!opened_ || stopping_) return done(make_error(Errc::kBusy, fmt::format("volume {} is not open", name())));
  if (primary_ == nullptr || serving_stopped_) {
    return done(make_error(Errc::kNotPermitted, fmt::format("volume {} is {} here; its primary compares copies", name(), to_string(role_))));
  }
  if (replica && !core::is_assigned(engine_.state(), *replica)) {
    return done(make_error(Errc::kNotFound, fmt::format("volume {} has no replica \"{}\"", name(), *replica)));
  }
  // All of them or none: whoever asked knows what is being compared.
  std::vector<Shipper*> asked;
  for (size_t i = 0; i < primary_->members().size(); ++i) {
    Shipper& shipper = primary_->members().shipper(i);
    const std::string& id = shipper.peer().id;
    if (replica && id != *replica) continue;
    const auto known = verifications_.find(id);
    if (known != verifications_.end() && known->second.shipper != nullptr) {
      return done(make_error(Errc::kBusy, fmt::format("replica {} of volume {} is being compared already", id, name())));
    }
    if (!shipper.may_verify()) {
      return done(make_error(Errc::kNotPermitted, fmt::format("replica {} of volume {} is not in step with the primary; it can be compared when it is", id, name())));
    }
    asked.push_back(&shipper);
  }
  if (asked.empty()) return done(make_error(Errc::kNotFound, fmt::format("volume {} has no replica to compare with", name())));
  // What was found of replicas that are none any more is of no use.
  std::erase_if(verifications_, [&](const auto& one) { return one.second.shipper == nullptr && !core::is_assigned(engine_.state(), one.first); });
  for (Shipper* shipper : asked) begin_verify(*shipper);
  done(boost::outcome_v2::success());
}

void Volume::begin_verify(Shipper& shipper) {
  const std::string id = shipper.peer().id;
  Verification& one = verifications_[id];
  one = {};
  one.shipper = &shipper;
  one.began = io_.now();
  one.first = store_.wal().head();
  log::info({.volume = name(), .replica = id, .lsn = one.first}, "replica {} is compared with this copy, from Lsn {} on", id, one.first.value());
  const bool begun = shipper.start_verify([this, id](const VerifyResult& result) { verified(id, result); });
  RINGBOLT_ASSERT(begun);  // the caller has asked whether it may
}

void Volume::verified(const std::string& replica, const VerifyResult& result) {
  Verification& one = verifications_[replica];
  one.shipper = nullptr;
  one.result = result;
  one.ended = io_.now();
  one.last = store_.wal().head();
  if (!result.problem.empty()) {
    log::warn({.volume = name(), .replica = replica}, "the comparison with replica {} ended early: {}", replica, result.problem);
  }
  if (result.blocks_differing > 0) {
    log::error({.volume = name(), .replica = replica}, "{} blocks of replica {} differ from this copy, the first of them block {}", result.blocks_differing, replica,
               result.differing.front().first.value());
  } else if (result.problem.empty()) {
    log::info({.volume = name(), .replica = replica}, "replica {} is equal: {} blocks compared, {} only in both logs", replica, result.blocks_compared,
              result.blocks_in_log);
  }
}

void Volume::fill_verifications(VolumeStatus& status) const {
  const auto seconds_since = [this](io::Nanos when) { return static_cast<uint64_t>(std::max<io::Nanos>(io_.now() - when, 0) / io::kSecond); };
  for (const auto& [id, one] : verifications_) {
    VerifyStatus s;
    s.replica = id;
    const VerifyResult* const progress = one.shipper != nullptr ? one.shipper->verify_progress() : nullptr;
    const VerifyResult& result = progress != nullptr ? *progress : one.result;
    s.state = one.shipper != nullptr ? "running" : result.problem.empty() ? "completed" : "failed";
    s.bytes_total = result.blocks_total * kBlockBytes;
    s.bytes_compared = result.blocks_compared * kBlockBytes;
    s.bytes_in_log = result.blocks_in_log * kBlockBytes;
    s.bytes_differing = result.blocks_differing * kBlockBytes;
    for (const BlockRange& range : result.differing) s.differing.push_back({range.first.value() * kBlockBytes, range.blocks * kBlockBytes});
    s.problem = result.problem;
    s.seconds_since_begin = seconds_since(one.began);
    s.first_lsn = one.first.value();
    if (one.shipper == nullptr) {
      s.seconds_since_end = seconds_since(one.ended);
      s.last_lsn = one.last.value();
    }
    status.verifications.push_back(std::move(s));
  }
}

}  // namespace ringbolt::repl

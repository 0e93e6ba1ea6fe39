// Primaries that call this copy, and its promise to the highest epoch it has met.
#include <fmt/format.h>

#include "log/log.h"
#include "repl/volume.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

// --- the promise ------------------------------------------------------------------------------------------

/// Takes part in no lower epoch from here on: what was served under one is not served any more, at once. The promise
/// is recorded before anything is done for the epoch that it is given to.
void Volume::promise(Epoch epoch, const std::string& holder) {
  if (epoch <= store_.facts().epoch) return;
  Superblock& superblock = store_.superblock().change();
  superblock.epoch = epoch;
  superblock.incarnation = Incarnation{};
  superblock.epoch_holder = holder;
  superblock.handed_over = Lsn{};
  called_ = Incarnation{};
  record_promise();
}

/// Calls on_promise_recorded() when everything promised by now is durable.
void Volume::record_promise() {
  // A wait under way covers only what was promised before it began.
  promise_again_ = promise_recorded_.waiting();
  if (!promise_again_) store_.superblock().wait(promise_recorded_);
}

void Volume::on_promise_recorded() {
  mark(Mark::kPromised);
  if (promise_again_) return record_promise();
  if (stopping_) return close_if_quiet();
  if (std::exchange(promise_for_role_, false)) change_role();
  route_call();
}

void Volume::stop_serving(const std::string& why) {
  if (primary_ == nullptr || serving_stopped_) return;
  serving_stopped_ = true;
  role_reason_ = why;
  log::warn({.volume = name(), .epoch = store_.facts().epoch}, "{}", why);
  send_clients_away("the volume is no longer primary here: " + why);
  publish_refusal();
}

/// The highest incarnation of the promised epoch that is known here. Durable from the first session on:
/// the history carries it.
Incarnation Volume::known_incarnation() const {
  const Superblock& facts = store_.facts();
  const auto last = facts.history.last();
  const Incarnation written = last && last->term.epoch == facts.epoch ? last->term.incarnation : Incarnation{};
  return std::max(written, called_);
}

/// The epoch of an order to be primary that is being carried out.
std::optional<Epoch> Volume::ordered_primary() const {
  if (ordered_role_ != Role::kPrimary) return std::nullopt;
  if (taking_) return taking_->epoch;
  return awaited_ ? std::optional(awaited_->first) : std::nullopt;
}

// --- calls of primaries -----------------------------------------------------------------------------------

void Volume::take_call(const PeerCall& call) {
  bool identified = false;  // as one of this volume's, meant for this node
  const auto refuse = [&](Reason reason, const std::string& text) {
    RINGBOLT_LOG_LIMITED(kInfo, {.volume = name(), .peer = call.hello.node_id, .epoch = call.header.epoch}, "call from {} refused: {}", call.hello.node_id, text);
    refusals_.refuse(call, reason, identified ? store_.facts().volume : Uuid{}, identified ? store_.facts().epoch : Epoch{}, text);
  };
  if (!opened_ || stopping_) return refuse(Reason::kNotReady, damage().empty() ? "the volume is not open here" : damage());
  const Superblock& facts = store_.facts();
  if (call.hello.replica_id != facts.node_id) {
    return refuse(Reason::kWrongVolume, fmt::format("this node is {}, not {}", facts.node_id, call.hello.replica_id));
  }
  const bool of_rebuild = call.hello.channel == Channel::kBulk;
  const bool blank = facts.volume.is_nil() && store_.wal().head() == Lsn{};
  if (call.header.volume.is_nil() || (call.header.volume != facts.volume && !blank)) {
    return refuse(Reason::kWrongVolume, fmt::format("the copy here belongs to volume {}", facts.volume.to_string()));
  }
  identified = true;
  if (call.header.epoch > facts.epoch && primary_ != nullptr) {
    // Whatever becomes of the call, and also where nothing can be recorded any more: who knows of a higher epoch serves no lower one.
    primary_->fence();
    stop_serving(fmt::format("fenced by epoch {} ({})", call.header.epoch.value(), call.hello.node_id));
    tell(core::EpochObserved{call.header.epoch, fmt::format("{} is its primary", call.hello.node_id)});
    give_way(call.header.epoch);
  }
  if (call.hello.volume_bytes < store_.least_bytes() || (of_rebuild && call.hello.volume_bytes != size_bytes())) {
    return refuse(Reason::kWrongVolume, fmt::format("the copy here has {} bytes, the volume {}", size_bytes(), call.hello.volume_bytes));
  }
  if (store_.failed()) return refuse(Reason::kNotReady, damage());
  if (const auto version = choose_version(call.hello.version_min, call.hello.version_max); !version.has_value()) {
    return refuse(Reason::kProtocolViolation, version.error().message);
  }
  if ((wanted_ ? wanted_->role : role_) == Role::kNone) return refuse(Reason::kNotReady, "the volume has no role here");
  if (call.header.epoch < facts.epoch && !defect(Defect::kStaleEpoch)) {
    mark(Mark::kCallRefused);
    return refuse(Reason::kEpochMismatch, fmt::format("epoch {} is over, the current one is {}", call.header.epoch.value(), facts.epoch.value()));
  }
  if (const auto ordered = ordered_primary(); ordered && call.header.epoch < *ordered) {
    // Judged by what this copy is: nobody makes it another one until it is that.
    return refuse(Reason::kNotReady, fmt::format("this copy is being made primary of epoch {}", ordered->value()));
  }
  if (call.header.epoch == facts.epoch && facts.incarnation != Incarnation{}) {
    // Also when it is not any more: two nodes may have written other records under the same term, and
    // their histories would not tell.
    return refuse(Reason::kEpochMismatch, fmt::format("this node was primary of epoch {} itself", facts.epoch.value()));
  }
  if (call.header.epoch == facts.epoch && !facts.epoch_holder.empty() && facts.epoch_holder != call.hello.node_id) {
    return refuse(Reason::kEpochMismatch, fmt::format("{} is primary of epoch {} already", facts.epoch_holder, facts.epoch.value()));
  }
  if (call.header.epoch == facts.epoch && call.hello.incarnation < known_incarnation()) {
    // A copy of the primary's data directory that runs beside it, or one restored from a backup.
    return refuse(Reason::kEpochMismatch, fmt::format("incarnation {} of epoch {} is over, {} is known", call.hello.incarnation.value(),
                                                      facts.epoch.value(), known_incarnation().value()));
  }
  if (call.hello.volume_bytes > size_bytes()) {
    // That takes time, and whoever is primary of a lower epoch is told nothing meanwhile.
    if (call.header.epoch > facts.epoch) {
      promise(call.header.epoch, call.hello.node_id);
      tell(core::EpochObserved{call.header.epoch, fmt::format("{} is its primary", call.hello.node_id)});
    }
    return refuse(Reason::kNotReady, grow_for_primary(call.hello.volume_bytes));
  }
  if (of_rebuild) {
    // Part of a session that runs: it promises nothing, and supersedes nothing.
    if (replica_ != nullptr && receiving_ && call.header.epoch == facts.epoch && replica_->take_bulk_call(call)) return;
    return refuse(Reason::kNotReady, "no such rebuild runs here");
  }
  if (waiting_call_) io_.close_socket(waiting_call_->socket);
  waiting_call_ = call;
  if (call.header.epoch > facts.epoch) {
    promise(call.header.epoch, call.hello.node_id);
    tell(core::EpochObserved{call.header.epoch, fmt::format("{} is its primary", call.hello.node_id)});
  } else if (facts.epoch_holder.empty()) {
    // Whoever called first in an epoch holds it, across restarts, too.
    store_.superblock().change().epoch_holder = call.hello.node_id;
    record_promise();
  }
  called_ = call.hello.incarnation;
  if (blank && facts.volume.is_nil()) {
    store_.adopt_volume(call.header.volume);
    record_promise();
  }
  route_call();
}

/// Hands the waiting call to the replica role, once that takes calls and what the call rests on is durable.
void Volume::route_call() {
  if (!waiting_call_ || replica_ == nullptr || !receiving_ || leaving_role_ || promise_recorded_.waiting()) return;
  if (stopping_ || store_.failed()) return;
  const PeerCall call = *waiting_call_;
  waiting_call_.reset();
  if (call.header.epoch < store_.facts().epoch) {  // a higher one came while it waited
    return refusals_.refuse(call, Reason::kEpochMismatch, store_.facts().volume, store_.facts().epoch,
                            fmt::format("epoch {} is over, the current one is {}", call.header.epoch.value(), store_.facts().epoch.value()));
  }
  if (const auto ordered = ordered_primary(); ordered && call.header.epoch < *ordered) {  // likewise an order
    return refusals_.refuse(call, Reason::kNotReady, store_.facts().volume, store_.facts().epoch,
                            fmt::format("this copy is being made primary of epoch {}", ordered->value()));
  }
  replica_->take_call(call);
}

}  // namespace ringbolt::repl

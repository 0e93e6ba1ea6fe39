// Assignments, and the engine: tells it facts, carries out its commands on the role, the shippers and the replica.
#include <fmt/format.h>

#include <utility>

#include "core/plan.h"
#include "log/log.h"
#include "repl/volume.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

namespace {
/// How often positions are told, which nothing is decided from.
constexpr io::Nanos kTickInterval = io::kSecond;
constexpr size_t kOrdersMax = 16;
}  // namespace

// --- assignments ------------------------------------------------------------------------------------------

core::CopyFacts Volume::copy_facts() const {
  const Superblock& facts = store_.facts();
  core::CopyFacts copy;
  copy.promised = facts.epoch;
  copy.incarnation = facts.incarnation;
  copy.last_term = facts.history.last();
  copy.base_usable = store_.base_usable();
  copy.blank = facts.volume.is_nil() && store_.wal().head() == Lsn{};
  copy.handed_over = facts.handed_over != Lsn{} && facts.handed_over == store_.wal().head();
  copy.current = engine_.state().assignment;
  if (copy.current) copy.current->replicas = located(std::move(copy.current->replicas));
  return copy;
}

/// The configuration's, unless one was given at run time for the same or a higher epoch.
void Volume::take_first_assignment() {
  core::Assignment first{options_.epoch, 0, options_.role, options_.durability, options_.replicas};
  if (first.role != Role::kPrimary) first.replicas.clear();
  const auto& stored = store_.facts().assignment;
  if (stored && (stored->epoch >= first.epoch || first.role == Role::kNone)) {
    if (!stored->same_content(first)) {
      log::info({.volume = name(), .epoch = stored->epoch}, "the assignment given at run time ({} of epoch {}, change {}) wins over the configuration's", to_string(stored->role), stored->epoch.value(), stored->version);
    }
    first = *stored;
  }
  if (first.role == Role::kNone && first.version == 0) return;  // nobody has assigned anything
  io_.arm(tick_, kTickInterval);
  role_ = first.role;
  if (first.role == Role::kPrimary && !store_.damage().empty() && store_.facts().epoch <= first.epoch) {
    log::error({.volume = name()}, "{}; the volume is not served", damage());
    return;
  }
  if (first.role == Role::kPrimary) {
    const core::Judgement judgement = core::judge(first, core::Authority::kAssigned, copy_facts());
    if (judgement.verdict != core::Verdict::kTake) {
      role_ = Role::kReplica;
      role_reason_ = judgement.reason;
      mark(Mark::kPrimaryRefused);
      log::error({.volume = name(), .epoch = first.epoch}, "not primary: {}", role_reason_);
      tell(core::EpochObserved{std::max(first.epoch, store_.facts().epoch), role_reason_});
    }
  }
  tell(core::AssignmentDelivered{std::move(first)});
}

/// A copy that has failed is primary no more, but it can be told to be something else as long as that can be recorded.
bool Volume::may_take(Role role) {
  return opened_ && (!store_.failed() || (role != Role::kPrimary && !store_.superblock().failed()));
}

void Volume::assign(const AssignmentRequest& request, std::function<void(Status)> done) {
  if (!damage().empty() && !may_take(request.role)) return done(make_error(Errc::kIo, damage()));
  if (!opened_ || stopping_) return done(make_error(Errc::kBusy, fmt::format("volume {} is not open", name())));
  if (assigned_ && !only_proof_is_missing()) {
    // One after another: each is judged by what the one before it left.
    if (orders_.size() >= kOrdersMax) return done(make_error(Errc::kBusy, "too many assignments are waiting"));
    orders_.emplace_back(request, std::move(done));
    return;
  }
  const core::CopyFacts copy = copy_facts();
  core::Assignment next;
  next.epoch = request.epoch;
  next.role = request.role;
  next.durability = request.durability.value_or(copy.current ? copy.current->durability : options_.durability);
  const bool keeps_role = copy.current && copy.current->role == next.role;
  if (request.replicas) {
    next.replicas = *request.replicas;
  } else if (keeps_role) {
    next.replicas = copy.current->replicas;
  }
  next.version = copy.current && copy.current->epoch == next.epoch ? copy.current->version + 1 : 1;
  const core::Judgement judgement = core::judge(next, request.authority, copy);
  switch (judgement.verdict) {
    case core::Verdict::kTake: break;
    case core::Verdict::kNothingNew: return await_proof(*copy.current, std::move(done));
    case core::Verdict::kStaleEpoch: return done(make_error(Errc::kStaleEpoch, judgement.reason));
    case core::Verdict::kRefused: return done(make_error(Errc::kNotPermitted, judgement.reason));
  }
  if (const char* problem = Superblock::problem_of(next)) return done(make_error(Errc::kInvalid, problem));
  if (request.authority == core::Authority::kForced) mark(Mark::kForced);
  log::info({.volume = name(), .epoch = next.epoch}, "assigned {} of epoch {}, change {}", to_string(next.role), next.epoch.value(), next.version);
  // Recorded before it takes effect: a restart in between must not bring the one before it back.
  store_.superblock().change().assignment = next;
  taking_ = std::move(next);
  ordered_role_ = taking_->role;
  wait_with(std::move(done));
  store_.superblock().wait(assignment_recorded_);
  // Before its primary begins to make it anew: the order was judged by what this copy is now.
  if (taking_->role == Role::kPrimary && replica_ != nullptr) replica_->hang_up("this copy is being made primary");
}

void Volume::on_assignment_recorded() {
  if (stopping_) return close_if_quiet();
  if (!taking_) return;
  awaited_.emplace(taking_->epoch, taking_->version);
  if (!tick_.armed()) io_.arm(tick_, kTickInterval);
  tell(core::AssignmentDelivered{*std::exchange(taking_, std::nullopt)});
}

/// All has been done for the order under way that this node can do. What it waits for may never come, so another one need not wait for it.
bool Volume::only_proof_is_missing() const { return awaited_ && unproven_ == awaited_; }

/// It was recorded before it was proven: whoever repeats it, also after a restart, is told no more than whoever gave it.
void Volume::await_proof(const core::Assignment& current, std::function<void(Status)> done) {
  const std::pair number(current.epoch, current.version);
  if (current.role != Role::kPrimary || in_force_ == number) return done(boost::outcome_v2::success());
  ordered_role_ = current.role;
  wait_with(std::move(done));
  awaited_ = number;
  io_.defer(engine_turn_);  // it may be fenced already
}

/// An order that lacks nothing but proof gives way to this one. Who gave it may repeat it: then they are in the order that was meant.
void Volume::wait_with(std::function<void(Status)> done) {
  awaited_.reset();
  const auto before = std::exchange(assigned_, std::move(done));
  if (!before) return;
  log::info({.volume = name()}, "the order before it was not in force yet");
  before(make_error(Errc::kSuperseded, fmt::format("another order for volume {} took its place before it was in force", name())));
}

/// The order under way is answered; the next one is looked at.
void Volume::finish_assignment(const Status& status) {
  awaited_.reset();
  taking_.reset();
  if (!assigned_) return;
  const auto done = std::move(assigned_);
  assigned_ = nullptr;
  done(status);
  take_orders();
}

void Volume::take_orders() {
  while (!orders_.empty() && (!assigned_ || only_proof_is_missing())) {
    auto [request, next_done] = std::move(orders_.front());
    orders_.pop_front();
    assign(request, std::move(next_done));
  }
}

// --- facts --------------------------------------------------------------------------------------------------

/// Applied at the end of the turn: whoever tells a fact is not called back from inside.
void Volume::tell(core::Event event) {
  if (stopping_) return;
  events_.push_back(std::move(event));
  io_.defer(engine_turn_);
}

void Volume::observe_copy() {
  core::CopyObserved copy;
  copy.count = ++copy_count_;
  copy.failure = damage();
  if (opened_ && copy.failure.empty()) copy.damage = store_.damage();
  copy.base_usable = !opened_ || store_.base_usable();
  copy.base_full = store_.base_full();
  if (replica_ != nullptr && replica_->in_session()) copy.primary = replica_->primary_id();
  tell(std::move(copy));
}

/// Positions, for people: nothing is decided from them, so they are not queued like facts that call for something.
void Volume::on_tick() {
  io_.arm(tick_, kTickInterval);
  const core::EngineState& known = engine_.state();
  if (!opened_ || store_.failed()) return;
  if (store_.checkpoint() > known.checkpoint) static_cast<void>(engine_.apply(core::CheckpointAdvanced{store_.checkpoint()}));
  // Of the present term only: that of a new one is a fact that calls for something.
  if (primary_ == nullptr || !known.committed || known.committed->term != primary_->term()) return;
  static_cast<void>(engine_.apply(core::CommittedAdvanced{primary_->term(), primary_->committed(), store_.wal().durable()}));
  for (size_t i = 0; i < primary_->members().size(); ++i) {
    const Shipper& shipper = primary_->members().shipper(i);
    const core::ReplicaState* replica = known.find(shipper.peer().id);
    if (replica != nullptr && shipper.sent() > replica->shipped) {
      static_cast<void>(engine_.apply(core::ShippedAdvanced{replica->id, shipper.sent()}));
    }
  }
}

void Volume::engine_turn() {
  while (!events_.empty() && !stopping_) {
    const core::Event event = std::move(events_.front());
    events_.pop_front();
    for (const core::Command& command : engine_.apply(event)) {
      log::debug({.volume = name()}, "{}: {}", core::name_of(event), core::describe(command));
      execute(command);
    }
  }
  if (!stopping_) give_back_places();
  if (!stopping_) answer_rebuild_orders(boost::outcome_v2::success());
  refuse_fenced_order();
  answer_if_in_force();
  take_orders();
}

/// An order for another role than primary is done when that role is in force. It may have been before: a fence makes a
/// primary a replica, and then no command comes that would answer the order, nor those behind it.
void Volume::answer_if_in_force() {
  if (!awaited_ || stopping_ || leaving_role_ || role_ == Role::kPrimary || !wanted_ || awaited_->first > wanted_->epoch) return;
  const auto& applied = engine_.state().role;
  if (!applied || applied->epoch != wanted_->epoch || applied->role != wanted_->role) return;
  // One to be primary that was fenced at its own epoch has been refused, or is before long.
  if (awaited_->first == wanted_->epoch && role_ != ordered_role_) return;
  finish_assignment(awaited_->first == wanted_->epoch
                        ? Status(boost::outcome_v2::success())
                        : make_error(Errc::kStaleEpoch, fmt::format("epoch {} is over: {}", awaited_->first.value(), role_reason_)));
}

/// An order to be primary of an epoch that turned out to be over, or another's, before it was in force.
void Volume::refuse_fenced_order() {
  const core::EngineState& state = engine_.state();
  if (!awaited_ || !core::is_fenced(state) || awaited_ != std::pair(state.assignment->epoch, state.assignment->version)) return;
  const core::Fence& fence = *state.fence;
  const uint64_t epoch = awaited_->first.value();
  if (fence.epoch > awaited_->first) {
    return finish_assignment(make_error(
        Errc::kStaleEpoch, fmt::format("epoch {} is over: the current one is {} ({})", epoch, fence.epoch.value(), fence.reason)));
  }
  finish_assignment(make_error(Errc::kNotPermitted, fmt::format("epoch {} is another's ({}); the assignment needs a higher one", epoch, fence.reason)));
}

// --- commands -----------------------------------------------------------------------------------------------

Shipper* Volume::shipper_of(const std::string& replica) const {
  return primary_ == nullptr || serving_stopped_ ? nullptr : primary_->members().find(replica);
}

/// A replica that is not shipped to any more needs no answer: its removal is one.
void Volume::execute(const core::Command& command) {
  if (const auto* role = std::get_if<core::ApplyRole>(&command)) return apply_role(*role);
  if (const auto* receiver = std::get_if<core::StartReceiver>(&command)) {
    if (replica_ == nullptr) return;
    receiving_ = true;
    tell(core::ReceiverReady{receiver->epoch});
    return route_call();
  }
  if (const auto* shippers = std::get_if<core::ConfigureShipper>(&command)) return configure_shipper(*shippers);
  if (const auto* drain = std::get_if<core::DrainRecoveryTask>(&command)) {
    if (primary_ != nullptr && !serving_stopped_) primary_->members().drain(drain->replica);
    return;
  }
  if (const auto* published = std::get_if<core::PublishProjection>(&command)) {
    const core::Projection& now = published->projection;
    log::info({.volume = name()}, "mode {}{}{}", now.mode, now.reason.empty() ? "" : ": ", now.reason);
    return publish_refusal();
  }
  if (const auto* task = std::get_if<core::StartRecoveryTask>(&command)) {
    Shipper* const shipper = shipper_of(task->replica);
    if (shipper == nullptr) return;
    switch (task->kind) {
      case core::TaskKind::kProbe: return shipper->probe();
      case core::TaskKind::kProbeLater: return shipper->probe_later(task->term, task->session);
      case core::TaskKind::kCutTail: return shipper->cut_tail(task->term, task->session, task->position);
      case core::TaskKind::kKeepup:
        return shipper->start_session(task->term, task->session, core::SessionKind::kKeepup, task->position, task->position);
    }
  }
  if (const auto* catchup = std::get_if<core::StartCatchUp>(&command)) {
    Shipper* const shipper = shipper_of(catchup->replica);
    if (shipper != nullptr) shipper->start_session(catchup->term, catchup->session, core::SessionKind::kCatchup, catchup->position, catchup->target);
  } else if (const auto* rebuild = std::get_if<core::StartRebuild>(&command)) {
    if (primary_ != nullptr && !serving_stopped_) primary_->members().start_rebuild(*rebuild);
  } else if (const auto* invalid = std::get_if<core::InvalidateSession>(&command)) {
    if (Shipper* const shipper = shipper_of(invalid->replica)) shipper->invalidate(invalid->term, invalid->session, invalid->reason);
  }
}

void Volume::configure_shipper(const core::ConfigureShipper& command) {
  if (primary_ == nullptr || serving_stopped_ || primary_->term().epoch != command.epoch) return;
  primary_->configure(command.durability, located(command.replicas),
                      [this, number = std::pair(command.epoch, command.version)](ConfigureStep step) { on_configure_step(number, step); });
}

void Volume::on_configure_step(const std::pair<Epoch, uint64_t>& number, ConfigureStep step) {
  switch (step) {
    case ConfigureStep::kMembers: return tell(core::ShipperConfigured{number.first, number.second});
    case ConfigureStep::kUnproven:
      unproven_ = number;
      return io_.defer(engine_turn_);  // orders may be waiting
    case ConfigureStep::kInForce:
      in_force_ = number;
      if (awaited_ == number) finish_assignment(boost::outcome_v2::success());
  }
}

// --- the role -----------------------------------------------------------------------------------------------

void Volume::apply_role(const core::ApplyRole& command) {
  wanted_ = command;
  promise_for_role_ = false;  // of what was wanted before
  change_role();
}

/// Leaves the role in force, if it is another one, then enters the wanted one. What is wanted may change on the way.
void Volume::change_role() {
  if (!wanted_ || leaving_role_ || stopping_ || !may_take(wanted_->role)) return;
  if (wanted_->role == Role::kPrimary && primary_ != nullptr) {
    if (wanted_->epoch <= primary_->term().epoch) return;  // fenced at it: the engine will want something else
    if (!serving_stopped_) return primary_->raise_epoch(wanted_->epoch);  // on_primary_opened()
  }
  if (primary_ != nullptr) {
    // Also one that is to be primary again: it was fenced on the way there, and its clients were sent away.
    leaving_role_ = true;
    const bool fenced = serving_stopped_;
    stop_serving(fmt::format("it is {} of epoch {} now", to_string(wanted_->role), wanted_->epoch.value()));
    return primary_->stop(fenced ? Farewell::kAtOnce : Farewell::kHandOver, [this] { io_.defer(role_left_); });
  }
  if (wanted_->role != Role::kReplica && replica_ != nullptr) {
    leaving_role_ = true;
    return replica_->stop(false, [this] { io_.defer(role_left_); });
  }
  enter_role();
}

void Volume::role_left() {
  leaving_role_ = false;
  const bool was_primary = primary_ != nullptr;
  const bool own_heir = was_primary && primary_->heir() == store_.config().node_id;
  if (was_primary && !primary_->heir().empty()) log::info({.volume = name(), .replica = primary_->heir(), .lsn = store_.wal().head()}, "handed over to {}", primary_->heir());
  primary_.reset();
  replica_.reset();
  receiving_ = false;
  if (stopping_) return close_store();
  if (was_primary) {
    serving_stopped_ = false;
    role_ = Role::kNone;
    if (wanted_ && wanted_->role != Role::kPrimary) promise(wanted_->epoch, "");
    Superblock& superblock = store_.superblock().change();
    superblock.in_sync.clear();
    // Nobody else has it all: this copy may be primary again without more ado.
    if (own_heir) superblock.handed_over = store_.wal().head();
  }
  change_role();
}

/// No term of this epoch, or of a higher one, is another's.
bool Volume::may_open(Epoch epoch) const {
  const Superblock& facts = store_.facts();
  return epoch > facts.epoch || (epoch == facts.epoch && facts.incarnation != Incarnation{});
}

/// The epoch is durable before the role is in force.
void Volume::enter_role() {
  RINGBOLT_ASSERT(primary_ == nullptr);
  if (wanted_->role == Role::kPrimary && !may_open(wanted_->epoch)) {
    // Overtaken by a promise to somebody else. The engine has been told, or is now.
    return tell(core::EpochObserved{store_.facts().epoch, fmt::format("this copy has promised to epoch {}", store_.facts().epoch.value())});
  }
  if (wanted_->role == Role::kPrimary && !store_.base_usable()) {
    // Whatever it was when that was decided.
    role_reason_ = "the base image is marked unusable: this copy cannot be primary before it has been rebuilt";
    mark(Mark::kPrimaryRefused);
    log::error({.volume = name(), .epoch = wanted_->epoch}, "not primary: {}", role_reason_);
    finish_assignment(make_error(Errc::kNotPermitted, role_reason_));
    return tell(core::EpochObserved{std::max(wanted_->epoch, store_.facts().epoch), role_reason_});
  }
  role_ = wanted_->role;
  if (role_ == Role::kPrimary) {
    if (waiting_call_) io_.close_socket(std::exchange(waiting_call_, std::nullopt)->socket);
    if (store_.facts().volume.is_nil()) store_.adopt_volume(options_.new_volume.is_nil() ? Uuid::random() : options_.new_volume);
    role_reason_.clear();
    PrimaryConfig config;
    config.epoch = wanted_->epoch;
    config.durability = engine_.state().assignment->durability;
    config.replicas = located(engine_.state().assignment->replicas);
    config.members = {.timeout = options_.replica_timeout, .wait_for_lost = options_.wait_for_lost_replicas, .rebuild = options_.rebuild};
    unproven_.reset();
    in_force_.reset();
    PrimaryListener& listener = *this;
    primary_ = std::make_unique<Primary>(io_, pool_, store_, config, listener);
    publish_refusal();
    return primary_->start();  // on_primary_opened()
  }
  promise(wanted_->epoch, "");
  if (promise_recorded_.waiting()) {
    promise_for_role_ = true;
    return;
  }
  if (role_ == Role::kReplica && replica_ == nullptr) {
    ReplicaListener& listener = *this;
    replica_ = std::make_unique<Replica>(io_, pool_, store_, options_.replica_timeout, listener);
  }
  role_applied();
}

void Volume::role_applied() {
  core::RoleApplied applied;
  applied.count = ++role_count_;
  applied.epoch = wanted_->epoch;
  applied.role = role_;
  if (primary_ != nullptr) {
    applied.incarnation = primary_->term().incarnation;
    applied.history = store_.facts().history;
    applied.base_seeded = store_.facts().base_seeded;
    applied.in_sync = primary_->members().ids();
  }
  tell(std::move(applied));
  publish_refusal();
}

void Volume::on_primary_opened() {
  if (stopping_ || serving_stopped_ || primary_->term().epoch != wanted_->epoch) return;
  role_applied();
}

void Volume::on_primary_serving() { tell(core::CommittedAdvanced{primary_->term(), primary_->committed(), store_.wal().durable()}); }

void Volume::on_primary_fenced(Epoch epoch, const std::string& why) {
  const Epoch own = primary_->term().epoch;
  promise(epoch, "");
  stop_serving(epoch > own ? fmt::format("fenced by epoch {} ({})", epoch.value(), why)
                           : fmt::format("epoch {} is another's: {}; the assignment needs a higher epoch", epoch.value(), why));
  tell(core::EpochObserved{std::max(epoch, own), role_reason_});
  give_way(epoch);
}

/// The engine, which wants a yet higher epoch here, has said so already and will not say it again. Not from inside: a
/// primary may be what found out.
void Volume::give_way(Epoch epoch) {
  if (wanted_ && wanted_->epoch > epoch) io_.defer(change_role_soon_);
}

}  // namespace ringbolt::repl

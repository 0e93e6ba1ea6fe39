#include "engine_model.h"

#include <algorithm>
#include <utility>

namespace ringbolt::core {

namespace {

/// The part of a history that a log up to `head` has records of.
TermHistory cut_to(const TermHistory& from, uint64_t head) {
  TermHistory result;
  for (const TermStart& entry : from.terms()) {
    if (entry.first.value() <= head && !result.append_checked(entry)) break;
  }
  return result;
}

constexpr Reason kFailures[] = {Reason::kTransportLost, Reason::kProgressStalled, Reason::kDeadlineExceeded, Reason::kPinLost,
                                Reason::kLocalWalCorrupt};

}  // namespace

Model::Model(const Options& options) : options_(options), random_(options.seed) {
  published_ = engine_.projection();
  base_seeded_ = chance(10);
  for (size_t i = 0; i < options.replicas; ++i) {
    ids_.push_back("n" + std::to_string(i + 2));
    copies_[ids_.back()].reachable = chance(80);
  }
  order(chance(80) ? Role::kPrimary : Role::kReplica, true);
}

// --- the engine's side ------------------------------------------------------------------------------------

void Model::tell(Event event) { queue_.push_back(std::move(event)); }

void Model::complain(const std::string& problem) {
  if (problem_.empty()) problem_ = problem;
}

void Model::drain() {
  while (!queue_.empty()) {
    const Event event = std::move(queue_.front());
    queue_.pop_front();
    told_.push_back(event);
    const std::vector<Command> commands = engine_.apply(event);
    check_engine(commands);
    for (const Command& command : commands) {
      execute(command);
      if (options_.executes_twice) execute(command);
    }
  }
  for (const Command& command : engine_.outstanding()) {
    if (!will_be_answered(command)) complain("nothing answers " + describe(command));
  }
  if (fenced_ && !role_wanted_) complain("a fenced primary is left as it is");
}

namespace {

/// Of the commands that belong to one; empty for the others.
std::optional<Term> term_of(const Command& command) {
  if (const auto* task = std::get_if<StartRecoveryTask>(&command)) return task->term;
  if (const auto* catchup = std::get_if<StartCatchUp>(&command)) return catchup->term;
  if (const auto* rebuild = std::get_if<StartRebuild>(&command)) return rebuild->term;
  if (const auto* invalid = std::get_if<InvalidateSession>(&command)) return invalid->term;
  return std::nullopt;
}

}  // namespace

void Model::check_engine(const std::vector<Command>& emitted) {
  for (const Command& command : engine_.outstanding()) {
    if (const auto term = term_of(command); term && *term != engine_.state().term()) complain("of another term: " + describe(command));
  }
  const auto& outstanding = engine_.outstanding();
  for (const Command& command : emitted) {
    if (const auto* publish = std::get_if<PublishProjection>(&command)) {
      if (publish->projection == published_) complain("published again: " + describe(command));
      published_ = publish->projection;
    } else if (std::find(outstanding.begin(), outstanding.end(), command) == outstanding.end()) {
      complain("emitted and not outstanding: " + describe(command));
    }
  }
  if (published_ != engine_.projection()) complain("a change of the projection was not published");
}

/// By a step that is due here. What is answered at once has been by now.
bool Model::will_be_answered(const Command& command) const {
  if (std::holds_alternative<ApplyRole>(command)) return role_wanted_.has_value();
  if (std::holds_alternative<ConfigureShipper>(command)) return shippers_wanted_.has_value();
  if (std::holds_alternative<DrainRecoveryTask>(command)) return shippers_wanted_.has_value();
  const auto phase_of = [&](const std::string& id) {
    const auto at = shippers_.find(id);
    return at == shippers_.end() ? Shipper::Phase::kIdle : at->second.phase;
  };
  if (const auto* task = std::get_if<StartRecoveryTask>(&command)) {
    const Shipper::Phase phase = phase_of(task->replica);
    if (task->kind == TaskKind::kKeepup) return phase == Shipper::Phase::kStarting;
    // A rebuild was ordered or cancelled while a session begins: its start is told, then it ends.
    if (phase == Shipper::Phase::kStarting) return engine_.state().find(task->replica)->order.has_value();
    return phase == Shipper::Phase::kWaiting || phase == Shipper::Phase::kSyncing || phase == Shipper::Phase::kObstructed;
  }
  if (const auto* catchup = std::get_if<StartCatchUp>(&command)) return phase_of(catchup->replica) == Shipper::Phase::kStarting;
  if (const auto* rebuild = std::get_if<StartRebuild>(&command)) {
    // Not while a question is out: newer facts decide again.
    const Shipper::Phase phase = phase_of(rebuild->replica);
    return phase == Shipper::Phase::kStarting || phase == Shipper::Phase::kSyncing;
  }
  return false;
}

void Model::execute(const Command& command) {
  if (const auto* role = std::get_if<ApplyRole>(&command)) {
    role_wanted_ = *role;
  } else if (const auto* receiver = std::get_if<StartReceiver>(&command)) {
    receiving_ = true;
    tell(ReceiverReady{receiver->epoch});
  } else if (const auto* shippers = std::get_if<ConfigureShipper>(&command)) {
    shippers_wanted_ = *shippers;
  } else if (const auto* task = std::get_if<StartRecoveryTask>(&command)) {
    execute_task(*task);
  } else if (const auto* catchup = std::get_if<StartCatchUp>(&command)) {
    start_session(catchup->replica, catchup->session, SessionKind::kCatchup, catchup->position, catchup->target);
  } else if (const auto* rebuild = std::get_if<StartRebuild>(&command)) {
    const auto at = shippers_.find(rebuild->replica);
    if (at == shippers_.end()) return;
    if (faults_ ? rebuild->session.value() % 2 == 0 : options_.rebuilds) {
      start_session(rebuild->replica, rebuild->session, SessionKind::kRebuild, Lsn{}, rebuild->target);
    } else if (at->second.phase == Shipper::Phase::kDeciding && at->second.sync == rebuild->session.value()) {
      at->second.phase = Shipper::Phase::kObstructed;
      tell(NeedsRebuildObserved{rebuild->replica, at->second.term, at->second.sync, "not now"});
    }
  } else if (const auto* invalid = std::get_if<InvalidateSession>(&command)) {
    const auto at = shippers_.find(invalid->replica);
    if (at == shippers_.end()) return;
    if (at->second.session == invalid->session) {
      lose(invalid->replica, invalid->reason, "the session is over");
    } else if (at->second.last_failure && at->second.last_failure->session == invalid->session) {
      tell(*at->second.last_failure);
    }
  }
}

void Model::execute_task(const StartRecoveryTask& task) {
  const auto at = shippers_.find(task.replica);
  if (at == shippers_.end()) return;
  Shipper& shipper = at->second;
  const bool decides = shipper.phase == Shipper::Phase::kDeciding && shipper.sync == task.session.value();
  switch (task.kind) {
    case TaskKind::kKeepup: return start_session(task.replica, task.session, SessionKind::kKeepup, task.position, task.position);
    case TaskKind::kProbe:
      if (shipper.phase == Shipper::Phase::kIdle) shipper.phase = Shipper::Phase::kWaiting;
      if (shipper.phase == Shipper::Phase::kDeciding) ask(shipper);
      return;
    case TaskKind::kProbeLater:
      if (decides) shipper.phase = Shipper::Phase::kObstructed;
      return;
    case TaskKind::kCutTail:
      if (!decides) return;
      shipper.cut = task.position.value();
      return ask(shipper);
  }
}

void Model::start_session(const std::string& id, SessionId session, SessionKind kind, Lsn position, Lsn target) {
  const auto at = shippers_.find(id);
  if (at == shippers_.end()) return;
  Shipper& shipper = at->second;
  if (shipper.session == session) return;  // delivered again
  if (shipper.phase != Shipper::Phase::kDeciding || shipper.sync != session.value()) {
    return tell(SessionFailed{id, shipper.term, session, Reason::kTransportLost, "the connection that it was decided for is over"});
  }
  shipper.phase = Shipper::Phase::kStarting;
  shipper.session = session;
  shipper.kind = kind;
  shipper.completed = shipper.asked = false;
  if (target.value() > head_) complain("a target beyond the log");
  if (kind == SessionKind::kRebuild) return;
  const Copy& copy = copies_[id];
  if (copy.position != position.value() || !copy.base_usable) complain("a session from where the replica is not");
  // The decision may have waited for the shippers, while the WAL moved on.
  if (position.value() + 1 < tail_) lose(id, Reason::kPinLost, "the records that it needs are no longer in the WAL");
}

// --- the adapters' steps ------------------------------------------------------------------------------------

Model::Moves Model::moves() {
  Moves result;
  if (role_wanted_) result.push_back([this] { apply_role(); });
  if (shippers_wanted_ && !role_wanted_) result.push_back([this] { configure(); });
  if (role_ == Role::kPrimary && !serving_ && !fenced_ && !role_wanted_) {
    const bool all = std::all_of(in_sync_.begin(), in_sync_.end(), [&](const std::string& id) {
      const auto at = shippers_.find(id);
      return at != shippers_.end() && at->second.phase == Shipper::Phase::kShipping;
    });
    if (all) {
      result.push_back([this] {
        serving_ = true;
        tell(CommittedAdvanced{term_, Lsn(head_), Lsn(head_)});
      });
    }
  }
  if (role_ == Role::kReplica && receiving_ && !faults_ && other_primary_.empty()) {
    result.push_back([this] {
      other_primary_ = "n9";
      tell(CopyObserved{++observations_, true, "", "n9"});
    });
  }
  for (const std::string& id : ids_) replica_moves(id, result);
  return result;
}

void Model::replica_moves(const std::string& id, Moves& moves) {
  const auto at = shippers_.find(id);
  if (at == shippers_.end() || role_wanted_) return;
  const Shipper& shipper = at->second;
  using Phase = Shipper::Phase;
  const auto add = [&](Move move) { moves.push_back(std::move(move)); };
  const bool is_member = in_sync_.count(id) > 0;
  // It owes too much; nobody waits for it any longer.
  if (is_member && shipper.phase != Phase::kShipping && (!copies_.at(id).reachable || shipper.phase == Phase::kObstructed)) {
    add([this, id] { drop_member(id, "it owes an acknowledgement"); });
  }
  switch (shipper.phase) {
    case Phase::kIdle:
    case Phase::kDeciding: return;
    case Phase::kObstructed:
      if (faults_) add([this, id] { ask(shippers_[id]); });
      return;
    case Phase::kWaiting: return add([this, id] { connect(id); });
    case Phase::kSyncing: return add([this, id] { answer(id); });
    case Phase::kStarting: return add([this, id] { begin(id); });
    case Phase::kShipping:
      if (shipper.sync_open) return add([this, id] { answer_in_session(id); });
      if (!shipper.asked) return add([this, id] { advance(id); });
      if (copies_[id].position < head_) {
        add([this, id] {
          copies_[id].position = head_;
          copies_[id].history = history_;
        });
      }
  }
}

bool Model::is_obstructed() const {
  return std::any_of(shippers_.begin(), shippers_.end(), [](const auto& entry) { return entry.second.phase == Shipper::Phase::kObstructed; });
}

void Model::ask_obstructed() {
  for (auto& [id, shipper] : shippers_) {
    if (shipper.phase == Shipper::Phase::kObstructed) ask(shipper);
  }
}

/// A fenced primary goes before anything else comes, also if it is to be primary again.
void Model::leave_fenced() {
  fenced_ = false;
  shippers_.clear();
  in_sync_.clear();
  shippers_wanted_.reset();
  role_ = Role::kNone;
  term_ = {};
}

void Model::apply_role() {
  if (fenced_) return leave_fenced();  // what is wanted may change on the way
  const ApplyRole wanted = *role_wanted_;
  role_wanted_.reset();
  RoleApplied applied;
  applied.count = ++roles_;
  applied.epoch = wanted.epoch;
  applied.role = wanted.role;
  const bool raised = role_ == Role::kPrimary && wanted.role == Role::kPrimary;
  for (auto& [id, shipper] : shippers_) lose(id, Reason::kEpochMismatch, "another role");
  if (!raised) {
    shippers_.clear();
    in_sync_.clear();
  }
  receiving_ = false;
  other_primary_.clear();
  role_ = wanted.role;
  serving_ = false;
  promised_ = std::max(promised_, wanted.epoch);
  epoch_ = std::max(epoch_, wanted.epoch);
  syncs_ = decisions_ = 0;
  if (wanted.role == Role::kPrimary) {
    term_ = {wanted.epoch, Incarnation(1)};
    history_.open(term_, Lsn(head_ + 1));
    ++head_;
    applied.incarnation = term_.incarnation;
    applied.history = history_;
    applied.base_seeded = base_seeded_;
    const auto& assignment = engine_.state().assignment;
    for (const ReplicaAddress& replica : assignment->replicas) {
      if (!raised && chance(50)) in_sync_.insert(replica.id);
      if (!raised) shippers_[replica.id];
    }
    applied.in_sync.assign(in_sync_.begin(), in_sync_.end());
  } else {
    term_ = {};
    shippers_wanted_.reset();
  }
  tell(applied);
}

void Model::configure() {
  const ConfigureShipper wanted = *shippers_wanted_;
  shippers_wanted_.reset();
  if (role_ != Role::kPrimary || wanted.epoch != term_.epoch) return;
  std::set<std::string> ids;
  for (const ReplicaAddress& replica : wanted.replicas) ids.insert(replica.id);
  for (auto at = shippers_.begin(); at != shippers_.end();) {
    const std::string id = at->first;
    if (ids.count(id) > 0) {
      ++at;
      continue;
    }
    if (in_sync_.erase(id) > 0) tell(BarrierRejected{id, term_, ++decisions_, "it is a replica no more"});
    lose(id, Reason::kCancelled, "it is a replica no more");
    at = shippers_.erase(at);
  }
  for (const std::string& id : ids) shippers_[id];
  tell(ShipperConfigured{wanted.epoch, wanted.version});
}

void Model::connect(const std::string& id) {
  Shipper& shipper = shippers_[id];
  const uint64_t number = ++connections_[id];
  shipper.term = term_;
  if (!copies_[id].reachable) return tell(ShipperConnected{id, number, false, "cannot connect"});
  shipper.connected = true;
  copies_[id].active.reset();
  tell(ShipperConnected{id, number, true, ""});
  ask(shipper);
}

void Model::ask(Shipper& shipper) {
  shipper.phase = Shipper::Phase::kSyncing;
  shipper.sync = ++syncs_;
  shipper.sync_open = true;
  shipper.session = SessionId{};
}

SyncAckObserved Model::facts_of(const std::string& id) const {
  const Shipper& shipper = shippers_.at(id);
  const Copy& copy = copies_.at(id);
  SyncAckObserved event;
  event.replica = id;
  event.term = shipper.term;
  event.connection = connections_.at(id);
  event.sync = shipper.sync;
  event.epoch = copy.promised;
  event.facts = {copy.base_usable, Lsn(copy.base_usable ? copy.position : 0), Lsn(copy.checkpoint), copy.history};
  event.active = copy.active;
  event.wal_tail = Lsn(tail_);
  event.wal_head = Lsn(head_);
  return event;
}

/// It stops at once: nothing is done for its replicas any more.
void Model::observe_epoch(Epoch epoch, const std::string& who) {
  promised_ = std::max(promised_, epoch);
  if (role_ == Role::kPrimary && epoch >= term_.epoch) {
    fenced_ = true;
    serving_ = false;
    for (auto& [id, shipper] : shippers_) lose(id, Reason::kEpochMismatch, "another primary is known");
  }
  tell(EpochObserved{epoch, who});
}

void Model::answer(const std::string& id) {
  Shipper& shipper = shippers_[id];
  Copy& copy = copies_[id];
  shipper.sync_open = false;
  if (copy.promised > shipper.term.epoch) {
    if (chance(50)) {
      SyncAckObserved event = facts_of(id);
      event.kind = SyncAckKind::kEpochMismatch;
      tell(event);
      promised_ = std::max(promised_, copy.promised);
    } else {
      observe_epoch(copy.promised, "replica " + id);
    }
    return lose(id, Reason::kEpochMismatch, "the peer knows another primary");
  }
  const auto last = copy.history.last();
  if (last && last->term > shipper.term) {
    observe_epoch(last->term.epoch, "replica " + id + " has records");
    return lose(id, Reason::kEpochMismatch, "the peer has records of a later primary");
  }
  copy.promised = shipper.term.epoch;
  if (shipper.cut) {
    copy.position = std::min(copy.position, *shipper.cut);
    copy.history = cut_to(history_, copy.position);
    shipper.cut.reset();
  }
  SyncAckObserved event = facts_of(id);
  if (chance(20)) event.kind = SyncAckKind::kTimedOut;
  shipper.phase = Shipper::Phase::kDeciding;
  tell(event);
}

void Model::begin(const std::string& id) {
  Shipper& shipper = shippers_[id];
  Copy& copy = copies_[id];
  copy.active = ActiveSession{shipper.session, shipper.kind, SessionPhase::kRunning};
  if (shipper.kind == SessionKind::kRebuild) {
    copy.base_usable = false;
    copy.history = {};
    copy.position = copy.checkpoint = 0;
  }
  shipper.phase = Shipper::Phase::kShipping;
  tell(SessionStarted{id, shipper.term, shipper.session, shipper.kind, Lsn(copy.position), Lsn(head_)});
  if (chance(50)) tell(SessionProgress{id, shipper.term, shipper.session, SessionPhase::kRunning, Lsn(copy.position)});
}

/// The replica gets on; at the end it is asked to prove that.
void Model::advance(const std::string& id) {
  Shipper& shipper = shippers_[id];
  Copy& copy = copies_[id];
  if (copy.position < head_ && chance(50)) {
    copy.position += 1 + pick(head_ - copy.position);
    copy.history = cut_to(history_, copy.position);
    return tell(SessionProgress{id, shipper.term, shipper.session, SessionPhase::kRunning, Lsn(copy.position)});
  }
  copy.position = head_;
  copy.history = history_;
  if (!shipper.completed && shipper.kind != SessionKind::kKeepup) {
    if (shipper.kind == SessionKind::kRebuild) tell(SessionProgress{id, shipper.term, shipper.session, SessionPhase::kBaseComplete, Lsn(head_)});
    copy.base_usable = true;
    shipper.completed = true;
    return tell(SessionCompleted{id, shipper.term, shipper.session, Lsn(copy.position)});
  }
  shipper.sync = ++syncs_;
  shipper.sync_open = true;
}

void Model::answer_in_session(const std::string& id) {
  Shipper& shipper = shippers_[id];
  Copy& copy = copies_[id];
  shipper.sync_open = false;
  SyncAckObserved event = facts_of(id);
  if (faults_ && chance(20)) {
    event.kind = SyncAckKind::kTimedOut;
    return tell(event);
  }
  copy.position = head_;
  copy.history = history_;
  event = facts_of(id);
  tell(event);
  if (!copy.base_usable) return;
  shipper.asked = true;
  in_sync_.insert(id);
  tell(BarrierAccepted{id, shipper.term, ++decisions_, shipper.session, Lsn(copy.position)});
}

/// The session ends, the connection stays.
void Model::end_session(const std::string& id, Reason reason, const std::string& why) {
  Shipper& shipper = shippers_[id];
  if (shipper.session == SessionId{}) return;
  shipper.last_failure = SessionFailed{id, shipper.term, shipper.session, reason, why};
  tell(*shipper.last_failure);
  shipper.session = SessionId{};
  copies_[id].active.reset();
}

void Model::lose(const std::string& id, Reason reason, const std::string& why) {
  Shipper& shipper = shippers_[id];
  if (shipper.phase == Shipper::Phase::kIdle) return;
  if (shipper.sync_open && chance(50)) {
    SyncAckObserved event;
    event.replica = id;
    event.term = shipper.term;
    event.connection = connections_[id];
    event.sync = shipper.sync;
    event.kind = SyncAckKind::kTransportLost;
    tell(event);
  }
  shipper.sync_open = false;
  shipper.cut.reset();
  end_session(id, reason, why);
  if (shipper.connected) tell(ShipperConnected{id, connections_[id], false, why});
  shipper.connected = false;
  shipper.phase = Shipper::Phase::kWaiting;
}

void Model::drop_member(const std::string& id, const std::string& why) {
  in_sync_.erase(id);
  tell(BarrierRejected{id, term_, ++decisions_, why});
  lose(id, Reason::kProgressStalled, why);
}

// --- the world --------------------------------------------------------------------------------------------

void Model::order(Role role, bool higher_epoch) {
  const auto& current = engine_.state().assignment;
  const bool same = current && !higher_epoch && current->epoch >= promised_ && current->role == role;
  if (!same) epoch_ = Epoch(std::max(epoch_, promised_).value() + 1 + pick(2));
  Assignment next;
  next.epoch = same ? current->epoch : epoch_;
  next.version = ++version_;
  next.role = role;
  next.durability = chance(70) ? Durability::kSyncAll : Durability::kSyncQuorum;
  if (role == Role::kPrimary) {
    for (const std::string& id : ids_) {
      if (chance(75)) next.replicas.push_back({id, id + ":1"});
    }
  }
  tell(AssignmentDelivered{next});
}

void Model::damage(Copy& copy) {
  switch (pick(6)) {
    case 0: copy.base_usable = false; return;
    case 1: copy = Copy{}; return;
    case 2:  // it kept less than it had
      copy.position -= pick(copy.position + 1);
      copy.history = cut_to(copy.history, copy.position);
      copy.checkpoint = std::min(copy.checkpoint, copy.position);
      return;
    case 3:  // records that never became part of history
      copy.position += 1 + pick(5);
      return;
    case 4: return diverge(copy);
    case 5: copy.checkpoint = pick(copy.position + 1); return;
  }
}

/// Another primary wrote to it, in an opening that this node has never heard of.
void Model::diverge(Copy& copy) {
  Term term{Epoch(1 + pick(epoch_.value())), Incarnation(2)};
  if (chance(20)) term.epoch = epoch_ = epoch_.next();
  const auto last = copy.history.last();
  if (last && last->term >= term) return;
  copy.history.open(term, Lsn(copy.position + 1));
  copy.position += 1 + pick(3);
  copy.promised = std::max(copy.promised, term.epoch);
}

void Model::replica_faults(const std::string& id, Moves& moves) {
  moves.push_back([this, id] { copies_[id].reachable = !copies_[id].reachable; });
  const auto at = shippers_.find(id);
  if (at == shippers_.end() || !at->second.connected) {
    moves.push_back([this, id] { damage(copies_[id]); });
    return;
  }
  if (role_wanted_) return;
  moves.push_back([this, id] { lose(id, kFailures[pick(std::size(kFailures))], "it broke"); });
  moves.push_back([this, id] {
    if (chance(80)) return;
    epoch_ = epoch_.next();
    copies_[id].promised = epoch_;
  });
  if (at->second.phase == Shipper::Phase::kShipping) session_faults(id, moves);
}

void Model::session_faults(const std::string& id, Moves& moves) {
  // It ends on a connection that stays; an answer given within it may come after.
  moves.push_back([this, id] {
    Shipper& shipper = shippers_[id];
    const SyncAckObserved late = facts_of(id);
    const bool open = std::exchange(shipper.sync_open, false);
    end_session(id, kFailures[pick(std::size(kFailures))], "it broke");
    shipper.phase = Shipper::Phase::kDeciding;
    if (open) tell(late);
  });
  moves.push_back([this, id] { copies_[id].active.reset(); });  // the replica ended it, and did not say so yet
  moves.push_back([this, id] {
    if (in_sync_.count(id) > 0) drop_member(id, "it owes an acknowledgement");
  });
  moves.push_back([this, id] {
    if (shippers_[id].kind != SessionKind::kRebuild) copies_[id].base_usable = false;
  });
  moves.push_back([this, id] {  // asked in between
    Shipper& shipper = shippers_[id];
    if (!shipper.asked || shipper.sync_open) return;
    shipper.sync = ++syncs_;
    shipper.sync_open = true;
  });
}

void Model::order_rebuild(const std::string& id) {
  tell(RebuildOrdered{id, term_, ++rebuild_orders_, chance(65), syncs_});
}

void Model::order_faults(Moves& moves) {
  const auto add = [&](Move move) { moves.push_back(std::move(move)); };
  add([this] { order(Role::kPrimary, true); });
  add([this] { order(Role::kPrimary, false); });
  add([this] { order(Role::kPrimary, false); });
  add([this] { order(chance(70) ? Role::kReplica : Role::kNone, true); });
  add([this] {
    if (engine_.state().assignment) tell(AssignmentDelivered{*engine_.state().assignment});
  });
  add([this] {
    epoch_ = epoch_.next();
    observe_epoch(epoch_, "n7 calls");
  });
}

Model::Moves Model::faults() {
  Moves result;
  const auto add = [&](Move move) { result.push_back(std::move(move)); };
  for (const std::string& id : ids_) replica_faults(id, result);
  if (role_ == Role::kPrimary && !role_wanted_) {
    for (int i = 0; i < 3; ++i) {
      add([this] {
        head_ += 1 + pick(10);
        if (serving_) tell(CommittedAdvanced{term_, Lsn(head_), Lsn(head_)});
      });
    }
    add([this] { tail_ += pick(head_ + 1 - std::min(tail_, head_)); });
    add([this] { tell(CheckpointAdvanced{Lsn(tail_ - 1)}); });
    for (const auto& entry : shippers_) {
      add([this, id = entry.first] { tell(ShippedAdvanced{id, Lsn(head_)}); });
    }
  }
  if (role_ == Role::kReplica && receiving_) {
    add([this] {
      other_primary_ = other_primary_.empty() ? "n9" : "";
      tell(CopyObserved{++observations_, true, "", other_primary_});
    });
  }
  add([this] {
    copy_failed_ = !copy_failed_;
    tell(CopyObserved{++observations_, true, copy_failed_ ? "the disk is gone" : "", other_primary_});
  });
  if (role_ == Role::kPrimary && !role_wanted_ && chance(25)) {
    for (const auto& entry : shippers_) {
      add([this, id = entry.first] { order_rebuild(id); });
    }
  }
  // A call of an epoch below the one that is assigned and not in force yet.
  if (const auto& assigned = engine_.state().assignment; role_wanted_ && assigned && assigned->epoch.value() > promised_.value() + 1) {
    add([this] { observe_epoch(promised_.next(), "n7 calls"); });
  }
  // Orders are rare, or nothing else would ever come far.
  if (chance(15)) order_faults(result);
  return result;
}

void Model::step() {
  const Moves possible = moves();
  if (faults_ && (possible.empty() || chance(35))) {
    const Moves wrong = faults();
    wrong[pick(wrong.size())]();
  } else if (!possible.empty()) {
    possible[pick(possible.size())]();
  }
  drain();
}

void Model::stop_faults() {
  faults_ = false;
  for (auto& [id, copy] : copies_) copy.reachable = true;
  if (copy_failed_) tell(CopyObserved{++observations_, true, "", other_primary_});
  copy_failed_ = false;
  // What was told within a session that the replica has ended, or over a base image that is gone, comes out.
  for (auto& [id, shipper] : shippers_) {
    const Copy& copy = copies_[id];
    const bool over = !copy.active || copy.active->id != shipper.session || (!copy.base_usable && shipper.kind != SessionKind::kRebuild);
    if (shipper.phase == Shipper::Phase::kShipping && over) lose(id, Reason::kTransportLost, "it is over");
  }
  drain();
}

std::string Model::problem_at_rest() const {
  const EngineState& state = engine_.state();
  const Projection& projection = engine_.projection();
  const auto expect = [&](const std::string& mode) {
    return projection.mode == mode ? std::string() : "the mode is " + projection.mode + " (" + projection.reason + "), not " + mode;
  };
  if (!state.assignment || state.assignment->role == Role::kNone) return expect("allocated_only");
  if (state.assignment->role == Role::kReplica || is_fenced(state)) return expect("replica_ready");
  for (const ReplicaState& replica : state.replicas) {
    if (!is_assigned(state, replica.id)) continue;
    const bool waits = recovery_phase(state, replica) == RecoveryPhase::kNeedsRebuild;
    if (waits && (!options_.rebuilds || rebuild_is_cancelled(replica))) return expect("needs_rebuild");
    if (rebuild_is_ordered(replica)) return "replica " + replica.id + " was not rebuilt, as was ordered";
  }
  for (const ReplicaState& replica : state.replicas) {
    if (!is_assigned(state, replica.id)) continue;
    const Session* session = live_session(state, replica);
    if (session == nullptr || !session->proven || !in_sync(state, replica)) return "replica " + replica.id + " is not in step";
    if (copies_.at(replica.id).position != head_) return "replica " + replica.id + " does not have everything";
    if (copies_.at(replica.id).history != history_) return "replica " + replica.id + " has another history";
  }
  if (!engine_.outstanding().empty()) return "outstanding: " + describe(engine_.outstanding().front());
  return expect("publish_healthy");
}

}  // namespace ringbolt::core

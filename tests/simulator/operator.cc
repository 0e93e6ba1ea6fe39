// Bodies of Operator.
#include "operator.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringbolt/assert.h"

namespace ringbolt::sim {

namespace {

constexpr io::Nanos kRetry = 60 * io::kMillisecond;
constexpr io::Nanos kPatience = 4 * io::kSecond;

bool contains(const std::vector<size_t>& set, size_t index) { return std::find(set.begin(), set.end(), index) != set.end(); }

}  // namespace

Operator::Operator(Cluster& cluster) : c_(cluster) {}

// --- orders ---------------------------------------------------------------------------------------

Operator::Order Operator::send(size_t node, const repl::AssignmentRequest& request) {
  Node& there = *c_.hosts[node].node;
  Order order{.node = node, .boot = there.boots(), .answer = std::make_shared<std::optional<Status>>(), .reported = std::nullopt};
  if (c_.world.narrating()) {
    c_.world.narrate(fmt::format("operator: {} is to be {} of epoch {}{}", there.id(), to_string(request.role), request.epoch.value(),
                                 request.authority == core::Authority::kForced ? ", by force" : ""));
  }
  const auto is_of_members = [this, node, replicas = request.replicas, role = request.role] {
    return role == Role::kPrimary && node == c_.primary && replicas == c_.replicas_of(node);
  };
  there.volume().assign(request, [this, is_of_members, answer = order.answer, &world = c_.world, id = there.id()](const Status& status) {
    *answer = status;
    if (status.has_value() && is_of_members()) members_change_ = false;
    if (world.narrating()) world.narrate("operator: " + id + (status.has_value() ? " has obeyed" : ": " + status.error().message));
  });
  last_ = order;
  return order;
}

bool Operator::settled() const {
  if (busy()) return false;
  if (last_ && !last_->answer->has_value() && !last_->lost(c_)) return false;
  if (!c_.hosts[c_.primary].up()) return false;
  size_t present = 0;
  for (const ReplicaStatus& replica : c_.status(c_.primary).replicas) present += c_.hosts[c_.index_of(replica.id)].member ? 1 : 0;
  return present + 1 == c_.members();
}

Operator::Order Operator::give(size_t node, Role role, Epoch epoch, core::Authority authority) {
  repl::AssignmentRequest request;
  request.role = role;
  request.epoch = epoch;
  request.durability = c_.plan.durability;
  request.authority = authority;
  if (role == Role::kPrimary) request.replicas = c_.replicas_of(node);
  given_.emplace_back(node, request);
  c_.epoch = std::max(c_.epoch, epoch);
  return send(node, request);
}

bool Operator::raise_epoch() {
  if (busy() || !c_.established() || !c_.serves(c_.primary)) return false;
  Host& host = c_.hosts[c_.primary];
  host.epoch = Epoch(c_.epoch.value() + 1);
  static_cast<void>(give(c_.primary, Role::kPrimary, host.epoch, core::Authority::kAssigned));
  return true;
}

bool Operator::remove_replica(size_t index) {
  if (busy() || index == c_.primary || !c_.established() || !c_.hosts[index].member || c_.members() <= 2) return false;
  // A majority of fewer copies is another one: they must all have what the old one acknowledged.
  if (c_.plan.durability == Durability::kSyncQuorum && !c_.whole()) return false;
  c_.hosts[index].member = false;
  members_change_ = true;
  configured_at_ = 0;
  return true;
}

/// Once the primary can hear of it: of one that never will again nobody could say which copies count, and it could not be replaced.
void Operator::add_replica(size_t index) {
  if (!c_.hosts[index].member && std::find(to_add_.begin(), to_add_.end(), index) == to_add_.end()) to_add_.push_back(index);
}

void Operator::add_replicas() {
  for (const size_t index : std::exchange(to_add_, {})) {
    c_.hosts[index].member = true;
    members_change_ = true;
    configured_at_ = 0;
  }
}

bool Operator::rebuild(size_t replica, bool wanted) {
  if (replica == c_.primary || !c_.hosts[c_.primary].up()) return false;
  c_.hosts[c_.primary].node->volume().rebuild(c_.id(replica), wanted, [](const Status&) {});
  return true;
}

bool Operator::verify() {
  if (!c_.serves(c_.primary)) return false;
  c_.hosts[c_.primary].node->volume().verify(std::nullopt, [](const Status&) {});
  return true;
}

/// Late, and twice. One of the present epoch would be a new order: it may name other replicas.
bool Operator::repeat_order(uint64_t number) {
  if (given_.empty()) return false;
  const auto [node, request] = given_[number % given_.size()];
  if (!c_.hosts[node].up() || busy() || request.epoch >= c_.hosts[c_.primary].epoch) return false;
  static_cast<void>(send(node, request));
  return true;
}

// --- moving the role ------------------------------------------------------------------------------

bool Operator::hand_over(size_t to) {
  if (to == c_.primary) to = (to + 1) % c_.size();
  if (busy() || !c_.established() || !c_.serves(c_.primary) || !c_.hosts[to].member || !c_.hosts[to].up()) return false;
  candidates_ = {to};
  for (size_t i = 0; i < c_.size(); ++i) {
    if (i != to && i != c_.primary && c_.hosts[i].member) candidates_.push_back(i);
  }
  candidates_.push_back(c_.primary);  // who leaves everything to nobody may take it again
  next_candidate_ = 0;
  Host& host = c_.hosts[c_.primary];
  host.role = Role::kReplica;
  host.epoch = Epoch(c_.epoch.value() + 1);
  c_.fit = {c_.primary};
  c_.clients.forget_answers();  // nobody comes to it any more, and what it has is all there is
  orders_ = {give(c_.primary, Role::kReplica, host.epoch, core::Authority::kAssigned)};
  task_ = Task::kStepDown;
  deadline_ = c_.world.now() + kPatience;
  return true;
}

void Operator::step_down() {
  const Order& order = orders_[0];
  if (order.answer->has_value() && (*order.answer)->has_value()) {
    orders_.clear();
    task_ = Task::kHeir;
    deadline_ = c_.world.now() + kPatience;
    return;
  }
  // Whatever it is now, it has everything.
  if (order.answer->has_value() || order.lost(c_) || c_.world.now() > deadline_) begin_promoting({c_.primary});
}

/// One after another: all but the heir refuse.
void Operator::find_heir() {
  if (!orders_.empty()) {
    const Order order = orders_[0];
    if (order.lost(c_)) return begin_promoting({c_.primary});
    if (!order.answer->has_value()) {
      if (waits_for_majority(order.node)) promoted(order.node, false);
      return;
    }
    orders_.clear();
    if ((*order.answer)->has_value()) return promoted(order.node, true);
    ++next_candidate_;
  }
  while (next_candidate_ < candidates_.size() && !c_.hosts[candidates_[next_candidate_]].up()) ++next_candidate_;
  if (next_candidate_ == candidates_.size()) {
    if (c_.world.now() > deadline_) return begin_promoting({c_.primary});
    next_candidate_ = 0;
    not_before_ = c_.world.now() + kRetry;
    return;
  }
  const size_t heir = candidates_[next_candidate_];
  // The epoch that it left the role for was promised by who had it.
  const Epoch epoch(heir == c_.primary ? c_.epoch.value() + 1 : c_.hosts[c_.primary].epoch.value());
  orders_ = {give(heir, Role::kPrimary, epoch, core::Authority::kPromoted)};
}

bool Operator::may_be_candidate(size_t index) const {
  if (c_.hosts[index].destroyed() || !c_.hosts[index].member) return false;
  const auto superblock = c_.superblock(index);
  return superblock && !superblock->rebuild_mark && !superblock->volume.is_nil();
}

/// With as many promises the old primary has no majority any more, and one of them has everything that ever had one. Nothing: that
/// many cannot be had.
std::optional<std::vector<size_t>> Operator::reporters() const {
  std::vector<size_t> all;
  for (size_t i = 0; i < c_.size(); ++i) {
    if (i != c_.primary && may_be_candidate(i)) all.push_back(i);
  }
  const size_t majority = c_.members() / 2 + 1;
  if (all.size() < c_.members() - majority + 1) return std::nullopt;
  return all;
}

bool Operator::fail_over(bool kill) {
  if (busy()) return false;
  const size_t old = c_.primary;
  if (c_.plan.durability == Durability::kSyncQuorum) {
    if (members_change_) return false;  // nobody knows which copies have what was acknowledged
    const auto reporting = reporters();
    if (!reporting) return false;
    candidates_ = *reporting;
    if (kill) c_.kill(old);  // else its clients stay until another one is found: from the promises on it can acknowledge nothing
    c_.hosts[old].held = c_.hosts[old].node->down();
    orders_.clear();
    task_ = Task::kReports;
    deadline_ = c_.world.now() + kPatience;
    return true;
  }
  if (kill) c_.kill(old);
  // Of a process that is gone what it recorded is final.
  const std::vector<size_t> fit = c_.fit_now();
  std::vector<size_t> candidates;
  for (size_t i = 0; i < c_.size(); ++i) {
    const bool has_all = c_.plan.durability == Durability::kBestEffort || contains(fit, i);
    if (i != old && has_all && may_be_candidate(i)) candidates.push_back(i);
  }
  if (candidates.empty()) return false;
  c_.kill(old);  // nobody else says that it acknowledges nothing more
  c_.fit = candidates;
  if (!c_.hosts[old].destroyed()) c_.fit.push_back(old);
  c_.clients.forget_answers();
  if (c_.plan.durability == Durability::kBestEffort) c_.given_up = true;
  begin_promoting(candidates);
  return true;
}

/// All of them at the same time, again if they die meanwhile.
void Operator::collect_reports() {
  const Epoch wanted(orders_.empty() ? c_.epoch.value() + 1 : c_.epoch.value());
  for (const size_t index : candidates_) {
    Host& host = c_.hosts[index];
    const auto known = std::find_if(orders_.begin(), orders_.end(), [&](const Order& order) { return order.node == index; });
    if (known != orders_.end() && !known->lost(c_)) continue;
    if (!host.up()) continue;
    if (known != orders_.end()) orders_.erase(known);
    host.role = Role::kReplica;
    host.epoch = wanted;
    orders_.push_back(give(index, Role::kReplica, wanted, core::Authority::kAssigned));
  }
  size_t promised = 0;
  for (Order& order : orders_) {
    if (!order.answer->has_value()) continue;
    if (!(*order.answer)->has_value()) return give_up();
    if (c_.hosts[order.node].node->boots() != order.boot || !c_.hosts[order.node].up()) continue;
    // What it had when it promised: it takes nothing more from whoever it was promised against.
    if (!order.reported) order.reported = position_of(order.node);
    ++promised;
  }
  if (promised < candidates_.size()) {
    if (c_.world.now() > deadline_) give_up();
    return;
  }
  bool lost_unflushed = false;
  for (const size_t index : candidates_) {
    // What a damaged copy has, nobody knows: it may be all that the others lack.
    if (c_.is_damaged(index)) {
      start_again(index);  // what it could not read it may read then
      return give_up();
    }
    if (!may_be_candidate(index) || c_.is_failed(index)) return give_up();
    lost_unflushed = lost_unflushed || c_.hosts[index].lost_unflushed;
  }
  // Of equal ones the first, in the order of nodes.
  std::sort(orders_.begin(), orders_.end(), [](const Order& a, const Order& b) { return a.node < b.node; });
  const size_t best = std::max_element(orders_.begin(), orders_.end(), [](const Order& a, const Order& b) { return *a.reported < *b.reported; })->node;
  c_.hosts[best].lost_unflushed = lost_unflushed;
  begin_promoting({best});
}

Operator::Position Operator::position_of(size_t index) const {
  // Of its last record: its history may name a later term already, of which it has nothing yet.
  const uint64_t written = c_.status(index).written_lsn.value_or(0);
  return {c_.superblock(index)->history.term_at(Lsn(written)).value_or(Term{}), written};
}

/// `candidates` have everything. The old primary is not to come up as one, unless it is one of them.
void Operator::begin_promoting(std::vector<size_t> candidates) {
  if (c_.clients.connected()) c_.clients.leave();
  candidates_ = std::move(candidates);
  next_candidate_ = 0;
  orders_.clear();
  task_ = Task::kPromote;
  deadline_ = c_.world.now() + kPatience;
  Host& old = c_.hosts[c_.primary];
  old.held = old.node->down() && !contains(candidates_, c_.primary);
}

void Operator::promote() {
  if (!orders_.empty()) {
    const Order order = orders_[0];
    const bool waiting = !order.answer->has_value() && !order.lost(c_);
    if (waiting && waits_for_majority(order.node)) return promoted(order.node, false);
    if (waiting && c_.world.now() <= order_deadline_) return;
    orders_.clear();
    if (order.answer->has_value() && (*order.answer)->has_value()) return promoted(order.node, true);
    not_before_ = c_.world.now() + kRetry;
    // What it refuses now it may do after a start: its log could not be read, its volume had failed.
    if (order.answer->has_value() && c_.hosts[order.node].up()) start_again(order.node);
    ++next_candidate_;
    return;
  }
  if (c_.world.now() > deadline_ && !contains(candidates_, c_.primary) && !c_.hosts[c_.primary].destroyed()) return give_up();
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const size_t index = candidates_[(next_candidate_ + i) % candidates_.size()];
    if (!c_.hosts[index].up()) continue;
    next_candidate_ = (next_candidate_ + i) % candidates_.size();
    orders_ = {give(index, Role::kPrimary, Epoch(c_.epoch.value() + 1), core::Authority::kForced)};
    order_deadline_ = c_.world.now() + kPatience / 2;
    return;
  }
}

/// Its order to be primary is in effect, and is answered when enough copies can be reached: the old primary may be among them. That one has
/// no majority any more, so clients may wait for the new one already.
bool Operator::waits_for_majority(size_t index) const {
  if (c_.plan.durability != Durability::kSyncQuorum || !c_.hosts[index].up()) return false;
  const VolumeStatus s = c_.status(index);
  return s.role == "primary" && s.epoch && Epoch(*s.epoch) == given_.back().second.epoch;
}

/// `proven`: it was answered.
void Operator::promoted(size_t index, bool proven) {
  const Epoch epoch = given_.back().second.epoch;
  RINGBOLT_ASSERT(given_.back().first == index);
  for (size_t i = 0; i < c_.size(); ++i) {
    Host& host = c_.hosts[i];
    host.role = i == index ? Role::kPrimary : Role::kReplica;
    host.epoch = epoch;
    host.held = false;
  }
  c_.primary = index;
  if (proven) members_change_ = false;  // it has everything, and its term's first record is on a majority
  c_.clients.forget_answers();
  if (!contains(c_.fit, index)) c_.fit.push_back(index);
  task_ = Task::kNone;
  orders_.clear();
  not_serving_since_ = 0;
}

/// The old primary has everything: it goes on, at an epoch above all that was tried. If it has nothing any more there is no way back.
void Operator::give_up() {
  orders_.clear();
  if (c_.hosts[c_.primary].destroyed()) {
    deadline_ = c_.world.now() + kPatience;
    not_before_ = c_.world.now() + kRetry;
    return;
  }
  task_ = Task::kNone;
  Host& old = c_.hosts[c_.primary];
  old.role = Role::kPrimary;
  old.epoch = Epoch(c_.epoch.value() + 1);
  old.held = false;
  if (old.up()) static_cast<void>(give(c_.primary, Role::kPrimary, old.epoch, core::Authority::kForced));
  c_.epoch = std::max(c_.epoch, old.epoch);
}

void Operator::replace(size_t index) {
  Host& host = c_.hosts[index];
  host.destroyed_at = host.node->boots();
  host.log_rotted = false;
  if (index != c_.primary) return;
  host.role = Role::kReplica;
  if (!fail_over(true)) broken_ = "nobody can take the role of a primary whose data is gone";
}

void Operator::step() {
  if (c_.world.now() < not_before_) return;
  switch (task_) {
    case Task::kNone: return;
    case Task::kStepDown: return step_down();
    case Task::kHeir: return find_heir();
    case Task::kReports: return collect_reports();
    case Task::kPromote: return promote();
  }
}

// --- looking after everything ---------------------------------------------------------------------

void Operator::keep_processes_running() {
  for (size_t i = 0; i < c_.size(); ++i) {
    Host& host = c_.hosts[i];
    if (!host.node->down() || host.held || c_.world.now() < host.start_at) continue;
    if (const auto& error = host.node->open_error()) {
      // Late writes of its predecessor, or a device that is full, are waited for. Anything else only damage explains.
      if (host.destroyed()) host.node->replace_disk();
      if (error->code != Errc::kBusy && error->code != Errc::kNoSpace && error->code != Errc::kIo && !host.destroyed() && broken_.empty()) {
        broken_ = host.node->id() + " does not start: " + error->message;
      }
    }
    c_.boot(i);
    host.start_at = c_.world.now() + kRetry;  // if it comes to nothing
  }
}

/// Its device failed it, or its log is damaged: started again, it recovers what there is.
void Operator::look_after_failed(size_t index) {
  Host& host = c_.hosts[index];
  if (index == c_.primary && !busy() && (host.destroyed() || c_.world.random().chance(1, 2)) && fail_over(true)) return;
  start_again(index);
}

void Operator::start_again(size_t index) {
  c_.kill(index);
  c_.hosts[index].start_at = c_.world.now() + kRetry;
}

void Operator::look_after_clients() {
  Clients& clients = c_.clients;
  Host& primary = c_.hosts[c_.primary];
  if (clients.connected() && (clients.sent_away() || clients.scan_failed())) clients.leave();
  if (clients.working()) {
    primary.lost_unflushed = false;
    c_.given_up = false;
  }
  // They come as soon as they are let in, and wait for the term.
  if (clients.connected() || busy() || !c_.admits(c_.primary)) return;
  const Promise promise = c_.given_up ? Promise::kNothing : primary.lost_unflushed ? Promise::kFlushed : Promise::kAll;
  clients.connect(*primary.node, Epoch(*c_.status(c_.primary).epoch), promise);
}

void Operator::look_after_primary() {
  if (busy()) return;
  Host& host = c_.hosts[c_.primary];
  if (!host.up() || c_.is_failed(c_.primary)) return;
  const VolumeStatus s = c_.status(c_.primary);
  if (s.role == "primary" && host.node->volume().refusal().empty()) {
    not_serving_since_ = 0;
    add_replicas();
    if (c_.world.now() < configured_at_ + 4 * kRetry || !s.role_applied) return;
    // Its replicas are to be the members: an order may have come to nothing, or an old one come late.
    std::vector<std::string> wanted, present;
    for (const core::ReplicaAddress& replica : c_.replicas_of(c_.primary)) wanted.push_back(replica.id);
    for (const ReplicaStatus& replica : s.replicas) present.push_back(replica.id);
    std::sort(present.begin(), present.end());
    // Nor is it known what became of one whose answer was lost: it is in effect, and may be proven or not.
    if (wanted == present && !(members_change_ && last_ && last_->lost(c_))) return;
    configured_at_ = c_.world.now();
    static_cast<void>(give(c_.primary, Role::kPrimary, Epoch(std::max(host.epoch.value(), *s.epoch)), core::Authority::kAssigned));
    return;
  }
  // It was fenced by an epoch that came to nothing.
  if (not_serving_since_ == 0) not_serving_since_ = c_.world.now();
  if (c_.world.now() < not_serving_since_ + 5 * kRetry) return;
  not_serving_since_ = c_.world.now();
  host.role = Role::kPrimary;
  host.epoch = Epoch(c_.epoch.value() + 1);
  static_cast<void>(give(c_.primary, Role::kPrimary, host.epoch, core::Authority::kForced));
}

void Operator::tick() {
  keep_processes_running();
  for (size_t i = 0; i < c_.size(); ++i) {
    if (c_.is_failed(i)) look_after_failed(i);
  }
  step();
  look_after_primary();
  look_after_clients();
  // A primary that lacks something takes it from its replicas, too: they cut what it does not have. Also one whose answer to its order was
  // lost, so that nobody but itself takes it for the primary.
  bool cutting = false;
  for (size_t i = 0; i < c_.size(); ++i) {
    const Host& host = c_.hosts[i];
    cutting = cutting || (host.lost_unflushed && host.up() && c_.status(i).role == "primary");
  }
  for (Host& host : c_.hosts) host.lost_unflushed = host.lost_unflushed || cutting;
  if (!c_.hosts[c_.primary].up()) return;
  const VolumeStatus s = c_.status(c_.primary);
  if (!c_.established() || busy()) return;
  for (size_t i = 0; i < c_.size(); ++i) {
    Host& host = c_.hosts[i];
    const bool restarted = host.destroyed() && host.node->boots() > *host.destroyed_at;
    if (i == c_.primary) {
      if (restarted && c_.clients.working()) host.destroyed_at.reset();
      continue;
    }
    if (!host.up() || !c_.in_step(i)) continue;
    // Not while its primary still believes in the session of a process that is gone.
    if (!c_.status(i).committed_lsn) continue;
    const auto written = c_.status(i).written_lsn;
    if (!c_.hosts[c_.primary].lost_unflushed && s.committed_lsn && written && *written >= *s.committed_lsn) host.lost_unflushed = false;
    if (restarted) host.destroyed_at.reset();
  }
}

}  // namespace ringbolt::sim

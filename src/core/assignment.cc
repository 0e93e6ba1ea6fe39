#include "core/assignment.h"

#include <algorithm>

namespace ringbolt::core {

namespace {

std::string number(Epoch epoch) { return std::to_string(epoch.value()); }

/// The epoch's terms are taken: this copy has promised it to another node, or holds records of it that
/// it did not write as primary. The same Lsn could name two records of one term.
bool held_by_another(Epoch epoch, const CopyFacts& copy) {
  if (copy.promised == epoch && copy.incarnation == Incarnation{}) return true;
  if (!copy.last_term || copy.last_term->term.epoch != epoch) return false;
  return copy.promised != epoch || copy.incarnation < copy.last_term->term.incarnation;
}

/// It was primary last, as far as it knows, and has given that to nobody.
bool is_last_primary(const CopyFacts& copy) {
  return copy.promised != Epoch{} && copy.incarnation != Incarnation{};
}

Judgement refuse(std::string reason) { return {Verdict::kRefused, std::move(reason)}; }

/// Replicas are known by their ids: two of one name would be one, or each the other.
Judgement check_replicas(const std::vector<ReplicaAddress>& replicas) {
  if (replicas.size() > kReplicasMax) return refuse("at most " + std::to_string(kReplicasMax) + " replicas are possible");
  for (auto replica = replicas.begin(); replica != replicas.end(); ++replica) {
    if (replica->id.empty()) return refuse("a replica has no id");
    const auto same = [&](const ReplicaAddress& other) { return other.id == replica->id; };
    if (std::any_of(replicas.begin(), replica, same)) return refuse("replica " + replica->id + " is named twice");
  }
  return {};
}

}  // namespace

Judgement judge(const Assignment& next, Authority authority, const CopyFacts& copy) {
  const auto& current = copy.current;
  if (next.epoch == Epoch{}) return refuse("an assignment's epoch is 1 or higher");
  if (next.epoch < copy.promised) {
    return {Verdict::kStaleEpoch,
            "epoch " + number(next.epoch) + " is over: this copy has promised to epoch " + number(copy.promised)};
  }
  if (current && next.epoch < current->epoch) {
    return {Verdict::kStaleEpoch, "epoch " + number(next.epoch) + " is over: the current one is " + number(current->epoch)};
  }
  // Delivered again to one that had to give way since, it is not what is in force.
  const bool is_held = next.role == Role::kPrimary && held_by_another(next.epoch, copy);
  if (current && current->same_content(next) && !is_held) return {Verdict::kNothingNew, ""};
  if (current && next.epoch == current->epoch && next.role != current->role) {
    return refuse(std::string("it is ") + to_string(current->role) + " of epoch " + number(current->epoch) +
                  " here; another role needs a higher epoch");
  }
  if (next.role != Role::kPrimary) {
    if (!next.replicas.empty()) return refuse("only a primary has replicas");
    return {};
  }
  if (const Judgement replicas = check_replicas(next.replicas); replicas.verdict != Verdict::kTake) return replicas;
  if (is_held) {
    return refuse("another node was primary of epoch " + number(next.epoch) + "; the assignment needs a higher one");
  }
  if (!copy.base_usable) return refuse("its base image is marked unusable: it cannot be primary before it has been rebuilt");
  const bool first = copy.blank && !copy.current;  // nobody can have written to another copy on this one's account
  if (authority == Authority::kPromoted && !copy.handed_over && !is_last_primary(copy) && !first) {
    return refuse("this copy may be stale: its primary has not handed over to it. Give its primary another role first, "
                  "or force it if that one is gone for good and what only it acknowledged may be lost");
  }
  return {};
}

}  // namespace ringbolt::core

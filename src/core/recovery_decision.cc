#include "core/recovery_decision.h"

namespace ringbolt::core {

const char* to_string(RecoveryKind kind) {
  switch (kind) {
    case RecoveryKind::kKeepup: return "keepup";
    case RecoveryKind::kCatchup: return "catch-up";
    case RecoveryKind::kCutTail: return "a cut of its tail";
    case RecoveryKind::kRebuild: return "a rebuild";
  }
  return "unknown";
}

RecoveryDecision decide_recovery(const ReplicaFacts& replica, const PrimaryFacts& primary) {
  if (!replica.base_usable) return {RecoveryKind::kRebuild, Lsn{}, "the replica's base image is marked unusable"};
  if (primary.base_seeded && replica.position == Lsn{}) {
    return {RecoveryKind::kRebuild, Lsn{}, "the volume began with data that no log record carries"};
  }
  const auto fork = fork_point({replica.history, replica.position}, {primary.history, primary.wal_head});
  if (!fork) return {RecoveryKind::kRebuild, Lsn{}, "the term histories do not meet"};
  if (*fork < replica.position) {
    if (*fork < replica.checkpoint) {
      return {RecoveryKind::kRebuild, Lsn{}, "the replica's base image holds records beyond the fork"};
    }
    return {RecoveryKind::kCutTail, *fork, "the replica holds records that never became part of history"};
  }
  if (replica.position >= primary.wal_head) return {RecoveryKind::kKeepup, replica.position, "at the head"};
  if (replica.position.next() >= primary.wal_tail) {
    // The replica takes only records whose term the history names, and it keeps the newest terms only.
    if (!primary.history.term_at(replica.position.next())) {
      return {RecoveryKind::kRebuild, Lsn{}, "it misses records of terms that the history does not reach back to"};
    }
    return {RecoveryKind::kCatchup, replica.position, "all it misses is in the WAL"};
  }
  return {RecoveryKind::kRebuild, Lsn{}, "records that it misses are no longer in the WAL"};
}

}  // namespace ringbolt::core

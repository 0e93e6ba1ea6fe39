// How a replica is brought (back) into step: one pure function of facts with one threshold.
#pragma once

#include <optional>

#include "core/term_history.h"
#include "ringbolt/types.h"

namespace ringbolt::core {

/// What a replica reports about its own copy. Facts only; it never recommends.
struct ReplicaFacts {
  bool base_usable = false;  ///< no rebuild mark, no failed device
  Lsn position;              ///< contiguous and flushed on its device
  Lsn checkpoint;            ///< all up to it is in its base image, and cannot be cut
  TermHistory history;
  bool operator==(const ReplicaFacts&) const = default;
};

/// The primary's own log.
struct PrimaryFacts {
  Lsn wal_tail;  ///< oldest record still readable from the WAL
  Lsn wal_head;  ///< newest record
  /// The base image held data before record 1, so an empty copy is not a prefix of this volume.
  bool base_seeded = false;
  const TermHistory& history;
};

enum class RecoveryKind : uint8_t { kKeepup, kCatchup, kCutTail, kRebuild };
const char* to_string(RecoveryKind kind);

struct RecoveryDecision {
  RecoveryKind kind;
  /// kKeepup, kCatchup: the replica's position, records after it are sent. kCutTail: the fork; the
  /// replica discards what is beyond and reports again. kRebuild: not used.
  Lsn position;
  const char* reason;  ///< for people, static text
};

RecoveryDecision decide_recovery(const ReplicaFacts& replica, const PrimaryFacts& primary);

}  // namespace ringbolt::core

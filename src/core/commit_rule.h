// Which prefix of the log satisfies a durability mode, from the positions of the copies. Used twice
// with the same rule: over written positions it yields the committed prefix (what a plain write's
// reply needs), over flushed positions the stable prefix (what FLUSH and FUA replies need, and what
// may go into base images).
#pragma once

#include <span>

#include "ringbolt/types.h"

namespace ringbolt::core {

/// One replica's part in the rule.
struct CopyPosition {
  Lsn position;         ///< acknowledged in a session of the present term; Lsn 0 if none
  bool required = false;  ///< member of the in-sync set, or about to become one
};

/// Replicas that may be given at a time: those of the assignment, and those that it replaces.
inline constexpr size_t kCopiesMax = size_t{2} * kReplicasMax;

/// `local`: the primary's own position; `replicas`: every configured replica (at most kCopiesMax).
///   best_effort: `local`.
///   sync_all: the least of `local` and of all required replicas.
///   sync_quorum: the highest position that a majority of the configured copies (the primary
///   included) has reached.
Lsn satisfied_prefix(Durability mode, Lsn local, std::span<const CopyPosition> replicas);

}  // namespace ringbolt::core

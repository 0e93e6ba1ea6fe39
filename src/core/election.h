// Who may follow a primary that is gone, from what its copies report. Pure values.
//
// A report is a promise as well: whoever gave it takes nothing more from a primary of a lower epoch. So what was acknowledged
// before is on the copies that the mode names, and what was not can no longer be. No clock is needed for that.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ringbolt/types.h"

namespace ringbolt::core {

/// What a copy has, said after it had recorded that it has promised to `promised`.
struct CopyReport {
  std::string node;
  Epoch promised;
  Term last_term;  ///< of its last record; Term{}: it has none
  Lsn last;        ///< all up to it is written
  bool usable = false;  ///< its base image is complete, and its log was read to the end: else nobody knows what it has
};

/// What is recorded of the volume, and what is to be decided.
struct ElectionFacts {
  Durability durability = Durability::kSyncAll;
  Epoch epoch;                            ///< of the primary that is gone
  std::vector<std::string> copies;        ///< all nodes that have one, its own among them
  std::vector<std::string> copies_before; ///< while members are being changed and that is not proven: those of before; else empty
  std::vector<std::string> in_sync;       ///< as recorded, its own among them
  std::vector<CopyReport> reports;        ///< those that promised to `epoch` or less say nothing, nor does anybody else's
};

struct Election {
  std::optional<std::string> winner;
  Epoch epoch;  ///< of its assignment: above all that was promised
  /// Copies that could have more, or without which nobody may be promoted; in words for people in `reason`.
  std::vector<std::string> missing;
  std::string reason;  ///< why there is no winner; else empty
};

/// sync_all: the furthest (last term, then Lsn) of the in-sync set's members that have reported. One is enough; a winner with
/// `missing` may be waited on for a while, so that what more of them report.
/// sync_quorum: the furthest of all, when so many have reported that every majority has one of them: of `copies`, and of
/// `copies_before` as well, since either may be what acknowledged.
/// best_effort: nobody: what the others lack only the primary knew.
/// Of equal ones the first, in the order of the set.
Election elect(const ElectionFacts& facts);

}  // namespace ringbolt::core

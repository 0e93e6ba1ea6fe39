// What faults may destroy. Within these limits nothing that was acknowledged may be lost; beyond them no system could keep it.
//
//   - Processes and power may fail anywhere, at any time, all at once. What power takes is what was not flushed, so after it only
//     flushed data must be there (Host::lost_unflushed).
//   - Data is destroyed (a new disk, rot in a log or in a superblock) on one copy at a time, and not on the next before the first has
//     everything again; nor while a role moves. With sync_all on copies that the primary does not need, or, of the primary, if
//     somebody else has everything; with sync_quorum if every copy has everything; with best_effort not on the primary.
//   - A primary's log rots only while the log itself tells all that is flushed, as the next frame after a flush does: without it rot looks
//     like the torn end of a write that was not flushed, and is cut off (src/ARCHITECTURE.md, "Failure model"). Nor does a power loss
//     take that frame away, until the copy has everything again.
//   - Of a superblock's two slots one rots, and it is read before the next change (the process is started again).
//   - After a failed flush the power goes off before the copy is used again: a device that has dropped what it was to keep may
//     still show it until then.
//   - Read errors end; full devices get space; hung and slow processes and networks come back. None of it destroys anything.
#pragma once

#include "cluster.h"
#include "operator.h"

namespace ringbolt::sim {

[[nodiscard]] bool may_destroy(const Cluster& cluster, const Operator& assigning, size_t index);
[[nodiscard]] bool may_rot_in_log(const Cluster& cluster, const Operator& assigning, size_t index);

}  // namespace ringbolt::sim

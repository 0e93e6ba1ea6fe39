#include "core/commit_rule.h"

#include <algorithm>
#include <array>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::core {

Lsn satisfied_prefix(Durability mode, Lsn local, std::span<const CopyPosition> replicas) {
  RINGBOLT_ASSERT(replicas.size() <= kCopiesMax);
  switch (mode) {
    case Durability::kBestEffort: return local;
    case Durability::kSyncAll: {
      Lsn least = local;
      for (const CopyPosition& copy : replicas) {
        if (copy.required) least = std::min(least, copy.position);
      }
      return least;
    }
    case Durability::kSyncQuorum: {
      // The primary's own copy must have it too: it answers reads from there.
      std::array<Lsn, kCopiesMax + 1> positions{};
      size_t count = 0;
      positions[count++] = local;
      for (const CopyPosition& copy : replicas) positions[count++] = copy.position;
      std::sort(positions.begin(), positions.begin() + static_cast<ptrdiff_t>(count), std::greater<>());
      const size_t majority = count / 2 + (defect(Defect::kMajorityTooSmall) ? 0 : 1);
      return std::min(local, positions[majority - 1]);
    }
  }
  return Lsn{};
}

}  // namespace ringbolt::core

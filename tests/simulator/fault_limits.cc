#include "fault_limits.h"

#include <algorithm>

#include "../sim/log_reader.h"

namespace ringbolt::sim {

bool may_destroy(const Cluster& c, const Operator& assigning, size_t index) {
  const auto destroyed = [](const Host& host) { return host.destroyed(); };
  if (assigning.busy() || std::any_of(c.hosts.begin(), c.hosts.end(), destroyed)) return false;
  if (!c.established() || !c.serves(c.primary)) return false;
  switch (c.plan.durability) {
    case Durability::kBestEffort: return index != c.primary;
    case Durability::kSyncQuorum: return c.whole() && assigning.members_in_force();
    case Durability::kSyncAll: break;
  }
  if (index != c.primary) return true;
  const auto recorded = c.superblock(c.primary);
  if (!recorded) return false;
  return std::any_of(recorded->in_sync.begin(), recorded->in_sync.end(), [&](const std::string& member) {
    // One that is just being removed takes no role any more.
    if (!c.hosts[c.index_of(member)].member) return false;
    const auto superblock = c.superblock(c.index_of(member));
    return superblock && !superblock->rebuild_mark && !superblock->volume.is_nil();
  });
}

bool may_rot_in_log(const Cluster& c, const Operator& assigning, size_t index) {
  if (!may_destroy(c, assigning, index)) return false;
  if (index != c.primary) return true;
  const auto copy = read_copy(c.hosts[index].node->host(), Node::directory());
  return copy && c.status(index).durable_lsn <= copy->said_durable.value();
}

}  // namespace ringbolt::sim

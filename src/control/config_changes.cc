// Compares two configurations, for SIGHUP.
#include <fmt/format.h>

#include <algorithm>

#include "control/config.h"

namespace ringbolt {

std::vector<std::string> changed_keys(const Config& from, const Config& to) {
  std::vector<std::string> changed;
  const auto compare = [&](const char* key, const auto& left, const auto& right) {
    if (left != right) changed.emplace_back(key);
  };
  compare("node.id", from.node_id, to.node_id);
  compare("node.data_dir", from.data_dir, to.data_dir);
  compare("node.shards", from.shards, to.shards);
  compare("node.memory", from.memory_bytes, to.memory_bytes);
  compare("node.spin", from.spin_ns, to.spin_ns);
  compare("nbd.listen", from.nbd_listen, to.nbd_listen);
  compare("nbd.max_connections", from.nbd_connections_max, to.nbd_connections_max);
  compare("nbd.handshake_timeout", from.nbd_handshake_timeout_ns, to.nbd_handshake_timeout_ns);
  compare("nbd.stall_timeout", from.nbd_stall_timeout_ns, to.nbd_stall_timeout_ns);
  compare("replication.listen", from.replication_listen, to.replication_listen);
  compare("replication.timeout", from.replica_timeout_ns, to.replica_timeout_ns);
  compare("replication.when_lost", from.wait_for_lost_replicas, to.wait_for_lost_replicas);
  compare("replication.wal_retain", from.wal_retain_percent, to.wal_retain_percent);
  compare("admin.listen", from.admin_listen, to.admin_listen);
  compare("rebuild.chunk", from.rebuild_chunk_bytes, to.rebuild_chunk_bytes);
  compare("rebuild.in_flight", from.rebuild_in_flight, to.rebuild_in_flight);
  compare("rebuild.parallel", from.rebuild_parallel, to.rebuild_parallel);
  compare("log.level", from.log_level, to.log_level);
  compare("log.format", from.log_format, to.log_format);
  const auto find = [](const Config& in, const std::string& name) {
    return std::find_if(in.volumes.begin(), in.volumes.end(),
                        [&](const VolumeConfig& volume) { return volume.name == name; });
  };
  for (const VolumeConfig& volume : from.volumes) {
    const auto now = find(to, volume.name);
    if (now == to.volumes.end()) {
      changed.push_back(fmt::format("volume \"{}\" (removed)", volume.name));
    } else if (*now != volume) {
      changed.push_back(fmt::format("volume \"{}\"", volume.name));
    }
  }
  for (const VolumeConfig& volume : to.volumes) {
    if (find(from, volume.name) == from.volumes.end()) {
      changed.push_back(fmt::format("volume \"{}\" (added)", volume.name));
    }
  }
  return changed;
}

}  // namespace ringbolt

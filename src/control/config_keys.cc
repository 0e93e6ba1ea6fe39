#include "control/config_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "control/config.h"
#include "control/config_values.h"

namespace ringbolt {
namespace {

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", text); }

std::string list(const std::vector<std::string>& addresses) {
  std::vector<std::string> parts;
  for (const std::string& address : addresses) parts.push_back(quoted(address));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

}  // namespace

std::vector<ConfigKey> describe_config_keys() {
  const Config config;
  const VolumeConfig volume;
  const std::string required;
  return {
      {"node.id", required},
      {"node.data_dir", required},
      {"node.shards", std::to_string(config.shards)},
      {"node.memory", quoted(format_size(config.memory_bytes))},
      {"node.spin", quoted(format_duration(config.spin_ns))},
      {"nbd.listen", list(config.nbd_listen)},
      {"nbd.max_connections", std::to_string(config.nbd_connections_max)},
      {"nbd.handshake_timeout", quoted(format_duration(config.nbd_handshake_timeout_ns))},
      {"nbd.stall_timeout", quoted(format_duration(config.nbd_stall_timeout_ns))},
      {"replication.listen", quoted(config.replication_listen)},
      {"replication.timeout", quoted(format_duration(config.replica_timeout_ns))},
      {"replication.when_lost", quoted(config.wait_for_lost_replicas ? "wait" : "drop")},
      {"replication.wal_retain", quoted(fmt::format("{}%", config.wal_retain_percent))},
      {"admin.listen", quoted(config.admin_listen)},
      {"rebuild.rate_max", quoted(format_size(config.rebuild_rate_max)), true},
      {"rebuild.chunk", quoted(format_size(config.rebuild_chunk_bytes))},
      {"rebuild.in_flight", std::to_string(config.rebuild_in_flight)},
      {"rebuild.parallel", std::to_string(config.rebuild_parallel)},
      {"log.level", quoted(to_string(config.log_level))},
      {"log.format", quoted(to_string(config.log_format))},
      {"volume.name", required},
      {"volume.size", required},
      {"volume.wal_size", quoted(format_size(volume.wal_bytes))},
      {"volume.path", quoted(volume.path)},
      {"volume.wal_path", quoted(volume.wal_path)},
      {"volume.durability", quoted(to_string(volume.durability))},
      {"volume.role", quoted(to_string(volume.role))},
      {"volume.epoch", std::to_string(volume.epoch)},
      {"volume.replica.id", required},
      {"volume.replica.address", required},
  };
}

std::string config_keys_text() {
  const std::vector<ConfigKey> keys = describe_config_keys();
  size_t name_columns = 0, standard_columns = 0;
  for (const ConfigKey& key : keys) {
    name_columns = std::max(name_columns, key.name.size());
    standard_columns = std::max(standard_columns, key.standard.size());
  }
  std::string text;
  for (const ConfigKey& key : keys) {
    text += fmt::format("{:{}}  {:{}}  {}\n", key.name, name_columns, key.standard.empty() ? "(required)" : key.standard, standard_columns,
                        key.by_sighup ? "at SIGHUP" : "at the next start");
  }
  return text;
}

}  // namespace ringbolt

// Fuzz target: the configuration file's reader. Any text gives a configuration that keeps all
// limits, or one line that says what is wrong.
#include <cstdint>
#include <string>

#include "control/config.h"
#include "control/config_changes.h"
#include "ringbolt/assert.h"

namespace {

using namespace ringbolt;

void check_volume(const VolumeConfig& volume) {
  RINGBOLT_ASSERT(!volume.name.empty());
  RINGBOLT_ASSERT(volume.size_bytes >= kBlockBytes && volume.size_bytes <= kVolumeBytesMax);
  RINGBOLT_ASSERT(volume.size_bytes % kBlockBytes == 0 && volume.wal_bytes % kBlockBytes == 0);
  RINGBOLT_ASSERT(volume.wal_bytes >= kWalBytesMin && volume.wal_bytes <= kWalBytesMax);
  RINGBOLT_ASSERT(volume.replicas.size() <= kReplicasMax);
  for (const ReplicaConfig& replica : volume.replicas) {
    RINGBOLT_ASSERT(!replica.id.empty() && !replica.address.empty());
  }
}

void check_config(const Config& config) {
  RINGBOLT_ASSERT(!config.node_id.empty() && !config.data_dir.empty());
  RINGBOLT_ASSERT(config.shards <= kShardsMax && config.volumes.size() <= kVolumesMax);
  RINGBOLT_ASSERT(config.nbd_listen.size() <= kNbdListenMax &&
                  config.nbd_connections_max <= kNbdConnectionsMax);
  RINGBOLT_ASSERT(config.rebuild_in_flight <= kRebuildInFlightMax && config.spin_ns >= 0);
  RINGBOLT_ASSERT(config.wal_retain_percent <= kWalRetainPercentMax);
  for (size_t i = 0; i < config.volumes.size(); ++i) {
    check_volume(config.volumes[i]);
    for (size_t j = 0; j < i; ++j)
      RINGBOLT_ASSERT(config.volumes[i].name != config.volumes[j].name);
  }
  RINGBOLT_ASSERT(config_changes(config, config).empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Result<Config> config = parse_config(text, "fuzz.toml");
  if (config.has_value()) {
    check_config(config.value());
    return 0;
  }
  const std::string& message = config.error().message;
  RINGBOLT_ASSERT(message.starts_with("fuzz.toml"));
  RINGBOLT_ASSERT(message.find('\n') == std::string::npos && message.size() < 5000);
  return 0;
}

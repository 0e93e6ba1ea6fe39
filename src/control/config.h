// The configuration file as values, and its only reader. Names and meanings: README and interface.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "log/level.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt {

inline constexpr uint32_t kShardsMax = 256;
inline constexpr uint32_t kVolumesMax = 1024;
inline constexpr uint32_t kNbdListenMax = 16;
inline constexpr uint32_t kNbdConnectionsMax = 1u << 20;
inline constexpr uint32_t kRebuildInFlightMax = 256;
inline constexpr uint32_t kRebuildParallelMax = 64;
/// The rest of the WAL is for writes that the base image does not have yet.
inline constexpr uint32_t kWalRetainPercentMax = 90;
inline constexpr uint32_t kCoordinatorEndpointsMax = 9;

struct ReplicaConfig {
  std::string id;
  std::string address;
  bool operator==(const ReplicaConfig&) const = default;
};

struct VolumeConfig {
  std::string name;
  uint64_t size_bytes = 0;                      ///< whole blocks, 1 block .. kVolumeBytesMax
  uint64_t wal_bytes = uint64_t{256} << 20;     ///< whole blocks, kWalBytesMin .. kWalBytesMax
  std::string path;                             ///< empty: under data_dir
  std::string wal_path;                         ///< empty: under data_dir
  Durability durability = Durability::kSyncAll;
  Role role = Role::kNone;
  uint64_t epoch = 1;
  std::vector<ReplicaConfig> replicas;
  bool operator==(const VolumeConfig&) const = default;
};

struct Config {
  std::string node_id;
  std::string data_dir;
  uint32_t shards = 0;                          ///< 0: one per core
  uint64_t memory_bytes = uint64_t{256} << 20;  ///< all buffers of all shards together
  int64_t spin_ns = 20'000;
  bool pin_shards = false;                      ///< each to a core
  // What the node tells others through a coordinator, so that copies can be kept apart.
  std::string zone;
  std::string host;                             ///< empty: the machine's host name

  std::vector<std::string> nbd_listen{"127.0.0.1:10809"};
  uint32_t nbd_connections_max = 4096;
  int64_t nbd_handshake_timeout_ns = 10'000'000'000;
  /// A client that blocks mid-message for this long (not sending the rest of a request, or not
  /// reading its replies) is closed.
  int64_t nbd_stall_timeout_ns = 30'000'000'000;
  std::string nbd_tcp_congestion;               ///< of clients' connections; empty: the host's

  std::string replication_listen = "127.0.0.1:10810";
  /// A replica that owes an acknowledgement for this long is lost: it leaves the in-sync set.
  int64_t replica_timeout_ns = 5'000'000'000;
  /// sync_all: writes wait for a lost replica for as long as it takes, instead of dropping it from the
  /// in-sync set.
  bool wait_for_lost_replicas = false;
  /// Share of the WAL that is kept for replicas that lag; what falls out of it is rebuilt.
  uint32_t wal_retain_percent = 50;
  std::string replication_tcp_congestion;       ///< of connections with other nodes, both ways; empty: the host's

  std::string admin_listen = "127.0.0.1:10811";

  // [coordinator]: etcd. Without endpoints there is none.
  std::vector<std::string> coordinator_endpoints;
  std::string coordinator_cluster;
  int64_t coordinator_lease_ns = 5'000'000'000;
  std::string coordinator_user, coordinator_password_file;
  std::string coordinator_ca_file, coordinator_cert_file, coordinator_key_file;

  // [rebuild]: of the rebuilds that this node feeds, all volumes together.
  uint64_t rebuild_rate_max = 0;                ///< bytes per second; 0: no cap
  uint64_t rebuild_chunk_bytes = 1u << 20;
  uint32_t rebuild_in_flight = 4;               ///< chunks per rebuild
  uint32_t rebuild_parallel = 2;                ///< rebuilds at a time

  // [log]: the command line's options win over these.
  log::Level log_level = log::Level::kInfo;
  log::Format log_format = log::Format::kText;

  std::vector<VolumeConfig> volumes;
  /// Where it was read from, for messages.
  std::string file;
};

/// Reads and checks a file. The error message begins with `FILE:LINE: ` where a line is known.
/// An unknown key is an error that names the nearest known one.
Result<Config> load_config(const std::string& path);

/// The same from text; `name` stands in messages for the file.
Result<Config> parse_config(const std::string& text, const std::string& name);

/// Every key that a file may have, as "node.memory" or "volume.replica.id"; config_table.h says what they are.
std::vector<std::string> config_key_names();

}  // namespace ringbolt

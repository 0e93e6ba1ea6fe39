// A volume's state as plain values: what the admin API, ringboltctl and the logs show. Filled on the
// volume's shard, then handed to the control thread. A number not known is nullopt, never 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ringbolt/types.h"

namespace ringbolt {

struct SessionStatus {
  std::optional<uint64_t> id;
  std::string kind;   ///< keepup | catchup | rebuild
  std::string phase;  ///< idle | accepted | running | base_complete | completed | failed
  std::optional<uint64_t> base_lsn, target_lsn, achieved_lsn;
  // Of a rebuild's base lane:
  uint64_t base_bytes_total = 0, base_bytes_done = 0, base_bytes_skipped = 0;
  std::optional<uint64_t> base_bytes_per_second, seconds_left;
  bool losing_ground = false;  ///< the WAL lane falls behind: as things are, it does not end
  std::string reason;
};

/// What an operator ordered last.
enum class RebuildOrderStatus : uint8_t {
  kNone,
  kOrdered,    ///< a rebuild that has not begun yet
  kCancelled,  ///< none begins until one is ordered
};

struct ReplicaStatus {
  std::string id, address;
  bool connected = false;
  bool in_sync = false;
  RebuildOrderStatus rebuild_order = RebuildOrderStatus::kNone;
  std::optional<SessionStatus> session;
  std::optional<uint64_t> written_lsn, durable_lsn, lag_bytes;
};

/// A comparison of a replica's copy with the primary's: the last one that was asked for.
struct VerifyStatus {
  struct Range {
    uint64_t offset = 0, length = 0;  ///< bytes
  };
  std::string replica;
  std::string state;  ///< running | completed | failed
  uint64_t bytes_total = 0;
  uint64_t bytes_compared = 0;   ///< equal or not
  uint64_t bytes_in_log = 0;     ///< written too often to be compared: their newest versions are in both logs
  uint64_t bytes_differing = 0;  ///< more than the ranges have, if there are too many ranges
  std::vector<Range> differing;  ///< in order
  std::string problem;           ///< why it ended early; empty: it did not
  uint64_t seconds_since_begin = 0;
  std::optional<uint64_t> seconds_since_end;  ///< nullopt: it runs
  std::optional<uint64_t> first_lsn, last_lsn;  ///< the log's end when it began and ended
};

struct VolumeStatus {
  std::string name, uuid;
  uint64_t size = 0;
  std::string role, durability;
  std::optional<uint64_t> epoch;
  std::string mode, reason;
  bool healthy = false;
  std::optional<uint64_t> wal_tail, wal_head, written_lsn, durable_lsn, committed_lsn;
  std::optional<uint64_t> checkpoint_lsn, target_lsn, achieved_lsn;
  uint64_t wal_capacity_bytes = 0;
  std::optional<uint64_t> wal_used_bytes;
  bool assigned = false, role_applied = false, receiver_ready = false;
  bool shipper_configured = false, shipper_connected = false;
  uint64_t clients = 0;
  std::vector<ReplicaStatus> replicas;
  std::vector<VerifyStatus> verifications;  ///< by replica
  /// The chain of facts behind the present mode, for people, the first cause first.
  std::vector<std::string> why;
};

struct NodeStatus {
  std::string id, version, kernel;
  uint64_t shards = 0, memory_limit_bytes = 0, memory_used_bytes = 0, uptime_seconds = 0;
  uint64_t volumes = 0, connections = 0;
};

}  // namespace ringbolt

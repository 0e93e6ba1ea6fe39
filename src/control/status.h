// A volume's state as plain values: what the admin API, ringboltctl and the logs show. Filled on the
// volume's shard, then handed to the control thread. A number not known is nullopt, never 0.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
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
  bool operator==(const SessionStatus&) const = default;
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
  bool operator==(const ReplicaStatus&) const = default;
};

/// A comparison of a replica's copy with the primary's: the last one that was asked for.
struct VerifyStatus {
  struct Range {
    uint64_t offset = 0, length = 0;  ///< bytes
    bool operator==(const Range&) const = default;
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
  bool operator==(const VerifyStatus&) const = default;
};

/// Something that somebody should look at, as long as it lasts.
enum class Alarm : uint8_t {
  kCopyFailed,           ///< this copy is out of service until a restart
  kCopyDamaged,          ///< this copy must be rebuilt
  kBaseFull,             ///< the base image's device has no space left
  kReplicaOutOfSync,     ///< a replica does not count: one copy fewer than was asked for
  kRebuildLosingGround,  ///< clients write faster than the rebuild takes it
  kCopiesDiffer,         ///< the last comparison found ranges that differ
  kNotAnswering,         ///< the daemon's shards do not answer; of no volume
};
inline constexpr std::array kAlarms = {Alarm::kCopyFailed,          Alarm::kCopyDamaged,  Alarm::kBaseFull,    Alarm::kReplicaOutOfSync,
                                       Alarm::kRebuildLosingGround, Alarm::kCopiesDiffer, Alarm::kNotAnswering};

constexpr const char* to_string(Alarm alarm) {
  switch (alarm) {
    case Alarm::kCopyFailed: return "copy_failed";
    case Alarm::kCopyDamaged: return "copy_damaged";
    case Alarm::kBaseFull: return "base_full";
    case Alarm::kReplicaOutOfSync: return "replica_out_of_sync";
    case Alarm::kRebuildLosingGround: return "rebuild_losing_ground";
    case Alarm::kCopiesDiffer: return "copies_differ";
    case Alarm::kNotAnswering: return "not_answering";
  }
  return "unknown";
}

struct AlarmStatus {
  Alarm alarm = Alarm::kCopyFailed;
  std::string replica;  ///< that it is about; empty: about none
  std::string message;
  bool operator==(const AlarmStatus&) const = default;
};

/// How many of clients' requests took up to that long (and longer than the bucket below). Counts only grow, and wrap.
struct LatencyBucket {
  uint64_t upper_ns = 0;
  uint32_t count = 0;
  bool operator==(const LatencyBucket&) const = default;
};

/// Of one kind of request, since the daemon began.
struct RequestCounts {
  std::vector<LatencyBucket> latency;  ///< of all that were answered; those that are not empty, in order
  uint64_t bytes = 0;                  ///< of those that succeeded
  bool operator==(const RequestCounts&) const = default;
};

struct VolumeMoment;
using VolumeMoments = std::vector<std::shared_ptr<const VolumeMoment>>;

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
  std::vector<AlarmStatus> alarms;
  /// The chain of facts behind the present mode, for people, the first cause first.
  std::vector<std::string> why;

  // For whoever compares two looks at a volume; not shown as they are:
  std::optional<uint64_t> wal_position_bytes;  ///< of the log's end, from where it began; only a cut or a rebuild takes it back
  std::vector<LatencyBucket> latency;          ///< on a primary; those that are not empty, in order
  /// Of clients here, whatever the volume's role is and was. Shown where one volume is asked for.
  RequestCounts reads, writes;
  /// How it was when its mode, role or epoch changed, the newest last; not more than a few. Null: not recorded.
  std::shared_ptr<const VolumeMoments> moments;
  bool operator==(const VolumeStatus&) const = default;
};

/// A volume right after a change of its mode, role or epoch.
struct VolumeMoment {
  uint64_t number = 0;        ///< +1 each, from 1
  uint64_t unix_time_ms = 0;
  VolumeStatus volume;        ///< without moments
};

struct NodeStatus {
  std::string id, version, kernel;
  uint64_t shards = 0, memory_limit_bytes = 0, memory_used_bytes = 0, uptime_seconds = 0;
  uint64_t volumes = 0, connections = 0;
};

}  // namespace ringbolt

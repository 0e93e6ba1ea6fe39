// What GET /metrics shows of a node, as plain values: copies of the counters that each shard keeps for itself. Filled on
// the shards, then handed to the control thread. What is in a volume's status is not said again here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/status.h"
#include "ringbolt/duration_histogram.h"

namespace ringbolt {

/// What clients ask for, as far as it costs different things.
enum class ClientOp : uint8_t { kRead, kWrite, kWriteFua, kFlush, kTrim, kZeroes };
inline constexpr std::array kClientOps = {ClientOp::kRead, ClientOp::kWrite, ClientOp::kWriteFua, ClientOp::kFlush, ClientOp::kTrim, ClientOp::kZeroes};

constexpr const char* to_string(ClientOp op) {
  switch (op) {
    case ClientOp::kRead: return "read";
    case ClientOp::kWrite: return "write";
    case ClientOp::kWriteFua: return "write_fua";
    case ClientOp::kFlush: return "flush";
    case ClientOp::kTrim: return "trim";
    case ClientOp::kZeroes: return "zeroes";
  }
  return "unknown";
}

/// Why a request was not carried out.
enum class ClientError : uint8_t { kIo, kNoSpace, kShutdown, kInvalid };
inline constexpr std::array kClientErrors = {ClientError::kIo, ClientError::kNoSpace, ClientError::kShutdown, ClientError::kInvalid};

constexpr const char* to_string(ClientError error) {
  switch (error) {
    case ClientError::kIo: return "io";
    case ClientError::kNoSpace: return "no_space";
    case ClientError::kShutdown: return "shutdown";
    case ClientError::kInvalid: return "invalid";
  }
  return "unknown";
}

/// Of one kind of request. Those that failed are in `latency`, too.
struct ClientOpMetrics {
  DurationHistogram latency;
  uint64_t bytes = 0;  ///< of those that succeeded
  std::array<uint64_t, kClientErrors.size()> errors{};
};

/// Where a request's time goes. The first three are of those that are logged (writes, trims, zeroes), and together the time from
/// arrival to answer; the last one comes after the answer, and is of all.
enum class RequestStage : uint8_t {
  kAdmission,  ///< it waits for its turn, the blocks at its edges, memory, room in the log
  kStaging,    ///< its records are in the log's open frame
  kCommit,     ///< they are with the device and the replicas
  kReply,      ///< its reply waits for the client's socket, and that takes it
};
inline constexpr std::array kRequestStages = {RequestStage::kAdmission, RequestStage::kStaging, RequestStage::kCommit, RequestStage::kReply};

constexpr const char* to_string(RequestStage stage) {
  switch (stage) {
    case RequestStage::kAdmission: return "admission";
    case RequestStage::kStaging: return "staging";
    case RequestStage::kCommit: return "commit";
    case RequestStage::kReply: return "reply";
  }
  return "unknown";
}

/// What a device does for a volume.
enum class DeviceStage : uint8_t { kWalWrite, kWalFlush, kWalRead, kBaseRead, kBaseWrite, kBaseFlush };
inline constexpr std::array kDeviceStages = {DeviceStage::kWalWrite, DeviceStage::kWalFlush,  DeviceStage::kWalRead,
                                             DeviceStage::kBaseRead, DeviceStage::kBaseWrite, DeviceStage::kBaseFlush};

constexpr const char* to_string(DeviceStage stage) {
  switch (stage) {
    case DeviceStage::kWalWrite: return "wal_write";
    case DeviceStage::kWalFlush: return "wal_flush";
    case DeviceStage::kWalRead: return "wal_read";
    case DeviceStage::kBaseRead: return "base_read";
    case DeviceStage::kBaseWrite: return "checkpoint_base_write";
    case DeviceStage::kBaseFlush: return "checkpoint_base_flush";
  }
  return "unknown";
}

/// A part of the shard's buffers that is divided among its volumes.
struct MemoryShareMetrics {
  uint64_t held_bytes = 0;
  uint64_t limit_bytes = 0;  ///< now: what others leave free
  uint64_t waiting = 0;
};

struct ReplicaMetrics {
  std::string id;
  DurationHistogram round_trip;  ///< from a frame's handing to the connection to its acknowledgement as written
  uint64_t sent_bytes = 0;       ///< of the log, without the protocol's own
  uint64_t connections = 0;      ///< made so far
  std::optional<double> lag_seconds;
};

struct VolumeMetrics {
  VolumeStatus status;
  uint32_t shard = 0;
  std::array<ClientOpMetrics, kClientOps.size()> ops;
  std::array<DurationHistogram, kRequestStages.size()> request_stages;  ///< of those that succeeded
  uint64_t requests_open = 0;
  std::array<DurationHistogram, kDeviceStages.size()> stages;
  uint64_t wal_written_bytes = 0;
  uint64_t checkpointed_bytes = 0;
  uint64_t checkpoint_rounds = 0;
  uint64_t dirty_blocks = 0;
  std::optional<uint64_t> stable_lsn;  ///< on a primary
  std::optional<uint64_t> unstable_bytes, unstable_limit_bytes;
  MemoryShareMetrics payload_memory, reply_memory;
  std::vector<ReplicaMetrics> replicas;  ///< in the order of the status
};

struct ShardMetrics {
  uint32_t index = 0;
  uint64_t turns = 0;
  uint64_t enters = 0, submissions = 0, completions = 0, doorbells = 0, messages = 0;
  double seconds_working = 0, seconds_spinning = 0, seconds_asleep = 0, seconds_of_cpu = 0;
  std::optional<uint64_t> allocated_bytes;  ///< heap that its thread has asked for so far
  uint64_t mailbox_messages = 0;
  uint64_t pool_limit_bytes = 0, pool_used_bytes = 0, pool_aside_bytes = 0, pool_waiting = 0, pool_waits = 0;
  uint64_t clients = 0, volumes = 0;
};

struct NodeMetrics {
  std::string id, version;
  uint64_t memory_limit_bytes = 0;        ///< as configured
  std::vector<VolumeMetrics> volumes;     ///< in the order of the configuration; one that is not open has no name
  std::vector<ShardMetrics> shards;
  uint64_t rebuilds_running = 0, rebuilds_parallel = 0, rebuild_rate_max = 0;
};

}  // namespace ringbolt

#include "control/metrics_text.h"

#include <algorithm>
#include <utility>

#include "control/prometheus_text.h"
#include "ringbolt/types.h"

namespace ringbolt {
namespace {

using Type = PrometheusText::Type;

std::optional<uint64_t> flag(bool value) { return value ? 1 : 0; }

/// A volume that is open, or being opened: one that is not has no name.
template <class Tell>
void each_volume(const NodeMetrics& node, const Tell& tell) {
  for (const VolumeMetrics& volume : node.volumes) {
    if (!volume.status.name.empty()) tell(volume, MetricLabels{{"volume", volume.status.name}});
  }
}

/// With what the shard counted for it: status and counters come from the same look, in the same order.
template <class Tell>
void each_replica(const NodeMetrics& node, const Tell& tell) {
  each_volume(node, [&](const VolumeMetrics& volume, const MetricLabels& labels) {
    for (size_t i = 0; i < volume.status.replicas.size(); ++i) {
      const ReplicaStatus& replica = volume.status.replicas[i];
      MetricLabels of_replica = labels;
      of_replica.emplace_back("replica", replica.id);
      static const ReplicaMetrics kNothing;
      const bool counted = i < volume.replicas.size() && volume.replicas[i].id == replica.id;
      tell(replica, counted ? volume.replicas[i] : kNothing, of_replica);
    }
  });
}

/// One line of a table: a family with one number of each thing, or none where it is not known.
template <class Thing>
struct Row {
  std::string_view name;
  Type type;
  std::string_view help;
  std::optional<uint64_t> (*value)(const Thing&);
};

// --- volumes --------------------------------------------------------------------------------------------

using V = VolumeMetrics;

std::optional<uint64_t> copies_wanted(const V& v) {
  if (v.status.role != "primary") return std::nullopt;
  return 1 + v.status.replicas.size();
}

/// This copy counts as long as it has not failed: else nobody is served.
std::optional<uint64_t> copies_in_sync(const V& v) {
  if (v.status.role != "primary") return std::nullopt;
  const auto failed = std::any_of(v.status.alarms.begin(), v.status.alarms.end(), [](const AlarmStatus& one) { return one.alarm == Alarm::kCopyFailed; });
  const auto in_sync = std::count_if(v.status.replicas.begin(), v.status.replicas.end(), [](const ReplicaStatus& one) { return one.in_sync; });
  return (failed ? 0 : 1) + static_cast<uint64_t>(in_sync);
}

constexpr Row<V> kVolumeRows[] = {
    {"ringbolt_volume_healthy", Type::kGauge, "Whether the volume does here what its assignment says, with every copy in step.", [](const V& v) { return flag(v.status.healthy); }},
    {"ringbolt_volume_epoch", Type::kGauge, "Epoch of the assignment in force.", [](const V& v) { return v.status.epoch; }},
    {"ringbolt_volume_size_bytes", Type::kGauge, "Size of the volume.", [](const V& v) { return std::optional(v.status.size); }},
    {"ringbolt_volume_clients", Type::kGauge, "Connected clients.", [](const V& v) { return std::optional(v.status.clients); }},
    {"ringbolt_volume_copies_wanted", Type::kGauge, "On a primary: copies by assignment, its own included.", copies_wanted},
    {"ringbolt_volume_copies_in_sync", Type::kGauge, "On a primary: copies that have everything that was acknowledged, its own included.", copies_in_sync},
    {"ringbolt_volume_wal_tail_lsn", Type::kGauge, "Oldest record in the log.", [](const V& v) { return v.status.wal_tail; }},
    {"ringbolt_volume_wal_head_lsn", Type::kGauge, "Newest record in the log.", [](const V& v) { return v.status.wal_head; }},
    {"ringbolt_volume_written_lsn", Type::kGauge, "Records up to this one are written to this copy's log device.", [](const V& v) { return v.status.written_lsn; }},
    {"ringbolt_volume_durable_lsn", Type::kGauge, "Records up to this one are flushed on this copy's log device.", [](const V& v) { return v.status.durable_lsn; }},
    {"ringbolt_volume_committed_lsn", Type::kGauge, "Records up to this one are on as many copies as the durability asks for.", [](const V& v) { return v.status.committed_lsn; }},
    {"ringbolt_volume_stable_lsn", Type::kGauge, "On a primary: records up to this one are flushed on every copy that counts.", [](const V& v) { return v.stable_lsn; }},
    {"ringbolt_volume_checkpoint_lsn", Type::kGauge, "Records up to this one are in the base image.", [](const V& v) { return v.status.checkpoint_lsn; }},
    {"ringbolt_volume_target_lsn", Type::kGauge, "On a primary: where the recovery that has furthest to go must arrive.", [](const V& v) { return v.status.target_lsn; }},
    {"ringbolt_volume_achieved_lsn", Type::kGauge, "On a primary: how far that recovery is.", [](const V& v) { return v.status.achieved_lsn; }},
    {"ringbolt_volume_wal_capacity_bytes", Type::kGauge, "Size of the log.", [](const V& v) { return std::optional(v.status.wal_capacity_bytes); }},
    {"ringbolt_volume_wal_used_bytes", Type::kGauge, "Of the log in use; a part is kept for replicas that lag (replication.wal_retain).", [](const V& v) { return v.status.wal_used_bytes; }},
    {"ringbolt_volume_dirty_bytes", Type::kGauge, "Blocks whose newest version is in the log only.", [](const V& v) { return std::optional(v.dirty_blocks * kBlockBytes); }},
    {"ringbolt_volume_unstable_bytes", Type::kGauge, "On a primary: logged, but not yet flushed on every copy that counts.", [](const V& v) { return v.unstable_bytes; }},
    {"ringbolt_volume_unstable_limit_bytes", Type::kGauge, "On a primary: how much of that there may be; writes beyond it wait.", [](const V& v) { return v.unstable_limit_bytes; }},
    {"ringbolt_volume_requests_open", Type::kGauge, "On a primary: clients' requests that are not answered yet.", [](const V& v) { return std::optional(v.requests_open); }},
    {"ringbolt_volume_wal_written_bytes_total", Type::kCounter, "Written to the log, frame headers included.", [](const V& v) { return std::optional(v.wal_written_bytes); }},
    {"ringbolt_volume_checkpointed_bytes_total", Type::kCounter, "Copied from the log to the base image, zeros included.", [](const V& v) { return std::optional(v.checkpointed_bytes); }},
    {"ringbolt_volume_checkpoint_rounds_total", Type::kCounter, "Rounds of checkpoints that were recorded.", [](const V& v) { return std::optional(v.checkpoint_rounds); }},
};

void tell_volumes(PrometheusText& text, const NodeMetrics& node) {
  text.family("ringbolt_volume_info", Type::kGauge, "What a volume is; always 1.");
  each_volume(node, [&](const V& v, const MetricLabels&) {
    text.sample({{"volume", v.status.name}, {"uuid", v.status.uuid}, {"durability", v.status.durability}, {"shard", std::to_string(v.shard)}}, uint64_t{1});
  });
  text.family("ringbolt_volume_role", Type::kGauge, "1 for the role in force, 0 for the others.");
  each_volume(node, [&](const V& v, const MetricLabels&) {
    for (const char* role : {"primary", "replica", "none"}) text.sample({{"volume", v.status.name}, {"role", role}}, *flag(v.status.role == role));
  });
  text.family("ringbolt_volume_mode", Type::kGauge, "1 for the mode that the volume is in, 0 for the others; ringboltctl why says why.");
  each_volume(node, [&](const V& v, const MetricLabels&) {
    for (const std::string_view mode : kVolumeModes) text.sample({{"volume", v.status.name}, {"mode", std::string(mode)}}, *flag(v.status.mode == mode));
  });
  text.family("ringbolt_volume_alarm", Type::kGauge, "1 while something should be looked at, by what it is; the volume's alarms on the API say more.");
  each_volume(node, [&](const V& v, const MetricLabels&) {
    for (const Alarm alarm : kAlarms) {
      if (alarm == Alarm::kNotAnswering) continue;  // then this is not answered either
      const bool active = std::any_of(v.status.alarms.begin(), v.status.alarms.end(), [alarm](const AlarmStatus& one) { return one.alarm == alarm; });
      text.sample({{"volume", v.status.name}, {"alarm", to_string(alarm)}}, *flag(active));
    }
  });
  for (const Row<V>& row : kVolumeRows) {
    text.family(row.name, row.type, row.help);
    each_volume(node, [&](const V& v, const MetricLabels& labels) {
      if (const auto value = row.value(v)) text.sample(labels, *value);
    });
  }
}

/// The same of each kind of request.
template <class Tell>
void each_op(const NodeMetrics& node, const Tell& tell) {
  each_volume(node, [&](const V& v, const MetricLabels& labels) {
    for (const ClientOp op : kClientOps) {
      MetricLabels of_op = labels;
      of_op.emplace_back("op", to_string(op));
      tell(op, v.ops[static_cast<size_t>(op)], of_op);
    }
  });
}

void tell_requests(PrometheusText& text, const NodeMetrics& node) {
  text.family("ringbolt_volume_requests_total", Type::kCounter, "Clients' requests that were answered; of a large one each piece counts (reads of 256 KiB, writes of 508 KiB).");
  each_op(node, [&](ClientOp, const ClientOpMetrics& op, const MetricLabels& labels) { text.sample(labels, op.latency.count()); });
  text.family("ringbolt_volume_request_bytes_total", Type::kCounter, "Bytes that they were about; of those that succeeded.");
  each_op(node, [&](ClientOp which, const ClientOpMetrics& op, const MetricLabels& labels) {
    if (which != ClientOp::kFlush) text.sample(labels, op.bytes);
  });
  text.family("ringbolt_volume_request_errors_total", Type::kCounter, "Those that failed. shutdown: not answered, as the volume is not served here any more; the client asks again.");
  each_op(node, [&](ClientOp, const ClientOpMetrics& op, const MetricLabels& labels) {
    for (const ClientError error : kClientErrors) {
      MetricLabels of_error = labels;
      of_error.emplace_back("error", to_string(error));
      text.sample(of_error, op.errors[static_cast<size_t>(error)]);
    }
  });
  text.family("ringbolt_volume_request_duration_seconds", Type::kHistogram, "From a request's arrival to its answer, all copies that it waits for included; what is answered in the same turn of the shard's loop counts as 0.");
  each_op(node, [&](ClientOp, const ClientOpMetrics& op, const MetricLabels& labels) { text.histogram(labels, op.latency); });
  text.family("ringbolt_volume_request_stage_seconds", Type::kHistogram,
              "Where that time goes. Of writes, trims and zeroes that succeed: admission (from the arrival until the request is in the log's open frame), staging (until that is sealed and handed to the "
              "device and the replicas), commit (until the answer). Of every reply, and of each piece of a large one: reply (from the answer until the client's socket has taken it).");
  each_volume(node, [&](const V& v, const MetricLabels& labels) {
    for (const RequestStage stage : kRequestStages) {
      MetricLabels of_stage = labels;
      of_stage.emplace_back("stage", to_string(stage));
      text.histogram(of_stage, v.request_stages[static_cast<size_t>(stage)]);
    }
  });
  text.family("ringbolt_volume_stage_duration_seconds", Type::kHistogram, "How long a device took, by what for.");
  each_volume(node, [&](const V& v, const MetricLabels& labels) {
    for (const DeviceStage stage : kDeviceStages) {
      MetricLabels of_stage = labels;
      of_stage.emplace_back("stage", to_string(stage));
      text.histogram(of_stage, v.stages[static_cast<size_t>(stage)]);
    }
  });
}

void tell_volume_memory(PrometheusText& text, const NodeMetrics& node) {
  constexpr Row<MemoryShareMetrics> kRows[] = {
      {"ringbolt_volume_memory_held_bytes", Type::kGauge, "Buffers that wait for the log (payloads) or for clients (replies).", [](const MemoryShareMetrics& m) { return std::optional(m.held_bytes); }},
      {"ringbolt_volume_memory_limit_bytes", Type::kGauge, "How much of that the volume may have now, as others leave it free.", [](const MemoryShareMetrics& m) { return std::optional(m.limit_bytes); }},
      {"ringbolt_volume_memory_waiting", Type::kGauge, "Clients that wait for such a buffer.", [](const MemoryShareMetrics& m) { return std::optional(m.waiting); }},
  };
  for (const Row<MemoryShareMetrics>& row : kRows) {
    text.family(row.name, row.type, row.help);
    each_volume(node, [&](const V& v, const MetricLabels&) {
      text.sample({{"volume", v.status.name}, {"use", "payloads"}}, *row.value(v.payload_memory));
      text.sample({{"volume", v.status.name}, {"use", "replies"}}, *row.value(v.reply_memory));
    });
  }
}

// --- replicas -------------------------------------------------------------------------------------------

using R = ReplicaStatus;

/// Its session, if that is a rebuild whose base lane has begun.
const SessionStatus* rebuild_of(const R& r) { return r.session && r.session->kind == "rebuild" && r.session->base_bytes_total > 0 ? &*r.session : nullptr; }

constexpr Row<R> kReplicaRows[] = {
    {"ringbolt_replica_connected", Type::kGauge, "Whether the primary is connected with the replica.", [](const R& r) { return flag(r.connected); }},
    {"ringbolt_replica_in_sync", Type::kGauge, "Whether the replica is in the in-sync set: it has everything that was acknowledged.", [](const R& r) { return flag(r.in_sync); }},
    {"ringbolt_replica_written_lsn", Type::kGauge, "Records up to this one are written there, as it has acknowledged.", [](const R& r) { return r.written_lsn; }},
    {"ringbolt_replica_durable_lsn", Type::kGauge, "Records up to this one are flushed there, as it has acknowledged.", [](const R& r) { return r.durable_lsn; }},
    {"ringbolt_replica_lag_bytes", Type::kGauge, "How much of the log it has not acknowledged as written; only while a session runs.", [](const R& r) { return r.lag_bytes; }},
    {"ringbolt_replica_rebuild_cancelled", Type::kGauge, "Whether an operator wants no rebuild of it; ringboltctl rebuild takes that back.",
     [](const R& r) { return flag(r.rebuild_order == RebuildOrderStatus::kCancelled); }},
    {"ringbolt_replica_rebuild_size_bytes", Type::kGauge, "While it is rebuilt: what has to be passed.",
     [](const R& r) { return rebuild_of(r) != nullptr ? std::optional(rebuild_of(r)->base_bytes_total) : std::nullopt; }},
    {"ringbolt_replica_rebuild_done_bytes", Type::kGauge, "While it is rebuilt: what was copied.",
     [](const R& r) { return rebuild_of(r) != nullptr ? std::optional(rebuild_of(r)->base_bytes_done) : std::nullopt; }},
    {"ringbolt_replica_rebuild_skipped_bytes", Type::kGauge, "While it is rebuilt: what its log had newer already.",
     [](const R& r) { return rebuild_of(r) != nullptr ? std::optional(rebuild_of(r)->base_bytes_skipped) : std::nullopt; }},
    {"ringbolt_replica_rebuild_bytes_per_second", Type::kGauge, "While it is rebuilt: how fast.",
     [](const R& r) { return rebuild_of(r) != nullptr ? rebuild_of(r)->base_bytes_per_second : std::nullopt; }},
    {"ringbolt_replica_rebuild_left_seconds", Type::kGauge, "While it is rebuilt: how long it still takes at that rate.",
     [](const R& r) { return rebuild_of(r) != nullptr ? rebuild_of(r)->seconds_left : std::nullopt; }},
    {"ringbolt_replica_rebuild_losing_ground", Type::kGauge, "Whether clients write faster than its rebuild takes it: as things are, that does not end.",
     [](const R& r) { return flag(r.session && r.session->losing_ground); }},
};

void tell_replicas(PrometheusText& text, const NodeMetrics& node) {
  for (const Row<R>& row : kReplicaRows) {
    text.family(row.name, row.type, row.help);
    each_replica(node, [&](const R& r, const ReplicaMetrics&, const MetricLabels& labels) {
      if (const auto value = row.value(r)) text.sample(labels, *value);
    });
  }
  text.family("ringbolt_replica_session", Type::kGauge, "The session that runs, or that has failed: which kind, which phase; always 1.");
  each_replica(node, [&](const R& r, const ReplicaMetrics&, const MetricLabels& labels) {
    if (!r.session) return;
    MetricLabels of_session = labels;
    of_session.emplace_back("kind", r.session->kind);
    of_session.emplace_back("phase", r.session->phase);
    text.sample(of_session, uint64_t{1});
  });
  text.family("ringbolt_replica_lag_seconds", Type::kGauge,
              "How long ago the oldest record was logged that it has not acknowledged as written; only while a session runs, and not longer than the primary is one.");
  each_replica(node, [&](const R&, const ReplicaMetrics& m, const MetricLabels& labels) {
    if (m.lag_seconds) text.sample(labels, *m.lag_seconds);
  });
  text.family("ringbolt_replica_sent_bytes_total", Type::kCounter, "Of the log, sent to it.");
  each_replica(node, [&](const R&, const ReplicaMetrics& m, const MetricLabels& labels) { text.sample(labels, m.sent_bytes); });
  text.family("ringbolt_replica_connections_total", Type::kCounter, "Connections that were made to it.");
  each_replica(node, [&](const R&, const ReplicaMetrics& m, const MetricLabels& labels) { text.sample(labels, m.connections); });
  text.family("ringbolt_replica_round_trip_seconds", Type::kHistogram, "From the sending of records to their acknowledgement as written; of many sends at a time not every one is timed.");
  each_replica(node, [&](const R&, const ReplicaMetrics& m, const MetricLabels& labels) { text.histogram(labels, m.round_trip); });
  text.family("ringbolt_replica_verify_differing_bytes", Type::kGauge, "What the last comparison of its copy with the primary's found.");
  each_volume(node, [&](const V& v, const MetricLabels&) {
    for (const VerifyStatus& one : v.status.verifications) text.sample({{"volume", v.status.name}, {"replica", one.replica}}, one.bytes_differing);
  });
}

// --- shards ---------------------------------------------------------------------------------------------

using S = ShardMetrics;

constexpr Row<S> kShardRows[] = {
    {"ringbolt_shard_turns_total", Type::kCounter, "Turns of the shard's loop.", [](const S& s) { return std::optional(s.turns); }},
    {"ringbolt_shard_ring_enters_total", Type::kCounter, "Calls of io_uring_enter.", [](const S& s) { return std::optional(s.enters); }},
    {"ringbolt_shard_ring_submissions_total", Type::kCounter, "Operations that were given to the kernel.", [](const S& s) { return std::optional(s.submissions); }},
    {"ringbolt_shard_ring_completions_total", Type::kCounter, "Completions that were taken from the kernel.", [](const S& s) { return std::optional(s.completions); }},
    {"ringbolt_shard_wakeups_total", Type::kCounter, "Times that another thread woke the shard.", [](const S& s) { return std::optional(s.doorbells); }},
    {"ringbolt_shard_messages_total", Type::kCounter, "Messages from other threads.", [](const S& s) { return std::optional(s.messages); }},
    {"ringbolt_shard_mailbox_messages", Type::kGauge, "Messages that waited behind the question for these numbers.", [](const S& s) { return std::optional(s.mailbox_messages); }},
    {"ringbolt_shard_pool_capacity_bytes", Type::kGauge, "Buffers that the shard may have.", [](const S& s) { return std::optional(s.pool_limit_bytes); }},
    {"ringbolt_shard_pool_used_bytes", Type::kGauge, "Buffers in use; written frames are kept as a cache, so it may be all of them without harm.", [](const S& s) { return std::optional(s.pool_used_bytes); }},
    {"ringbolt_shard_pool_reserved_bytes", Type::kGauge, "Of these set aside: each volume's reserve.", [](const S& s) { return std::optional(s.pool_aside_bytes); }},
    {"ringbolt_shard_pool_waiting", Type::kGauge, "Who waits for a buffer now: clients, logs, replicas.", [](const S& s) { return std::optional(s.pool_waiting); }},
    {"ringbolt_shard_pool_waits_total", Type::kCounter, "Times that somebody began to wait for a buffer.", [](const S& s) { return std::optional(s.pool_waits); }},
    {"ringbolt_shard_allocated_bytes_total", Type::kCounter, "Heap that the shard's thread has asked for so far, whatever it has given back since. Requests need none; questions such as the one for these numbers do.",
     [](const S& s) { return s.allocated_bytes; }},
    {"ringbolt_shard_clients", Type::kGauge, "Connected clients.", [](const S& s) { return std::optional(s.clients); }},
    {"ringbolt_shard_volumes", Type::kGauge, "Volumes that are on the shard.", [](const S& s) { return std::optional(s.volumes); }},
};

void tell_shards(PrometheusText& text, const NodeMetrics& node) {
  for (const Row<S>& row : kShardRows) {
    text.family(row.name, row.type, row.help);
    for (const S& shard : node.shards) {
      if (const auto value = row.value(shard)) text.sample({{"shard", std::to_string(shard.index)}}, *value);
    }
  }
  text.family("ringbolt_shard_time_seconds_total", Type::kCounter, "Time of the shard's loop: at work, looking for work before it sleeps, and in the call that submits and sleeps.");
  for (const S& shard : node.shards) {
    const std::string index = std::to_string(shard.index);
    text.sample({{"shard", index}, {"state", "working"}}, shard.seconds_working);
    text.sample({{"shard", index}, {"state", "spinning"}}, shard.seconds_spinning);
    text.sample({{"shard", index}, {"state", "asleep"}}, shard.seconds_asleep);
  }
  text.family("ringbolt_shard_cpu_seconds_total", Type::kCounter, "Processor time of the shard's thread.");
  for (const S& shard : node.shards) text.sample({{"shard", std::to_string(shard.index)}}, shard.seconds_of_cpu);
}

// --- the node -------------------------------------------------------------------------------------------

void tell_node(PrometheusText& text, const NodeMetrics& node, const ReloadOutcome& reload) {
  text.family("ringbolt_build_info", Type::kGauge, "What runs here, and as which node; always 1.");
  text.sample({{"version", node.version}, {"node", node.id}}, uint64_t{1});
  const auto gauge = [&text](std::string_view name, std::string_view help, auto value) {
    text.family(name, Type::kGauge, help);
    text.sample({}, value);
  };
  gauge("ringbolt_config_last_reload_successful", "Whether the configuration was valid when it was last read (at the start, at a reload).", *flag(reload.successful));
  gauge("ringbolt_config_last_reload_success_timestamp_seconds", "When it was last read and valid.", reload.successful_at);
  gauge("ringbolt_memory_limit_bytes", "What all shards' buffers may take together (node.memory).", node.memory_limit_bytes);
  gauge("ringbolt_rebuilds_running", "Rebuilds that this node feeds now.", node.rebuilds_running);
  gauge("ringbolt_rebuilds_max", "How many it may feed at a time (rebuild.parallel).", node.rebuilds_parallel);
  gauge("ringbolt_rebuild_rate_max_bytes_per_second", "How fast they may be, together (rebuild.rate_max); 0: no limit.", node.rebuild_rate_max);
}

void tell_coordinator(PrometheusText& text, const coord::CoordinatorStatus& coordinator) {
  const auto gauge = [&text](std::string_view name, std::string_view help, auto value) {
    text.family(name, Type::kGauge, help);
    if (value) text.sample({}, *value);
  };
  gauge("ringbolt_coordinator_up", "Whether the coordinator answered the last call.", flag(coordinator.answering));
  gauge("ringbolt_coordinator_last_answer_age_seconds", "How long ago it last answered.", coordinator.last_answer_seconds);
  gauge("ringbolt_coordinator_registered", "Whether this node is registered, as far as is known.", flag(coordinator.registration == "registered"));
  gauge("ringbolt_coordinator_lease_valid", "Whether its lease is surely valid.", flag(coordinator.lease_valid));
  gauge("ringbolt_coordinator_nodes", "Nodes that are registered, as this one sees it.", std::optional<uint64_t>(coordinator.nodes.size()));
}

/// Names as every client library of Prometheus has them.
void tell_process(PrometheusText& text, const io::ProcessFacts& process) {
  const auto tell = [&text](std::string_view name, Type type, std::string_view help, const auto& value) {
    text.family(name, type, help);
    if (value) text.sample({}, *value);
  };
  tell("process_start_time_seconds", Type::kGauge, "When the process began, in seconds since 1970.", process.started_at);
  tell("process_cpu_seconds_total", Type::kCounter, "Processor time, of all threads.", process.cpu_seconds);
  tell("process_resident_memory_bytes", Type::kGauge, "Memory in use.", process.resident_bytes);
  tell("process_virtual_memory_bytes", Type::kGauge, "Address space in use.", process.virtual_bytes);
  tell("process_open_fds", Type::kGauge, "Open file descriptors.", process.open_files);
  tell("process_max_fds", Type::kGauge, "How many there may be.", process.open_files_max);
  tell("process_threads", Type::kGauge, "Threads of the program.", process.threads);
  tell("ringbolt_ring_workers", Type::kGauge, "Threads of the kernel that work for the shards' rings, such as flushes.", process.ring_workers);
}

}  // namespace

std::string metrics_text(const NodeMetrics& node, const io::ProcessFacts& process, const ReloadOutcome& reload,
                         const std::optional<coord::CoordinatorStatus>& coordinator) {
  PrometheusText text;
  tell_node(text, node, reload);
  if (coordinator) tell_coordinator(text, *coordinator);
  tell_process(text, process);
  tell_shards(text, node);
  tell_volumes(text, node);
  tell_requests(text, node);
  tell_volume_memory(text, node);
  tell_replicas(text, node);
  return text.take();
}

}  // namespace ringbolt

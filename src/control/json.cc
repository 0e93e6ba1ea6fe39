#include "control/json.h"

#include <boost/json.hpp>
#include <iterator>
#include <utility>

namespace ringbolt {
namespace {

namespace json = boost::json;

json::value number(const std::optional<uint64_t>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

/// What ringbolt says is ASCII (names and addresses are checked). Other bytes can only come from a
/// peer's words; as they are, they could make the whole reply invalid JSON.
json::string ascii(std::string_view text) {
  json::string result(text.data(), text.size());
  for (char& c : result) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return result;
}

json::value render(const std::optional<SessionStatus>& session) {
  if (!session) return nullptr;
  return json::object{{"id", number(session->id)},
                      {"kind", ascii(session->kind)},
                      {"phase", ascii(session->phase)},
                      {"base_lsn", number(session->base_lsn)},
                      {"target_lsn", number(session->target_lsn)},
                      {"achieved_lsn", number(session->achieved_lsn)},
                      {"base_bytes_total", session->base_bytes_total},
                      {"base_bytes_done", session->base_bytes_done},
                      {"base_bytes_skipped", session->base_bytes_skipped},
                      {"base_bytes_per_second", number(session->base_bytes_per_second)},
                      {"seconds_left", number(session->seconds_left)},
                      {"losing_ground", session->losing_ground},
                      {"reason", ascii(session->reason)}};
}

json::value render(RebuildOrderStatus order) {
  switch (order) {
    case RebuildOrderStatus::kNone: return nullptr;
    case RebuildOrderStatus::kOrdered: return "ordered";
    case RebuildOrderStatus::kCancelled: return "cancelled";
  }
  return nullptr;
}

json::object render(const ReplicaStatus& replica) {
  return {{"id", ascii(replica.id)},
          {"address", ascii(replica.address)},
          {"connected", replica.connected},
          {"in_sync", replica.in_sync},
          {"rebuild_order", render(replica.rebuild_order)},
          {"session", render(replica.session)},
          {"written_lsn", number(replica.written_lsn)},
          {"durable_lsn", number(replica.durable_lsn)},
          {"lag_bytes", number(replica.lag_bytes)}};
}

json::object render(const AlarmStatus& alarm) {
  return {{"code", to_string(alarm.alarm)},
          {"replica", alarm.replica.empty() ? json::value(nullptr) : json::value(ascii(alarm.replica))},
          {"message", ascii(alarm.message)}};
}

json::value or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(ascii(text)); }

json::object render(const ConfigChange& change) {
  return {{"key", change.key}, {"volume", or_null(change.volume)}, {"replica", or_null(change.replica)},
          {"from", or_null(change.from)}, {"to", or_null(change.to)}};
}

json::array texts(const std::vector<std::string>& all) {
  json::array result;
  for (const std::string& one : all) result.push_back(ascii(one));
  return result;
}

json::value seconds(const std::optional<double>& value) { return value ? json::value(*value) : json::value(nullptr); }

json::object render(const coord::NodeRecord& node, const coord::NodeRecord& this_node) {
  return {{"id", ascii(node.id)},
          {"this_node", node.id == this_node.id && node.incarnation == this_node.incarnation},
          {"incarnation", ascii(node.incarnation)},
          {"admin", or_null(node.admin)},
          {"replication", or_null(node.replication)},
          {"nbd", texts(node.nbd)},
          {"host", or_null(node.host)},
          {"zone", or_null(node.zone)},
          {"capacity_bytes", node.capacity_bytes},
          {"free_bytes", node.free_bytes},
          {"version", or_null(node.version)}};
}

json::object render(const coord::CoordinatorStatus& status) {
  return {{"cluster", ascii(status.cluster)},
          {"endpoints", texts(status.endpoints)},
          {"endpoint", or_null(status.endpoint)},
          {"answering", status.answering},
          {"last_answer_seconds", seconds(status.last_answer_seconds)},
          {"last_error", or_null(status.last_error)},
          {"node", ascii(status.this_node.id)},
          {"registration", ascii(status.registration)},
          {"reason", ascii(status.reason)},
          {"lease", json::object{{"id", or_null(status.lease_id)},
                                 {"seconds", status.lease_seconds},
                                 {"valid", status.lease_valid},
                                 {"seconds_left", seconds(status.lease_seconds_left)}}},
          {"nodes_current", status.nodes_current}};
}

json::object boundary(const VolumeStatus& volume) {
  return {{"wal_tail", number(volume.wal_tail)},
          {"wal_head", number(volume.wal_head)},
          {"written_lsn", number(volume.written_lsn)},
          {"durable_lsn", number(volume.durable_lsn)},
          {"committed_lsn", number(volume.committed_lsn)},
          {"checkpoint_lsn", number(volume.checkpoint_lsn)},
          {"target_lsn", number(volume.target_lsn)},
          {"achieved_lsn", number(volume.achieved_lsn)}};
}

json::object render(const VolumeStatus& volume) {
  json::array replicas;
  replicas.reserve(volume.replicas.size());
  for (const ReplicaStatus& replica : volume.replicas) replicas.push_back(render(replica));
  json::array alarms;
  alarms.reserve(volume.alarms.size());
  for (const AlarmStatus& alarm : volume.alarms) alarms.push_back(render(alarm));
  return {{"name", ascii(volume.name)},
          {"uuid", ascii(volume.uuid)},
          {"size", volume.size},
          {"block_size", kBlockBytes},
          {"role", ascii(volume.role)},
          {"epoch", number(volume.epoch)},
          {"durability", ascii(volume.durability)},
          {"mode", ascii(volume.mode)},
          {"reason", ascii(volume.reason)},
          {"healthy", volume.healthy},
          {"boundary", boundary(volume)},
          {"wal", json::object{{"capacity_bytes", volume.wal_capacity_bytes},
                               {"used_bytes", number(volume.wal_used_bytes)}}},
          {"readiness", json::object{{"assigned", volume.assigned},
                                     {"role_applied", volume.role_applied},
                                     {"receiver_ready", volume.receiver_ready},
                                     {"shipper_configured", volume.shipper_configured},
                                     {"shipper_connected", volume.shipper_connected}}},
          {"clients", volume.clients},
          {"replicas", std::move(replicas)},
          {"alarms", std::move(alarms)}};
}

json::object why(const VolumeStatus& volume) {
  json::array facts;
  facts.reserve(volume.why.size());
  for (const std::string& fact : volume.why) facts.push_back(ascii(fact));
  return {{"name", ascii(volume.name)}, {"role", ascii(volume.role)},     {"epoch", number(volume.epoch)},  {"mode", ascii(volume.mode)},
          {"reason", ascii(volume.reason)}, {"healthy", volume.healthy}, {"facts", std::move(facts)}};
}

// --- events -------------------------------------------------------------------------------------

json::value render(const std::optional<VolumeLoad>& load) {
  if (!load) return nullptr;
  json::value latency = nullptr;
  if (load->latency) {
    latency = json::object{{"p50", load->latency->p50_us}, {"p90", load->latency->p90_us}, {"p99", load->latency->p99_us}, {"p999", load->latency->p999_us}};
  }
  return json::object{{"requests_per_second", number(load->requests_per_second)},
                      {"records_per_second", load->records_per_second},
                      {"log_bytes_per_second", number(load->log_bytes_per_second)},
                      {"latency_us", std::move(latency)}};
}

json::object render(const ProjectionChanged::Projection& projection) {
  return {{"mode", ascii(projection.mode)}, {"reason", ascii(projection.reason)},  {"healthy", projection.healthy},
          {"role", ascii(projection.role)}, {"epoch", number(projection.epoch)}};
}

json::object render(const VolumeSeen& seen) {
  json::object data = render(seen.volume);
  data["load"] = render(seen.load);
  return data;
}

json::object render(const ProjectionChanged& changed) {
  json::object data = render(changed.now);
  data["volume"] = ascii(changed.volume);
  data["before"] = render(changed.before);
  data["missed"] = changed.missed;
  return data;
}

/// Of a replica what makes a SessionChanged.
json::object state(const ReplicaStatus& replica) {
  return {{"connected", replica.connected},
          {"in_sync", replica.in_sync},
          {"rebuild_order", render(replica.rebuild_order)},
          {"session", render(replica.session)}};
}

json::object render(const SessionChanged& changed) {
  json::object data = state(changed.now);
  data["volume"] = ascii(changed.volume);
  data["replica"] = ascii(changed.now.id);
  data["address"] = ascii(changed.now.address);
  data["assigned"] = changed.assigned;
  data["before"] = changed.before ? json::value(state(*changed.before)) : json::value(nullptr);
  return data;
}

json::object render(const AlarmChanged& changed) {
  json::object data = render(changed.alarm);
  data["volume"] = changed.volume.empty() ? json::value(nullptr) : json::value(ascii(changed.volume));
  data["active"] = changed.active;
  return data;
}

json::object render(const WhySeen& seen) { return why(seen.volume); }

json::object render(const RebuildSeen& seen) {
  return {{"volume", ascii(seen.volume)},
          {"replica", ascii(seen.replica)},
          {"session", number(seen.map.session())},
          {"bytes_total", seen.map.bytes_total()},
          {"bytes_passed", seen.map.bytes_passed()},
          {"cells", ascii(seen.map.cells())}};
}

json::object render(const VolumeGone& gone) { return {{"volume", ascii(gone.volume)}}; }

json::object render(const RequestCounts& counts) {
  json::array latency;
  latency.reserve(counts.latency.size());
  for (const LatencyBucket& bucket : counts.latency) latency.push_back(json::array{bucket.upper_ns / 1000, bucket.count});
  return {{"bytes", counts.bytes}, {"latency_us", std::move(latency)}};
}

}  // namespace

std::string to_json(const VolumeStatus& volume) {
  json::object data = render(volume);
  data["requests"] = json::object{{"reads", render(volume.reads)}, {"writes", render(volume.writes)}};
  return json::serialize(data);
}

std::string to_json(const std::vector<VolumeStatus>& volumes) {
  json::array array;
  array.reserve(volumes.size());
  for (const VolumeStatus& volume : volumes) array.push_back(render(volume));
  return json::serialize(array);
}

std::string to_json(const NodeStatus& node) {
  return json::serialize(json::object{{"id", ascii(node.id)},
                                      {"version", ascii(node.version)},
                                      {"kernel", ascii(node.kernel)},
                                      {"shards", node.shards},
                                      {"memory_limit_bytes", node.memory_limit_bytes},
                                      {"memory_used_bytes", node.memory_used_bytes},
                                      {"uptime_seconds", node.uptime_seconds},
                                      {"volumes", node.volumes},
                                      {"connections", node.connections}});
}

std::string to_json(const RemovedVolume& removed) {
  json::array kept;
  for (const std::string& path : removed.kept) kept.push_back(json::string(path.data(), path.size()));
  return json::serialize(json::object{{"name", ascii(removed.name)}, {"kept", std::move(kept)}});
}

std::string why_json(const VolumeStatus& volume) { return json::serialize(why(volume)); }

std::string verify_json(const VolumeStatus& volume) {
  json::array replicas;
  replicas.reserve(volume.verifications.size());
  for (const VerifyStatus& one : volume.verifications) {
    json::array ranges;
    ranges.reserve(one.differing.size());
    for (const VerifyStatus::Range& range : one.differing) ranges.push_back(json::object{{"offset", range.offset}, {"length", range.length}});
    replicas.push_back(json::object{{"id", ascii(one.replica)},
                                    {"state", ascii(one.state)},
                                    {"bytes_total", one.bytes_total},
                                    {"bytes_compared", one.bytes_compared},
                                    {"bytes_in_log", one.bytes_in_log},
                                    {"bytes_differing", one.bytes_differing},
                                    {"differing", std::move(ranges)},
                                    {"problem", ascii(one.problem)},
                                    {"seconds_since_begin", one.seconds_since_begin},
                                    {"seconds_since_end", number(one.seconds_since_end)},
                                    {"first_lsn", number(one.first_lsn)},
                                    {"last_lsn", number(one.last_lsn)}});
  }
  return json::serialize(json::object{{"name", ascii(volume.name)}, {"replicas", std::move(replicas)}});
}

const char* name_of(const Event& event) {
  static constexpr const char* kNames[] = {"volume", "projection", "session", "alarm", "why", "rebuild", "gone"};
  static_assert(std::size(kNames) == std::variant_size_v<decltype(Event::what)>);
  return kNames[event.what.index()];
}

std::string to_json(const Event& event) {
  json::object data = std::visit([](const auto& what) { return render(what); }, event.what);
  data["time_ms"] = event.unix_time_ms;
  return json::serialize(data);
}

std::string nodes_json(const std::optional<coord::CoordinatorStatus>& coordinator) {
  if (!coordinator) return json::serialize(json::object{{"coordinator", nullptr}, {"nodes", json::array{}}});
  json::array nodes;
  for (const coord::NodeRecord& node : coordinator->nodes) nodes.push_back(render(node, coordinator->this_node));
  return json::serialize(json::object{{"coordinator", render(*coordinator)}, {"nodes", std::move(nodes)}});
}

std::string to_json(const ReloadReport& report) {
  json::array applied, pending;
  for (const ConfigChange& change : report.applied) applied.push_back(render(change));
  for (const PendingChange& one : report.pending) {
    json::object change = render(one.change);
    change["why"] = ascii(one.why);
    pending.push_back(std::move(change));
  }
  return json::serialize(json::object{{"file", ascii(report.file)}, {"applied", std::move(applied)}, {"pending", std::move(pending)}});
}

std::string error_json(ErrorCode code, std::string_view message) {
  return json::serialize(json::object{
      {"error", json::object{{"code", to_string(code)},
                             {"message", ascii(message)}}}});
}

}  // namespace ringbolt

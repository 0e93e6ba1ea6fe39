// GET /metrics: what it shows of which state, and that the text is one that can be read again.
#include "control/metrics_text.h"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <sstream>

#include "control/embedded.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;

/// Every sample by what stands before its value. Fails if a line is none, comes twice, or is not of the family before it.
std::map<std::string, std::string> samples_of(const std::string& text) {
  std::map<std::string, std::string> samples;
  std::set<std::string> families;
  std::istringstream lines(text);
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK(families.insert(family).second);
      CHECK(line.size() > 7 + family.size() + 10);  // words
      REQUIRE(std::getline(lines, line));
      CHECK(line.starts_with("# TYPE " + family + " "));
      continue;
    }
    const size_t space = line.rfind(' ');
    REQUIRE(space != std::string::npos);
    CHECK(line.starts_with(family));
    CHECK(samples.emplace(line.substr(0, space), line.substr(space + 1)).second);
  }
  return samples;
}

NodeMetrics node_metrics() {
  NodeMetrics node;
  node.id = "n1";
  node.version = "0.1.0";
  node.shards.resize(2);
  node.shards[1].index = 1;
  node.shards[1].pool_waiting = 3;
  node.shards[1].allocated_bytes = 555;
  VolumeMetrics volume;
  volume.status = volume_status("vol0");
  volume.shard = 1;
  volume.ops[static_cast<size_t>(ClientOp::kWriteFua)].latency.add(1'000'000);
  volume.ops[static_cast<size_t>(ClientOp::kWriteFua)].bytes = 4096;
  volume.ops[static_cast<size_t>(ClientOp::kRead)].errors[static_cast<size_t>(ClientError::kIo)] = 2;
  volume.stages[static_cast<size_t>(DeviceStage::kWalFlush)].add(5'000'000);
  volume.request_stages[static_cast<size_t>(RequestStage::kStaging)].add(3'000'000);
  ReplicaMetrics replica;
  replica.id = "n2";
  replica.sent_bytes = 77;
  replica.lag_seconds = 0.5;
  volume.replicas.push_back(replica);
  node.volumes.push_back(volume);
  return node;
}

TEST_CASE("metrics: a volume, its replica and its shard are shown", "[metrics]") {
  auto samples = samples_of(metrics_text(node_metrics(), {}, {}));
  CHECK(samples["ringbolt_build_info{version=\"0.1.0\",node=\"n1\"}"] == "1");
  CHECK(samples["ringbolt_volume_healthy{volume=\"vol0\"}"] == "1");
  CHECK(samples["ringbolt_volume_epoch{volume=\"vol0\"}"] == "3");
  CHECK(samples["ringbolt_volume_wal_head_lsn{volume=\"vol0\"}"] == "42");
  CHECK(samples["ringbolt_volume_copies_wanted{volume=\"vol0\"}"] == "2");
  CHECK(samples["ringbolt_volume_copies_in_sync{volume=\"vol0\"}"] == "2");
  CHECK(samples["ringbolt_volume_role{volume=\"vol0\",role=\"primary\"}"] == "1");
  CHECK(samples["ringbolt_volume_role{volume=\"vol0\",role=\"replica\"}"] == "0");
  CHECK(samples["ringbolt_volume_requests_total{volume=\"vol0\",op=\"write_fua\"}"] == "1");
  CHECK(samples["ringbolt_volume_request_bytes_total{volume=\"vol0\",op=\"write_fua\"}"] == "4096");
  CHECK(samples.count("ringbolt_volume_request_bytes_total{volume=\"vol0\",op=\"flush\"}") == 0);
  CHECK(samples["ringbolt_volume_request_errors_total{volume=\"vol0\",op=\"read\",error=\"io\"}"] == "2");
  CHECK(samples["ringbolt_volume_request_duration_seconds_count{volume=\"vol0\",op=\"write_fua\"}"] == "1");
  CHECK(samples["ringbolt_volume_stage_duration_seconds_sum{volume=\"vol0\",stage=\"wal_flush\"}"] == "0.005");
  CHECK(samples["ringbolt_volume_request_stage_seconds_sum{volume=\"vol0\",stage=\"staging\"}"] == "0.003");
  for (const char* stage : {"admission", "commit", "reply"}) {
    CHECK(samples["ringbolt_volume_request_stage_seconds_count{volume=\"vol0\",stage=\"" + std::string(stage) + "\"}"] == "0");
  }
  CHECK(samples["ringbolt_replica_in_sync{volume=\"vol0\",replica=\"n2\"}"] == "1");
  CHECK(samples["ringbolt_replica_sent_bytes_total{volume=\"vol0\",replica=\"n2\"}"] == "77");
  CHECK(samples["ringbolt_replica_lag_seconds{volume=\"vol0\",replica=\"n2\"}"] == "0.5");
  CHECK(samples["ringbolt_replica_session{volume=\"vol0\",replica=\"n2\",kind=\"keepup\",phase=\"running\"}"] == "1");
  CHECK(samples.count("ringbolt_replica_durable_lsn{volume=\"vol0\",replica=\"n2\"}") == 0);  // not known
  CHECK(samples.count("ringbolt_replica_rebuild_done_bytes{volume=\"vol0\",replica=\"n2\"}") == 0);
  CHECK(samples["ringbolt_shard_pool_waiting{shard=\"1\"}"] == "3");
  CHECK(samples["ringbolt_shard_allocated_bytes_total{shard=\"1\"}"] == "555");
  CHECK(samples.count("ringbolt_shard_allocated_bytes_total{shard=\"0\"}") == 0);  // not known
  CHECK(samples["ringbolt_shard_time_seconds_total{shard=\"0\",state=\"asleep\"}"] == "0");
}

TEST_CASE("metrics: a volume has one role and one mode, whichever it is", "[metrics]") {
  for (const std::string_view mode : kVolumeModes) {
    NodeMetrics node = node_metrics();
    node.volumes[0].status.mode = mode;
    int active = 0;
    for (const auto& [name, value] : samples_of(metrics_text(node, {}, {}))) {
      if (name.starts_with("ringbolt_volume_mode{")) active += value == "1";
    }
    CHECK(active == 1);
  }
  // Those are all that there are.
  const auto document = boost::json::parse(boost::json::string_view(embedded::kOpenApi.data(), embedded::kOpenApi.size()));
  std::set<std::string> described;
  for (const auto& mode : document.at("components").at("schemas").at("Mode").at("enum").as_array()) described.emplace(mode.as_string());
  CHECK(described == std::set<std::string>(kVolumeModes.begin(), kVolumeModes.end()));
}

TEST_CASE("metrics: alarms are there, raised or not", "[metrics]") {
  NodeMetrics node = node_metrics();
  node.volumes[0].status.alarms = {{Alarm::kCopyFailed, {}, "gone"}, {Alarm::kReplicaOutOfSync, "n2", "n2 is away"}};
  node.volumes[0].status.replicas[0].in_sync = false;
  auto samples = samples_of(metrics_text(node, {}, {}));
  CHECK(samples["ringbolt_volume_alarm{volume=\"vol0\",alarm=\"copy_failed\"}"] == "1");
  CHECK(samples["ringbolt_volume_alarm{volume=\"vol0\",alarm=\"replica_out_of_sync\"}"] == "1");
  CHECK(samples["ringbolt_volume_alarm{volume=\"vol0\",alarm=\"base_full\"}"] == "0");
  CHECK(samples["ringbolt_volume_copies_in_sync{volume=\"vol0\"}"] == "0");
}

TEST_CASE("metrics: a rebuild is shown while it is one", "[metrics]") {
  NodeMetrics node = node_metrics();
  SessionStatus& session = *node.volumes[0].status.replicas[0].session;
  session.kind = "rebuild";
  session.base_bytes_total = 1000;
  session.base_bytes_done = 400;
  session.base_bytes_skipped = 100;
  session.base_bytes_per_second = 50;
  session.losing_ground = true;
  auto samples = samples_of(metrics_text(node, {}, {}));
  const std::string labels = "{volume=\"vol0\",replica=\"n2\"}";
  CHECK(samples["ringbolt_replica_rebuild_size_bytes" + labels] == "1000");
  CHECK(samples["ringbolt_replica_rebuild_done_bytes" + labels] == "400");
  CHECK(samples["ringbolt_replica_rebuild_skipped_bytes" + labels] == "100");
  CHECK(samples["ringbolt_replica_rebuild_bytes_per_second" + labels] == "50");
  CHECK(samples["ringbolt_replica_rebuild_losing_ground" + labels] == "1");
  CHECK(samples.count("ringbolt_replica_rebuild_left_seconds" + labels) == 0);  // not known
}

TEST_CASE("metrics: a volume that is not open, and one whose replicas changed meanwhile, do no harm", "[metrics]") {
  NodeMetrics node = node_metrics();
  node.volumes.emplace_back();            // no name: it is being opened
  node.volumes[0].replicas[0].id = "n9";  // what was counted is another replica's
  auto samples = samples_of(metrics_text(node, {}, {}));
  CHECK(samples.count("ringbolt_volume_healthy{volume=\"\"}") == 0);
  CHECK(samples["ringbolt_replica_sent_bytes_total{volume=\"vol0\",replica=\"n2\"}"] == "0");
}

TEST_CASE("metrics: the same families are there whatever the node has", "[metrics]") {
  const auto families = [](const std::string& text) {
    std::string names;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("# TYPE ")) names += line + "\n";
    }
    return names;
  };
  CHECK(families(metrics_text({}, {}, {})) == families(metrics_text(node_metrics(), io::read_process_facts(), {})));
}

TEST_CASE("admin: GET /metrics is text for Prometheus, of now", "[admin][metrics]") {
  AdminFixture admin;
  const std::string first = get(admin.address(), "/metrics");
  CHECK(status_of(first) == "200");
  CHECK_THAT(first, Contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  const std::string key = "ringbolt_volume_requests_total{volume=\"vol1\",op=\"write\"}";
  CHECK(samples_of(body_of(first))[key] == "1");
  CHECK(samples_of(body_of(get(admin.address(), "/metrics")))[key] == "2");
  auto samples = samples_of(body_of(first));
  CHECK(samples.count("process_resident_memory_bytes") == 1);
  CHECK(samples["ringbolt_config_last_reload_successful"] == "1");
}

TEST_CASE("admin: GET /metrics says how the configuration was taken when it was read again", "[admin][metrics]") {
  AdminFixture admin;
  auto before = samples_of(body_of(get(admin.address(), "/metrics")));
  admin.on_control_thread([&] { admin.server().note_reload(false); });
  auto after = samples_of(body_of(get(admin.address(), "/metrics")));
  CHECK(after["ringbolt_config_last_reload_successful"] == "0");
  CHECK(after["ringbolt_config_last_reload_success_timestamp_seconds"] == before["ringbolt_config_last_reload_success_timestamp_seconds"]);
  admin.on_control_thread([&] { admin.server().note_reload(true); });
  after = samples_of(body_of(get(admin.address(), "/metrics")));
  CHECK(after["ringbolt_config_last_reload_successful"] == "1");
  CHECK(std::stod(after["ringbolt_config_last_reload_success_timestamp_seconds"]) >= std::stod(before["ringbolt_config_last_reload_success_timestamp_seconds"]));
}

TEST_CASE("admin: GET /metrics while the daemon starts is an error, so that nobody takes nothing for zero", "[admin][metrics]") {
  AdminFixture admin({}, false);
  CHECK(code_of(get(admin.address(), "/metrics")) == "503 starting");
}

}  // namespace
}  // namespace ringbolt::test

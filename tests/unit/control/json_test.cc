// The JSON of the admin API, field by field: scripts depend on it.
#include "control/json.h"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <limits>

#include "tests/unit/control/fake_daemon.h"

namespace ringbolt {
namespace {

namespace json = boost::json;

TEST_CASE("json: a volume has exactly the fields of the interface", "[json]") {
  VolumeStatus volume = test::volume_status("vol0");
  volume.checkpoint_lsn = 12;
  volume.replicas[0].durable_lsn = 40;
  volume.reads = {{{2000, 7}, {112'000, 1}}, 4096};
  // Field order and spelling as in the interface.
  CHECK(to_json(volume) ==
        R"({"name":"vol0","uuid":"8e4f12aa-0000-4000-8000-000000000001","size":1073741824,)"
        R"("block_size":4096,"role":"primary","epoch":3,"durability":"sync_all",)"
        R"("mode":"publish_healthy","reason":"","healthy":true,)"
        R"("boundary":{"wal_tail":1,"wal_head":42,"written_lsn":42,"durable_lsn":40,)"
        R"("committed_lsn":42,"checkpoint_lsn":12,"target_lsn":null,"achieved_lsn":null},)"
        R"("wal":{"capacity_bytes":268435456,"used_bytes":1048576},)"
        R"("readiness":{"assigned":true,"role_applied":true,"receiver_ready":false,)"
        R"("shipper_configured":true,"shipper_connected":true},"clients":1,)"
        R"("replicas":[{"id":"n2","address":"127.0.0.1:20810","connected":true,"in_sync":true,)"
        R"("rebuild_order":null,"session":{"id":7,"kind":"keepup","phase":"running","base_lsn":null,"target_lsn":null,)"
        R"("achieved_lsn":null,"base_bytes_total":0,"base_bytes_done":0,"base_bytes_skipped":0,)"
        R"("base_bytes_per_second":null,"seconds_left":null,"losing_ground":false,)"
        R"("reason":""},"written_lsn":42,"durable_lsn":40,"lag_bytes":0}],"alarms":[],)"
        R"("requests":{"reads":{"bytes":4096,"latency_us":[[2,7],[112,1]]},"writes":{"bytes":0,"latency_us":[]}}})");
  // A list is asked for often, and may be long.
  CHECK_THAT(to_json(std::vector{volume}), Catch::Matchers::EndsWith(R"("alarms":[]}])"));
}

TEST_CASE("json: alarms have exactly the fields of the interface", "[json]") {
  VolumeStatus volume = test::volume_status("vol0");
  volume.alarms = {{Alarm::kCopyFailed, "", "a \"word\""}, {Alarm::kCopiesDiffer, "n2", "\xff"}};
  CHECK_THAT(to_json(std::vector{volume}), Catch::Matchers::EndsWith(R"("alarms":[{"code":"copy_failed","replica":null,"message":"a \"word\""},)"
                                                        R"({"code":"copies_differ","replica":"n2","message":"?"}]}])"));
}

TEST_CASE("json: why has exactly the fields of the interface", "[json]") {
  VolumeStatus volume = test::volume_status("vol0");
  volume.reason = "x";
  volume.why = {"a \"fact\"", "\xff"};
  CHECK(why_json(volume) == R"({"name":"vol0","role":"primary","epoch":3,"mode":"publish_healthy","reason":"x","healthy":true,)"
                            R"("facts":["a \"fact\"","?"]})");
  volume.why.clear();
  CHECK_THAT(why_json(volume), Catch::Matchers::EndsWith("\"facts\":[]}"));
}

TEST_CASE("json: what is not known is null, never 0", "[json]") {
  VolumeStatus volume;
  volume.replicas.emplace_back();
  const json::value parsed = json::parse(to_json(volume));
  const json::object& boundary = parsed.at("boundary").as_object();
  CHECK(boundary.size() == 8);
  for (const auto& field : boundary) {
    CAPTURE(std::string(field.key()));
    CHECK(field.value().is_null());
  }
  CHECK(parsed.at("epoch").is_null());
  CHECK(parsed.at("wal").at("used_bytes").is_null());
  const json::value& replica = parsed.at("replicas").at(0);
  for (const char* field : {"session", "written_lsn", "durable_lsn", "lag_bytes"}) {
    CAPTURE(field);
    CHECK(replica.at(field).is_null());
  }
  // A session that was not had, because the replica cannot be reached.
  volume.replicas[0].session.emplace();
  CHECK(json::parse(to_json(volume)).at("replicas").at(0).at("session").at("id").is_null());
}

TEST_CASE("json: numbers of 64 bits and hostile text survive", "[json]") {
  VolumeStatus volume;
  volume.name = "a\"\\\n\x01";
  volume.reason = "\xff\xc3\xa4";  // not text in any case: JSON would be unreadable as a whole
  volume.wal_head = std::numeric_limits<uint64_t>::max();
  const json::value parsed = json::parse(to_json(std::vector<VolumeStatus>{volume}));
  CHECK(parsed.at(0).at("name").as_string() == "a\"\\\n\x01");
  CHECK(parsed.at(0).at("reason").as_string() == "???");
  CHECK(parsed.at(0).at("boundary").at("wal_head").as_uint64() ==
        std::numeric_limits<uint64_t>::max());
  CHECK(to_json(std::vector<VolumeStatus>{}) == "[]");
}

TEST_CASE("json: node and error", "[json]") {
  NodeStatus node;
  node.id = "n1";
  node.version = "0.1.0";
  node.kernel = "6.1";
  node.shards = 2;
  node.memory_limit_bytes = 3;
  node.memory_used_bytes = 4;
  node.uptime_seconds = 5;
  node.volumes = 6;
  node.connections = 7;
  CHECK(to_json(node) ==
        R"({"id":"n1","version":"0.1.0","kernel":"6.1","shards":2,"memory_limit_bytes":3,)"
        R"("memory_used_bytes":4,"uptime_seconds":5,"volumes":6,"connections":7})");
  CHECK(error_json(ErrorCode::kNotFound, "no \"x\"") ==
        R"({"error":{"code":"not_found","message":"no \"x\""}})");
}

}  // namespace
}  // namespace ringbolt

// What a volume did between two looks at it.
#include "control/volume_load.h"

#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

VolumeStatus primary(uint64_t head, std::vector<LatencyBucket> latency = {}) {
  VolumeStatus volume;
  volume.role = "primary";
  volume.epoch = 1;
  volume.wal_head = head;
  volume.wal_position_bytes = head * 8192;
  volume.latency = std::move(latency);
  return volume;
}

constexpr uint64_t kUs = 1000;

TEST_CASE("load: rates are differences over the time between two looks", "[load]") {
  const auto load = load_between(primary(10, {{100 * kUs, 4}}), primary(60, {{100 * kUs, 54}}), 0.5);
  REQUIRE(load);
  CHECK(load->requests_per_second == 100);
  CHECK(load->records_per_second == 100);
  CHECK(load->log_bytes_per_second == 100 * 8192);
}

TEST_CASE("load: percentiles are of the requests between the looks alone", "[load]") {
  // What was slow before does not count; a bucket may be new.
  const VolumeStatus before = primary(0, {{50 * kUs, 1000}, {9000 * kUs, 5000}});
  const VolumeStatus now = primary(0, {{50 * kUs, 1500}, {100 * kUs, 490}, {2000 * kUs, 9}, {9000 * kUs, 5001}});
  const auto load = load_between(before, now, 1);
  REQUIRE(load);
  REQUIRE(load->latency);
  CHECK(load->requests_per_second == 1000);
  CHECK(load->latency->p50_us == 50);
  CHECK(load->latency->p90_us == 100);
  CHECK(load->latency->p99_us == 100);
  CHECK(load->latency->p999_us == 2000);
  CHECK(load_between(before, primary(0, {{50 * kUs, 1000}, {9000 * kUs, 5010}}), 1)->latency->p50_us == 9000);
}

TEST_CASE("load: without requests there is no latency, and nothing is 0 by guess", "[load]") {
  const auto load = load_between(primary(5, {{kUs, 7}}), primary(5, {{kUs, 7}}), 1);
  REQUIRE(load);
  CHECK(load->requests_per_second == 0);
  CHECK(load->records_per_second == 0);
  CHECK(!load->latency);
}

TEST_CASE("load: a replica takes records and no requests", "[load]") {
  VolumeStatus before = primary(5), now = primary(25);
  before.role = now.role = "replica";
  const auto load = load_between(before, now, 2);
  REQUIRE(load);
  CHECK(!load->requests_per_second);
  CHECK(load->records_per_second == 10);
}

TEST_CASE("load: counts of 32 bits wrap", "[load]") {
  const auto load = load_between(primary(0, {{kUs, 0xfffffff0u}}), primary(0, {{kUs, 0x10u}}), 1);
  REQUIRE(load);
  CHECK(load->requests_per_second == 32);
}

TEST_CASE("load: what cannot be compared is not", "[load]") {
  const VolumeStatus before = primary(10, {{kUs, 100}, {2 * kUs, 5}});
  VolumeStatus now = primary(20, {{kUs, 100}, {2 * kUs, 5}});
  CHECK(load_between(before, now, 1));
  SECTION("no time has passed") { CHECK(!load_between(before, now, 0)); }
  SECTION("another epoch") {
    now.epoch = 2;
    CHECK(!load_between(before, now, 1));
  }
  SECTION("another role") {
    now.role = "replica";
    CHECK(!load_between(before, now, 1));
  }
  SECTION("a log that was cut") {
    now.wal_head = 9;
    CHECK(!load_between(before, now, 1));
  }
  SECTION("a log that is not known") {
    now.wal_head.reset();
    CHECK(!load_between(before, now, 1));
  }
  SECTION("counts that began anew") {
    now.latency = {{kUs, 3}, {2 * kUs, 5}};
    CHECK(!load_between(before, now, 1));
    now.latency = {{2 * kUs, 5}};
    CHECK(!load_between(before, now, 1));
    now.latency = {{kUs, 100}};
    CHECK(!load_between(before, now, 1));
    now.latency.clear();
    CHECK(!load_between(before, now, 1));
  }
  SECTION("a log whose place was taken back: only that number is not known") {
    now.wal_position_bytes = 1;
    const auto load = load_between(before, now, 1);
    REQUIRE(load);
    CHECK(!load->log_bytes_per_second);
    CHECK(load->records_per_second == 10);
  }
}

}  // namespace
}  // namespace ringbolt

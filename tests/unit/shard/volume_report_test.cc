// What the control thread is told of a volume beside its status.
#include "shard/volume_report.h"

#include <catch2/catch.hpp>

#include "tests/unit/control/fake_daemon.h"

namespace ringbolt {
namespace {

using test::volume_status;

std::vector<Alarm> codes(const std::vector<AlarmStatus>& alarms) {
  std::vector<Alarm> result;
  for (const AlarmStatus& alarm : alarms) result.push_back(alarm.alarm);
  return result;
}

TEST_CASE("volume report: a healthy volume has no alarm", "[report]") { CHECK(alarms_of(volume_status("v"), {}).empty()); }

TEST_CASE("volume report: each alarm has its cause, and says it", "[report]") {
  VolumeStatus volume = volume_status("v");
  core::CopyObserved copy;
  SECTION("a copy that failed") {
    copy.failure = "write error";
    const auto alarms = alarms_of(volume, copy);
    CHECK(codes(alarms) == std::vector{Alarm::kCopyFailed});
    CHECK(alarms[0].message == "write error");
    CHECK(alarms[0].replica.empty());
  }
  SECTION("a copy that is damaged") {
    copy.damage = "the log is damaged";
    CHECK(codes(alarms_of(volume, copy)) == std::vector{Alarm::kCopyDamaged});
  }
  SECTION("no space") {
    copy.base_full = true;
    CHECK(codes(alarms_of(volume, copy)) == std::vector{Alarm::kBaseFull});
  }
  SECTION("a replica that does not count") {
    volume.replicas[0].in_sync = false;
    volume.replicas[0].session->reason = "transport_lost";
    const auto alarms = alarms_of(volume, copy);
    CHECK(codes(alarms) == std::vector{Alarm::kReplicaOutOfSync});
    CHECK(alarms[0].replica == "n2");
    CHECK(alarms[0].message == "replica n2 is not in the in-sync set: transport_lost");
    volume.replicas[0].session.reset();
    CHECK(alarms_of(volume, copy)[0].message == "replica n2 is not in the in-sync set");
  }
  SECTION("a rebuild that does not end") {
    volume.replicas[0].session->losing_ground = true;
    CHECK(codes(alarms_of(volume, copy)) == std::vector{Alarm::kRebuildLosingGround});
  }
  SECTION("copies that differ") {
    volume.verifications.resize(2);
    volume.verifications[0].replica = "n2";
    volume.verifications[1].replica = "n3";
    volume.verifications[1].bytes_differing = 4096;
    const auto alarms = alarms_of(volume, copy);
    CHECK(codes(alarms) == std::vector{Alarm::kCopiesDiffer});
    CHECK(alarms[0].replica == "n3");
    CHECK(alarms[0].message == "replica n3: 4096 bytes differ from the primary's copy");
  }
}

TEST_CASE("volume report: changes of mode, reason, health, role and epoch are kept, with their time", "[report]") {
  VolumeReport report;
  CHECK(report.moments()->empty());
  VolumeStatus volume = volume_status("v");
  report.note(volume, 10);
  report.note(volume, 11);
  volume.wal_head = 1000;
  report.note(volume, 12);
  CHECK(report.moments()->size() == 1);
  const auto before = report.moments();
  volume.mode = "degraded";
  report.note(volume, 20);
  volume.reason = "x";
  report.note(volume, 21);
  volume.healthy = false;
  report.note(volume, 22);
  volume.role = "replica";
  report.note(volume, 23);
  volume.epoch = 9;
  report.note(volume, 24);
  REQUIRE(report.moments()->size() == 6);
  CHECK(before->size() == 1);  // what somebody looks at does not change
  for (uint64_t i = 0; i < 6; ++i) CHECK((*report.moments())[i]->number == i + 1);
  CHECK((*report.moments())[0]->unix_time_ms == 10);
  CHECK((*report.moments())[5]->unix_time_ms == 24);
  CHECK((*report.moments())[1]->volume.mode == "degraded");
  CHECK((*report.moments())[1]->volume.reason.empty());
  CHECK((*report.moments())[5]->volume == volume);
}

TEST_CASE("volume report: the last changes are kept, and their numbers show that there were others", "[report]") {
  VolumeReport report;
  VolumeStatus volume = volume_status("v");
  const auto last = VolumeReport::kMomentsMax + 100;
  for (uint64_t epoch = 1; epoch <= last; ++epoch) {
    volume.epoch = epoch;
    report.note(volume, epoch);
  }
  REQUIRE(report.moments()->size() == VolumeReport::kMomentsMax);
  CHECK(report.moments()->front()->number == 101);
  CHECK(report.moments()->front()->volume.epoch == 101);
  CHECK(report.moments()->back()->number == last);
}

}  // namespace
}  // namespace ringbolt

// What looks at volumes say happened in between.
#include "control/volume_events.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "control/json.h"
#include "tests/unit/control/fake_daemon.h"

namespace ringbolt {
namespace {

using test::volume_status;

/// Names of events, in order.
std::vector<std::string> names(const std::vector<Event>& events) {
  std::vector<std::string> result;
  for (const Event& event : events) result.emplace_back(name_of(event));
  return result;
}

using Names = std::vector<std::string>;

struct Watched {
  VolumeWatch watch;
  VolumeStatus volume = volume_status("vol0");
  uint64_t moments = 0;

  explicit Watched(bool first_look = true) {
    if (first_look) CHECK(look().empty());
  }
  std::vector<Event> look(uint64_t time_ms = 1000) { return watch.look({volume}, 0.25, time_ms); }
  /// The volume has changed, and recorded it.
  void note(uint64_t time_ms) {
    auto moment = std::make_shared<VolumeMoment>();
    moment->number = ++moments;
    moment->unix_time_ms = time_ms;
    moment->volume = volume;
    moment->volume.moments.reset();
    auto now = volume.moments ? std::make_shared<VolumeMoments>(*volume.moments) : std::make_shared<VolumeMoments>();
    now->push_back(std::move(moment));
    volume.moments = std::move(now);
  }
};

TEST_CASE("volume events: nothing new, no event; but the first load is known one look later", "[events]") {
  Watched w;
  CHECK(names(w.look()) == Names{"volume"});  // the load: nothing was done
  for (int i = 0; i < 5; ++i) CHECK(w.look().empty());
}

TEST_CASE("volume events: numbers come as one event of the whole volume", "[events]") {
  Watched w;
  w.look();
  w.volume.wal_head = 142;
  w.volume.committed_lsn = 142;
  w.volume.replicas[0].lag_bytes = 4096;
  const auto events = w.look(5000);
  REQUIRE(names(events) == Names{"volume"});
  const auto& seen = std::get<VolumeSeen>(events[0].what);
  CHECK(events[0].unix_time_ms == 5000);
  CHECK(seen.volume.wal_head == 142);
  REQUIRE(seen.load);
  CHECK(seen.load->records_per_second == 400);
  // Its rate has changed when nothing moves any more.
  const auto after = w.look();
  REQUIRE(names(after) == Names{"volume"});
  CHECK(std::get<VolumeSeen>(after[0].what).load->records_per_second == 0);
  CHECK(w.look().empty());
}

TEST_CASE("volume events: mode, reason, health, role and epoch are a projection", "[events]") {
  Watched w;
  w.look();
  const std::string before_mode = w.volume.mode;
  SECTION("mode") { w.volume.mode = "degraded"; }
  SECTION("reason") { w.volume.reason = "x"; }
  SECTION("health") { w.volume.healthy = false; }
  SECTION("role") { w.volume.role = "replica"; }
  SECTION("epoch") { w.volume.epoch = 4; }
  const auto events = w.look(9);
  REQUIRE(names(events) == Names{"projection", "volume"});
  const auto& changed = std::get<ProjectionChanged>(events[0].what);
  CHECK(changed.volume == "vol0");
  CHECK(changed.before == ProjectionChanged::Projection{before_mode, "", "primary", 3, true});
  CHECK(changed.now == ProjectionChanged::Projection{w.volume.mode, w.volume.reason, w.volume.role, w.volume.epoch, w.volume.healthy});
  CHECK(changed.missed == 0);
  CHECK(names(w.look()).size() <= 1);  // the load may be known again
  CHECK(w.look().empty());
}

TEST_CASE("volume events: changes that came and went between two looks are told, each with its own time", "[events]") {
  Watched w;
  w.look();
  w.volume.mode = "degraded";
  w.volume.replicas[0].connected = false;
  w.note(2000);
  w.volume.mode = "needs_rebuild";
  w.note(2100);
  w.volume = volume_status("vol0");
  w.volume.moments = [&] {
    Watched copy(false);
    copy.moments = 2;
    copy.note(2200);
    return copy.volume.moments;
  }();
  // Three moments: the list of the last look has only the third, so two are not known.
  auto events = w.look(2250);
  REQUIRE(names(events) == Names{"projection"});
  CHECK(std::get<ProjectionChanged>(events[0].what).missed == 2);
  CHECK(events[0].unix_time_ms == 2200);

  Watched all;
  all.look();
  all.volume.mode = "degraded";
  all.volume.replicas[0].connected = false;
  all.note(2000);
  all.volume.mode = "needs_rebuild";
  all.note(2100);
  all.volume.mode = "publish_healthy";
  all.volume.replicas[0].connected = true;
  all.note(2200);
  events = all.look(2250);
  REQUIRE(names(events) == Names{"projection", "session", "projection", "projection", "session"});
  CHECK(std::get<ProjectionChanged>(events[0].what).now.mode == "degraded");
  CHECK(std::get<ProjectionChanged>(events[2].what).before.mode == "degraded");
  CHECK(std::get<ProjectionChanged>(events[2].what).now.mode == "needs_rebuild");
  CHECK(std::get<ProjectionChanged>(events[3].what).now.mode == "publish_healthy");
  for (const Event& event : events) {
    if (const auto* changed = std::get_if<ProjectionChanged>(&event.what)) CHECK(changed->missed == 0);
  }
  CHECK(events[0].unix_time_ms == 2000);
  CHECK(events[2].unix_time_ms == 2100);
  CHECK(events[4].unix_time_ms == 2200);
  CHECK(all.look().empty());
}

TEST_CASE("volume events: what was recorded before the first look is not told", "[events]") {
  Watched w(false);
  w.volume.mode = "degraded";
  w.note(1);
  w.volume.mode = "publish_healthy";
  w.note(2);
  CHECK(w.look().empty());
  CHECK(names(w.look()) == Names{"volume"});
  CHECK(w.look().empty());
}

TEST_CASE("volume events: a session's phase, and whether the replica is there and counts", "[events]") {
  Watched w;
  w.look();
  ReplicaStatus& replica = w.volume.replicas[0];
  const ReplicaStatus before = replica;
  SECTION("phase") { replica.session->phase = "failed"; }
  SECTION("kind") { replica.session->kind = "rebuild"; }
  SECTION("id") { replica.session->id = 8; }
  SECTION("reason") { replica.session->reason = "transport_lost"; }
  SECTION("no session") { replica.session.reset(); }
  SECTION("connected") { replica.connected = false; }
  SECTION("in sync") { replica.in_sync = false; }
  SECTION("ordered") { replica.rebuild_order = RebuildOrderStatus::kOrdered; }
  const auto events = w.look();
  REQUIRE(names(events) == Names{"session", "volume"});
  const auto& changed = std::get<SessionChanged>(events[0].what);
  CHECK(changed.assigned);
  CHECK(changed.now == replica);
  CHECK(changed.before == before);
}

TEST_CASE("volume events: a session's numbers are none of its phases", "[events]") {
  Watched w;
  w.look();
  w.volume.replicas[0].session->base_bytes_done = 5;
  w.volume.replicas[0].session->seconds_left = 5;
  CHECK(names(w.look()) == Names{"volume"});
}

TEST_CASE("volume events: replicas come and go", "[events]") {
  Watched w;
  w.look();
  w.volume.replicas[0].id = "n3";
  const auto events = w.look();
  REQUIRE(names(events) == Names{"session", "session", "volume"});
  const auto& come = std::get<SessionChanged>(events[0].what);
  CHECK(come.now.id == "n3");
  CHECK(come.assigned);
  CHECK(!come.before);
  const auto& gone = std::get<SessionChanged>(events[1].what);
  CHECK(gone.now.id == "n2");
  CHECK(!gone.assigned);
  CHECK(!gone.now.session);
  CHECK(gone.before);
}

TEST_CASE("volume events: alarms are raised and taken back, each once", "[events]") {
  Watched w;
  w.look();
  w.volume.alarms = {{Alarm::kBaseFull, "", "full"}, {Alarm::kReplicaOutOfSync, "n2", "out"}};
  auto events = w.look();
  REQUIRE(names(events) == Names{"alarm", "alarm", "volume"});
  CHECK(std::get<AlarmChanged>(events[0].what).active);
  w.volume.alarms[1].message = "out for another reason";
  CHECK(names(w.look()) == Names{"volume"});
  w.volume.alarms = {{Alarm::kReplicaOutOfSync, "n3", "out"}, {Alarm::kBaseFull, "", "full"}};
  events = w.look();
  REQUIRE(names(events) == Names{"alarm", "alarm", "volume"});
  CHECK(!std::get<AlarmChanged>(events[0].what).active);
  CHECK(std::get<AlarmChanged>(events[0].what).alarm.replica == "n2");
  CHECK(std::get<AlarmChanged>(events[1].what).active);
  CHECK(std::get<AlarmChanged>(events[1].what).alarm.replica == "n3");
}

TEST_CASE("volume events: the facts behind the mode when they are other ones; latency alone is no event", "[events]") {
  Watched w;
  w.look();
  w.volume.why.emplace_back("one more");
  CHECK(names(w.look()) == Names{"why"});
  CHECK(w.look().empty());
  w.volume.verifications.emplace_back();
  w.volume.verifications[0].seconds_since_begin = 3;
  CHECK(w.look().empty());
  w.volume.reads = w.volume.writes = {{{1000, 1}}, 4096};
  CHECK(w.look().empty());
}

TEST_CASE("volume events: a rebuild's map while it goes on", "[events]") {
  Watched w;
  w.look();
  SessionStatus& session = *w.volume.replicas[0].session;
  session.kind = "rebuild";
  session.base_bytes_total = 4096 * 256;
  CHECK(names(w.look()) == Names{"session", "rebuild", "volume"});
  session.base_bytes_done = 4096 * 3;
  const auto events = w.look();
  REQUIRE(names(events) == Names{"rebuild", "volume"});
  const auto& seen = std::get<RebuildSeen>(events[0].what);
  CHECK(seen.replica == "n2");
  CHECK(seen.map.cells().starts_with("000."));
  CHECK(names(w.watch.opening()) == Names{"volume", "why", "rebuild"});
  session.kind = "keepup";
  session.base_bytes_total = session.base_bytes_done = 0;
  CHECK(names(w.look()) == Names{"session", "volume"});
  CHECK(names(w.watch.opening()) == Names{"volume", "why"});
}

TEST_CASE("volume events: the opening is everything", "[events]") {
  VolumeWatch watch;
  CHECK(watch.opening().empty());
  VolumeStatus second = volume_status("vol1");
  second.alarms = {{Alarm::kCopyFailed, "", "bad"}};
  watch.look({volume_status("vol0"), second}, 0, 77);
  const auto events = watch.opening();
  CHECK(names(events) == Names{"volume", "why", "volume", "why", "alarm"});
  for (const Event& event : events) CHECK(event.unix_time_ms == 77);
}

TEST_CASE("volume events: a volume that is new is told whole, one that is gone is told so", "[events]") {
  Watched w;
  w.look();
  auto events = w.watch.look({w.volume, volume_status("vol1")}, 0.25, 1);
  CHECK(names(events) == Names{"volume", "why"});
  CHECK(std::get<VolumeSeen>(events[0].what).volume.name == "vol1");
  events = w.watch.look({volume_status("vol1")}, 0.25, 1);
  REQUIRE(names(events) == Names{"volume", "gone"});
  CHECK(std::get<VolumeGone>(events[1].what).volume == "vol0");
}

TEST_CASE("volume events: one that is deleted and made anew between two looks is another one, whose changes are all told", "[events]") {
  Watched w;
  w.volume.mode = "degraded";
  w.note(2000);
  w.volume.mode = "publish_healthy";
  w.note(2100);
  w.look();
  w.volume = volume_status("vol0");
  w.volume.mode = "allocated_only";
  w.moments = 0;
  w.note(3000);
  CHECK(names(w.look(3100)) == Names{"gone", "volume", "why"});
  w.volume.mode = "degraded";
  w.note(3200);
  w.volume.mode = "publish_healthy";
  w.note(3300);
  w.look();
  w.volume.mode = "allocated_only";
  w.note(3400);
  w.volume.mode = "publish_healthy";
  w.note(3500);
  const std::vector<Event> events = w.look(3600);
  CHECK(std::count_if(events.begin(), events.end(), [](const Event& event) { return std::holds_alternative<ProjectionChanged>(event.what); }) == 2);
}

TEST_CASE("event json: each event's fields", "[events]") {
  VolumeStatus volume = volume_status("v");
  const std::string session = R"({"id":7,"kind":"keepup","phase":"running","base_lsn":null,"target_lsn":null,"achieved_lsn":null,)"
                              R"("base_bytes_total":0,"base_bytes_done":0,"base_bytes_skipped":0,"base_bytes_per_second":null,)"
                              R"("seconds_left":null,"losing_ground":false,"reason":""})";
  CHECK(to_json(Event{5, ProjectionChanged{"v", {"degraded", "r", "primary", 3, false}, {"publish_healthy", "", "primary", std::nullopt, true}, 2}}) ==
        R"({"mode":"degraded","reason":"r","healthy":false,"role":"primary","epoch":3,"volume":"v",)"
        R"("before":{"mode":"publish_healthy","reason":"","healthy":true,"role":"primary","epoch":null},"missed":2,"time_ms":5})");
  CHECK(to_json(Event{5, SessionChanged{"v", true, volume.replicas[0], std::nullopt}}) ==
        R"({"connected":true,"in_sync":true,"rebuild_order":null,"session":)" + session +
            R"(,"volume":"v","replica":"n2","address":"127.0.0.1:20810","assigned":true,"before":null,"time_ms":5})");
  CHECK(to_json(Event{5, AlarmChanged{"v", {Alarm::kBaseFull, "", "full"}, true}}) ==
        R"({"code":"base_full","replica":null,"message":"full","volume":"v","active":true,"time_ms":5})");
  CHECK(to_json(Event{5, AlarmChanged{"", {Alarm::kNotAnswering, "", "x"}, false}}) ==
        R"({"code":"not_answering","replica":null,"message":"x","volume":null,"active":false,"time_ms":5})");
  volume.why = {"a \"fact\"\n"};
  CHECK(to_json(Event{5, WhySeen{volume}}) ==
        R"({"name":"v","role":"primary","epoch":3,"mode":"publish_healthy","reason":"","healthy":true,"facts":["a \"fact\"\n"],"time_ms":5})");
  CHECK(to_json(Event{5, VolumeGone{"v"}}) == R"({"volume":"v","time_ms":5})");
  RebuildMap map;
  SessionStatus rebuild;
  rebuild.id = 9;
  rebuild.base_bytes_total = 8192;
  rebuild.base_bytes_done = 4096;
  map.look(rebuild);
  CHECK(to_json(Event{5, RebuildSeen{"v", "n2", map}}) ==
        R"({"volume":"v","replica":"n2","session":9,"bytes_total":8192,"bytes_passed":4096,"cells":"0.","time_ms":5})");
  const std::string list = to_json(std::vector{volume});
  const std::string whole = list.substr(1, list.size() - 2);
  const std::string numbers = to_json(Event{5, VolumeSeen{volume, VolumeLoad{1, 2, 3, VolumeLoad::Percentiles{4, 5, 6, 7}}}});
  CHECK(numbers == whole.substr(0, whole.size() - 1) +
                       R"(,"load":{"requests_per_second":1,"records_per_second":2,"log_bytes_per_second":3,)"
                       R"("latency_us":{"p50":4,"p90":5,"p99":6,"p999":7}},"time_ms":5})");
  CHECK_THAT(to_json(Event{5, VolumeSeen{volume, std::nullopt}}), Catch::Matchers::EndsWith(R"("load":null,"time_ms":5})"));
}

}  // namespace
}  // namespace ringbolt

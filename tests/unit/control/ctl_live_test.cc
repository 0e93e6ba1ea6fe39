// ringboltctl rebuild and watch: what the daemon is sent, what is shown of one look after another, how it ends.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <sstream>
#include <thread>

#include "control/json.h"
#include "ctl/commands.h"
#include "ctl/rebuild_wait.h"
#include "ctl/screen.h"
#include "ctl/table.h"
#include "ctl/watch.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

using Catch::Matchers::Contains;
using test::AdminFixture;
using test::volume_status;

json::value seen(const VolumeStatus& volume) { return json::parse(to_json(volume)); }

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// n2 is being rebuilt in session 9: 1 GiB of 4 GiB are copied.
VolumeStatus rebuilding() {
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "degraded";
  volume.healthy = false;
  ReplicaStatus& replica = volume.replicas[0];
  replica.in_sync = false;
  replica.session->id = 9;
  replica.session->kind = "rebuild";
  replica.session->base_bytes_total = uint64_t{4} << 30;
  replica.session->base_bytes_done = uint64_t{1} << 30;
  return volume;
}

VolumeStatus catching_up(uint64_t written, uint64_t head) {
  VolumeStatus volume = volume_status("vol0");
  volume.wal_head = head;
  ReplicaStatus& replica = volume.replicas[0];
  replica.in_sync = false;
  replica.written_lsn = written;
  replica.session->kind = "catchup";
  replica.session->base_lsn = 0;
  replica.session->target_lsn = 1000;
  return volume;
}

std::string progress_words(const Pace& pace, const VolumeStatus& volume) {
  const json::value value = seen(volume);
  const auto progress = pace.progress(value.at("replicas").at(0));
  return progress ? progress->words : "none";
}

}  // namespace

// --- rebuild --------------------------------------------------------------------------------------------

TEST_CASE("ctl: rebuild and rebuild cancel send what they were told and nothing more", "[ctl]") {
  AdminFixture admin;
  const Outcome ordered = call(admin.address(), {"rebuild", "vol0", "n2"});
  CHECK(ordered.code == 0);
  CHECK(ordered.err.empty());
  CHECK(ordered.out == "replica n2 of vol0 will be rebuilt; ringboltctl watch vol0 shows how far it is\n");
  const Outcome cancelled = call(admin.address(), {"rebuild", "cancel", "vol1", "n2"});
  CHECK(cancelled.code == 0);
  CHECK(cancelled.out == "replica n2 of vol1: no rebuild goes on or begins until ringboltctl rebuild vol1 n2\n");
  CHECK_THAT(call(admin.address(), {"rebuild", "vol0", "n2", "--json"}).out, Contains(R"("rebuild_order":"ordered")"));
  const auto orders = admin.daemon().rebuilds();
  REQUIRE(orders.size() == 3);
  CHECK(orders[0] == std::pair(std::string("vol0"), RebuildOrder{"n2", true}));
  CHECK(orders[1] == std::pair(std::string("vol1"), RebuildOrder{"n2", false}));
}

TEST_CASE("ctl: a rebuild of what is not there or not here is exit code 1, and says what to do", "[ctl]") {
  AdminFixture admin;
  for (const std::vector<std::string>& words : {std::vector<std::string>{"rebuild", "vol0", "n9"}, {"rebuild", "cancel", "vol0", "n9"}, {"rebuild", "vol0", "n9", "--wait"}}) {
    const Outcome outcome = call(admin.address(), words);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err == "ringboltctl: volume vol0 has no replica \"n9\"\nnext: ringboltctl volume show vol0 lists its replicas\n");
  }
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "volume vol0 is replica here"));
  CHECK_THAT(call(admin.address(), {"rebuild", "vol0", "n2"}).err, Contains("is replica here") && Contains("next: ask the volume's primary"));
}

TEST_CASE("ctl: wrong usage of rebuild and watch is exit code 2, and nothing is sent", "[ctl]") {
  using Words = std::vector<std::string>;
  AdminFixture admin;
  const auto words = GENERATE(Words{"rebuild"}, Words{"rebuild", "vol0"}, Words{"rebuild", "vol0", "n2", "n3"}, Words{"rebuild", "vol0", "a/b"},
                              Words{"rebuild", "cancel"}, Words{"rebuild", "cancel", "vol0"}, Words{"rebuild", "cancel", "vol0", "n2", "x"},
                              Words{"rebuild", "cancel", "vol0", "n2", "--wait"}, Words{"rebuild", "vol0", "cancel", "n2"}, Words{"watch"},
                              Words{"watch", "vol0", "--interval", "0"}, Words{"watch", "vol0", "--count", "0"}, Words{"watch", "vol0", "--count", "x"});
  CAPTURE(words);
  const Outcome outcome = call(admin.address(), words);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(!outcome.err.empty());
  CHECK(admin.daemon().rebuilds().empty());
  CHECK(admin.daemon().volumes_asked() == 0);
}

TEST_CASE("ctl: rebuild --wait shows each step once and ends when the replica is in sync", "[ctl]") {
  AdminFixture admin;
  Outcome outcome{};
  std::thread waiting([&] { outcome = call(admin.address(), {"rebuild", "vol0", "n2", "--wait"}); });
  const auto set_and_be_seen = [&](const VolumeStatus& volume) {
    admin.daemon().set_answer({volume});
    const int asked = admin.daemon().volumes_asked();
    while (admin.daemon().volumes_asked() < asked + 2) std::this_thread::yield();
  };
  while (admin.daemon().rebuilds().empty()) std::this_thread::yield();
  set_and_be_seen(rebuilding());
  admin.daemon().set_answer({volume_status("vol0")});
  waiting.join();
  CHECK(outcome.code == 0);
  CHECK(outcome.err.empty());
  // The volume was in sync and in keepup when the order was given, too.
  const size_t waits = outcome.out.find("waits for the rebuild to begin\n");
  const size_t copies = outcome.out.find("25% (1.0 GiB of 4.0 GiB, 0 B skipped)");
  const size_t ends = outcome.out.find("n2 is in sync\n");
  CHECK(waits == 0);
  CHECK(copies != std::string::npos);
  CHECK(ends != std::string::npos);
  CHECK(copies < ends);
  CHECK(outcome.out.find("25%", copies + 1) == std::string::npos);
  CHECK(outcome.out.find('\x1b') == std::string::npos);
}

TEST_CASE("ctl: rebuild --wait is exit code 1 with the reason when it is cancelled meanwhile", "[ctl]") {
  AdminFixture admin;
  Outcome outcome{};
  std::thread waiting([&] { outcome = call(admin.address(), {"rebuild", "vol0", "n2", "--wait"}); });
  while (admin.daemon().rebuilds().empty()) std::this_thread::yield();
  CHECK(call(admin.address(), {"rebuild", "cancel", "vol0", "n2"}).code == 0);
  waiting.join();
  CHECK(outcome.code == 1);
  CHECK(outcome.err == "ringboltctl: the rebuild was cancelled\nnext: ringboltctl why vol0 tells more\n");
}

TEST_CASE("ctl: what a waiting rebuild is said to do follows from the volume", "[ctl]") {
  using State = RebuildWait::State;
  RebuildWait wait("n2");
  const auto look = [&](const VolumeStatus& volume) { return wait.look(seen(volume), 1); };
  VolumeStatus volume = volume_status("vol0");
  volume.replicas[0].rebuild_order = RebuildOrderStatus::kOrdered;
  CHECK(look(volume).state == State::kWaiting);
  // It needs one anyway, and two others go on.
  volume = rebuilding();
  volume.replicas[0].session->phase = "idle";
  volume.replicas[0].session->reason = "two are going on";
  CHECK(look(volume).words == "waits for the rebuild to begin: two are going on");
  volume.replicas[0].rebuild_order = RebuildOrderStatus::kOrdered;
  CHECK(look(volume).words == "waits for the rebuild to begin: two are going on");
  volume = rebuilding();
  CHECK(look(volume).state == State::kRunning);
  CHECK(look(volume).percent == 25);
  volume.replicas[0].session->losing_ground = true;
  CHECK_THAT(look(volume).words, Contains("losing ground: writes come faster"));
  volume.replicas[0].connected = false;
  volume.replicas[0].session->kind = "keepup";
  volume.replicas[0].session->phase = "failed";
  volume.replicas[0].session->reason = "no route";
  CHECK(look(volume).state == State::kWaiting);
  CHECK(look(volume).words == "n2 is cut off: no route");
  volume = volume_status("vol0");
  volume.replicas[0].in_sync = false;
  CHECK(look(volume).state == State::kWaiting);
  CHECK(look(volume_status("vol0")).state == State::kInSync);
  volume.role = "replica";
  CHECK(look(volume).state == State::kFailed);
  volume = volume_status("vol0");
  volume.replicas[0].id = "n3";
  CHECK(look(volume).words == "n2 is a replica no more");
}

TEST_CASE("ctl: a rebuild that failed is waited for as long as another one goes on", "[ctl]") {
  using State = RebuildWait::State;
  VolumeStatus failed = rebuilding();
  failed.replicas[0].session->phase = "failed";
  failed.replicas[0].session->reason = "pin_lost";
  VolumeStatus in_sync = volume_status("vol0");
  SECTION("the next one succeeds") {
    RebuildWait wait("n2");
    CHECK(wait.look(seen(rebuilding()), 1).state == State::kRunning);
    CHECK(wait.look(seen(failed), 1).state == State::kWaiting);
    CHECK(wait.look(seen(failed), 1).words == "the rebuild failed: pin_lost; waits for the next one");
    VolumeStatus next = rebuilding();
    next.replicas[0].session->id = 12;
    CHECK(wait.look(seen(next), 1).state == State::kRunning);
    in_sync.replicas[0].session->id = 12;
    CHECK(wait.look(seen(in_sync), 1).state == State::kInSync);
  }
  SECTION("none follows: the replica is in sync without it") {
    RebuildWait wait("n2");
    wait.look(seen(rebuilding()), 1);
    wait.look(seen(failed), 1);
    in_sync.replicas[0].session->id = 12;
    const RebuildWait::Look look = wait.look(seen(in_sync), 1);
    CHECK(look.state == State::kFailed);
    CHECK(look.words == "the rebuild failed: pin_lost; n2 is in sync without it");
  }
}

// --- pace -----------------------------------------------------------------------------------------------

TEST_CASE("ctl: bars and times for people", "[ctl]") {
  CHECK(bar(0, 12) == "[..........]");
  CHECK(bar(39, 12) == "[###.......]");
  CHECK(bar(100, 12) == "[##########]");
  CHECK(bar(1000, 12) == "[##########]");
  CHECK(bar(50, 2) == "[]");
  CHECK(human_time(0) == "0 s");
  CHECK(human_time(59) == "59 s");
  CHECK(human_time(60) == "1 min");
  CHECK(human_time(303) == "5 min 3 s");
  CHECK(human_time(7800) == "2 h 10 min");
  CHECK(human_time(3 * 86400 + 4 * 3600 + 59) == "3 d 4 h");
}

TEST_CASE("ctl: writes per second are what the log grew by, and unknown across epochs", "[ctl]") {
  Pace pace;
  VolumeStatus volume = volume_status("vol0");
  pace.look(seen(volume), 0);
  CHECK_FALSE(pace.writes());
  volume.wal_head = 142;
  pace.look(seen(volume), 2);
  CHECK(pace.writes() == 50.0);
  volume.wal_head = 100;  // cut
  pace.look(seen(volume), 2);
  CHECK_FALSE(pace.writes());
  volume.wal_head = 200;
  volume.epoch = 4;
  pace.look(seen(volume), 2);
  CHECK_FALSE(pace.writes());
  volume.wal_head.reset();
  pace.look(seen(volume), 2);
  CHECK_FALSE(pace.writes());
}

TEST_CASE("ctl: clients' latency is that of the requests between two looks, and unknown where counts do not go on", "[ctl]") {
  Pace pace;
  VolumeStatus volume = volume_status("vol0");
  volume.reads = {{{50'000, 1000}, {9'000'000, 5000}}, 1 << 20};
  pace.look(seen(volume), 0);
  CHECK_FALSE(pace.client_reads());
  volume.reads = {{{50'000, 1500}, {100'000, 480}, {2'000'000, 20}, {9'000'000, 5000}}, 5 << 20};
  pace.look(seen(volume), 2);
  REQUIRE(pace.client_reads());
  CHECK(pace.client_reads()->per_second == 500);
  CHECK(pace.client_reads()->bytes_per_second == 2 << 20);
  CHECK(pace.client_reads()->p50_us == 50);
  CHECK(pace.client_reads()->p99_us == 2000);
  REQUIRE(pace.client_writes());
  CHECK(pace.client_writes()->per_second == 0);
  // The daemon was started again.
  volume.reads = {{{50'000, 3}}, 6 << 20};
  pace.look(seen(volume), 1);
  CHECK_FALSE(pace.client_reads());
  // It is of another version, or says nonsense.
  for (const char* said : {R"({})", R"({"requests": {"reads": {"bytes": 1}}})", R"({"requests": {"reads": {"bytes": 7000000, "latency_us": [[50, -1]]}}})",
                           R"({"requests": {"reads": {"bytes": 7000000, "latency_us": [50, 4]}}})"}) {
    CAPTURE(said);
    pace.look(json::parse(said), 1);
    pace.look(json::parse(said), 1);
    CHECK_FALSE(pace.client_reads());
  }
}

TEST_CASE("ctl: watch shows clients' throughput and latency on a primary, in two lines", "[ctl]") {
  Pace pace;
  VolumeStatus volume = volume_status("vol0");
  pace.look(seen(volume), 0);
  CHECK_THAT(joined(watch_lines(seen(volume), pace, 80, false)), Contains("\nreads         -\nwrites        -\nlog           - records/s"));
  volume.reads = {{{128'000, 98}, {1'500'000, 2}}, 400 << 10};
  volume.writes = {{{250'000'000, 999'998}, {12'000'000'000, 2'000'000}}, uint64_t{1023} << 30};
  pace.look(seen(volume), 1);
  std::vector<std::string> lines = watch_lines(seen(volume), pace, 80, false);
  CHECK_THAT(joined(lines), Contains("\nreads         100/s, 400.0 KiB/s, latency p50 128 us, p99 1.5 ms\n") &&
                                Contains("\nwrites        2999998/s, 1023.0 GiB/s, latency p50 12.0 s, p99 12.0 s\n"));
  for (const std::string& line : lines) CHECK(line.size() <= 80);
  for (const std::string& line : watch_lines(seen(volume), pace, 40, false)) CHECK(line.size() <= 40);
  volume.writes.latency.back().count += 1;
  pace.look(seen(volume), 60);
  CHECK_THAT(joined(watch_lines(seen(volume), pace, 80, false)), Contains("\nreads         none\n") && Contains("\nwrites        <1/s, 0 B/s, latency p50 12.0 s"));
  volume.role = "replica";
  lines = watch_lines(seen(volume), pace, 80, false);
  CHECK_THAT(joined(lines), !Contains("reads") && !Contains("writes") && Contains("\nlog           "));
}

TEST_CASE("ctl: a catch-up's time left is that of the gap that closes, not of the records sent", "[ctl]") {
  Pace pace;
  pace.look(seen(catching_up(100, 1000)), 0);
  CHECK(progress_words(pace, catching_up(100, 1000)) == "Lsn 100 of 1000");
  // 200 records/s arrive, 100 are written: 700 are missing.
  pace.look(seen(catching_up(500, 1200)), 2);
  CHECK(progress_words(pace, catching_up(500, 1200)) == "Lsn 500 of 1200, 200 records/s, 7 s left");
  pace.look(seen(catching_up(600, 1400)), 1);
  CHECK(progress_words(pace, catching_up(600, 1400)) == "Lsn 600 of 1400, 100 records/s, it does not gain on the writes");
  // Another session's positions are not compared with those of the one before.
  VolumeStatus next = catching_up(900, 1500);
  next.replicas[0].session->id = 8;
  pace.look(seen(next), 1);
  CHECK(progress_words(pace, next) == "Lsn 900 of 1500");
  CHECK(progress_words(pace, volume_status("vol0")) == "none");
}

TEST_CASE("ctl: a rebuild's rate is the daemon's, or measured if it does not say", "[ctl]") {
  Pace pace;
  VolumeStatus volume = rebuilding();
  SessionStatus& session = *volume.replicas[0].session;
  pace.look(seen(volume), 0);
  CHECK(progress_words(pace, volume) == "25% (1.0 GiB of 4.0 GiB, 0 B skipped)");
  session.base_bytes_done += 512 << 20;
  session.base_bytes_skipped += 512 << 20;
  pace.look(seen(volume), 4);
  CHECK(progress_words(pace, volume) == "50% (1.5 GiB of 4.0 GiB, 512.0 MiB skipped), 256.0 MiB/s, 8 s left");
  pace.look(seen(volume), 1);
  CHECK(progress_words(pace, volume) == "50% (1.5 GiB of 4.0 GiB, 512.0 MiB skipped), 0 B/s");  // no time can be said
  session.base_bytes_per_second = 1 << 20;
  CHECK_THAT(progress_words(pace, volume), Contains("1.0 MiB/s") && !Contains("left"));  // who says the rate says the time
  session.seconds_left = 90;
  CHECK_THAT(progress_words(pace, volume), Contains("1.0 MiB/s, 1 min 30 s left"));
  session.phase = "base_complete";
  CHECK_THAT(progress_words(pace, volume), Contains("the base image is copied, the log follows") && !Contains("left"));
  session.phase = "idle";
  CHECK(progress_words(pace, volume) == "none");
}

// --- watch ----------------------------------------------------------------------------------------------

TEST_CASE("ctl: watch shows mode, throughput, and each replica with its progress, within 80 columns", "[ctl]") {
  VolumeStatus volume = rebuilding();
  volume.reason = "recovery_in_progress: replica n2";
  volume.replicas[0].session->losing_ground = true;
  volume.replicas.push_back(catching_up(500, 42).replicas[0]);
  volume.replicas[1].id = "n3";
  volume.replicas.push_back(volume_status("vol0").replicas[0]);
  volume.replicas[2].id = std::string(63, 'i');
  volume.replicas[2].session->reason = std::string(200, 'r');
  Pace pace;
  pace.look(seen(volume), 0);
  const std::vector<std::string> lines = watch_lines(seen(volume), pace, 80, false);
  for (const std::string& line : lines) CHECK(line.size() <= 80);
  const std::string text = joined(lines);
  CHECK_THAT(text, Contains("vol0, primary of epoch 3, sync_all, 1 clients: degraded\n") && Contains("recovery_in_progress: replica n2") &&
                       Contains("- records/s, WAL 1.0 MiB of 256.0 MiB used") && Contains("session 9: rebuild running\n") &&
                       Contains("  [#######.......................] 25%\n") && Contains("losing ground\n") && Contains("session 7: catchup running\n") &&
                       Contains("  [###############...............] 50%\n") && Contains("Lsn 500 of 42"));
  CHECK(text.find('\x1b') == std::string::npos);
  for (const std::string& line : watch_lines(seen(volume), pace, 40, false)) CHECK(line.size() <= 40);
}

TEST_CASE("ctl: the mode has a colour only if it may, and terminal escapes of others are not passed on", "[ctl]") {
  Pace pace;
  VolumeStatus volume = volume_status("vol0");
  pace.look(seen(volume), 0);
  CHECK(watch_lines(seen(volume), pace, 80, true).front().ends_with(": \x1b[32mpublish_healthy\x1b[0m"));
  volume.healthy = false;
  volume.mode = "needs_rebuild";
  CHECK(watch_lines(seen(volume), pace, 80, true).front().ends_with(": \x1b[31mneeds_rebuild\x1b[0m"));
  volume.mode = "degraded";
  CHECK(watch_lines(seen(volume), pace, 80, true).front().ends_with(": \x1b[33mdegraded\x1b[0m"));
  volume.mode = "x\x1b[2J";
  volume.replicas[0].id = "\x1b]0;t\x07";
  CHECK(joined(watch_lines(seen(volume), pace, 80, false)).find('\x1b') == std::string::npos);
}

TEST_CASE("ctl: a terminal is drawn on again in its place, with no more rows than it has", "[ctl]") {
  std::ostringstream out;
  Screen screen(out, {4, 200});
  CHECK(screen.is_terminal());
  CHECK(screen.columns() == 80);
  screen.draw({"a", "b"});
  CHECK(out.str() == "a\x1b[K\nb\x1b[K\n\x1b[J");
  out.str("");
  screen.draw({"1", "2", "3", "4", "5"});
  CHECK(out.str() == "\x1b[2F1\x1b[K\n2\x1b[K\n3\x1b[K\n\x1b[J");
  out.str("");
  screen.draw({"z"});
  CHECK(out.str() == "\x1b[3Fz\x1b[K\n\x1b[J");
  std::ostringstream file;
  Screen plain_lines(file);
  CHECK_FALSE(plain_lines.is_terminal());
  CHECK_FALSE(plain_lines.colour());
  plain_lines.draw({"a", "b"});
  plain_lines.draw({"c"});
  CHECK(file.str() == "a\nb\nc\n");
}

TEST_CASE("ctl: NO_COLOR is respected, whatever it is set to", "[ctl]") {
  std::ostringstream out;
  const Screen screen(out, {24, 80});
  unsetenv("NO_COLOR");
  CHECK(screen.colour());
  setenv("NO_COLOR", "0", 1);
  CHECK_FALSE(screen.colour());
  setenv("NO_COLOR", "", 1);
  CHECK(screen.colour());
  unsetenv("NO_COLOR");
}

TEST_CASE("ctl: watch looks as often as it was told, in plain lines where there is no terminal", "[ctl]") {
  AdminFixture admin;
  const Outcome outcome = call(admin.address(), {"watch", "vol0", "--count", "3", "--interval", "0.01"});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.empty());
  CHECK(admin.daemon().volumes_asked() == 3);
  CHECK(outcome.out.find('\x1b') == std::string::npos);
  size_t looks = 0;
  for (size_t at = 0; (at = outcome.out.find("vol0, primary", at)) != std::string::npos; ++at) ++looks;
  CHECK(looks == 3);
  CHECK_THAT(outcome.out, Contains("log           - records/s") && Contains("log           0 records/s") && Contains("reads         none\n"));
  CHECK(call(admin.address(), {"--json", "watch", "vol1", "--count", "2", "--interval", "0.01"}).out ==
        to_json(volume_status("vol1")) + "\n" + to_json(volume_status("vol1")) + "\n");
}

TEST_CASE("ctl: watch of what is not there or does not answer ends at once, and goes on through a restart", "[ctl]") {
  AdminFixture admin;
  const Outcome none = call(admin.address(), {"watch", "none"});
  CHECK(none.code == 1);
  CHECK(none.out.empty());
  CHECK_THAT(none.err, Contains("there is no volume"));
  CHECK(call("127.0.0.1:1", {"watch", "vol0"}).code == 3);
  // Away at the second look of three.
  Outcome outcome{};
  std::thread watching([&] { outcome = call(admin.address(), {"watch", "vol0", "--count", "40", "--interval", "0.02"}); });
  while (admin.daemon().volumes_asked() < 3) std::this_thread::yield();
  admin.daemon().set_answer({});
  const int asked = admin.daemon().volumes_asked();
  while (admin.daemon().volumes_asked() < asked + 2) std::this_thread::yield();
  admin.daemon().set_answer({volume_status("vol0")});
  watching.join();
  CHECK(outcome.code == 0);
  const size_t away = outcome.out.find("there is no volume \"vol0\" on this node\n");
  CHECK(away != std::string::npos);
  CHECK(outcome.out.find("vol0, primary", away) != std::string::npos);
}

}  // namespace ringbolt::ctl

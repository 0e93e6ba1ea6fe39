// ringboltctl: exit codes, --json, and tables that fit a terminal.
#include "ctl/commands.h"

#include <cstdlib>
#include <catch2/catch.hpp>
#include <sstream>

#include "control/json.h"
#include "ctl/table.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl {
namespace {

using Catch::Matchers::Contains;
using test::AdminFixture;
using test::volume_status;

size_t widest_line(const std::string& text) {
  size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) widest = std::max(widest, line.size());
  return widest;
}

TEST_CASE("ctl: status shows every volume and replica within 80 columns", "[ctl]") {
  AdminFixture admin;
  VolumeStatus wide = volume_status(std::string(200, 'v'));
  wide.reason = "awaiting_barrier_durability " + std::string(100, 'r');
  wide.mode = "bootstrap_pending";
  wide.epoch = 1'000'000'000'000;
  wide.replicas[0].id = std::string(63, 'i');
  wide.replicas[0].lag_bytes = uint64_t{3} << 40;
  wide.replicas[0].in_sync = false;
  admin.daemon().set_answer({volume_status("vol0"), wide});
  const Outcome outcome = call({"--admin", admin.address(), "status"});
  CHECK(outcome.err.empty());
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("vol0") && Contains("publish_healthy") && Contains("1/1") &&
                              Contains("0/1") && Contains("3.0 TiB") && Contains("keepup running") &&
                              Contains("awaiting_barrier_durability"));
  CHECK(widest_line(outcome.out) <= kTerminalColumns);
}

TEST_CASE("ctl: --json prints exactly what the API returned, before or after the command",
          "[ctl]") {
  AdminFixture admin;
  const std::string volumes =
      to_json(std::vector{volume_status("vol0"), volume_status("vol1")}) + "\n";
  CHECK(call({"--admin", admin.address(), "--json", "status"}).out == volumes);
  CHECK(call({"status", "--json", "--admin", admin.address()}).out == volumes);
  CHECK(call({"--admin=" + admin.address(), "volume", "show", "vol1", "--json"}).out ==
        to_json(volume_status("vol1")) + "\n");
}

TEST_CASE("ctl: volume show tells everything, unknown numbers as a dash", "[ctl]") {
  AdminFixture admin;
  const Outcome outcome = call({"--admin", admin.address(), "volume", "show", "vol0"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("8e4f12aa-0000-4000-8000-000000000001") &&
                              Contains("1.0 GiB (1073741824 bytes)") && Contains("committed 42") &&
                              Contains("checkpoint -") && Contains("127.0.0.1:20810") &&
                              Contains("durable -") && Contains("7: keepup running"));
  CHECK(widest_line(outcome.out) <= kTerminalColumns);
}

TEST_CASE("ctl: a refusal is exit code 1 with the reason on stderr", "[ctl]") {
  AdminFixture admin;
  const Outcome outcome = call({"--admin", admin.address(), "volume", "show", "none"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err == "ringboltctl: there is no volume \"none\" on this node\n");
  CHECK(call({"--admin", admin.address(), "volume", "show", "a/../b"}).code == 1);
}

TEST_CASE("ctl: wrong usage is exit code 2", "[ctl]") {
  const std::vector<std::string> arguments = GENERATE(
      std::vector<std::string>{}, std::vector<std::string>{"frobnicate"},
      std::vector<std::string>{"volume"}, std::vector<std::string>{"volume", "show"},
      std::vector<std::string>{"volume", "show", "a", "b"},
      std::vector<std::string>{"status", "--nonsense"},
      std::vector<std::string>{"--admin", "nowhere", "status"},
      std::vector<std::string>{"--admin", "127.0.0.1:0", "status"});
  const Outcome outcome = call(arguments);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(!outcome.err.empty());
}

TEST_CASE("ctl: help and version are exit code 0", "[ctl]") {
  CHECK(call({"--help"}).code == 0);
  CHECK_THAT(call({"--help"}).out, Contains("status") && Contains("volume"));
  CHECK(call({"--version"}).out == "ringboltctl " RINGBOLT_VERSION "\n");
}

TEST_CASE("ctl: a daemon that does not answer is exit code 3", "[ctl]") {
  std::string address;
  {
    AdminFixture admin;
    address = admin.address();
  }
  const Outcome outcome = call({"--admin", address, "status"});
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err, Contains("no answer from " + address) && Contains("refused"));
}

TEST_CASE("ctl: the daemon's address comes from RINGBOLT_ADMIN unless --admin is given", "[ctl]") {
  AdminFixture admin;
  setenv("RINGBOLT_ADMIN", admin.address().c_str(), 1);
  CHECK(call({"status"}).code == 0);
  CHECK(call({"--admin", "127.0.0.1:1", "status"}).code == 3);
  setenv("RINGBOLT_ADMIN", "nowhere", 1);
  CHECK(call({"status"}).code == 2);
  unsetenv("RINGBOLT_ADMIN");
}

TEST_CASE("ctl: terminal escapes in names are not passed on", "[ctl]") {
  AdminFixture admin;
  VolumeStatus hostile = volume_status("a\x1b[2J\xff");
  hostile.reason = "x\x1b]0;title\x07";
  admin.daemon().set_answer({hostile});
  const std::string out = call({"--admin", admin.address(), "status"}).out;
  CHECK(out.find('\x1b') == std::string::npos);
  CHECK_THAT(out, Contains("a?[2J?"));
}

TEST_CASE("ctl: tables shrink what may shrink and nothing else", "[ctl]") {
  Table table({{"NAME", false, true}, {"NUMBER", true}});
  table.add_row({std::string(50, 'n'), "123456"});
  table.add_row({"short", "1"});
  CHECK(table.lines(20) == std::vector<std::string>{"NAME          NUMBER", "nnnnnnnnnnn~  123456",
                                                    "short              1"});
}

TEST_CASE("ctl: long text is broken at spaces, longer words anywhere", "[ctl]") {
  CHECK(field("reason", "") == "reason\n");
  CHECK(field("a", "one two three", 22) == "a             one two\n              three\n");
  CHECK(field("a", "x 1, y 22", 22) == "a             x 1,\n              y 22\n");
  CHECK(field("a", "123456789012", 22) == "a             12345678\n              9012\n");
  CHECK(field("a title that is long", "x") == "a title that is long\n              x\n");
}

TEST_CASE("ctl: sizes for people", "[ctl]") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.0 KiB");
  CHECK(human_bytes((1u << 20) - 1) == "1.0 MiB");
  CHECK(human_bytes(uint64_t{3} << 39) == "1.5 TiB");
  CHECK(human_bytes(UINT64_MAX) == "16384.0 PiB");
}

}  // namespace
}  // namespace ringbolt::ctl

// ringboltctl doctor: addresses and who holds them, the daemon, the whole examination and how it is shown.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <set>
#include <sstream>

#include "ctl/doctor/doctor.h"
#include "ctl/doctor/port_owner.h"
#include "ctl/doctor/report.h"
#include "ctl/table.h"
#include "tests/unit/ctl/fake_host.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl::doctor {
namespace {

using Catch::Matchers::Contains;

constexpr const char* kTcp = "/proc/net/tcp";
const std::string kTitle = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

/// A line of /proc/net/tcp: `local` like "0100007F:2A39" (127.0.0.1:10809), `state` 0A: it listens.
std::string socket_line(const std::string& local, const std::string& state, const std::string& inode) {
  return "   0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 " + inode + " 1 0 100 0 0 10 0\n";
}

Result<std::optional<Listener>> listener(const FakeHost& host, const std::string& address) {
  return listener_on(host.files(), io::parse_address(address).value());
}

TEST_CASE("doctor: who listens on an address", "[doctor]") {
  FakeHost host;
  CHECK(listener(host, "127.0.0.1:10809").has_error());
  host.write(kTcp, kTitle + socket_line("0100007F:2A39", "0A", "77") + socket_line("0100007F:2A3A", "01", "78"));
  REQUIRE(listener(host, "127.0.0.1:10809").value().has_value());
  CHECK_FALSE(listener(host, "127.0.0.1:10809").value()->pid.has_value());  // nobody may see whose it is
  host.link("/proc/17/fd/3", "socket:[77]").write("/proc/17/comm", "ringboltd").link("/proc/18/fd/3", "socket:[78]");
  CHECK(listener(host, "127.0.0.1:10809").value()->pid == 17u);
  CHECK(listener(host, "127.0.0.1:10809").value()->program == "ringboltd");
  CHECK(listener(host, "0.0.0.0:10809").value().has_value());
  CHECK(listener(host, "somehost:10809").value().has_value());
  CHECK_FALSE(listener(host, "127.0.0.2:10809").value().has_value());
  CHECK_FALSE(listener(host, "127.0.0.1:10810").value().has_value());  // connected, not listening
  host.write("/proc/net/tcp6", kTitle + socket_line("00000000000000000000000000000000:2A3B", "0A", "79") +
                                   socket_line("00000000000000000000000001000000:2A3C", "0A", "80"));
  CHECK(listener(host, "127.0.0.1:10811").value().has_value());
  CHECK(listener(host, "[::1]:10812").value().has_value());
  CHECK_FALSE(listener(host, "127.0.0.1:10812").value().has_value());
  CHECK(listener(host, "unix:/run/x.sock").has_error());
  host.write("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 77 /run/x.sock\n"
                               "0: 00000003 00000000 00000000 0001 03 78 /run/y.sock");
  CHECK(listener(host, "unix:/run/x.sock").value()->pid == 17u);
  CHECK_FALSE(listener(host, "unix:/run/y.sock").value().has_value());
}

TEST_CASE("doctor: the configuration's addresses are free or the daemon's", "[doctor]") {
  FakeHost host;
  Config config;
  const auto look = [&](const std::string& subject) {
    Findings findings;
    check_ports(host.files(), config, findings);
    for (const Finding& finding : findings) {
      if (finding.subject == subject) return found({finding}, "port");
    }
    FAIL(subject);
    return Finding{};
  };
  const std::string nbd = "nbd.listen 127.0.0.1:10809";
  CHECK(look(nbd).state == State::kUnknown);
  CHECK((host.write(kTcp, kTitle), look(nbd).state) == State::kOk);
  host.write(kTcp, kTitle + socket_line("0100007F:2A39", "0A", "77"));
  CHECK(look(nbd).state == State::kUnknown);
  CHECK(look("admin.listen 127.0.0.1:10811").state == State::kOk);
  CHECK_FALSE(daemon_pid(host.files(), config).has_value());
  host.link("/proc/17/fd/3", "socket:[77]").write("/proc/17/comm", "ringboltd");
  CHECK(look(nbd).state == State::kOk);
  CHECK(daemon_pid(host.files(), config) == 17u);
  host.write("/proc/17/comm", "nbd-server");
  CHECK(look(nbd).state == State::kProblem);
  CHECK_THAT(look(nbd).found, Contains("nbd-server") && Contains("17"));
  CHECK_FALSE(daemon_pid(host.files(), config).has_value());
  config.nbd_listen = {"127.0.0.1:0"};
  CHECK(look("nbd.listen 127.0.0.1:0").state == State::kOk);
}

TEST_CASE("doctor: the running daemon", "[doctor]") {
  NodeAnswer answer{"127.0.0.1:10811", "n1", RINGBOLT_VERSION, ""};
  bool holds_port = true;
  const auto look = [&](const char* node) { return finding_of("daemon", [&](Findings& f) { check_daemon(answer, node, holds_port, f); }); };
  CHECK(look("n1").state == State::kOk);
  CHECK(look("").state == State::kOk);
  CHECK(look("n2").state == State::kProblem);
  answer.version = "0.0.1";
  CHECK(look("n1").state == State::kWarning);
  answer.problem = "Connection refused";
  CHECK(look("n1").state == State::kProblem);
  holds_port = false;
  CHECK(look("n1").state == State::kUnknown);
  CHECK_THAT(look("n1").found, Contains("Connection refused"));
}

/// A host that says nothing at all.
struct Silent {
  Host host() {
    return {tree.files(), [] { return Status(boost::outcome_v2::success()); },
            [this](uint64_t bytes) {
              asked_to_lock = bytes;
              return Status(boost::outcome_v2::success());
            },
            [](const std::string& path) {
              PathFacts facts;
              facts.asked = facts.path = path;
              facts.major = 9;
              return facts;
            },
            [this](const std::optional<std::string>& admin) {
              asked_admin = admin;
              return NodeAnswer{admin.value_or("none"), "", "", "Connection refused"};
            }};
  }
  FakeHost tree;
  uint64_t asked_to_lock = 0;
  std::optional<std::string> asked_admin;
};

TEST_CASE("doctor: of a host that does not say anything nothing is ok but what was tried", "[doctor]") {
  Silent silent;
  const Findings findings = examine(silent.host(), {"", {"/data"}});
  for (const Finding& finding : findings) {
    INFO(finding.check << ": " << finding.found);
    const bool was_tried = finding.check == "io_uring" || finding.check == "io_uring_disabled" || finding.check == "time";
    CHECK((was_tried || finding.state == State::kUnknown));
  }
  CHECK(found(findings, "config").state == State::kUnknown);
  CHECK(found(findings, "space").state == State::kUnknown);
  CHECK(found(findings, "file_system").state == State::kUnknown);
  CHECK_FALSE(has_problem(findings));
  CHECK(silent.asked_to_lock == Config{}.memory_bytes);
  CHECK_FALSE(silent.asked_admin.has_value());
}

TEST_CASE("doctor: a configuration says where to look and what is needed", "[doctor]") {
  Silent silent;
  const std::string config = "[node]\nid = \"n1\"\ndata_dir = \"/var/lib/ringbolt\"\nmemory = \"64MiB\"\n[admin]\nlisten = \"127.0.0.1:7\"\n"
                             "[[volume]]\nname = \"vol0\"\nsize = \"64MiB\"\npath = \"/dev/x\"\n";
  silent.tree.write("/good.toml", config).write("/bad.toml", config + "colour = 1\n");
  Findings findings = examine(silent.host(), {silent.tree.root() + "/good.toml", {}});
  CHECK(found(findings, "config").state == State::kOk);
  CHECK(silent.asked_to_lock == 64u << 20);
  CHECK(silent.asked_admin == "127.0.0.1:7");
  std::set<std::string> looked;
  for (const Finding& finding : findings) {
    if (finding.check == "device") looked.insert(finding.subject);
  }
  CHECK(looked == std::set<std::string>{"path /dev/x", "path /var/lib/ringbolt/volumes/vol0/wal", "path /var/lib/ringbolt"});
  findings = examine(silent.host(), {silent.tree.root() + "/bad.toml", {}});
  CHECK(found(findings, "config").state == State::kProblem);
  CHECK_THAT(found(findings, "config").found, Contains("bad.toml:11") && Contains("colour"));
  CHECK(has_problem(findings));
}

TEST_CASE("doctor: as text in 80 columns, coloured or not, and as JSON", "[doctor]") {
  const Findings findings{{"host", "kernel", State::kOk, "Linux 6.1", ""},
                          {"device " + std::string(90, 'd'), "write_cache", State::kWarning, std::string(200, 'w') + " " + std::string(50, 'v'), "do this"},
                          {"host", "io_uring_disabled", State::kProblem, "2\x1b[2J", std::string(30, 'r') + " " + std::string(60, 's')},
                          {"host", "swap", State::kUnknown, "why", ""}};
  const std::string text = report_text(findings, false);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= kTerminalColumns);
  CHECK_THAT(text, Contains("  ok       kernel") && Contains("1 problem, 1 warning, 1 ok, 1 unknown") && Contains("-> do this") && !Contains("\x1b"));
  CHECK(text.find("swap") < text.find("device"));  // what is of one subject stands together
  std::string coloured = report_text(findings, true);
  CHECK_THAT(coloured, Contains("\x1b[31mproblem\x1b[0m  io uring disabled"));
  for (size_t at = coloured.find('\x1b'); at != std::string::npos; at = coloured.find('\x1b')) coloured.erase(at, coloured.find('m', at) - at + 1);
  CHECK(coloured == text);
  const boost::json::value json = boost::json::parse(report_json(findings));
  CHECK(json.at("problems") == 1);
  CHECK(json.at("findings").as_array().size() == 4);
  CHECK(json.at("findings").at(0).at("remedy").is_null());
  CHECK(json.at("findings").at(1).at("state") == "warning");
}

TEST_CASE("doctor: the exit code is 1 exactly if there is a problem, and --json is JSON", "[doctor]") {
  FakeHost host;
  host.write("/bad.toml", "colour = 1");
  const Outcome bad = call({"--json", "doctor", "--config", host.root() + "/bad.toml"});
  CHECK(bad.code == kRefused);
  CHECK(bad.err.empty());
  CHECK(boost::json::parse(bad.out).at("problems").as_int64() >= 1);
  const Outcome plain = call({"doctor", "--path", host.root()});
  const bool problems = plain.out.find("\n0 problems") == std::string::npos;
  INFO(plain.out);
  CHECK(plain.code == (problems ? kRefused : kDone));
  CHECK(call({"doctor", "--nonsense"}).code == kUsage);
}

}  // namespace
}  // namespace ringbolt::ctl::doctor

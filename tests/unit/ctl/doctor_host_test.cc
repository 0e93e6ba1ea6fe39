// ringboltctl doctor: kernel, limits, memory, processors, time, TCP. Each finding of a good host, of a bad one, and of one that does not say.
#include <sys/timex.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "ctl/doctor/checks.h"
#include "tests/unit/ctl/fake_host.h"

namespace ringbolt::ctl::doctor {
namespace {

using Catch::Matchers::Contains;

const Status kFine = boost::outcome_v2::success();
constexpr const char* kOsRelease = "/proc/sys/kernel/osrelease";
constexpr const char* kDisabled = "/proc/sys/kernel/io_uring_disabled";

std::string limits(const std::string& locked, const std::string& open_files) {
  return "Limit                     Soft Limit           Hard Limit           Units     \n"
         "Max open files            1024                 " + open_files + "                files     \n"
         "Max locked memory         " + locked + "              " + locked + "              bytes     ";
}

TEST_CASE("doctor: the kernel's version", "[doctor]") {
  FakeHost host;
  const auto look = [&] { return finding_of("kernel", [&](Findings& f) { check_kernel(host.files(), f); }); };
  CHECK(look().state == State::kUnknown);
  CHECK_THAT(look().found, Contains(kOsRelease) && Contains("No such file"));
  CHECK((host.write(kOsRelease, "6.1.0-18-amd64"), look().state) == State::kOk);
  CHECK((host.write(kOsRelease, "5.10.0-28-amd64"), look().state) == State::kProblem);
  CHECK_THAT(look().remedy, Contains("6.1 or newer"));
  CHECK((host.write(kOsRelease, "nonsense"), look().state) == State::kUnknown);
}

TEST_CASE("doctor: io_uring, as it was set up, and as the kernel's switch lets others have it", "[doctor]") {
  FakeHost host;
  Status set_up = kFine;
  const auto look = [&](const char* check) { return finding_of(check, [&](Findings& f) { check_io_uring(host.files(), set_up, f); }); };
  CHECK(look("io_uring").state == State::kOk);
  CHECK(look("io_uring_disabled").state == State::kOk);  // a kernel of before the switch
  CHECK((host.write(kDisabled, "0"), look("io_uring_disabled").state) == State::kOk);
  CHECK((host.write(kDisabled, "1"), look("io_uring_disabled").state) == State::kWarning);
  CHECK((host.write(kDisabled, "2"), look("io_uring_disabled").state) == State::kProblem);
  set_up = make_error(Errc::kNotPermitted, "io_uring is not permitted to this process: a seccomp filter forbids it");
  CHECK(look("io_uring").state == State::kProblem);
  CHECK(look("io_uring").remedy == "a seccomp filter forbids it");
  host.remove(kDisabled);
  CHECK(look("io_uring_disabled").state == State::kUnknown);
}

TEST_CASE("doctor: locked memory against what is configured", "[doctor]") {
  FakeHost host;
  Process process;
  std::optional<Status> tried;
  const Needs needs{.memory_bytes = 256u << 20};
  const auto look = [&] {
    return finding_of("locked_memory", [&](Findings& f) { check_locked_memory(host.files(), process, needs, tried, f); });
  };
  CHECK(look().state == State::kUnknown);
  host.write("/proc/self/limits", limits("unlimited", "4096"));
  CHECK(look().state == State::kOk);
  host.write("/proc/self/limits", limits("268435456", "4096"));
  CHECK(look().state == State::kOk);
  host.write("/proc/self/limits", limits("8388608", "4096"));
  CHECK(look().state == State::kWarning);
  CHECK_THAT(look().found, Contains("8.0 MiB") && Contains("this shell"));
  host.write("/proc/self/status", "Name:\tx\nCapEff:\t0000000000004000");  // CAP_IPC_LOCK
  CHECK(look().state == State::kOk);
  tried = make_error(Errc::kNotPermitted, "cannot lock 256 MiB of buffers in memory: raise the limit");
  CHECK(look().state == State::kProblem);
  tried.reset();
  process.daemon_pid = 17;
  CHECK(look().state == State::kUnknown);  // there is no such process
  host.write("/proc/17/limits", limits("8388608", "4096"));
  CHECK(look().state == State::kProblem);
  CHECK_THAT(look().found, Contains("pid 17"));
  host.write("/proc/17/limits", "Max cpu time   unlimited  unlimited  seconds");
  CHECK(look().state == State::kUnknown);
}

TEST_CASE("doctor: memory of the host against what is configured", "[doctor]") {
  FakeHost host;
  Process process;
  Needs needs{.memory_bytes = 256u << 20};
  const auto look = [&] { return finding_of("memory", [&](Findings& f) { check_memory(host.files(), process, needs, f); }); };
  CHECK(look().state == State::kUnknown);
  host.write("/proc/meminfo", "MemTotal:        2097152 kB\nMemFree:  4 kB\nMemAvailable:    1048576 kB");
  CHECK(look().state == State::kOk);
  needs.memory_bytes = 1536u << 20;
  CHECK(look().state == State::kWarning);
  process.daemon_pid = 17;  // it has it already
  CHECK(look().state == State::kOk);
  needs.memory_bytes = uint64_t{3} << 30;
  CHECK(look().state == State::kProblem);
  host.write("/proc/meminfo", "MemTotal:        2097152 kB");
  CHECK(look().state == State::kUnknown);
}

TEST_CASE("doctor: swap", "[doctor]") {
  FakeHost host;
  const auto look = [&] { return finding_of("swap", [&](Findings& f) { check_swap(host.files(), f); }); };
  CHECK(look().state == State::kUnknown);
  host.write("/proc/swaps", "Filename  Type  Size  Used  Priority");
  CHECK(look().state == State::kOk);
  host.write("/proc/swaps", "Filename  Type  Size  Used  Priority\n/dev/sda2  partition  1  0  -2");
  CHECK(look().state == State::kUnknown);
  CHECK((host.write("/proc/sys/vm/swappiness", "10"), look().state) == State::kOk);
  CHECK((host.write("/proc/sys/vm/swappiness", "60"), look().state) == State::kWarning);
  CHECK((host.write("/proc/sys/vm/swappiness", "much"), look().state) == State::kUnknown);
}

TEST_CASE("doctor: the limit of open files that counts is the hard one", "[doctor]") {
  FakeHost host;
  const Needs needs{.clients = 4096, .volumes = 2};
  const auto look = [&] { return finding_of("open_files", [&](Findings& f) { check_open_files(host.files(), {}, needs, f); }); };
  CHECK(look().state == State::kUnknown);
  CHECK((host.write("/proc/self/limits", limits("0", "1048576")), look().state) == State::kOk);
  CHECK((host.write("/proc/self/limits", limits("0", "unlimited")), look().state) == State::kOk);
  CHECK((host.write("/proc/self/limits", limits("0", "4096")), look().state) == State::kWarning);
}

TEST_CASE("doctor: processors against shards", "[doctor]") {
  FakeHost host;
  Needs needs{.shards = 4};
  const auto look = [&] { return finding_of("processors", [&](Findings& f) { check_processors(host.files(), {}, needs, f); }); };
  CHECK(look().state == State::kUnknown);
  CHECK((host.write("/proc/self/status", "Cpus_allowed_list:\t0-3"), look().state) == State::kOk);
  CHECK((host.write("/proc/self/status", "Cpus_allowed_list:\t0-1,9"), look().state) == State::kWarning);
  CHECK_THAT(look().remedy, Contains("node.shards = 3"));
  needs.shards = 0;
  CHECK(look().state == State::kOk);
  CHECK((host.write("/proc/self/status", "Cpus_allowed_list:\t3-0"), look().state) == State::kUnknown);
}

TEST_CASE("doctor: the governor, or the preference of drivers that choose by themselves", "[doctor]") {
  FakeHost host;
  const auto look = [&] { return finding_of("governor", [&](Findings& f) { check_governor(host.files(), f); }); };
  const std::string cpus = "/sys/devices/system/cpu/";
  host.write(cpus + "online", "0-1").write(cpus + "cpufreq/policy0/scaling_governor", "powersave");
  CHECK(look().state == State::kUnknown);  // no processor has one
  host.write(cpus + "cpu0/cpufreq/scaling_governor", "performance");
  CHECK(look().state == State::kOk);
  host.write(cpus + "cpu1/cpufreq/scaling_governor", "powersave");
  CHECK(look().state == State::kWarning);
  CHECK_THAT(look().found, Contains("performance on 1") && Contains("powersave on 1"));
  host.write(cpus + "cpu0/cpufreq/energy_performance_preference", "performance");
  host.write(cpus + "cpu1/cpufreq/energy_performance_preference", "balance_power");
  CHECK(look().state == State::kWarning);
  CHECK((host.write(cpus + "cpu1/cpufreq/energy_performance_preference", "performance"), look().state) == State::kOk);
}

TEST_CASE("doctor: the clock source", "[doctor]") {
  FakeHost host;
  const std::string path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
  const auto look = [&] { return finding_of("clock_source", [&](Findings& f) { check_clock_source(host.files(), f); }); };
  CHECK(look().state == State::kUnknown);
  CHECK((host.write(path, "tsc"), look().state) == State::kOk);
  CHECK((host.write(path, "hpet"), look().state) == State::kWarning);
}

TEST_CASE("doctor: whether the host's time is set", "[doctor]") {
  const auto look = [](const ClockState& clock) { return finding_of("time", [&](Findings& f) { check_time(clock, f); }).state; };
  CHECK(look({TIME_OK, STA_PLL, 12'000}) == State::kOk);
  CHECK(look({TIME_OK, STA_UNSYNC, 16'000'000}) == State::kWarning);
  CHECK(look({TIME_ERROR, 0, 0}) == State::kWarning);
  CHECK(look({-EPERM, 0, 0}) == State::kUnknown);
}

TEST_CASE("doctor: TCP's congestion control", "[doctor]") {
  FakeHost host;
  const std::string path = "/proc/sys/net/ipv4/tcp_congestion_control";
  const auto look = [&] { return finding_of("tcp_congestion", [&](Findings& f) { check_congestion_control(host.files(), f); }); };
  CHECK(look().state == State::kUnknown);
  CHECK((host.write(path, "cubic"), look().state) == State::kOk);
  CHECK((host.write(path, "bbr"), look().state) == State::kWarning);
  CHECK_THAT(look().remedy, Contains("cubic"));
  CHECK((host.write(path, "vegas"), look().state) == State::kUnknown);
}

TEST_CASE("doctor: lists of processors", "[doctor]") {
  CHECK(parse_cpu_list("0-2,7").value() == std::vector<uint32_t>{0, 1, 2, 7});
  CHECK(parse_cpu_list("").value().empty());
  for (const char* const text : {"-1", "1-", "3-1", "a", "0,,1", "4294967296"}) {
    INFO(text);
    CHECK(parse_cpu_list(text).has_error());
  }
}

}  // namespace
}  // namespace ringbolt::ctl::doctor

// Memory for the buffers: there, and to be locked; and whether the rest of the daemon may be swapped out.
#include <fmt/format.h>

#include <charconv>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"
#include "ctl/table.h"

namespace ringbolt::ctl::doctor {

namespace {

constexpr uint64_t kCapIpcLock = uint64_t{1} << 14;
/// Above it, the kernel rather swaps out a daemon that sleeps than it gives up cached files.
constexpr uint64_t kSwappinessMax = 10;

/// "CapEff:\t000001ff" of /proc/PID/status.
bool may_lock_all(const HostFiles& files, const Process& process) {
  const Result<std::string> status = files.read(process.directory() + "/status");
  if (status.has_error()) return false;
  for (const std::string_view line : lines_of(status.value())) {
    const auto words = words_of(line);
    if (words.size() != 2 || words[0] != "CapEff:") continue;
    uint64_t set = 0;
    const auto [rest, failure] = std::from_chars(words[1].data(), words[1].data() + words[1].size(), set, 16);
    return failure == std::errc() && (set & kCapIpcLock) != 0;
  }
  return false;
}

/// A line of /proc/meminfo, "MemTotal:  49368184 kB", in bytes.
Result<uint64_t> meminfo(const std::string& text, std::string_view name) {
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);
    uint64_t kib = 0;
    if (words.size() == 3 && words[0] == name && std::from_chars(words[1].data(), words[1].data() + words[1].size(), kib).ec == std::errc()) return kib << 10;
  }
  return make_error(Errc::kNotFound, fmt::format("/proc/meminfo does not have {}", name));
}

}  // namespace

void check_locked_memory(const HostFiles& files, const Process& process, const Needs& needs, const std::optional<Status>& tried, Findings& findings) {
  const Result<uint64_t> limit = read_limit(files, process, "Max locked memory", false);
  if (limit.has_error()) return add_unknown(findings, kHostSubject, "locked_memory", limit.error());
  const bool no_limit = limit.value() == UINT64_MAX || may_lock_all(files, process);
  const std::string found = fmt::format("{} ({}); node.memory is {}", no_limit ? std::string("no limit") : "at most " + human_bytes(limit.value()),
                                        process.words(), human_bytes(needs.memory_bytes));
  if (!no_limit && limit.value() < needs.memory_bytes) {
    // Of a service that is not running nothing is known but that its unit, as it is installed, has no limit.
    findings.push_back({kHostSubject, "locked_memory", process.daemon_pid ? State::kProblem : State::kWarning, found,
                        "systemd: LimitMEMLOCK=infinity; shell: ulimit -l unlimited; or lower node.memory"});
  } else if (tried && tried->has_error()) {
    add_problem(findings, kHostSubject, "locked_memory", tried->error());
  } else {
    add_ok(findings, kHostSubject, "locked_memory", found);
  }
}

void check_memory(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings) {
  const Result<std::string> text = files.read("/proc/meminfo");
  if (text.has_error()) return add_unknown(findings, kHostSubject, "memory", text.error());
  const Result<uint64_t> total = meminfo(text.value(), "MemTotal:");
  if (total.has_error()) return add_unknown(findings, kHostSubject, "memory", total.error());
  const Result<uint64_t> available = meminfo(text.value(), "MemAvailable:");
  if (available.has_error()) return add_unknown(findings, kHostSubject, "memory", available.error());
  const std::string found = fmt::format("{}, of which {} are available; node.memory is {}", human_bytes(total.value()), human_bytes(available.value()),
                                        human_bytes(needs.memory_bytes));
  if (total.value() < needs.memory_bytes) {
    findings.push_back({kHostSubject, "memory", State::kProblem, found, "lower node.memory"});
  } else if (!process.daemon_pid && available.value() < needs.memory_bytes) {
    findings.push_back({kHostSubject, "memory", State::kWarning, found, "stop what uses it, or lower node.memory"});
  } else {
    add_ok(findings, kHostSubject, "memory", found);
  }
}

void check_swap(const HostFiles& files, Findings& findings) {
  const Result<std::string> swaps = files.read("/proc/swaps");
  if (swaps.has_error()) return add_unknown(findings, kHostSubject, "swap", swaps.error());
  if (lines_of(swaps.value()).size() <= 1) return add_ok(findings, kHostSubject, "swap", "none");
  const Result<uint64_t> swappiness = files.read_number("/proc/sys/vm/swappiness");
  if (swappiness.has_error()) return add_unknown(findings, kHostSubject, "swap", swappiness.error());
  const std::string found = fmt::format("there is some, vm.swappiness is {}", swappiness.value());
  if (swappiness.value() <= kSwappinessMax) return add_ok(findings, kHostSubject, "swap", found);
  findings.push_back({kHostSubject, "swap", State::kWarning, found + "; buffers are locked, tables and programs are not",
                      fmt::format("sysctl -w vm.swappiness={}, or swapoff", kSwappinessMax)});
}

}  // namespace ringbolt::ctl::doctor

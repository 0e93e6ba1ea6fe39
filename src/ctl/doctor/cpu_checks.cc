// Processors: enough for the shards, at full speed, and with a clock that costs no system call.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"

namespace ringbolt::ctl::doctor {

namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu";

/// Of each processor that has it: what stands in `leaf` below its directory.
std::map<std::string, uint32_t> counted(const HostFiles& files, const std::string& leaf) {
  std::map<std::string, uint32_t> counts;
  for (const std::string& name : files.list(kCpus)) {
    if (!name.starts_with("cpu") || name.size() == 3 || name.find_first_not_of("0123456789", 3) != std::string::npos) continue;
    const Result<std::string> text = files.read(fmt::format("{}/{}/{}", kCpus, name, leaf));
    if (text.has_value()) ++counts[text.value()];
  }
  return counts;
}

bool only_has(const std::map<std::string, uint32_t>& counts, const std::string& word) { return counts.size() == 1 && counts.begin()->first == word; }

}  // namespace

Result<std::vector<uint32_t>> allowed_cpus(const HostFiles& files, const Process& process) {
  const std::string path = process.directory() + "/status";
  BOOST_OUTCOME_TRY(const std::string status, files.read(path));
  for (const std::string_view line : lines_of(status)) {
    const auto words = words_of(line);
    if (words.size() == 2 && words[0] == "Cpus_allowed_list:") return parse_cpu_list(words[1]);
  }
  return make_error(Errc::kNotFound, path + " does not have Cpus_allowed_list");
}

void check_processors(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings) {
  const Result<std::vector<uint32_t>> allowed = allowed_cpus(files, process);
  if (allowed.has_error()) return add_unknown(findings, kHostSubject, "processors", allowed.error());
  const size_t cpus = allowed.value().size();
  const std::string found = fmt::format("{} may be used ({}); {}", cpus, process.words(),
                                        needs.shards == 0 ? std::string("a shard on each") : fmt::format("node.shards is {}", needs.shards));
  if (needs.shards <= cpus) return add_ok(findings, kHostSubject, "processors", found);
  findings.push_back({kHostSubject, "processors", State::kWarning, found, fmt::format("shards that share a processor wait for each other: node.shards = {} or fewer", cpus)});
}

void check_governor(const HostFiles& files, Findings& findings) {
  const auto governors = counted(files, "cpufreq/scaling_governor");
  if (governors.empty()) {
    return add_unknown(findings, kHostSubject, "governor",
                       make_error(Errc::kNotFound, "no cpufreq in /sys: the hypervisor or the firmware decides about the frequency"));
  }
  std::vector<std::string> parts;
  for (const auto& [governor, count] : governors) parts.push_back(fmt::format("{} on {}", governor, count));
  const std::string found = fmt::format("{}", fmt::join(parts, ", "));
  // Drivers that choose by themselves are told by a preference.
  const bool fast = only_has(governors, "performance") || only_has(counted(files, "cpufreq/energy_performance_preference"), "performance");
  if (fast) return add_ok(findings, kHostSubject, "governor", found);
  findings.push_back({kHostSubject, "governor", State::kWarning, found + ": a processor that has slept is slow at first, which shows in latency",
                      "cpupower frequency-set -g performance"});
}

void check_clock_source(const HostFiles& files, Findings& findings) {
  const Result<std::string> source = files.read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (source.has_error()) return add_unknown(findings, kHostSubject, "clock_source", source.error());
  // Those that a program reads without a system call.
  static constexpr std::array kFast = {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"};
  if (std::find(kFast.begin(), kFast.end(), source.value()) != kFast.end()) return add_ok(findings, kHostSubject, "clock_source", source.value());
  findings.push_back({kHostSubject, "clock_source", State::kWarning, source.value() + ", which costs a system call each time",
                      "see why the kernel gave up the tsc (dmesg | grep -i clocksource); on hosts where it is known to be right: tsc=reliable"});
}

}  // namespace ringbolt::ctl::doctor

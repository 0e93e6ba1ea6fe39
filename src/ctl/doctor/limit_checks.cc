// Limits of a process, and whether they suffice for what is configured.
#include <fmt/format.h>

#include <charconv>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"

namespace ringbolt::ctl::doctor {

namespace {

/// Of a daemon without clients: rings, listeners, the log, connections to replicas and of the admin API.
constexpr uint64_t kOwnFiles = 256;
/// Superblock, log, base image, and connections of its replicas.
constexpr uint64_t kFilesPerVolume = 24;

}  // namespace

std::string Process::directory() const { return daemon_pid ? fmt::format("/proc/{}", *daemon_pid) : std::string("/proc/self"); }
std::string Process::words() const { return daemon_pid ? fmt::format("of the daemon, pid {}", *daemon_pid) : std::string("of this shell; a service has its own"); }

Result<uint64_t> read_limit(const HostFiles& files, const Process& process, std::string_view name, bool hard) {
  const std::string path = process.directory() + "/limits";
  BOOST_OUTCOME_TRY(const std::string text, files.read(path));
  for (const std::string_view line : lines_of(text)) {
    if (!line.starts_with(name)) continue;
    const auto words = words_of(line.substr(name.size()));
    if (words.size() < 2) break;
    const std::string_view word = words[hard ? 1 : 0];
    if (word == "unlimited") return UINT64_MAX;
    uint64_t value = 0;
    if (std::from_chars(word.data(), word.data() + word.size(), value).ec == std::errc()) return value;
  }
  return make_error(Errc::kNotFound, fmt::format("{} does not have \"{}\"", path, name));
}

void check_open_files(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings) {
  // The daemon raises its limit to the hard one.
  const Result<uint64_t> limit = read_limit(files, process, "Max open files", true);
  if (limit.has_error()) return add_unknown(findings, kHostSubject, "open_files", limit.error());
  const uint64_t wanted = kOwnFiles + kFilesPerVolume * needs.volumes + needs.clients;
  const std::string has = limit.value() == UINT64_MAX ? std::string("no limit") : fmt::format("at most {}", limit.value());
  const std::string found = fmt::format("{} ({}); up to {} are needed for {} clients", has, process.words(), wanted, needs.clients);
  if (limit.value() >= wanted) return add_ok(findings, kHostSubject, "open_files", found);
  findings.push_back({kHostSubject, "open_files", State::kWarning, found, "systemd: LimitNOFILE=1048576; shell: ulimit -Hn; or lower nbd.max_connections"});
}

}  // namespace ringbolt::ctl::doctor

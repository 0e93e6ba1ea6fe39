// The checks of `ringboltctl doctor`, a group a file. Each adds what it finds; what could not be determined is a finding, too.
// They read files of the host and values that were asked of the kernel before (path_facts.h, clock_state()), and change nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ctl/doctor/finding.h"
#include "ctl/doctor/host_files.h"
#include "ctl/doctor/path_facts.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

inline constexpr const char* kHostSubject = "host";

/// Whose limits and processors are looked at: the running daemon's, or, where none runs, those that this command has itself.
struct Process {
  std::optional<uint32_t> daemon_pid;
  [[nodiscard]] std::string directory() const;  ///< "/proc/self", "/proc/17"
  [[nodiscard]] std::string words() const;      ///< "of the daemon, pid 17", "here"
};

/// What the configuration asks of the host; its defaults where there is none.
struct Needs {
  uint64_t memory_bytes = 0;
  uint32_t shards = 0;  ///< 0: one per core
  uint32_t clients = 0;
  uint64_t volumes = 0;
};

// kernel_checks.cc
void check_kernel(const HostFiles& files, Findings& findings);
/// `set_up`: what came of setting up an io_uring here, io::check_io_uring().
void check_io_uring(const HostFiles& files, const Status& set_up, Findings& findings);

// memory_checks.cc
/// `tried`: what came of locking so much, io::check_lockable(); absent if it was not tried, since the daemon has locked it already.
void check_locked_memory(const HostFiles& files, const Process& process, const Needs& needs, const std::optional<Status>& tried, Findings& findings);
void check_memory(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings);
void check_swap(const HostFiles& files, Findings& findings);

// limit_checks.cc
void check_open_files(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings);
/// A number of /proc/PID/limits; UINT64_MAX: unlimited.
Result<uint64_t> read_limit(const HostFiles& files, const Process& process, std::string_view name, bool hard);

// cpu_checks.cc
void check_processors(const HostFiles& files, const Process& process, const Needs& needs, Findings& findings);
void check_governor(const HostFiles& files, Findings& findings);
void check_clock_source(const HostFiles& files, Findings& findings);
/// The processors that `process` may use.
Result<std::vector<uint32_t>> allowed_cpus(const HostFiles& files, const Process& process);

// time_checks.cc
/// What adjtimex() answers.
struct ClockState {
  int result = 0;   ///< TIME_OK, ..., or -errno
  int status = 0;   ///< STA_* bits
  int64_t max_error_us = 0;
};
ClockState clock_state();
void check_time(const ClockState& clock, Findings& findings);

// network_checks.cc
void check_congestion_control(const HostFiles& files, Findings& findings);

// file_system_checks.cc
void check_file_system(const HostFiles& files, const PathFacts& facts, Findings& findings);
/// What a path lies on: of a directory or file its mount point.
std::string file_system_subject(const HostFiles& files, const PathFacts& facts);

// device_checks.cc
/// `seen`: devices that were looked at already, for other paths.
void check_devices(const HostFiles& files, const Process& process, const PathFacts& facts, std::set<std::string>& seen, Findings& findings);

// space_checks.cc
/// What a configured file needs, and what it has.
struct FileNeed {
  PathFacts facts;
  uint64_t wanted_bytes = 0;
  bool reserved = false;  ///< allocated when the volume is made (a WAL); else it grows as it is written
};
void check_space(const HostFiles& files, const std::vector<FileNeed>& needs, Findings& findings);

}  // namespace ringbolt::ctl::doctor

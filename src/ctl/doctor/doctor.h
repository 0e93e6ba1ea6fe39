// All checks of a host, for a configuration or without one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "control/config.h"
#include "ctl/doctor/daemon_checks.h"
#include "ctl/doctor/finding.h"
#include "ctl/doctor/host_files.h"
#include "ctl/doctor/path_facts.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

/// Where the package puts it.
inline constexpr const char* kUsualConfig = "/etc/ringbolt/ringbolt.toml";

/// What is to be examined.
struct Question {
  std::string config_path;         ///< empty: none was named, and the usual one does not exist
  std::vector<std::string> paths;  ///< beside those of the configuration
};

/// What cannot be read in files. Tests answer in the host's place.
struct Host {
  HostFiles files;
  std::function<Status()> io_uring;                         ///< io::check_io_uring()
  std::function<Status(uint64_t bytes)> lockable;           ///< io::check_lockable()
  std::function<PathFacts(const std::string& path)> look;   ///< look_at()
  /// Asks a daemon; `admin`: where the configuration says that it answers, if there is one.
  std::function<NodeAnswer(const std::optional<std::string>& admin)> node;
};

Findings examine(const Host& host, const Question& question);

}  // namespace ringbolt::ctl::doctor

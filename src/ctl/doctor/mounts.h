// Which mount a path lies on, from /proc/self/mountinfo.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/doctor/host_files.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

struct Mount {
  std::string point, type, source;
  std::vector<std::string> options;  ///< of the mount, then of the file system
  [[nodiscard]] bool has_option(std::string_view option) const;
};

/// `path`: absolute, with links followed. Errors: kNotFound, kIo.
Result<Mount> mount_of(const HostFiles& files, const std::string& path);

}  // namespace ringbolt::ctl::doctor

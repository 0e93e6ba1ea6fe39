// What the kernel says about a path that data is to lie on. Asked of this host; the checks then judge values.
#pragma once

#include <cstdint>
#include <string>

namespace ringbolt::ctl::doctor {

/// Something that was tried.
struct Trial {
  enum class Result : uint8_t { kWorks, kFails, kNotTried };
  Result result = Result::kNotTried;
  std::string why = {};  ///< of the other two
};

struct PathFacts {
  std::string asked;    ///< as it was given
  std::string path;     ///< what there is of it, with links followed: itself, or the nearest directory above
  std::string problem;  ///< why nothing can be said; empty: it can
  bool is_block_device = false;
  bool exists = false;  ///< all of it
  uint32_t major = 0, minor = 0;  ///< of the block device itself, else of what the file system says it is on
  uint64_t bytes = 0;             ///< of the file
  uint64_t allocated_bytes = 0;   ///< of the file
  uint64_t free_bytes = 0, total_bytes = 0;  ///< of the file system
  Trial direct_io, punch_hole;
};

/// Looks, and, where there is a file system, writes to a file without a name that is gone when this returns.
PathFacts look_at(const std::string& path);

}  // namespace ringbolt::ctl::doctor

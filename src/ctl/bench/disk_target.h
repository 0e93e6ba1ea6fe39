// What `bench PATH` may touch. A directory, or a path where nothing is yet: a file of its own, which loses its name before anything
// is written, so that nothing is left behind however this ends. What exists is written over only if that is asked for.
#pragma once

#include <cstdint>
#include <string>

#include "io/io.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::bench {

enum class Touch : uint8_t { kNothingThatExists, kReadOnly, kOverwrite };

struct DiskTarget {
  io::File file;
  uint64_t bytes = 0;     ///< of it that are used, whole blocks
  bool is_scratch = false;  ///< made here: holds nothing yet
  bool may_write = false;
  int exclusive = -1;     ///< of a block device: keeps others from mounting it while it is open; close it
};

/// `size`: of a scratch file; less if the file system has not four times as much. Errors: kNotPermitted, it exists and nothing was
/// said of it; kBusy, somebody uses it; kInvalid, kNotFound, kNoSpace, kIo. Blocking.
Result<DiskTarget> open_disk_target(io::Io& io, const std::string& path, Touch touch, uint64_t size);
void close_disk_target(io::Io& io, DiskTarget& target);

}  // namespace ringbolt::ctl::bench

// Block devices as /sys tells them: a partition's disk, what a mapping lies on, what they are told to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctl/doctor/host_files.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

struct BlockDevice {
  std::string name;       ///< "nvme0n1p2", "dm-0"
  std::string directory;  ///< below /sys/devices
  std::string disk;       ///< its directory, or that of the disk that it is a partition of
  [[nodiscard]] bool is_partition() const { return disk != directory; }
  [[nodiscard]] std::string disk_name() const;
  /// A file below the disk's queue/.
  [[nodiscard]] std::string queue(const std::string& leaf) const { return disk + "/queue/" + leaf; }
};

/// Errors: kNotFound, /sys does not have it.
Result<BlockDevice> block_device(const HostFiles& files, uint32_t major, uint32_t minor);
/// By its name, or by a path like "/dev/mapper/vg-data".
Result<BlockDevice> block_device(const HostFiles& files, const std::string& name);

/// The disks on which it lies in the end: itself, or what device mapper or md put together.
std::vector<BlockDevice> disks_below(const HostFiles& files, const BlockDevice& device);

}  // namespace ringbolt::ctl::doctor

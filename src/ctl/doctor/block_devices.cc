#include "ctl/doctor/block_devices.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringbolt::ctl::doctor {

namespace {

/// Mappings on mappings; no host has more.
constexpr int kLayersMax = 16;

std::string leaf_of(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }
std::string parent_of_directory(const std::string& path) { return path.substr(0, path.find_last_of('/')); }

BlockDevice at(const HostFiles& files, const std::string& directory) {
  const bool is_partition = files.exists(directory + "/partition");
  return {leaf_of(directory), directory, is_partition ? parent_of_directory(directory) : directory};
}

void collect(const HostFiles& files, const BlockDevice& device, int layers, std::vector<BlockDevice>& disks) {
  const std::vector<std::string> below = files.list(device.disk + "/slaves");
  if (below.empty() || layers == 0) {
    const auto is_same = [&](const BlockDevice& one) { return one.disk == device.disk; };
    if (std::none_of(disks.begin(), disks.end(), is_same)) disks.push_back(at(files, device.disk));
    return;
  }
  for (const std::string& name : below) {
    const Result<BlockDevice> lower = block_device(files, name);
    if (lower.has_value()) collect(files, lower.value(), layers - 1, disks);
  }
}

}  // namespace

std::string BlockDevice::disk_name() const { return leaf_of(disk); }

Result<BlockDevice> block_device(const HostFiles& files, uint32_t major, uint32_t minor) {
  const std::string path = fmt::format("/sys/dev/block/{}:{}", major, minor);
  const auto directory = files.real_path(path);
  if (!directory) return make_error(Errc::kNotFound, fmt::format("there is no {}", path));
  return at(files, *directory);
}

Result<BlockDevice> block_device(const HostFiles& files, const std::string& name) {
  const std::string path = name.starts_with("/") ? files.real_path(name).value_or(name) : name;
  const auto directory = files.real_path("/sys/class/block/" + leaf_of(path));
  if (!directory) return make_error(Errc::kNotFound, fmt::format("there is no block device {} in /sys/class/block", name));
  return at(files, *directory);
}

std::vector<BlockDevice> disks_below(const HostFiles& files, const BlockDevice& device) {
  std::vector<BlockDevice> disks;
  collect(files, device, kLayersMax, disks);
  return disks;
}

}  // namespace ringbolt::ctl::doctor

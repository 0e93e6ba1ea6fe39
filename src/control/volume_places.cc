#include "control/volume_places.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace ringbolt {
namespace {

/// One name for one file.
std::string real_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path full = std::filesystem::weakly_canonical(path, error);
  return error ? std::filesystem::path(path).lexically_normal().string() : full.string();
}

Status check_not_inside(const char* key, const std::string& path, const std::string& directory) {
  if (path.empty() || !real_path(path).starts_with(real_path(directory) + "/")) return boost::outcome_v2::success();
  return make_error(Errc::kInvalid, fmt::format("{}: {} is in {}, where the daemon keeps volumes by itself: leave it out", key, path, directory));
}

}  // namespace

std::string volume_directory(const std::string& data_dir, const std::string& volume) { return data_dir + "/volumes/" + volume; }

std::string base_path_of(const VolumeConfig& volume, const std::string& data_dir) {
  return volume.path.empty() ? volume_directory(data_dir, volume.name) + "/base" : volume.path;
}

std::string wal_path_of(const VolumeConfig& volume, const std::string& data_dir) {
  return volume.wal_path.empty() ? volume_directory(data_dir, volume.name) + "/wal" : volume.wal_path;
}

void VolumePlaces::add(const VolumeConfig& volume) {
  for (const std::string& path : {base_path_of(volume, data_dir_), wal_path_of(volume, data_dir_)}) owners_.emplace(real_path(path), volume.name);
}

Status VolumePlaces::check(const VolumeConfig& fresh) const {
  const std::string base = real_path(base_path_of(fresh, data_dir_));
  const std::string wal = real_path(wal_path_of(fresh, data_dir_));
  if (base == wal) return make_error(Errc::kInvalid, fmt::format("path and wal_path are both {}", base));
  BOOST_OUTCOME_TRYV(check_not_inside("path", fresh.path, data_dir_ + "/volumes"));
  BOOST_OUTCOME_TRYV(check_not_inside("wal_path", fresh.wal_path, data_dir_ + "/volumes"));
  for (const std::string& path : {base, wal}) {
    const auto owner = owners_.find(path);
    if (owner != owners_.end()) return make_error(Errc::kExists, fmt::format("{} is in use by volume \"{}\"", path, owner->second));
  }
  return boost::outcome_v2::success();
}

}  // namespace ringbolt

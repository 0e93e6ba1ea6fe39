// Where a volume's files are, and whether they are another one's: two volumes on the same base image destroy each other.
#pragma once

#include <span>
#include <string>

#include "control/config.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// The directory that the daemon keeps a volume's files in, if it is not told otherwise.
std::string volume_directory(const std::string& data_dir, const std::string& volume);
std::string base_path_of(const VolumeConfig& volume, const std::string& data_dir);
std::string wal_path_of(const VolumeConfig& volume, const std::string& data_dir);

/// Errors: kInvalid, `fresh` has one file for two things, or one among those that the daemon keeps for itself; kExists, a file
/// of `fresh` is one of `others`, whatever links lead there. The message names the file and the other volume.
Status check_places(const VolumeConfig& fresh, std::span<const VolumeConfig> others, const std::string& data_dir);

}  // namespace ringbolt

// Where a volume's files are, and whether they are another one's: two volumes on the same base image destroy each other.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "control/config.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// The directory that the daemon keeps a volume's files in, if it is not told otherwise.
std::string volume_directory(const std::string& data_dir, const std::string& volume);
std::string base_path_of(const VolumeConfig& volume, const std::string& data_dir);
std::string wal_path_of(const VolumeConfig& volume, const std::string& data_dir);

/// The files of the volumes that there are, each under the one name that all links lead to.
class VolumePlaces {
 public:
  explicit VolumePlaces(std::string data_dir) : data_dir_(std::move(data_dir)) {}
  void add(const VolumeConfig& volume);
  /// Errors: kInvalid, `fresh` has one file for two things, or one among those that the daemon keeps for itself; kExists, a file
  /// of `fresh` is one of another volume's, whatever links lead there. The message names the file and the other volume.
  [[nodiscard]] Status check(const VolumeConfig& fresh) const;

 private:
  std::string data_dir_;
  std::map<std::string, std::string> owners_;  ///< by file
};

}  // namespace ringbolt

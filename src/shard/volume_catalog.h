// The volumes that were created at run time, on disk: one record for each, DATA_DIR/volumes/NAME/volume.json, beside the
// files of the volume itself.
//
// A volume is created in this order: the record as "creating", files at paths that somebody has given, the store, the
// record as "ready". So a crash before the last step leaves a record that the next start takes back, with all that was
// made; nobody was told of the volume. It is deleted in this order: the record gets the name deleted.json, the files go, the
// record goes.
//
// Never removed is what was there before. A directory that holds something is not taken for a new volume's; a file at
// a given path is noted as made here only after it was, so a crash right in between leaves an empty file.
//
// Every call blocks. One thread at a time.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/volume_record.h"
#include "io/durable_files.h"
#include "ringbolt/result.h"

namespace ringbolt {

class VolumeCatalog {
 public:
  VolumeCatalog(std::string data_dir, io::DurableFiles& files) : data_dir_(std::move(data_dir)), files_(files) {}

  /// At the start: brings to an end what was interrupted, and returns the volumes that there are, by name. Files that
  /// cannot be removed are told in the log, and tried again when a volume of that name is created. Errors: a record
  /// that cannot be read, as what it says of somebody's volume must not be ignored.
  Result<std::vector<VolumeRecord>> load();

  /// From here on the volume's store may be made. Errors, with nothing left behind: kExists, something is there already.
  Status begin_creation(VolumeRecord& record);
  /// Its store is there: from here on it is a volume, also after a crash.
  Status finish_creation(VolumeRecord& record);
  /// It could not be made. On error some of it is left; the message says what.
  Status take_back(const VolumeRecord& record);

  /// Files at the paths that were given with it stay when it is deleted, whoever made them: nobody could look whether they are
  /// still its own.
  Status disown_given_files(VolumeRecord& record);
  /// From here on it is no volume any more, also after a crash.
  Status begin_deletion(VolumeRecord& record);
  /// Its files must be closed. Returns those that stay, as they were not made here. On error some of it is left; the message says
  /// what, and whether the next start removes it.
  Result<std::vector<std::string>> finish_deletion(const VolumeRecord& record);

  [[nodiscard]] std::string record_path(const std::string& volume) const;
  /// Of a volume that is there, or that could not be removed; nullopt: there is none.
  Result<std::optional<std::string>> find_record(const std::string& volume);

 private:
  [[nodiscard]] std::string deleted_path(const std::string& volume) const;
  Result<std::optional<VolumeRecord>> read(const std::string& volume);
  Result<std::optional<VolumeRecord>> read_file(const std::string& volume, const std::string& path);
  Status write(const VolumeRecord& record);
  Status claim_directory(const std::string& volume);
  Status make_files(VolumeRecord& record);
  Result<std::vector<std::string>> remove_all(const VolumeRecord& record);
  std::string leave_given_files(const VolumeRecord& record);
  void end_interrupted(const VolumeRecord& record);

  const std::string data_dir_;
  io::DurableFiles& files_;
};

}  // namespace ringbolt

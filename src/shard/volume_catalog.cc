#include "shard/volume_catalog.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "control/config_values.h"
#include "control/volume_places.h"
#include "log/log.h"

namespace ringbolt {
namespace {

constexpr const char* kRecord = "volume.json";
constexpr const char* kDeleted = "deleted.json";
constexpr const char* kMarker = "use-existing-base";  // see volume/store_make.cc

}  // namespace

std::string VolumeCatalog::record_path(const std::string& volume) const { return volume_directory(data_dir_, volume) + "/" + kRecord; }

std::string VolumeCatalog::deleted_path(const std::string& volume) const { return volume_directory(data_dir_, volume) + "/" + kDeleted; }

Result<std::optional<VolumeRecord>> VolumeCatalog::read(const std::string& volume) {
  BOOST_OUTCOME_TRY(std::optional<VolumeRecord> deleted, read_file(volume, deleted_path(volume)));
  if (!deleted) return read_file(volume, record_path(volume));
  deleted->state = VolumeRecord::State::kDeleting;
  return deleted;
}

Result<std::optional<VolumeRecord>> VolumeCatalog::read_file(const std::string& volume, const std::string& path) {
  BOOST_OUTCOME_TRY(const std::optional<std::string> text, files_.read(path));
  if (!text) return std::optional<VolumeRecord>();
  Result<VolumeRecord> record = parse_volume_record(*text);
  if (record.has_error()) return make_error(record.error().code, fmt::format("{}: {}", path, record.error().message));
  if (record.value().volume.name != volume) {
    return make_error(Errc::kCorrupt, fmt::format("{}: is of a volume \"{}\", in the directory of \"{}\"", path, record.value().volume.name, volume));
  }
  return std::optional(std::move(record).value());
}

Result<std::optional<std::string>> VolumeCatalog::find_record(const std::string& volume) {
  for (const std::string& path : {deleted_path(volume), record_path(volume)}) {
    BOOST_OUTCOME_TRY(const std::optional<std::string> text, files_.read(path));
    if (text) return std::optional(path);
  }
  return std::optional<std::string>();
}

Status VolumeCatalog::write(const VolumeRecord& record) { return files_.replace(record_path(record.volume.name), to_json(record)); }

// --- at the start ---------------------------------------------------------------------------------------------

Result<std::vector<VolumeRecord>> VolumeCatalog::load() {
  std::vector<VolumeRecord> there;
  BOOST_OUTCOME_TRY(const std::vector<std::string> names, files_.list(data_dir_ + "/volumes"));
  for (const std::string& name : names) {
    if (check_volume_name(name).has_error()) continue;
    BOOST_OUTCOME_TRY(std::optional<VolumeRecord> record, read(name));
    if (!record) {  // of the configuration file, or nothing
      BOOST_OUTCOME_TRY(const bool begun, files_.remove_file(record_path(name) + io::DurableFiles::kUnfinished));
      if (begun) {
        BOOST_OUTCOME_TRYV(files_.remove_directory(volume_directory(data_dir_, name)));
      }
      continue;
    }
    if (record->state == VolumeRecord::State::kReady) {
      there.push_back(std::move(*record));
    } else {
      end_interrupted(*record);
    }
  }
  return there;
}

void VolumeCatalog::end_interrupted(const VolumeRecord& record) {
  const std::string& name = record.volume.name;
  const bool creating = record.state == VolumeRecord::State::kCreating;
  log::warn({.volume = name}, "its {} did not come to its end: what there is of it is removed", creating ? "creation" : "deletion");
  if (creating) {
    const auto may_be_left = [&](const std::string& path, bool made) {
      if (!path.empty() && !made) log::warn({.volume = name}, "{} stays; if it is an empty file, it may have been made for this volume", path);
    };
    may_be_left(record.volume.path, record.made_path);
    may_be_left(record.volume.wal_path, record.made_wal_path);
  }
  const auto removed = remove_all(record);
  if (removed.has_error()) log::error({.volume = name}, "not all of it could be removed: {}", removed.error().message);
}

// --- creation -------------------------------------------------------------------------------------------------

/// The directory is there, and holds nothing of anybody's.
Status VolumeCatalog::claim_directory(const std::string& volume) {
  const std::string directory = volume_directory(data_dir_, volume);
  BOOST_OUTCOME_TRY(const std::optional<VolumeRecord> before, read(volume));
  if (before) {
    if (before->state == VolumeRecord::State::kReady) {
      return make_error(Errc::kExists, fmt::format("{} is there, of a volume that was created before: it is opened at the next start", record_path(volume)));
    }
    BOOST_OUTCOME_TRYV(remove_all(*before));  // a start could not
  }
  BOOST_OUTCOME_TRYV(files_.make_directory(directory));
  BOOST_OUTCOME_TRY(const std::vector<std::string> names, files_.list(directory));
  for (const std::string& name : names) {
    if (name == kMarker || name == std::string(kRecord) + io::DurableFiles::kUnfinished) continue;
    return make_error(Errc::kExists, fmt::format("{}/{} is there, of an earlier volume of that name: put that into the configuration file to use it, "
                                                 "or move {} away",
                                                 directory, name, directory));
  }
  return boost::outcome_v2::success();
}

/// At the paths that were given, where there is nothing yet.
Status VolumeCatalog::make_files(VolumeRecord& record) {
  const auto make = [&](const std::string& path, bool& made) -> Status {
    if (path.empty()) return boost::outcome_v2::success();
    const Result<bool> is_new = files_.make_file(path);
    if (is_new.has_error()) {
      // The order names a place where nothing can be made.
      const Errc code = is_new.error().code;
      return make_error(code == Errc::kNotFound || code == Errc::kNotPermitted ? Errc::kInvalid : code, is_new.error().message);
    }
    made = is_new.value();
    if (made) return write(record);
    return boost::outcome_v2::success();
  };
  BOOST_OUTCOME_TRYV(make(record.volume.path, record.made_path));
  return make(record.volume.wal_path, record.made_wal_path);
}

Status VolumeCatalog::begin_creation(VolumeRecord& record) {
  record.state = VolumeRecord::State::kCreating;
  record.made_path = record.made_wal_path = false;
  BOOST_OUTCOME_TRYV(claim_directory(record.volume.name));
  Status status = write(record);
  if (status.has_value()) status = make_files(record);
  if (status.has_value()) return status;
  const Status taken_back = take_back(record);
  if (taken_back.has_error()) return make_error(status.error().code, fmt::format("{}; {}", status.error().message, taken_back.error().message));
  return status;
}

Status VolumeCatalog::finish_creation(VolumeRecord& record) {
  VolumeRecord ready = record;
  ready.state = VolumeRecord::State::kReady;
  BOOST_OUTCOME_TRYV(write(ready));
  record = std::move(ready);
  return boost::outcome_v2::success();
}

Status VolumeCatalog::take_back(const VolumeRecord& record) {
  const auto removed = remove_all(record);
  if (removed.has_value()) return boost::outcome_v2::success();
  return make_error(removed.error().code, fmt::format("what was made of it cannot be removed: {}", removed.error().message));
}

// --- deletion -------------------------------------------------------------------------------------------------

Status VolumeCatalog::disown_given_files(VolumeRecord& record) {
  VolumeRecord disowned = record;
  disowned.made_path = disowned.made_wal_path = false;
  if (disowned == record) return boost::outcome_v2::success();
  BOOST_OUTCOME_TRYV(write(disowned));
  record = std::move(disowned);
  return boost::outcome_v2::success();
}

Status VolumeCatalog::begin_deletion(VolumeRecord& record) {
  const std::string name = record_path(record.volume.name), deleted = deleted_path(record.volume.name);
  const Status renamed = files_.rename(name, deleted);
  if (renamed.has_error()) {
    // It may have the new name all the same, and the order is refused.
    BOOST_OUTCOME_TRY(const std::optional<std::string> still, files_.read(name));
    if (still) return renamed;
    const Status back = files_.rename(deleted, name);
    if (back.has_value()) return renamed;
    return make_error(renamed.error().code, fmt::format("{}; {} cannot be named {} again ({}): as long as it is not, the next start deletes the volume",
                                                        renamed.error().message, deleted, name, back.error().message));
  }
  record.state = VolumeRecord::State::kDeleting;
  return boost::outcome_v2::success();
}

Result<std::vector<std::string>> VolumeCatalog::finish_deletion(const VolumeRecord& record) { return remove_all(record); }

/// What is left waits for a start. Until then somebody may remove a file at a given path by hand, and use the path for another volume.
std::string VolumeCatalog::leave_given_files(const VolumeRecord& record) {
  VolumeRecord disowned = record;
  disowned.made_path = disowned.made_wal_path = false;
  if (disowned == record) return "";
  const bool deleting = record.state == VolumeRecord::State::kDeleting;
  if (deleting) disowned.state = VolumeRecord::State::kReady;  // it is the file's name that says so
  const Status written = files_.replace(deleting ? deleted_path(record.volume.name) : record_path(record.volume.name), to_json(disowned));
  std::string words;
  const auto tell = [&](const std::string& path, bool made) {
    if (made) words += written.has_value() ? fmt::format("; {} stays, if it is there: remove it by hand", path) : fmt::format(", of {}, too", path);
  };
  tell(record.volume.path, record.made_path);
  tell(record.volume.wal_path, record.made_wal_path);
  return words;
}

/// The superblock first: without it nothing else is taken for a volume. The record last: until then a start goes on. A file at a given
/// path that cannot be removed keeps no record: who removes it by hand may use the path for another volume before that start.
Result<std::vector<std::string>> VolumeCatalog::remove_all(const VolumeRecord& record) {
  const VolumeConfig& volume = record.volume;
  Status given = boost::outcome_v2::success();
  const std::string directory = volume_directory(data_dir_, volume.name);
  std::vector<std::string> kept, remove{directory + "/superblock"};
  const bool wal_stays = !volume.wal_path.empty() && !record.made_wal_path;
  const bool base_stays = !volume.path.empty() && !record.made_path;
  (wal_stays ? kept : remove).push_back(wal_path_of(volume, data_dir_));
  (base_stays ? kept : remove).push_back(base_path_of(volume, data_dir_));
  // An operator's word on a base image, which a second try to create it may need.
  if (record.state != VolumeRecord::State::kCreating) remove.push_back(directory + "/" + kMarker);
  remove.push_back(record_path(volume.name) + io::DurableFiles::kUnfinished);
  remove.push_back(record_path(volume.name));
  remove.push_back(deleted_path(volume.name));
  for (const std::string& path : remove) {
    const Result<bool> removed = files_.remove_file(path);
    if (removed.has_value()) continue;
    const Error& error = removed.error();
    if (path != volume.path && path != volume.wal_path) return make_error(error.code, error.message + "; the next start tries again" + leave_given_files(record));
    given = make_error(error.code, error.message + "; it stays, remove it by hand");
  }
  BOOST_OUTCOME_TRYV(files_.remove_directory(directory));
  if (given.has_error()) return given.error();
  return kept;
}

}  // namespace ringbolt

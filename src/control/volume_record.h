// A volume that was created at run time, as it is kept on disk: what a [[volume]] of the configuration file would say of
// it, and how far its creation or deletion is. Pure; shard/volume_catalog.h keeps the files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "control/config.h"
#include "ringbolt/result.h"

namespace ringbolt {

struct VolumeRecord {
  enum class State : uint8_t {
    kCreating,  ///< nobody was told yet that it exists: a start takes it back
    kReady,
    kDeleting,  ///< it is no volume any more: a start removes the rest of it. Its file's name says so, not what is in it
  };

  VolumeConfig volume;  ///< name, size, wal_size, path, wal_path; it has no role of its own
  State state = State::kCreating;
  /// The file at `path`, at `wal_path`, was made for it: it goes with it.
  bool made_path = false, made_wal_path = false;
  bool operator==(const VolumeRecord&) const = default;
};

constexpr const char* to_string(VolumeRecord::State state) {
  switch (state) {
    case VolumeRecord::State::kCreating: return "creating";
    case VolumeRecord::State::kReady: return "ready";
    case VolumeRecord::State::kDeleting: return "deleting";
  }
  return "unknown";
}

std::string to_json(const VolumeRecord& record);
/// Errors: kCorrupt, with what is wrong.
Result<VolumeRecord> parse_volume_record(std::string_view text);

}  // namespace ringbolt

#include "control/volume_record.h"

#include <boost/json.hpp>

#include "control/request_body.h"
#include "control/volume_keys.h"

namespace ringbolt {
namespace {

namespace json = boost::json;

/// Of the file; one that this build does not know is refused.
constexpr uint64_t kFormat = 1;
constexpr std::string_view kRecordKeys[] = {"format", "name", "size", "wal_size", "path", "wal_path", "state", "made_path", "made_wal_path"};

VolumeRecord read_record(const json::value& document) {
  const request_body::ObjectReader in(document, "", kRecordKeys);
  for (const std::string_view key : kRecordKeys) in.require_key(key);
  static_cast<void>(in.natural("format", kFormat, kFormat));
  VolumeRecord record;
  record.volume = read_volume_keys(in);
  record.state = in.word("state", {VolumeRecord::State::kCreating, VolumeRecord::State::kReady});
  record.made_path = in.flag("made_path");
  record.made_wal_path = in.flag("made_wal_path");
  return record;
}

}  // namespace

std::string to_json(const VolumeRecord& record) {
  const VolumeConfig& volume = record.volume;
  return json::serialize(json::object{{"format", kFormat},
                                      {"name", volume.name},
                                      {"size", volume.size_bytes},
                                      {"wal_size", volume.wal_bytes},
                                      {"path", volume.path},
                                      {"wal_path", volume.wal_path},
                                      {"state", to_string(record.state)},
                                      {"made_path", record.made_path},
                                      {"made_wal_path", record.made_wal_path}}) +
         "\n";
}

Result<VolumeRecord> parse_volume_record(std::string_view text) {
  try {
    return read_record(request_body::parse_document(text, "a volume's record"));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kCorrupt, bad.message);
  }
}

}  // namespace ringbolt

#include "control/volume_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "control/config_values.h"

namespace ringbolt {
namespace {

using request_body::ObjectReader;

/// PATH_MAX of Linux, with its closing zero.
constexpr size_t kPathBytesMax = 4095;

uint64_t read_blocks(const ObjectReader& in, std::string_view key, uint64_t min, uint64_t max) {
  uint64_t bytes = 0;
  if (in.find(key)->is_string()) {
    const Result<uint64_t> size = parse_size(in.text(key));
    if (size.has_error()) in.fail_at(key, size.error().message);
    bytes = size.value();
  } else {
    bytes = in.natural(key, 0, std::numeric_limits<uint64_t>::max());
  }
  if (bytes < min || bytes > max) {
    in.fail_at(key, fmt::format("{} is out of range, allowed are {} to {}", format_size(bytes), format_size(min), format_size(max)));
  }
  if (bytes % kBlockBytes != 0) in.fail_at(key, fmt::format("{} bytes are not whole blocks of {}", bytes, kBlockBytes));
  return bytes;
}

std::string read_path(const ObjectReader& in, std::string_view key) {
  if (in.find(key) == nullptr) return {};
  std::string path = in.text(key);
  if (path.empty()) return path;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(path.begin(), path.end(), is_control)) in.fail_at(key, "contains a control character");
  // Whoever gives the order has another directory, or none at all on this host.
  if (path.front() != '/') in.fail_at(key, fmt::format("{} is not absolute: it must begin with \"/\"", request_body::quoted(path)));
  if (path.back() == '/') in.fail_at(key, fmt::format("{} is a directory; a file or block device is expected", request_body::quoted(path)));
  if (path.size() > kPathBytesMax) in.fail_at(key, fmt::format("has {} bytes, at most {} are allowed", path.size(), kPathBytesMax));
  return path;
}

}  // namespace

uint64_t read_volume_size(const ObjectReader& in) {
  in.require_key("size");
  return read_blocks(in, "size", kBlockBytes, kVolumeBytesMax);
}

VolumeConfig read_volume_keys(const ObjectReader& in) {
  VolumeConfig volume;
  in.require_key("name");
  in.require_key("size");
  volume.name = in.text("name");
  in.require("name", check_volume_name(volume.name));
  volume.size_bytes = read_volume_size(in);
  if (in.find("wal_size") != nullptr) volume.wal_bytes = read_blocks(in, "wal_size", kWalBytesMin, kWalBytesMax);
  volume.path = read_path(in, "path");
  volume.wal_path = read_path(in, "wal_path");
  return volume;
}

}  // namespace ringbolt

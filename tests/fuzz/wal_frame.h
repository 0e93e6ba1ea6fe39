// WAL frames made from a fuzzer's bytes: shared by the targets that read WALs.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

namespace ringbolt::fuzz {

inline const Uuid kVolume{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
inline constexpr uint64_t kVolumeBlocks = 4096;

/// Takes numbers off the front of the input; zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  [[nodiscard]] bool at_end() const { return at_ == end_; }
  uint8_t byte() { return at_ == end_ ? uint8_t{0} : *at_++; }
  uint32_t number() {
    uint32_t value = byte();
    value = value << 8 | byte();
    return value << 8 | byte();
  }
  void fill(std::byte* to, size_t bytes) {
    const size_t have = std::min(bytes, static_cast<size_t>(end_ - at_));
    if (have > 0) std::memcpy(to, at_, have);
    at_ += have;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

/// Makes a header block pass the checks that a fuzzer cannot: magic, version, volume, checksum.
/// Written from the format's description, not with its code.
inline void repair_header(std::byte* block) {
  const auto put = [block](size_t at, auto value) {
    std::memcpy(block + at, &value, sizeof value);
  };
  const auto get = [block]<class T>(size_t at, T* value) {
    std::memcpy(value, block + at, sizeof *value);
  };
  put(0, FrameFields::kMagic);
  put(8, FrameFields::kVersion);
  std::memcpy(block + 16, kVolume.bytes.data(), kVolume.bytes.size());
  uint16_t flags, records;
  uint32_t payload;
  get(10, &flags);
  get(12, &records);
  get(64, &payload);
  const uint64_t crcs = (flags & FrameFields::kFlagPad) != 0 ? 0 : payload;
  const uint64_t used = 128 + uint64_t{records} * 16 + crcs * 4;
  put(72, uint32_t{0});
  if (used <= kBlockBytes) put(72, crc32c(block, used));
}

}  // namespace ringbolt::fuzz

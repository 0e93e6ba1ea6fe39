// Fuzz target: the superblock's decoder. Any 8192 bytes give a value or an error; a value, encoded
// and decoded again, is the same value. The first byte chooses whether the checksum is made right,
// without which the fuzzer would never come past it. Any two slots give one of them, or an error.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "volume/superblock.h"

namespace {

using namespace ringbolt;

constexpr size_t kVersionAt = 8, kChecksumAt = 12, kFeaturesAt = 24, kFlagsAt = 404;
constexpr uint8_t kOptionRepair = 1, kOptionRepairSizes = 2;

template <class T>
void put(std::vector<std::byte>& slot, size_t at, T value) {
  std::memcpy(&slot[at], &value, sizeof value);
}

void repair(std::vector<std::byte>& slot, bool sizes) {
  put(slot, 0, Superblock::kMagic);
  put(slot, kVersionAt, Superblock::kVersion);
  if (sizes) {  // the fields that are hard to hit by chance
    std::fill_n(&slot[kFeaturesAt], 24, std::byte{0});
    put(slot, 384, uint64_t{1} << 30);
    put(slot, 392, kWalBytesMin);
    put(slot, 400, kBlockBytes);
  }
  put(slot, kChecksumAt, uint32_t{0});
  put(slot, kChecksumAt, crc32c(slot.data(), slot.size()));
}

void check_value(const Superblock& value) {
  RINGBOLT_ASSERT(value.volume_bytes > 0 && value.volume_bytes <= kVolumeBytesMax);
  RINGBOLT_ASSERT(value.volume_bytes % kBlockBytes == 0 && value.wal_bytes % kBlockBytes == 0);
  RINGBOLT_ASSERT(value.wal_bytes >= kWalBytesMin && value.wal_bytes <= kWalBytesMax);
  RINGBOLT_ASSERT(value.tail_block < value.wal_bytes / kBlockBytes && value.tail_first >= Lsn(1));
  RINGBOLT_ASSERT(value.checkpoint.next() >= value.tail_first);
  RINGBOLT_ASSERT(value.node_id.size() <= Superblock::kNodeIdBytesMax);
  RINGBOLT_ASSERT(value.name.size() <= Superblock::kNameBytesMax);
  RINGBOLT_ASSERT(value.in_sync.size() <= kReplicasMax);
  RINGBOLT_ASSERT(value.checkpoint <= value.base_limit && value.base_limit <= value.durable);
  RINGBOLT_ASSERT(value.epoch_holder.size() <= Superblock::kNodeIdBytesMax);
  RINGBOLT_ASSERT(!value.assignment || Superblock::problem_of(*value.assignment) == nullptr);
  for (size_t i = 1; i < value.history.size(); ++i) {
    RINGBOLT_ASSERT(value.history.at(i - 1).term < value.history.at(i).term);
    RINGBOLT_ASSERT(value.history.at(i - 1).first < value.history.at(i).first);
  }
}

/// Every field is in the encoding, so equal encodings are equal values.
std::vector<std::byte> encoded(const Superblock& value) {
  std::vector<std::byte> slot(Superblock::kSlotBytes);
  value.encode(slot.data());
  return slot;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // Its own allocation of the exact size, so that a read beyond it is noticed.
  std::vector<std::byte> slot(Superblock::kSlotBytes);
  std::memcpy(slot.data(), data + 1, std::min(size - 1, slot.size()));
  if ((data[0] & kOptionRepair) != 0) repair(slot, (data[0] & kOptionRepairSizes) != 0);
  const Result<Superblock> first = Superblock::decode(slot.data());
  if (!first.has_value()) {
    RINGBOLT_ASSERT(!first.error().message.empty());
    return 0;
  }
  check_value(first.value());
  const std::vector<std::byte> again = encoded(first.value());
  const Result<Superblock> second = Superblock::decode(again.data());
  RINGBOLT_ASSERT(second.has_value());
  RINGBOLT_ASSERT(encoded(second.value()) == again);
  RINGBOLT_ASSERT(second.value().volume == first.value().volume &&
                  second.value().name == first.value().name);
  RINGBOLT_ASSERT(second.value().node_id == first.value().node_id);
  RINGBOLT_ASSERT(second.value().in_sync == first.value().in_sync);
  RINGBOLT_ASSERT(second.value().history == first.value().history);
  RINGBOLT_ASSERT(second.value().checkpoint == first.value().checkpoint);
  // What the flags say must survive: the rebuild mark above all.
  constexpr size_t kFlagsBytes = 4;
  uint32_t flags_read, flags_written;
  std::memcpy(&flags_read, &slot[kFlagsAt], kFlagsBytes);
  std::memcpy(&flags_written, &again[kFlagsAt], kFlagsBytes);
  RINGBOLT_ASSERT((flags_read & 0xf) == flags_written);
  RINGBOLT_ASSERT(second.value().epoch_holder == first.value().epoch_holder);
  RINGBOLT_ASSERT(second.value().assignment == first.value().assignment);
  RINGBOLT_ASSERT(second.value().cuts == first.value().cuts);
  // With a damaged one beside it, it is what counts.
  std::vector<std::byte> damaged = again;
  damaged[data[0] * 31u % damaged.size()] ^= std::byte{1};
  const Result<SuperblockSlots> slots = read_superblock_slots({again.data(), damaged.data()});
  RINGBOLT_ASSERT(slots.has_value() && slots.value().newest && slots.value().write_first == 1);
  return 0;
}

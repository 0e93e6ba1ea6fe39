// Fuzz target: one WAL header block of any content. The first byte chooses whether its checksum is
// made right, and whether its counts and ranges are brought into bounds first. A header that passes
// the check must be safe to use: everything it says stays inside the block and the volume, and any
// slice of it is a good header again.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "ringbolt/assert.h"
#include "tests/fuzz/wal_frame.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::fuzz;

constexpr uint32_t kPayloadBlocksReadMax = 8;

/// Leaves what the input chose, but folds it into what a frame may say.
void make_plausible(std::byte* block) {
  FrameFields fields = FrameHeader(block).fields();
  fields.flags = 0;
  fields.record_count = static_cast<uint16_t>(1 + fields.record_count % kFrameRecordsMax);
  fields.payload_blocks = 0;
  fields.first_lsn = 1 + fields.first_lsn % (uint64_t{1} << 40);
  fields.incarnation |= 1;
  for (uint32_t i = 0; i < fields.record_count; ++i) {
    std::byte* at = block + sizeof fields + i * sizeof(WalRecord);
    // The kind's byte may be no enumerator yet.
    const auto kind = static_cast<RecordKind>(1 + std::to_integer<uint8_t>(*at) % 4);
    WalRecord record{kind, {}, 0, 0};
    std::memcpy(&record.blocks, at + offsetof(WalRecord, blocks), sizeof record.blocks);
    std::memcpy(&record.lba, at + offsetof(WalRecord, lba), sizeof record.lba);
    record.blocks = 1 + record.blocks % 8;
    record.lba %= kVolumeBlocks - 8;
    const bool too_much = fields.payload_blocks + record.blocks > kFramePayloadBlocksMax;
    if (kind == RecordKind::kTerm || (has_payload(kind) && too_much)) {
      record = {RecordKind::kTerm, {}, 0, 0};
    }
    if (has_payload(record.kind)) fields.payload_blocks += record.blocks;
    std::memcpy(at, &record, sizeof record);
  }
  std::memcpy(block, &fields, sizeof fields);
}

uint32_t payload_of(const WalRecord& record) {
  return has_payload(record.kind) ? record.blocks : 0;
}

void check_records(const FrameHeader& header) {
  uint32_t payload = 0;
  for (uint32_t i = 0; i < header.record_count(); ++i) {
    const WalRecord record = header.record(i);
    RINGBOLT_ASSERT(record.lba <= kVolumeBlocks && record.blocks <= kVolumeBlocks - record.lba);
    payload += payload_of(record);
  }
  RINGBOLT_ASSERT(payload == header.payload_blocks() && payload <= kFramePayloadBlocksMax);
  RINGBOLT_ASSERT(header.used_bytes() <= kBlockBytes);
  RINGBOLT_ASSERT(header.last_lsn() >= header.first_lsn());
}

void check_slice(const FrameHeader& header, uint32_t first, uint32_t count) {
  const Lsn from = header.first_lsn().plus(first);
  std::vector<std::byte> block(kBlockBytes);
  const FrameHeader::PayloadSlice slice = header.slice(from, from.plus(count - 1), block.data());
  const FrameHeader sliced(block.data());
  RINGBOLT_ASSERT(sliced.check(kVolume, kVolumeBlocks) == nullptr);
  RINGBOLT_ASSERT(sliced.first_lsn() == from && sliced.record_count() == count);
  RINGBOLT_ASSERT(sliced.term() == header.term());
  RINGBOLT_ASSERT(sliced.payload_blocks() == slice.blocks);
  uint32_t payload_before = 0;
  for (uint32_t i = 0; i < first; ++i) payload_before += payload_of(header.record(i));
  RINGBOLT_ASSERT(slice.first_block == payload_before);
  RINGBOLT_ASSERT(slice.first_block + slice.blocks <= header.payload_blocks());
  for (uint32_t i = 0; i < count; ++i) {
    const WalRecord a = header.record(first + i), b = sliced.record(i);
    RINGBOLT_ASSERT(a.kind == b.kind && a.blocks == b.blocks && a.lba == b.lba);
  }
  for (uint32_t i = 0; i < slice.blocks; ++i) {
    RINGBOLT_ASSERT(sliced.block_crc(i) == header.block_crc(slice.first_block + i));
  }
}

void check_payload(const FrameHeader& header) {
  // A buffer of exactly the size that the header says, so that reading more is noticed.
  const std::vector<std::byte> payload(size_t{header.payload_blocks()} * kBlockBytes);
  const auto bad = header.check_payload(payload.data());
  const uint32_t zeros = crc32c(std::vector<std::byte>(kBlockBytes).data(), kBlockBytes);
  for (uint32_t i = 0; i < bad.value_or(header.payload_blocks()); ++i)
    RINGBOLT_ASSERT(header.block_crc(i) == zeros);
  if (bad) RINGBOLT_ASSERT(header.block_crc(*bad) != zeros);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  std::vector<std::byte> block(kBlockBytes);
  std::memcpy(block.data(), data + 4, std::min(size - 4, block.size()));
  const bool repaired = (data[0] & 1) != 0, plausible = (data[0] & 2) != 0;
  if (plausible) make_plausible(block.data());
  if (repaired) repair_header(block.data());
  const FrameHeader header(block.data());
  if (header.check(kVolume, kVolumeBlocks) != nullptr) {
    RINGBOLT_ASSERT(!(repaired && plausible));
    return 0;
  }
  RINGBOLT_ASSERT(header.term().incarnation >= Incarnation(1) && header.first_lsn() >= Lsn(1));
  if (header.is_pad()) {
    RINGBOLT_ASSERT(header.record_count() == 0 && header.last_lsn().next() == header.first_lsn());
    return 0;
  }
  check_records(header);
  const uint32_t first = data[1] % header.record_count();
  check_slice(header, first, 1 + data[2] % (header.record_count() - first));
  check_slice(header, 0, header.record_count());
  if (header.payload_blocks() <= kPayloadBlocksReadMax) check_payload(header);
  return 0;
}

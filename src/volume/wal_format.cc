#include "volume/wal_format.h"

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt {

namespace {

uint32_t header_checksum(const std::byte* block, uint32_t used_bytes) {
  static constexpr uint32_t kZero = 0;
  constexpr size_t kAt = offsetof(FrameFields, checksum);
  uint32_t crc = crc32c(block, kAt);
  crc = crc32c(&kZero, sizeof kZero, crc);
  return crc32c(block + kAt + sizeof kZero, used_bytes - kAt - sizeof kZero, crc);
}

uint32_t used_bytes_of(uint32_t records, uint32_t crcs) {
  return static_cast<uint32_t>(sizeof(FrameFields) + records * sizeof(WalRecord) + crcs * 4);
}

const char* check_record(const WalRecord& record, uint64_t volume_blocks) {
  const bool in_range = record.lba < volume_blocks && record.blocks <= volume_blocks - record.lba;
  switch (record.kind) {
    case RecordKind::kTerm: return record.blocks == 0 && record.lba == 0 ? nullptr : "term record with a range";
    case RecordKind::kWrite:
      if (record.blocks == 0 || record.blocks > kFramePayloadBlocksMax) return "write record of impossible length";
      return in_range ? nullptr : "write record beyond the end of the volume";
    case RecordKind::kZero:
    case RecordKind::kTrim:
      if (record.blocks == 0 || record.blocks > kZeroRecordBlocksMax) return "zero record of impossible length";
      return in_range ? nullptr : "zero record beyond the end of the volume";
  }
  return "record of unknown kind";
}

}  // namespace

void FrameHeader::begin(const Uuid& volume, Term term, Lsn first) {
  std::memset(block_, 0, kBlockBytes);
  FrameFields f{};
  f.magic = FrameFields::kMagic;
  f.version = FrameFields::kVersion;
  std::memcpy(f.uuid, volume.bytes.data(), sizeof f.uuid);
  f.epoch = term.epoch.value();
  f.incarnation = term.incarnation.value();
  f.first_lsn = first.value();
  set_fields(f);
}

bool FrameHeader::fits(RecordKind kind, uint32_t blocks) const {
  const FrameFields f = fields();
  const uint32_t payload = f.payload_blocks + (has_payload(kind) ? blocks : 0);
  return f.record_count < kFrameRecordsMax && payload <= kFramePayloadBlocksMax;
}

void FrameHeader::add_record(RecordKind kind, Lba lba, uint32_t blocks) {
  RINGBOLT_ASSERT(fits(kind, blocks));
  FrameFields f = fields();
  const WalRecord record{kind, {}, blocks, lba.value()};
  std::memcpy(block_ + sizeof(FrameFields) + f.record_count * sizeof record, &record, sizeof record);
  f.record_count = static_cast<uint16_t>(f.record_count + 1);
  if (has_payload(kind)) f.payload_blocks += blocks;
  set_fields(f);
}

void FrameHeader::place_block_crcs(std::span<const uint32_t> crcs) {
  RINGBOLT_ASSERT(crcs.size() == payload_blocks());
  if (!crcs.empty()) std::memcpy(block_ + crc_offset(), crcs.data(), crcs.size_bytes());
}

uint32_t FrameHeader::used_bytes() const {
  const FrameFields f = fields();
  const bool pad = (f.flags & FrameFields::kFlagPad) != 0;
  return used_bytes_of(f.record_count, pad ? 0 : f.payload_blocks);
}

FrameHeader::PayloadSlice FrameHeader::slice(Lsn from, Lsn to, std::byte* out) const {
  const FrameFields f = fields();
  RINGBOLT_ASSERT(!is_pad() && from >= first_lsn() && to <= last_lsn() && from <= to);
  Uuid volume;
  std::memcpy(volume.bytes.data(), f.uuid, sizeof f.uuid);
  FrameHeader sliced(out);
  sliced.begin(volume, term(), from);
  PayloadSlice result{0, 0};
  for (uint32_t i = 0; i < f.record_count; ++i) {
    const WalRecord r = record(i);
    const Lsn lsn = first_lsn().plus(i);
    const uint32_t blocks = has_payload(r.kind) ? r.blocks : 0;
    if (lsn < from) result.first_block += blocks;
    if (lsn < from || lsn > to) continue;
    sliced.add_record(r.kind, Lba(r.lba), r.blocks);
    result.blocks += blocks;
  }
  std::memcpy(out + sliced.crc_offset(), block_ + crc_offset() + size_t{result.first_block} * 4, size_t{result.blocks} * 4);
  sliced.seal(f.previous_checksum, Lsn(f.durable_lsn));
  return result;
}

void FrameHeader::make_pad(uint32_t blocks) {
  FrameFields f = fields();
  RINGBOLT_ASSERT(f.record_count == 0);
  f.flags |= FrameFields::kFlagPad;
  f.payload_blocks = blocks;
  set_fields(f);
}

void FrameHeader::seal(uint32_t previous_checksum, Lsn durable, LogMark mark) {
  FrameFields f = fields();
  f.previous_checksum = previous_checksum;
  f.durable_lsn = durable.value();
  f.cuts = mark.cuts;
  f.log_key = mark.key;
  f.checksum = 0;
  set_fields(f);
  f.checksum = header_checksum(block_, used_bytes());
  set_fields(f);
}

const char* FrameHeader::check(const Uuid& volume, uint64_t volume_blocks) const {
  const FrameFields f = fields();
  if (f.magic != FrameFields::kMagic) return "no frame";
  if (f.version != FrameFields::kVersion) return "frame of an unknown format version";
  if (std::memcmp(f.uuid, volume.bytes.data(), sizeof f.uuid) != 0) return "frame of another volume";
  const bool pad = f.flags == FrameFields::kFlagPad;
  if (f.flags != 0 && !pad) return "frame with unknown flags";
  if (f.record_count > kFrameRecordsMax || (f.record_count == 0) != pad) return "frame with an impossible record count";
  if (!pad && f.payload_blocks > kFramePayloadBlocksMax) return "frame with an impossible payload";
  if (f.checksum != header_checksum(block_, used_bytes())) return "frame header checksum mismatch";
  // Only now are the fields known to be what a writer meant; still, a writer may be wrong.
  if (f.first_lsn == 0 || f.first_lsn > UINT64_MAX / 2 || f.incarnation == 0) return "frame with an impossible position";
  uint32_t payload = 0, covered = 0;
  for (uint32_t i = 0; i < f.record_count; ++i) {
    const WalRecord r = record(i);
    if (const char* wrong = check_record(r, volume_blocks)) return wrong;
    if (has_payload(r.kind)) payload += r.blocks;
    covered += r.blocks;
  }
  if (covered > kFrameCoveredBlocksMax) return "frame that covers too many blocks";
  if (!pad && payload != f.payload_blocks) return "frame whose records and payload differ";
  return nullptr;
}

std::optional<uint32_t> FrameHeader::check_payload(const std::byte* payload) const {
  const uint32_t blocks = is_pad() ? 0 : payload_blocks();
  for (uint32_t i = 0; i < blocks; ++i) {
    if (crc32c(payload + size_t{i} * kBlockBytes, kBlockBytes) != block_crc(i)) return i;
  }
  return std::nullopt;
}

}  // namespace ringbolt

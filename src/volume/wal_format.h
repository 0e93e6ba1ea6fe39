// The WAL frame on disk: one 4 KiB header block, then its payload blocks, contiguous.
//
//   offset  size  field (little-endian)
//        0     8  magic "RBWALFR1"
//        8     2  format version (1)
//       10     2  flags: bit 0 = pad frame
//       12     2  record count (0 .. 216; 0 only in a pad frame)
//       14     2  zero
//       16    16  volume UUID
//       32     8  epoch           } the term that wrote these records
//       40     8  incarnation     }
//       48     8  first Lsn (of a pad frame: the Lsn that the next frame begins with)
//       56     8  durable Lsn: flushed on this copy when the frame was sealed
//       64     4  payload blocks (pad frame: blocks to skip up to the end of the WAL)
//       68     4  checksum of the frame before this one (the chain)
//       72     4  checksum: CRC32C of the used bytes of this header with this field zero
//       76     4  zero
//       80     8  cuts: how often this copy's log had been cut when the frame was sealed
//       88     8  log key: which log of this copy's it is a part of; random, so that nobody can guess it
//       96    32  zero
//      128   16n  records: kind u8, zero u8[3], block count u32, Lba u64
//   128+16n   4p  CRC32C of each payload block
//
// Validity: a frame is valid at a place if its header is (magic, version, checksum, counts), its
// volume UUID is right, its log key is that of the superblock, its previous checksum is that of the
// frame before it, and each payload block matches its CRC. The chain makes a stale frame behind a
// re-written hole invalid. A pad frame fills the space up to the end of the WAL when the next frame does
// not fit; its payload is not written.
//
// The log key is there because payloads are what clients like: a block of one may look like a header,
// with the right UUID, Lsn and CRC, and recovery looks at every block of the area. No client is ever
// told the key. (A peer is, as frames cross the wire as they are; so every copy has a key of its own.)
//
// A bad frame is a torn tail unless something proves that it had been flushed: the superblock's
// durable Lsn, or a later frame whose durable Lsn covers it. Then it is corruption. (A valid successor
// alone proves nothing: many frames are in flight at once. Nor does a frame of before the last cut:
// what it calls flushed may be what was cut off, and another record of the same Lsn, even of the same
// term, was written since.)
//
// Version rule: a reader refuses versions it does not know.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "ringbolt/types.h"

namespace ringbolt {

static_assert(std::endian::native == std::endian::little, "formats are written in native order");

enum class RecordKind : uint8_t { kWrite = 1, kZero = 2, kTrim = 3, kTerm = 4 };

/// Whether a record of this kind carries one payload block per block.
constexpr bool has_payload(RecordKind kind) { return kind == RecordKind::kWrite; }

struct WalRecord {
  RecordKind kind;
  uint8_t zero[3];
  uint32_t blocks;  ///< kTerm: 0; kWrite: 1 .. 127; kZero, kTrim: 1 .. kZeroRecordBlocksMax
  uint64_t lba;
};
static_assert(sizeof(WalRecord) == 16 && std::is_trivially_copyable_v<WalRecord>);

struct FrameFields {
  static constexpr uint64_t kMagic = 0x3152464c41574252;  // "RBWALFR1"
  static constexpr uint16_t kVersion = 1;
  static constexpr uint16_t kFlagPad = 1;

  uint64_t magic;
  uint16_t version;
  uint16_t flags;
  uint16_t record_count;
  uint16_t zero0;
  uint8_t uuid[16];
  uint64_t epoch;
  uint64_t incarnation;
  uint64_t first_lsn;
  uint64_t durable_lsn;
  uint32_t payload_blocks;
  uint32_t previous_checksum;
  uint32_t checksum;
  uint32_t zero1;
  uint64_t cuts;
  uint64_t log_key;
  uint8_t zero2[32];
};
static_assert(sizeof(FrameFields) == 128 && std::is_trivially_copyable_v<FrameFields>);
static_assert(offsetof(FrameFields, checksum) == 72 && offsetof(FrameFields, cuts) == 80 &&
              offsetof(FrameFields, log_key) == 88);

/// What every frame of a copy's log carries beside its records: that it is of this log, and of what time.
struct LogMark {
  uint64_t key = 0;
  /// Goes up with each cut.
  uint64_t cuts = 0;
  friend bool operator==(const LogMark&, const LogMark&) = default;
};

inline constexpr uint32_t kFrameRecordsMax = 216;
inline constexpr uint32_t kFramePayloadBlocksMax = kFramePayloadBytesMax / kBlockBytes;
/// Most blocks that the records of one frame cover together. An empty dirty index of any copy takes
/// so many: a frame that covers more could never be appended by a copy with a smaller WAL.
inline constexpr uint32_t kFrameCoveredBlocksMax = 16384;
static_assert(sizeof(FrameFields) + kFrameRecordsMax * sizeof(WalRecord) + kFramePayloadBlocksMax * 4 <=
              kBlockBytes);

/// Read and write access to a header block in memory. A view: `block` is kBlockBytes, any alignment.
class FrameHeader {
 public:
  explicit FrameHeader(std::byte* block) : block_(block) {}

  /// Zeroes the block and fills the fields that do not change until sealing.
  void begin(const Uuid& volume, Term term, Lsn first);
  /// Appends a record; its block CRCs follow by set_block_crc. Requires: it fits (see fits()).
  void add_record(RecordKind kind, Lba lba, uint32_t blocks);
  [[nodiscard]] bool fits(RecordKind kind, uint32_t blocks) const;
  /// The CRC table must be placed behind the records, so it is written when all are known.
  void place_block_crcs(std::span<const uint32_t> crcs);
  /// Last step: chain, durable position, mark, checksum. (A copy seals what it receives again.)
  void seal(uint32_t previous_checksum, Lsn durable, LogMark mark = {});

  [[nodiscard]] FrameFields fields() const {
    FrameFields fields;
    std::memcpy(&fields, block_, sizeof fields);
    return fields;
  }
  [[nodiscard]] WalRecord record(uint32_t index) const {
    WalRecord record;
    std::memcpy(&record, block_ + sizeof(FrameFields) + index * sizeof record, sizeof record);
    return record;
  }
  [[nodiscard]] uint32_t block_crc(uint32_t index) const {
    uint32_t crc;
    std::memcpy(&crc, block_ + crc_offset() + index * 4, sizeof crc);
    return crc;
  }
  [[nodiscard]] uint32_t record_count() const { return fields().record_count; }
  [[nodiscard]] uint32_t payload_blocks() const { return fields().payload_blocks; }
  [[nodiscard]] bool is_pad() const { return (fields().flags & FrameFields::kFlagPad) != 0; }
  [[nodiscard]] Term term() const {
    const FrameFields f = fields();
    return {Epoch(f.epoch), Incarnation(f.incarnation)};
  }
  [[nodiscard]] Lsn first_lsn() const { return Lsn(fields().first_lsn); }
  /// Lsn of the last record; first_lsn() - 1 for a pad frame.
  [[nodiscard]] Lsn last_lsn() const {
    const FrameFields f = fields();
    return Lsn(f.first_lsn + f.record_count - 1);
  }
  [[nodiscard]] LogMark mark() const {
    const FrameFields f = fields();
    return {f.log_key, f.cuts};
  }
  [[nodiscard]] uint32_t checksum() const { return fields().checksum; }
  /// Bytes of the block that carry anything (fields, records, CRCs).
  [[nodiscard]] uint32_t used_bytes() const;
  /// Blocks from this header to the next frame.
  [[nodiscard]] uint32_t total_blocks() const { return 1 + payload_blocks(); }

  /// Which payload blocks a slice of a frame has.
  struct PayloadSlice {
    uint32_t first_block;
    uint32_t blocks;
  };
  /// Writes a header with just the records `from` .. `to` (both in this frame) to `out` (kBlockBytes,
  /// not this block), sealed with the same chain fields. Requires: not a pad frame.
  PayloadSlice slice(Lsn from, Lsn to, std::byte* out) const;

  /// Makes it a pad frame that skips `blocks` payload blocks.
  void make_pad(uint32_t blocks);

  /// Total: any bytes. Null if the header is well-formed, of `volume`, and its checksum is right,
  /// else what is wrong, static text. Does not look at the mark, the chain or the payload. `volume_blocks`
  /// bounds the records' ranges.
  [[nodiscard]] const char* check(const Uuid& volume, uint64_t volume_blocks) const;
  /// Index of the first payload block that does not match its CRC, if any. `payload`:
  /// payload_blocks() * kBlockBytes bytes.
  [[nodiscard]] std::optional<uint32_t> check_payload(const std::byte* payload) const;

 private:
  [[nodiscard]] size_t crc_offset() const {
    return sizeof(FrameFields) + record_count() * sizeof(WalRecord);
  }
  void set_fields(const FrameFields& fields) { std::memcpy(block_, &fields, sizeof fields); }
  std::byte* block_;
};

}  // namespace ringbolt

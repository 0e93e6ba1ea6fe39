// The WAL frame on disk: what is written is read back, what is damaged is noticed, and no bytes
// whatever crash the decoder.
#include "volume/wal_format.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "block_model.h"
#include "ringbolt/crc32c.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

constexpr uint64_t kVolumeBlocks = 100000;
const Uuid kVolume{{7, 7, 7}};
constexpr Term kTerm{Epoch(3), Incarnation(2)};

/// A frame in memory: header block and payload.
struct FrameBytes {
  explicit FrameBytes(uint32_t payload_blocks) : bytes((1 + payload_blocks) * kBlockBytes) {}
  std::vector<std::byte> bytes;
  [[nodiscard]] FrameHeader header() { return FrameHeader(bytes.data()); }
  [[nodiscard]] std::byte* payload() { return bytes.data() + kBlockBytes; }
  /// CRCs and seal; the records are in place.
  void finish(uint32_t previous, Lsn durable) {
    std::vector<uint32_t> crcs;
    for (uint32_t i = 0; i < header().payload_blocks(); ++i) {
      fill_block(payload() + size_t{i} * kBlockBytes, 100 + i);
      crcs.push_back(crc32c(payload() + size_t{i} * kBlockBytes, kBlockBytes));
    }
    header().place_block_crcs(crcs);
    header().seal(previous, durable);
  }
};

/// A term record, two writes with a zero and a trim around.
FrameBytes sample_frame() {
  FrameBytes frame(5);
  FrameHeader header = frame.header();
  header.begin(kVolume, kTerm, Lsn(1000));
  header.add_record(RecordKind::kTerm, Lba{}, 0);
  header.add_record(RecordKind::kWrite, Lba(5), 2);
  header.add_record(RecordKind::kZero, Lba(77), 4096);
  header.add_record(RecordKind::kWrite, Lba(kVolumeBlocks - 3), 3);
  header.add_record(RecordKind::kTrim, Lba(0), 1);
  frame.finish(0xabcdef01, Lsn(990));
  return frame;
}

/// Puts the right checksum on a header whose fields were changed: what only a wrong writer would
/// do.
const char* check_resealed(FrameBytes frame, const std::function<void(FrameFields&)>& change) {
  FrameFields fields = frame.header().fields();
  change(fields);
  std::memcpy(frame.bytes.data(), &fields, sizeof fields);
  frame.header().seal(fields.previous_checksum, Lsn(fields.durable_lsn));
  return frame.header().check(kVolume, kVolumeBlocks);
}

}  // namespace

TEST_CASE("wal_format: a frame is read back as it was written", "[volume][wal_format]") {
  FrameBytes frame = sample_frame();
  const FrameHeader header = frame.header();
  REQUIRE(header.check(kVolume, kVolumeBlocks) == nullptr);
  CHECK_FALSE(header.check_payload(frame.payload()).has_value());
  CHECK_FALSE(header.is_pad());
  CHECK(header.term() == kTerm);
  CHECK(header.first_lsn() == Lsn(1000));
  CHECK(header.last_lsn() == Lsn(1004));
  CHECK(header.record_count() == 5);
  CHECK(header.payload_blocks() == 5);
  CHECK(header.total_blocks() == 6);
  CHECK(header.fields().previous_checksum == 0xabcdef01);
  CHECK(header.fields().durable_lsn == 990);
  CHECK(header.used_bytes() == 128 + 5 * 16 + 5 * 4);
  CHECK(header.record(3).kind == RecordKind::kWrite);
  CHECK(header.record(3).lba == kVolumeBlocks - 3);
  CHECK(header.record(3).blocks == 3);
  for (uint32_t i = 0; i < 5; ++i)
    CHECK(header.block_crc(i) == crc32c(frame.payload() + size_t{i} * kBlockBytes, kBlockBytes));
}

TEST_CASE("wal_format: each changed byte of the used header is noticed", "[volume][wal_format]") {
  FrameBytes frame = sample_frame();
  std::mt19937 random(3);
  for (uint32_t at = 0; at < frame.header().used_bytes(); ++at) {
    const auto flip = static_cast<std::byte>(1 + random() % 255);
    frame.bytes[at] ^= flip;
    INFO("byte " << at);
    CHECK(frame.header().check(kVolume, kVolumeBlocks) != nullptr);
    frame.bytes[at] ^= flip;
  }
  CHECK(frame.header().check(kVolume, kVolumeBlocks) == nullptr);
}

TEST_CASE("wal_format: a changed payload block is named", "[volume][wal_format]") {
  FrameBytes frame = sample_frame();
  for (uint32_t block = 0; block < 5; ++block) {
    std::byte& byte = frame.payload()[block * kBlockBytes + 1234];
    byte ^= std::byte{4};
    CHECK(frame.header().check_payload(frame.payload()) == block);
    byte ^= std::byte{4};
  }
}

TEST_CASE("wal_format: frames of another volume, version or impossible contents are refused",
          "[volume][wal_format]") {
  const FrameBytes frame = sample_frame();
  FrameBytes copy = frame;
  CHECK(std::string(copy.header().check(Uuid{{8}}, kVolumeBlocks)) == "frame of another volume");
  CHECK(std::string(copy.header().check(kVolume, kVolumeBlocks - 1)) ==
        "write record beyond the end of the volume");
  CHECK(check_resealed(frame, [](FrameFields&) {}) == nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.magic ^= 1; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.version = 2; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.flags = 2; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.flags = FrameFields::kFlagPad; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.first_lsn = 0; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.first_lsn = UINT64_MAX - 2; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.incarnation = 0; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.payload_blocks = 4; }) != nullptr);
  CHECK(check_resealed(frame, [](FrameFields& f) { f.record_count = 2; }) != nullptr);
}

TEST_CASE("wal_format: impossible records are refused", "[volume][wal_format]") {
  const auto check = [](RecordKind kind, uint64_t lba, uint32_t blocks) {
    FrameBytes frame(127);
    FrameHeader header = frame.header();
    header.begin(kVolume, kTerm, Lsn(1));
    const bool fits = header.fits(kind, blocks);
    header.add_record(fits ? kind : RecordKind::kTerm, Lba{}, 0);
    const WalRecord record{kind, {}, blocks, lba};
    std::memcpy(frame.bytes.data() + sizeof(FrameFields), &record, sizeof record);
    FrameFields fields = header.fields();
    fields.payload_blocks = has_payload(kind) && blocks <= 127 ? blocks : 0;
    std::memcpy(frame.bytes.data(), &fields, sizeof fields);
    frame.finish(0, Lsn{});
    return header.check(kVolume, kVolumeBlocks) == nullptr;
  };
  CHECK(check(RecordKind::kWrite, 0, 1));
  CHECK(check(RecordKind::kWrite, 0, 127));
  CHECK_FALSE(check(RecordKind::kWrite, 0, 0));
  CHECK_FALSE(check(RecordKind::kWrite, 0, 128));
  CHECK_FALSE(check(RecordKind::kWrite, kVolumeBlocks, 1));
  CHECK_FALSE(check(RecordKind::kWrite, kVolumeBlocks - 1, 2));
  CHECK_FALSE(check(RecordKind::kWrite, UINT64_MAX, 2));
  CHECK(check(RecordKind::kZero, kVolumeBlocks - 4096, 4096));
  CHECK_FALSE(check(RecordKind::kZero, 0, 0));
  CHECK_FALSE(check(RecordKind::kZero, 0, 4097));
  CHECK_FALSE(check(RecordKind::kTrim, kVolumeBlocks - 4095, 4096));
  CHECK_FALSE(check(RecordKind::kTrim, UINT64_MAX - 3, 8));
  CHECK(check(RecordKind::kTerm, 0, 0));
  CHECK_FALSE(check(RecordKind::kTerm, 1, 0));
  CHECK_FALSE(check(RecordKind::kTerm, 0, 1));
  CHECK_FALSE(check(static_cast<RecordKind>(0), 0, 1));
  CHECK_FALSE(check(static_cast<RecordKind>(5), 0, 1));
}

TEST_CASE("wal_format: a frame covers no more blocks than any copy's empty index takes",
          "[volume][wal_format]") {
  for (const uint32_t records : {4u, 5u}) {
    FrameBytes frame(0);
    frame.header().begin(kVolume, kTerm, Lsn(1));
    for (uint32_t i = 0; i < records; ++i)
      frame.header().add_record(RecordKind::kTrim, Lba(8), 4096);
    frame.finish(0, Lsn{});
    CHECK((frame.header().check(kVolume, kVolumeBlocks) == nullptr) == (records == 4));
  }
}

TEST_CASE("wal_format: a header has room for as many records and blocks as are allowed, together",
          "[volume][wal_format]") {
  FrameBytes frame(127);
  FrameHeader header = frame.header();
  header.begin(kVolume, kTerm, Lsn(1));
  for (uint32_t i = 0; i < 127; ++i) header.add_record(RecordKind::kWrite, Lba(i), 1);
  CHECK_FALSE(header.fits(RecordKind::kWrite, 1));
  for (uint32_t i = 127; i < kFrameRecordsMax; ++i) {
    REQUIRE(header.fits(RecordKind::kTrim, 1));
    header.add_record(RecordKind::kTrim, Lba(i), 1);
  }
  CHECK_FALSE(header.fits(RecordKind::kTrim, 1));
  frame.finish(1, Lsn{});
  CHECK(header.used_bytes() <= kBlockBytes);
  CHECK(header.check(kVolume, kVolumeBlocks) == nullptr);
  CHECK_FALSE(header.check_payload(frame.payload()).has_value());
}

TEST_CASE(
    "wal_format: a slice is a frame of just those records, with their blocks and the same chain",
    "[volume][wal_format]") {
  FrameBytes frame = sample_frame();
  for (uint64_t from = 1000; from <= 1004; ++from) {
    for (uint64_t to = from; to <= 1004; ++to) {
      std::array<std::byte, kBlockBytes> out;
      out.fill(std::byte{0xee});
      const auto slice = frame.header().slice(Lsn(from), Lsn(to), out.data());
      const FrameHeader header(out.data());
      INFO(from << ".." << to);
      REQUIRE(header.check(kVolume, kVolumeBlocks) == nullptr);
      CHECK(header.first_lsn() == Lsn(from));
      CHECK(header.last_lsn() == Lsn(to));
      CHECK(header.term() == kTerm);
      CHECK(header.fields().previous_checksum == 0xabcdef01);
      CHECK(header.fields().durable_lsn == 990);
      CHECK(slice.blocks == header.payload_blocks());
      CHECK_FALSE(header.check_payload(frame.payload() + size_t{slice.first_block} * kBlockBytes)
                      .has_value());
      for (uint64_t lsn = from; lsn <= to; ++lsn) {
        const WalRecord a = header.record(static_cast<uint32_t>(lsn - from));
        const WalRecord b = frame.header().record(static_cast<uint32_t>(lsn - 1000));
        CHECK(std::memcmp(&a, &b, sizeof a) == 0);
      }
    }
  }
}

TEST_CASE("wal_format: a pad frame skips blocks and holds no record", "[volume][wal_format]") {
  FrameBytes frame(0);
  FrameHeader header = frame.header();
  header.begin(kVolume, kTerm, Lsn(50));
  header.make_pad(300);
  header.seal(77, Lsn(49));
  REQUIRE(header.check(kVolume, kVolumeBlocks) == nullptr);
  CHECK(header.is_pad());
  CHECK(header.total_blocks() == 301);
  CHECK(header.first_lsn() == Lsn(50));
  CHECK(header.last_lsn() == Lsn(49));
  CHECK(header.used_bytes() == sizeof(FrameFields));
  CHECK_FALSE(header.check_payload(nullptr).has_value());
  frame.bytes[66] ^= std::byte{1};
  CHECK(header.check(kVolume, kVolumeBlocks) != nullptr);
}

TEST_CASE("wal_format: no bytes crash the decoder", "[volume][wal_format]") {
  // Random bytes, and good headers with random damage whose checksum is right again: the second
  // kind gets past the checksum to all the other checks.
  std::mt19937_64 random(5);
  const FrameBytes good = sample_frame();
  uint64_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    // In an allocation of its own, so that a read beyond the block is noticed.
    auto block = std::make_unique<std::byte[]>(kBlockBytes);
    if (round % 2 == 0) {
      for (size_t i = 0; i < kBlockBytes; i += 8) {
        const uint64_t word = random();
        std::memcpy(block.get() + i, &word, 8);
      }
      std::memcpy(block.get(), good.bytes.data(), random() % 64);
    } else {
      std::memcpy(block.get(), good.bytes.data(), kBlockBytes);
      for (uint64_t i = random() % 4; i > 0; --i)
        block[8 + random() % 260] = static_cast<std::byte>(random());
      FrameHeader damaged(block.get());
      const FrameFields fields = damaged.fields();
      if (fields.record_count <= kFrameRecordsMax &&
          fields.payload_blocks <= kFramePayloadBlocksMax) {
        damaged.seal(fields.previous_checksum, Lsn(fields.durable_lsn));
      }
    }
    const FrameHeader header(block.get());
    if (header.check(kVolume, kVolumeBlocks) != nullptr) continue;
    ++accepted;
    // What is accepted obeys every rule.
    REQUIRE(header.used_bytes() <= kBlockBytes);
    uint32_t payload = 0;
    for (uint32_t i = 0; i < header.record_count(); ++i) {
      const WalRecord record = header.record(i);
      REQUIRE(record.lba + record.blocks <= kVolumeBlocks);
      if (has_payload(record.kind)) payload += record.blocks;
    }
    REQUIRE((header.is_pad() || payload == header.payload_blocks()));
  }
  CHECK(accepted > 100);
}

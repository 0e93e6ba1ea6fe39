// Fuzz target: recovery of a WAL area whose content the input chooses: good frames, frames that
// break a rule, raw bytes, in any order, at the append position or elsewhere, behind any tail.
// Recovery must end once, with the log restored or an error; what it reports must be dense, inside
// the area and the volume; a log of good frames only must be read to its end, and one whose chain
// or Lsns break must not be read beyond.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "io/sim_io.h"
#include "ringbolt/assert.h"
#include "tests/fuzz/wal_frame.h"
#include "volume/wal_recovery.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::fuzz;

constexpr uint64_t kCapacityBlocks = 320;  // more than one window of recovery
constexpr const char* kPath = "/wal";
constexpr uint32_t kStepsMax = 64;
constexpr uint32_t kRecordBlocksMax = 8;

/// Writes frames into the area as the input says and knows how far a correct log reaches.
class LogWriter {
 public:
  LogWriter(io::SimDisk& disk, Input& input) : disk_(disk), input_(input) {
    history_.open(term_, Lsn(1));
    tail_block_ = position_ = input_.number() % kCapacityBlocks;
    first_ = next_ = reader_next_ = Lsn(1 + input_.byte());
  }
  void run() {
    for (uint32_t i = 0; i < kStepsMax && !input_.at_end(); ++i) step();
  }
  [[nodiscard]] WalRecovery::Start start() const {
    return {first_, tail_block_, 0, &history_, durable_, {}, {}};
  }
  [[nodiscard]] Lsn first() const { return first_; }
  /// Last record that a correct reader must find; empty if something was spoilt.
  [[nodiscard]] std::optional<Lsn> good_end() const {
    return spoilt_ ? std::nullopt : std::optional(Lsn(next_.value() - 1));
  }

  /// Last record that a correct reader may find: what follows breaks the chain or leaves out an
  /// Lsn. Empty if nothing does, or if it cannot be told.
  [[nodiscard]] std::optional<Lsn> furthest_end() const {
    return wild_ ? std::nullopt : furthest_end_;
  }

 private:
  void step() {
    const uint8_t what = input_.byte();
    if (what < 160) return write_frame(what);
    spoilt_ = true;
    if (what < 192) return write_raw(what % 2 == 0);
    if (what < 208) return write_elsewhere();
    if (what < 224) {
      durable_ = Lsn(input_.byte());
      return;
    }
    if (what < 240) {
      next_ = Lsn(next_.value() + input_.byte() % 3);
      return;
    }
    chain_ ^= input_.byte();
  }

  void open_term() {
    term_ = {Epoch(term_.epoch.value() + 1), Incarnation(1)};
    history_.open(term_, next_);
  }

  /// A frame at the append position; a pad frame first if it does not fit before the end.
  void write_frame(uint8_t what) {
    if (what % 16 == 15) open_term();
    const std::vector<std::byte> frame = make_frame(1 + what % 4);
    const uint64_t blocks = frame.size() / kBlockBytes;
    const uint64_t left = kCapacityBlocks - position_;
    const uint64_t pad = left < blocks ? left : 0;
    if (used_ + pad + blocks > kCapacityBlocks) return;
    if (pad > 0) {
      std::vector<std::byte> block(kBlockBytes);
      FrameHeader header(block.data());
      header.begin(kVolume, term_, next_);
      header.make_pad(static_cast<uint32_t>(pad - 1));
      append(header, block, pad);
    }
    std::vector<std::byte> sealed = frame;
    FrameHeader header(sealed.data());
    append(header, sealed, blocks);
    next_ = header.last_lsn().next();
  }

  /// Records as the input says, not sealed yet.
  std::vector<std::byte> make_frame(uint32_t records) {
    std::vector<std::byte> frame(kBlockBytes);
    FrameHeader(frame.data()).begin(kVolume, term_, next_);
    std::vector<uint32_t> crcs;
    crcs.reserve(records * kRecordBlocksMax);  // data() is not null, even if there are none
    for (uint32_t i = 0; i < records; ++i) {
      const auto kind = static_cast<RecordKind>(1 + input_.byte() % 4);
      const uint32_t blocks = kind == RecordKind::kTerm ? 0 : 1 + input_.byte() % kRecordBlocksMax;
      const uint64_t lba =
          kind == RecordKind::kTerm ? 0 : input_.number() % (kVolumeBlocks - kRecordBlocksMax);
      FrameHeader(frame.data()).add_record(kind, Lba(lba), blocks);
      for (uint32_t block = 0; has_payload(kind) && block < blocks; ++block) {
        // The area is zeros to begin with, and writing much of it takes most of the time.
        frame.resize(frame.size() + kBlockBytes,
                     block == 0 ? static_cast<std::byte>(lba) : std::byte{0});
        crcs.push_back(crc32c(&frame[frame.size() - kBlockBytes], kBlockBytes));
      }
    }
    FrameHeader(frame.data()).place_block_crcs(crcs);
    return frame;
  }

  void append(FrameHeader& header, std::span<const std::byte> bytes, uint64_t blocks) {
    if (!furthest_end_ && (chain_ != reader_chain_ || next_ != reader_next_)) {
      furthest_end_ = Lsn(reader_next_.value() - 1);
    }
    header.seal(chain_, Lsn(next_.value() - 1));
    chain_ = reader_chain_ = header.checksum();
    reader_next_ = header.last_lsn().next();
    for (size_t at = 0; at < bytes.size(); at += kBlockBytes) {
      const auto block = bytes.subspan(at, kBlockBytes);
      if (block[0] == std::byte{0}) continue;  // a payload block of zeros
      disk_.write_file(kPath, position_ * kBlockBytes + at, block);
    }
    position_ = (position_ + blocks) % kCapacityBlocks;
    used_ += blocks;
  }

  /// A header block of raw content, its checksum right if wanted, as the next frame.
  void write_raw(bool repaired) {
    std::vector<std::byte> block(kBlockBytes);
    input_.fill(block.data(), 256);
    if (repaired) {
      wild_ = true;
      const uint64_t first = next_.value();
      std::memcpy(&block[56], &first, sizeof first);
      std::memcpy(&block[68], &chain_, sizeof chain_);
      repair_header(block.data());
    }
    disk_.write_file(kPath, position_ * kBlockBytes, block);
    chain_ = FrameHeader(block.data()).checksum();
  }

  /// A few bytes anywhere.
  void write_elsewhere() {
    const uint64_t at = input_.number() % (kCapacityBlocks * kBlockBytes - 16);
    std::vector<std::byte> bytes(1 + input_.byte() % 16);
    input_.fill(bytes.data(), bytes.size());
    disk_.write_file(kPath, at, bytes);
  }

  io::SimDisk& disk_;
  Input& input_;
  core::TermHistory history_;
  Term term_{Epoch(1), Incarnation(1)};
  uint64_t tail_block_ = 0;
  uint64_t position_ = 0;
  uint64_t used_ = 0;
  uint32_t chain_ = 0;
  Lsn first_, next_, durable_;
  uint32_t reader_chain_ = 0;  // what a reader of the frames so far expects next
  Lsn reader_next_;
  std::optional<Lsn> furthest_end_;
  bool spoilt_ = false;
  bool wild_ = false;
};

class Quiet final : public WalListener {
  void on_wal_sealed() override {}
  void on_wal_written() override {}
  void on_wal_durable() override {}
  void on_wal_failed(int, const char*) override {}
  void on_wal_quieter() override {}
};

class Checker final : public WalRecovery::Listener {
 public:
  explicit Checker(Lsn first) : next(first) {}
  bool on_record(Lsn lsn, const WalRecord& record, uint32_t wal_block, const FrameHeader& header,
                 uint32_t first_crc) override {
    RINGBOLT_ASSERT(!ended && lsn == next);
    RINGBOLT_ASSERT(record.lba <= kVolumeBlocks && record.blocks <= kVolumeBlocks - record.lba);
    const uint32_t blocks = has_payload(record.kind) ? record.blocks : 0;
    RINGBOLT_ASSERT(wal_block + blocks <= kCapacityBlocks &&
                    first_crc + blocks <= header.payload_blocks());
    for (uint32_t i = 0; i < blocks; ++i) crc_sum += header.block_crc(first_crc + i);
    next = lsn.next();
    return true;
  }
  void on_recovered(Status status) override {
    RINGBOLT_ASSERT(!ended);
    ended = true;
    good = status.has_value();
    if (!good) RINGBOLT_ASSERT(!status.error().message.empty());
  }
  Lsn next;
  uint32_t crc_sum = 0;  // so that reading the CRCs is not optimized away
  bool ended = false;
  bool good = false;
};

/// Reads the log, the whole of it or up to `limit`.
void recover(io::SimWorld& world, io::Io& io, Wal& wal, const WalRecovery::Start& start,
             Checker& checker) {
  WalRecovery recovery(io, wal, start, checker);
  recovery.run();
  RINGBOLT_ASSERT(world.run_until([&] { return checker.ended; }, 3600 * io::kSecond));
  if (!checker.good) return;
  RINGBOLT_ASSERT(wal.head().next() == checker.next);
  RINGBOLT_ASSERT(wal.written() == wal.head() && wal.durable() <= wal.written());
  RINGBOLT_ASSERT(wal.used_blocks() <= kCapacityBlocks);
  if (start.limit) RINGBOLT_ASSERT(wal.head() == *start.limit);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  io::SimWorld world({.seed = 1});
  io::SimNode& node = world.add_node("n1");
  const std::byte last{0};
  node.disk().write_file(kPath, kCapacityBlocks * kBlockBytes - 1, std::span(&last, 1));
  const uint8_t cut = input.byte();
  LogWriter log(node.disk(), input);
  log.run();

  const auto io = node.create_io();
  const Result<io::FileInfo> opened = io->open_file(kPath, {});
  RINGBOLT_ASSERT(opened.has_value());
  io::BufferPool pool(1);
  Quiet quiet;
  {
    Wal wal(*io, pool, {opened.value().file, kCapacityBlocks, kVolumeBlocks, kVolume}, quiet);
    Checker checker(log.first());
    recover(world, *io, wal, log.start(), checker);
    if (log.good_end()) RINGBOLT_ASSERT(checker.good && wal.head() == *log.good_end());
    if (checker.good && log.furthest_end()) RINGBOLT_ASSERT(wal.head() <= *log.furthest_end());
    if (checker.good && wal.head() >= log.first()) {
      // Cutting reads the same log once more, up to the fork.
      WalRecovery::Start again = log.start();
      again.limit = log.first().plus(cut % (wal.head().minus(log.first()) + 1));
      Checker cutter(log.first());
      recover(world, *io, wal, again, cutter);
      RINGBOLT_ASSERT(cutter.good);
    }
  }
  io->close_file(opened.value().file);
  return 0;
}

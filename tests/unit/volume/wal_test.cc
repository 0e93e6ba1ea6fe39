// The WAL itself: what is written, what is durable, where frames lie, when it is full. Without a
// store around it: a file on the simulated disk.
#include "volume/wal.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "block_model.h"
#include "io/sim_io.h"
#include "volume/wal_recovery.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

constexpr uint64_t kVolumeBlocks = 10000;
constexpr Term kTerm{Epoch(1), Incarnation(1)};
const Uuid kVolume{{9, 9}};

class WalBed : public WalListener, public WalRecovery::Listener {
 public:
  explicit WalBed(uint64_t capacity_blocks = 2048, uint64_t seed = 1)
      : world({.seed = seed}), node(world.add_node("n1")), capacity(capacity_blocks) {
    history.open(kTerm, Lsn(1));
    boot();
  }
  ~WalBed() override { crash(); }

  void boot() {
    io = node.create_io();
    pool = std::make_unique<io::BufferPool>(16u << 20);
    io->attach_pool(pool.get());
    REQUIRE(io->make_directory("/d").has_value());
    std::optional<io::File> file;
    REQUIRE(run([&] {
      const auto opened =
          io->open_file(kPath, {.create = true, .resize_bytes = capacity * kBlockBytes});
      if (opened.has_value()) file = opened.value().file;
      return opened.has_value();
    }));
    WalListener& listener = *this;
    wal = std::make_unique<Wal>(*io, *pool, Wal::Geometry{*file, capacity, kVolumeBlocks, kVolume},
                                listener);
    wal->set_term(kTerm);
  }
  void crash() {
    node.crash();
    recovery.reset();
    wal.reset();
    pool.reset();
    io.reset();
  }
  /// A fresh start: what the area holds, from `tail` on. Returns the error, if any.
  std::string recover(Lsn durable, Lsn tail_first = Lsn(1), uint64_t tail_block = 0,
                      uint32_t previous = 0) {
    WalRecovery::Start start;
    start.tail_first = tail_first;
    start.tail_block = tail_block;
    start.tail_previous_checksum = previous;
    start.history = &history;
    start.durable = durable;
    WalRecovery::Listener& listener = *this;
    recovered.reset();
    recovered_lbas.clear();
    recovery = std::make_unique<WalRecovery>(*io, *wal, start, listener);
    recovery->run();
    REQUIRE(run([&] { return recovered.has_value(); }));
    return recovered->has_value() ? "" : recovered->error().message;
  }

  /// Appends one record to the open frame.
  Wal::Admission try_append(RecordKind kind, uint64_t lba, uint32_t blocks) {
    const Wal::Admission admission = wal->prepare(kind, blocks);
    if (admission != Wal::Admission::kOk) return admission;
    for (uint32_t i = 0; has_payload(kind) && i < blocks; ++i)
      fill_block(wal->payload_space() + size_t{i} * kBlockBytes, lba + i);
    last = wal->append(kind, Lba(lba), blocks);
    return admission;
  }
  Lsn append(uint64_t lba, uint32_t blocks, RecordKind kind = RecordKind::kWrite) {
    REQUIRE(try_append(kind, lba, blocks) == Wal::Admission::kOk);
    return last.lsn;
  }
  /// A frame with one write.
  Lsn frame(uint64_t lba, uint32_t blocks) {
    const Lsn lsn = append(lba, blocks);
    wal->seal();
    return lsn;
  }
  void settle() {
    wal->seal();
    REQUIRE(run([&] { return wal->written() == wal->head(); }));
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 100 * io::kSecond); }
  uint64_t offset(Lsn lsn) const {
    return wal->device_block(wal->find_place(lsn)->position) * kBlockBytes;
  }
  io::SimOpMatch frame_write(uint64_t at) const {
    return {.kind = io::SimOpKind::kWrite, .path = kPath, .from = at, .to = at + 1};
  }

  void on_wal_sealed() override { ++sealed_calls; }
  void on_wal_written() override {
    if (on_written) on_written();
  }
  void on_wal_durable() override { ++durable_calls; }
  void on_wal_failed(int error, const char* operation) override {
    failures.push_back(std::string(operation) + std::to_string(error));
  }
  void on_wal_quieter() override { ++quieter_calls; }
  bool on_record(Lsn, const WalRecord& record, uint32_t, const FrameHeader&, uint32_t) override {
    recovered_lbas.push_back(record.lba);
    return true;
  }
  void on_recovered(Status status) override { recovered = std::move(status); }

  static constexpr const char* kPath = "/d/wal";
  io::SimWorld world;
  io::SimNode& node;
  uint64_t capacity;
  core::TermHistory history;
  std::unique_ptr<io::SimIo> io;
  std::unique_ptr<io::BufferPool> pool;
  std::unique_ptr<Wal> wal;
  std::unique_ptr<WalRecovery> recovery;
  std::optional<Status> recovered;
  std::vector<uint64_t> recovered_lbas;
  Wal::Appended last{};
  std::function<void()> on_written;
  int sealed_calls = 0, durable_calls = 0, quieter_calls = 0;
  std::vector<std::string> failures;
};

}  // namespace

TEST_CASE("wal: records share a frame until it is sealed, and get dense Lsns and places",
          "[volume][wal]") {
  WalBed bed;
  CHECK(bed.wal->head() == Lsn{});
  CHECK(bed.wal->tail() == Lsn(1));
  CHECK(bed.append(5, 2) == Lsn(1));
  CHECK(bed.last.wal_block == 1);
  CHECK(bed.append(50, 9, RecordKind::kZero) == Lsn(2));
  CHECK(bed.append(9, 1) == Lsn(3));
  CHECK(bed.last.wal_block == 3);
  CHECK(bed.wal->has_open_records());
  CHECK(bed.wal->sealed() == Lsn{});
  CHECK(bed.wal->writes_in_flight() == 0);
  CHECK_FALSE(bed.wal->find_place(Lsn(1)).has_value());
  CHECK(bed.wal->find_frame(Lsn(1)) == nullptr);
  CHECK(block_is(bed.wal->find_payload(1, 2), 6));
  bed.wal->seal();
  CHECK(bed.sealed_calls == 1);
  CHECK(bed.wal->sealed() == Lsn(3));
  CHECK(bed.wal->writes_in_flight() == 1);
  bed.frame(70, 1);
  REQUIRE(bed.wal->find_place(Lsn(3)).has_value());
  CHECK(bed.wal->find_place(Lsn(3))->first == Lsn(1));
  CHECK(bed.wal->find_place(Lsn(3))->live_last == Lsn(3));
  CHECK(bed.wal->find_place(Lsn(4))->position == 4);
  CHECK(bed.wal->used_blocks() == 6);
  CHECK(bed.wal->find_frame(Lsn(2))->first == Lsn(1));
  CHECK_FALSE(bed.wal->find_place(Lsn(5)).has_value());
  bed.settle();
  CHECK(bed.wal->written() == Lsn(4));
  CHECK(bed.wal->durable() == Lsn{});
}

TEST_CASE("wal: a frame that was prepared and not used leaves no trace", "[volume][wal]") {
  WalBed bed;
  const uint64_t before = bed.pool->used_bytes();
  bed.frame(1, 1);
  REQUIRE(bed.wal->prepare(RecordKind::kWrite, 8) == Wal::Admission::kOk);
  bed.wal->seal();
  CHECK(bed.wal->used_blocks() == 2);
  CHECK(bed.wal->head() == Lsn(1));
  CHECK(bed.frame(2, 1) == Lsn(2));
  bed.settle();
  CHECK(bed.pool->used_bytes() <= before + 4 * kBlockBytes);
}

TEST_CASE("wal: the written prefix advances only without gaps, in whatever order writes complete",
          "[volume][wal]") {
  WalBed bed;
  const Lsn first = bed.append(1, 1);
  const uint64_t hold = bed.node.disk().hold(bed.frame_write(0));
  bed.wal->seal();
  for (uint64_t i = 2; i <= 5; ++i) bed.frame(i, 1);
  REQUIRE(bed.run([&] { return bed.wal->writes_in_flight() == 1; }));
  CHECK(bed.wal->written() == Lsn{});
  // A flush that is asked for now must wait for the missing frame.
  bed.wal->request_flush(Lsn(5));
  bed.world.run_for(io::kSecond);
  CHECK(bed.wal->durable() == Lsn{});
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.wal->durable() == Lsn(5); }));
  CHECK(bed.wal->written() == Lsn(5));
  CHECK(first == Lsn(1));
}

TEST_CASE("wal: random completion orders never report a record written that is not",
          "[volume][wal]") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    WalBed bed(2048, seed);
    for (uint64_t i = 1; i <= 120; ++i) {
      if (bed.world.random().chance(1, 3)) bed.wal->seal();
      bed.append(i, 1 + static_cast<uint32_t>(bed.world.random().below(4)));
      if (bed.world.random().chance(1, 9)) bed.wal->request_flush(bed.wal->head());
      const Lsn before = bed.wal->written();
      for (uint64_t steps = bed.world.random().below(6); steps > 0; --steps) bed.world.step();
      REQUIRE(bed.wal->written() >= before);
      REQUIRE(bed.wal->durable() <= bed.wal->written());
      // What is called written is on the device: the frame of the newest such record is there
      // whole.
      if (bed.wal->written() == Lsn{}) continue;
      const auto place = *bed.wal->find_place(bed.wal->written());
      const auto bytes =
          bed.node.read_file(WalBed::kPath, bed.offset(place.first), place.blocks * kBlockBytes);
      const FrameHeader header(const_cast<std::byte*>(bytes.data()));
      REQUIRE(header.check(kVolume, kVolumeBlocks) == nullptr);
      REQUIRE_FALSE(header.check_payload(bytes.data() + kBlockBytes).has_value());
    }
    bed.settle();
    bed.wal->request_flush(bed.wal->head());
    REQUIRE(bed.run([&] { return bed.wal->durable() == bed.wal->head(); }));
  }
}

TEST_CASE("wal: a flush makes durable only what was written before it began", "[volume][wal]") {
  WalBed bed;
  bed.frame(1, 1);
  bed.settle();
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "wal"});
  bed.wal->request_flush(Lsn(1));
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.frame(2, 1);
  bed.settle();
  bed.wal->request_flush(Lsn(2));
  bed.world.run_for(io::kSecond);
  // The running flush does not cover record 2, though it was written before that flush ends.
  const uint64_t later = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "wal"});
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.node.disk().held(later) == 1; }));
  CHECK(bed.wal->durable() == Lsn(1));
  bed.node.disk().release(later);
  REQUIRE(bed.run([&] { return bed.wal->durable() == Lsn(2); }));
  CHECK(bed.durable_calls == 2);
}

TEST_CASE("wal: flushes do not starve under constant writing", "[volume][wal]") {
  WalBed bed;
  // With every write that completes another one begins, so the head is never written; and each time
  // a flush of everything is asked for.
  uint64_t appended = 0;
  const auto more = [&] {
    while (bed.wal->writes_in_flight() < 8 && appended < 600) {
      ++appended;
      bed.frame(appended, 1);
    }
    if (bed.wal->head() > Lsn{}) bed.wal->request_flush(bed.wal->head());
  };
  bed.on_written = more;
  more();
  Lsn asked = bed.wal->head();
  int reached = 0;
  while (appended < 600) {
    REQUIRE(bed.run([&] { return bed.wal->durable() >= asked || appended == 600; }));
    if (bed.wal->durable() >= asked) ++reached;
    asked = bed.wal->head();
  }
  CHECK(reached >= 5);
}

TEST_CASE("wal: a goal asked for during a flush is reached without further calls",
          "[volume][wal]") {
  WalBed bed;
  bed.frame(1, 1);
  bed.wal->request_flush(Lsn(1));
  REQUIRE(
      bed.run([&] { return bed.io->pending_operations() == 1 && bed.wal->written() == Lsn(1); }));
  bed.frame(2, 1);
  bed.frame(3, 1);
  bed.wal->request_flush(Lsn(2));
  bed.wal->request_flush(Lsn(3));
  bed.wal->request_flush(Lsn(2));
  REQUIRE(bed.run([&] { return bed.wal->durable() == Lsn(3); }));
}

TEST_CASE("wal: after a failed write or flush nothing is written or durable any more",
          "[volume][wal]") {
  for (const bool flush : {false, true}) {
    WalBed bed;
    bed.frame(1, 1);
    bed.wal->request_flush(Lsn(1));
    REQUIRE(bed.run([&] { return bed.wal->durable() == Lsn(1); }));
    bed.node.disk().add_fault(
        {.match = {.kind = flush ? io::SimOpKind::kFlush : io::SimOpKind::kWrite, .path = "wal"}});
    bed.frame(2, 1);
    bed.frame(3, 1);
    bed.wal->request_flush(Lsn(3));
    REQUIRE(bed.run([&] { return !bed.failures.empty(); }));
    CHECK(bed.failures ==
          std::vector<std::string>{(flush ? "flush" : "write") + std::to_string(EIO)});
    const Lsn written = bed.wal->written();
    CHECK(bed.wal->failed());
    CHECK(bed.wal->prepare(RecordKind::kWrite, 1) == Wal::Admission::kNoSpace);
    bed.wal->request_flush(Lsn(3));
    bed.world.run_for(10 * io::kSecond);
    CHECK(bed.wal->durable() == Lsn(1));
    CHECK(bed.wal->written() == written);
    CHECK(bed.failures.size() == 1);
    CHECK(bed.wal->quiet());
    if (!flush) CHECK(bed.quieter_calls >= 1);
  }
}

TEST_CASE("wal: a full WAL refuses, and takes records again when its tail moves", "[volume][wal]") {
  WalBed bed;
  uint64_t frames = 0;
  while (bed.try_append(RecordKind::kWrite, 1, 7) == Wal::Admission::kOk) {
    bed.settle();
    ++frames;
  }
  CHECK(frames == (2048 - 64) / 8);
  CHECK(bed.try_append(RecordKind::kWrite, 1, 7) == Wal::Admission::kNoSpace);
  const auto keep = *bed.wal->find_place(Lsn(3));
  bed.wal->advance_tail(keep);
  CHECK(bed.wal->tail() == Lsn(3));
  CHECK(bed.wal->used_blocks() == (frames - 2) * 8);
  CHECK_FALSE(bed.wal->find_place(Lsn(2)).has_value());
  CHECK(bed.try_append(RecordKind::kWrite, 1, 7) == Wal::Admission::kOk);
  CHECK(bed.wal->head() == Lsn(frames + 1));
}

TEST_CASE("wal: the space that a pad frame takes is counted, too", "[volume][wal]") {
  // 100 blocks are left before the end, of which a frame of 128 leaves 99 unused; behind them is room
  // for it, but not for both.
  WalBed bed;
  bed.frame(1, 99);
  for (uint64_t i = 0; i < 14; ++i) bed.frame(2 + i, 127);
  bed.frame(20, 55);
  bed.settle();
  REQUIRE(bed.wal->append_position() == 2048 - 100);
  bed.wal->advance_tail(*bed.wal->find_place(Lsn(2)));
  CHECK(bed.try_append(RecordKind::kWrite, 50, 127) == Wal::Admission::kNoSpace);
  CHECK(bed.wal->used_blocks() == 2048 - 200);
  // What fits before the end goes there.
  CHECK(bed.try_append(RecordKind::kWrite, 50, 99) == Wal::Admission::kOk);
  bed.settle();
  CHECK(bed.wal->used_blocks() == 2048 - 100);
  bed.wal->advance_tail(*bed.wal->find_place(Lsn(4)));
  CHECK(bed.try_append(RecordKind::kWrite, 50, 127) == Wal::Admission::kOk);
  bed.settle();
}

TEST_CASE("wal: a full WAL still takes term records", "[volume][wal]") {
  WalBed bed;
  while (bed.try_append(RecordKind::kWrite, 1, 6) == Wal::Admission::kOk) bed.settle();
  while (bed.try_append(RecordKind::kZero, 1, 4096) == Wal::Admission::kOk) bed.wal->seal();
  bed.settle();
  CHECK(bed.wal->used_blocks() == 2048 - 64);
  // As many times as somebody may crash before a checkpoint ends.
  for (uint64_t i = 0; i < 64; ++i) {
    bed.wal->set_term({Epoch(1), Incarnation(2 + i)});
    REQUIRE(bed.try_append(RecordKind::kTerm, 0, 0) == Wal::Admission::kOk);
    bed.settle();
    CHECK(bed.try_append(RecordKind::kWrite, 0, 1) == Wal::Admission::kNoSpace);
  }
  CHECK(bed.wal->used_blocks() == 2048);
}

TEST_CASE("wal: frames go around the end, with a pad frame where one does not fit",
          "[volume][wal]") {
  // 2048 = 127 frames of 16 blocks and 16 more: with 16 the last one ends exactly at the end; with
  // 15 (15 * 136 = 2040) the next one must be padded away from it; with 89 (23 * 89 = 2047) by one
  // block.
  for (const uint32_t total : {16u, 15u, 89u}) {
    INFO(total);
    WalBed bed;
    Lsn previous_lap_last{};
    std::vector<uint64_t> lbas;
    bool padded = false;
    for (uint64_t i = 1; bed.wal->append_position() < 3 * 2048; ++i) {
      REQUIRE(bed.frame(i, total - 1) == Lsn(i));
      lbas.push_back(i);
      const auto place = *bed.wal->find_place(Lsn(i));
      REQUIRE(bed.wal->device_block(place.position) + place.blocks <= 2048);
      if (i > 1)
        padded = padded || place.position != bed.wal->find_place(Lsn(i - 1))->position + total;
      bed.settle();
      bed.wal->request_flush(Lsn(i));
      // Half of the area is kept.
      if (bed.wal->used_blocks() > 1024)
        bed.wal->advance_tail(bed.wal->tail_candidate(bed.wal->append_position() - 1024, Lsn(i)));
      previous_lap_last = Lsn(i);
    }
    CHECK(padded == (total != 16));
    REQUIRE(bed.run([&] { return bed.wal->durable() == bed.wal->head(); }));
    // A recovery from the tail finds exactly the records from there on, around the end.
    const auto tail = *bed.wal->find_place(bed.wal->tail());
    const Lsn head = bed.wal->head();
    const uint64_t tail_block = bed.wal->device_block(tail.position);
    bed.crash();
    bed.boot();
    REQUIRE(bed.recover(head, tail.first, tail_block, tail.previous_checksum) == "");
    CHECK(bed.wal->head() == head);
    CHECK(bed.recovered_lbas ==
          std::vector<uint64_t>(lbas.begin() + static_cast<ptrdiff_t>(tail.first.value() - 1),
                                lbas.end()));
    // And the log goes on from there.
    bed.frame(5, total - 1);
    bed.settle();
    CHECK(bed.wal->head() == head.next());
    CHECK(previous_lap_last == head);
  }
}

TEST_CASE("wal: a received frame is taken as it is, but for its chain", "[volume][wal]") {
  WalBed primary, replica;
  primary.append(5, 2);
  primary.append(9, 3, RecordKind::kTrim);
  primary.wal->seal();
  primary.frame(70, 1);
  primary.settle();
  for (const uint64_t lsn : {1u, 3u}) {
    const Frame& frame = *primary.wal->find_frame(Lsn(lsn));
    const uint32_t bytes = (1 + frame.payload_blocks) * kBlockBytes;
    const io::Buffer buffer = replica.pool->allocate(bytes);
    std::memcpy(buffer.data, frame.buffer.data, bytes);
    REQUIRE(replica.wal->append_frame(buffer) == Wal::Admission::kOk);
  }
  CHECK(replica.wal->head() == Lsn(3));
  replica.settle();
  replica.wal->request_flush(Lsn(3));
  REQUIRE(replica.run([&] { return replica.wal->durable() == Lsn(3); }));
  replica.crash();
  replica.boot();
  CHECK(replica.recover(Lsn(3)) == "");
  CHECK(replica.recovered_lbas == std::vector<uint64_t>{5, 9, 70});
}

TEST_CASE("wal: records lie in several frames when they cover more than a frame may",
          "[volume][wal]") {
  WalBed bed;
  for (uint64_t i = 0; i < 9; ++i) bed.append(100, 4096, RecordKind::kTrim);
  bed.settle();
  for (uint64_t lsn = 1; lsn <= 9; ++lsn) {
    const auto place = bed.wal->find_place(Lsn(lsn));
    REQUIRE(place.has_value());
    CHECK(place->first == Lsn((lsn - 1) / 4 * 4 + 1));
  }
}

TEST_CASE(
    "wal: memory of written frames goes when others need it, never of pinned or unwritten ones",
    "[volume][wal]") {
  WalBed bed;
  const uint64_t hold = bed.node.disk().hold(bed.frame_write(8 * 4 * kBlockBytes));
  for (uint64_t i = 1; i <= 12; ++i) bed.frame(i, 3);
  REQUIRE(bed.run([&] { return bed.wal->writes_in_flight() == 1; }));
  Frame* pinned = bed.wal->find_frame(Lsn(4));
  REQUIRE(pinned != nullptr);
  bed.wal->pin(*pinned);
  bed.wal->pin(*pinned);
  const auto take_all = [&] {
    std::vector<io::Buffer> taken;
    while (const io::Buffer buffer = bed.pool->allocate(4 * kBlockBytes)) taken.push_back(buffer);
    for (const io::Buffer& buffer : taken) {
      CHECK(buffer.data != pinned->buffer.data);
      std::memset(buffer.data, 0xee, buffer.bytes);
      bed.pool->release(buffer);
    }
    return taken.size();
  };
  const size_t got = take_all();
  CHECK(bed.wal->find_frame(Lsn(3)) == nullptr);
  // One that is pinned keeps its own memory, and nothing of what was logged after it.
  CHECK(bed.wal->find_frame(Lsn(8)) == nullptr);
  CHECK(bed.wal->find_frame(Lsn(9)) != nullptr);  // being written
  CHECK(bed.wal->find_place(Lsn(4)).has_value());
  CHECK(pinned->first == Lsn(4));
  CHECK(block_is(pinned->payload(), 4));
  bed.wal->unpin(*pinned);
  CHECK(take_all() == got);
  CHECK(block_is(pinned->payload(), 4));
  bed.wal->unpin(*pinned);
  CHECK(take_all() == got + 1);
  bed.node.disk().release(hold);
  bed.settle();
  for (uint64_t i = 13; i <= 20; ++i) bed.frame(i, 3);
  bed.settle();
}

TEST_CASE("wal: a pinned frame does not stop the log when all its frame slots were used",
          "[volume][wal]") {
  WalBed bed(4096);
  bed.frame(1, 1);
  bed.settle();
  Frame* pinned = bed.wal->find_frame(Lsn(1));
  REQUIRE(pinned != nullptr);
  bed.wal->pin(*pinned);
  for (uint64_t i = 2; i <= 1500; ++i) {
    bed.frame(i, 1);
    bed.settle();
  }
  CHECK(block_is(pinned->payload(), 1));
  bed.wal->unpin(*pinned);
}

TEST_CASE("wal: when others have all memory, an append uses the reserve, one frame at a time",
          "[volume][wal]") {
  WalBed bed(256);
  std::vector<io::Buffer> taken;
  while (const io::Buffer buffer = bed.pool->allocate(kBlockBytes)) taken.push_back(buffer);
  CHECK(bed.try_append(RecordKind::kWrite, 1, 1) == Wal::Admission::kOk);
  bed.wal->seal();
  // Until that is written there is nothing, and nothing is lost for it.
  CHECK(bed.try_append(RecordKind::kWrite, 2, 1) == Wal::Admission::kNoMemory);
  CHECK(bed.wal->head() == Lsn(1));
  bed.settle();
  // Of all sizes, and across the end of the area, where a pad is needed as well.
  for (uint64_t i = 2; i <= 9; ++i) {
    REQUIRE(bed.wal->prepare(RecordKind::kWrite, 50) == Wal::Admission::kOk);
    std::memset(bed.wal->payload_space(), 0, 50 * kBlockBytes);
    const auto lsn = bed.wal->append(RecordKind::kWrite, Lba(i), 50).lsn;
    CHECK(lsn == Lsn(i));
    bed.wal->seal();
    bed.settle();
    bed.wal->advance_tail(bed.wal->tail_candidate(bed.wal->append_position(), lsn));
  }
  CHECK(bed.wal->append_position() > 256);
  bed.pool->release(taken.back());
  taken.pop_back();
  CHECK(bed.try_append(RecordKind::kTrim, 1, 1) == Wal::Admission::kOk);
  bed.settle();
  for (const io::Buffer& buffer : taken) bed.pool->release(buffer);
  CHECK(bed.try_append(RecordKind::kWrite, 1, 50) == Wal::Admission::kOk);
}

// --- the chain
// -----------------------------------------------------------------------------------------

TEST_CASE("wal: a frame behind a lost one is not replayed once another takes the lost one's place",
          "[volume][wal]") {
  // Frame 2 is lost in a crash, frame 3 behind it is kept. Another frame 2 of the same length and
  // Lsn is written then: 3 is whole and has the next Lsn, but it does not continue this log.
  for (const bool same_content : {false, true}) {
    WalBed bed;
    bed.frame(1, 2);
    bed.frame(2, 2);
    bed.frame(3, 2);
    bed.settle();
    const uint64_t second = bed.offset(Lsn(2));
    bed.crash();
    bed.node.write_file(WalBed::kPath, second, std::vector<std::byte>(3 * kBlockBytes));
    bed.boot();
    REQUIRE(bed.recover(Lsn{}) == "");
    REQUIRE(bed.wal->head() == Lsn(1));
    bed.wal->set_term(kTerm);
    bed.frame(same_content ? 2 : 77, 2);
    bed.settle();
    CHECK(bed.offset(Lsn(2)) == second);
    bed.crash();
    bed.boot();
    REQUIRE(bed.recover(Lsn{}) == "");
    if (same_content) {
      // The very same frame: then what follows it is this log's.
      CHECK(bed.recovered_lbas == std::vector<uint64_t>{1, 2, 3});
    } else {
      CHECK(bed.recovered_lbas == std::vector<uint64_t>{1, 77});
    }
  }
}

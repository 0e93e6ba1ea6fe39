// The superblock: its two slots, what is refused, and its one writer.
#include "volume/superblock.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "ringbolt/crc32c.h"
#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

using Slot = std::vector<std::byte>;

Superblock sample() {
  Superblock s;
  s.generation = 41;
  s.volume = Uuid{{1, 2, 3, 4}};
  s.node_id = "n1";
  s.name = "vol0";
  s.volume_bytes = 1u << 30;
  s.wal_bytes = 64u << 20;
  s.clean_shutdown = true;
  s.rebuild_mark = true;
  s.base_seeded = true;
  s.epoch = Epoch(9);
  s.incarnation = Incarnation(4);
  s.checkpoint = Lsn(500);
  s.base_limit = Lsn(600);
  s.tail_first = Lsn(300);
  s.tail_block = 77;
  s.tail_previous_checksum = 0x12345678;
  s.durable = Lsn(700);
  s.history.open({Epoch(8), Incarnation(1)}, Lsn(1));
  s.history.open({Epoch(9), Incarnation(4)}, Lsn(650));
  s.in_sync = {"n2", "n3"};
  return s;
}

Slot encode(const Superblock& superblock) {
  Slot slot(Superblock::kSlotBytes);
  superblock.encode(slot.data());
  return slot;
}

void check_equal(const Superblock& a, const Superblock& b) {
  CHECK(a.generation == b.generation);
  CHECK(a.volume == b.volume);
  CHECK(a.node_id == b.node_id);
  CHECK(a.name == b.name);
  CHECK(a.volume_bytes == b.volume_bytes);
  CHECK(a.wal_bytes == b.wal_bytes);
  CHECK(a.clean_shutdown == b.clean_shutdown);
  CHECK(a.rebuild_mark == b.rebuild_mark);
  CHECK(a.base_seeded == b.base_seeded);
  CHECK(a.being_made == b.being_made);
  CHECK(a.epoch == b.epoch);
  CHECK(a.incarnation == b.incarnation);
  CHECK(a.checkpoint == b.checkpoint);
  CHECK(a.base_limit == b.base_limit);
  CHECK(a.tail_first == b.tail_first);
  CHECK(a.tail_block == b.tail_block);
  CHECK(a.tail_previous_checksum == b.tail_previous_checksum);
  CHECK(a.durable == b.durable);
  CHECK(a.history == b.history);
  CHECK(a.in_sync == b.in_sync);
}

/// The error of a slot with the bytes at `offset` replaced and the checksum made right again.
Errc error_of(Slot slot, size_t offset, const std::vector<uint8_t>& bytes) {
  std::memcpy(slot.data() + offset, bytes.data(), bytes.size());
  std::memset(slot.data() + 12, 0, 4);
  const uint32_t crc = crc32c(slot.data(), slot.size());
  std::memcpy(slot.data() + 12, &crc, 4);
  const auto decoded = Superblock::decode(slot.data());
  REQUIRE_FALSE(decoded.has_value());
  CHECK_FALSE(decoded.error().message.empty());
  return decoded.error().code;
}

}  // namespace

TEST_CASE("superblock: it is read back as it was written", "[volume][superblock]") {
  const auto decoded = Superblock::decode(encode(sample()).data());
  REQUIRE(decoded.has_value());
  check_equal(decoded.value(), sample());

  Superblock full = sample();
  full.node_id = std::string(Superblock::kNodeIdBytesMax, 'x');
  full.name = std::string(Superblock::kNameBytesMax, 'y');
  full.history = {};
  full.epoch = Epoch(core::TermHistory::kTermsMax);
  for (uint64_t i = 1; i <= core::TermHistory::kTermsMax; ++i) full.history.open({Epoch(i), Incarnation(i)}, Lsn(i * 3));
  full.in_sync.assign(kReplicasMax, std::string(Superblock::kNodeIdBytesMax, 'z'));
  full.clean_shutdown = full.rebuild_mark = full.base_seeded = false;
  full.being_made = true;
  const auto again = Superblock::decode(encode(full).data());
  REQUIRE(again.has_value());
  check_equal(again.value(), full);
}

TEST_CASE("superblock: each changed byte is noticed", "[volume][superblock]") {
  Slot slot = encode(sample());
  std::mt19937 random(1);
  for (size_t at = 0; at < slot.size(); ++at) {
    const auto flip = static_cast<std::byte>(1 + random() % 255);
    slot[at] ^= flip;
    const auto decoded = Superblock::decode(slot.data());
    INFO("byte " << at);
    CHECK_FALSE(decoded.has_value());
    slot[at] ^= flip;
  }
}

TEST_CASE("superblock: unknown versions and features are refused, not guessed at",
          "[volume][superblock]") {
  const Slot slot = encode(sample());
  CHECK(error_of(slot, 8, {2}) == Errc::kUnsupported);
  CHECK(error_of(slot, 32, {1}) == Errc::kUnsupported);  // read-only compatible
  CHECK(error_of(slot, 40, {1}) == Errc::kUnsupported);  // incompatible
  CHECK(error_of(slot, 0, {0}) == Errc::kNotFound);
  // A feature that old builds may ignore.
  Slot compatible = slot;
  compatible[24] = std::byte{1};
  std::memset(compatible.data() + 12, 0, 4);
  const uint32_t crc = crc32c(compatible.data(), compatible.size());
  std::memcpy(compatible.data() + 12, &crc, 4);
  CHECK(Superblock::decode(compatible.data()).has_value());
}

TEST_CASE("superblock: impossible values are refused although the checksum is right",
          "[volume][superblock]") {
  const Slot slot = encode(sample());
  const std::vector<uint8_t> full64(64, 'a'), full256(256, 'a');
  CHECK(error_of(slot, 64, full64) == Errc::kCorrupt);    // no end of the node id
  CHECK(error_of(slot, 128, full256) == Errc::kCorrupt);  // nor of the name
  CHECK(error_of(slot, 384, {0, 0, 0, 0}) == Errc::kCorrupt);
  CHECK(error_of(slot, 384, {1}) == Errc::kCorrupt);
  CHECK(error_of(slot, 384, {0, 0, 0, 0, 0, 0, 0, 0x7f}) == Errc::kCorrupt);
  CHECK(error_of(slot, 392, {0, 0x10, 0, 0}) == Errc::kCorrupt);
  CHECK(error_of(slot, 400, {0, 2}) == Errc::kCorrupt);
  CHECK(error_of(slot, 432, {0, 0}) == Errc::kCorrupt);        // tail at Lsn 0
  CHECK(error_of(slot, 432, {0xff, 0xff}) == Errc::kCorrupt);  // tail beyond the checkpoint
  CHECK(error_of(slot, 440, {0, 0, 0, 9}) == Errc::kCorrupt);  // tail beyond the WAL
  CHECK(error_of(slot, 452, {65}) == Errc::kCorrupt);
  CHECK(error_of(slot, 464, {9}) == Errc::kCorrupt);
  CHECK(error_of(slot, 512, {100}) == Errc::kCorrupt);    // terms that do not ascend
  CHECK(error_of(slot, 2048, {0, 0}) == Errc::kCorrupt);  // a member without a name
}

TEST_CASE("superblock: no bytes crash the decoder", "[volume][superblock]") {
  std::mt19937_64 random(5);
  const Slot good = encode(sample());
  uint64_t accepted = 0;
  for (int round = 0; round < 5000; ++round) {
    Slot slot = good;
    for (uint64_t i = random() % 6; i > 0; --i)
      slot[16 + random() % (round % 2 == 0 ? 4080 : 500)] = static_cast<std::byte>(random());
    std::memset(slot.data() + 12, 0, 4);
    const uint32_t crc = crc32c(slot.data(), slot.size());
    std::memcpy(slot.data() + 12, &crc, 4);
    const auto decoded = Superblock::decode(slot.data());
    if (!decoded.has_value()) continue;
    ++accepted;
    // What was accepted can be written and read again.
    REQUIRE(Superblock::decode(encode(decoded.value()).data()).has_value());
  }
  CHECK(accepted > 100);
}

// --- the writer
// ----------------------------------------------------------------------------------------

namespace {

struct Waiter : SuperblockWaiter {
  Waiter()
      : SuperblockWaiter([](SuperblockWaiter& self) { static_cast<Waiter&>(self).done = true; }) {}
  bool done = false;
};

struct WriterBed {
  explicit WriterBed(uint64_t seed = 1) : world({.seed = seed}), node(world.add_node("n1")) {
    boot();
  }
  ~WriterBed() {
    kill([this] { node.crash(); });
  }
  void boot() {
    io = node.create_io();
    REQUIRE(io->make_directory("/d").has_value());
    const auto opened =
        io->open_file(kPath, {.create = true, .resize_bytes = Superblock::kFileBytes});
    REQUIRE(opened.has_value());
    file = opened.value().file;
    writer = std::make_unique<SuperblockWriter>(
        *io, [](void* self, int code) { static_cast<WriterBed*>(self)->error = code; }, this);
  }
  void kill(const std::function<void()>& end) {
    end();
    writer.reset();
    io.reset();
  }
  std::vector<Superblock> valid_slots() {
    std::vector<Superblock> found;
    for (const uint64_t offset : Superblock::kSlotOffset) {
      const auto decoded =
          Superblock::decode(node.read_file(kPath, offset, Superblock::kSlotBytes).data());
      if (decoded.has_value()) found.push_back(decoded.value());
    }
    return found;
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 100 * io::kSecond); }

  static constexpr const char* kPath = "/d/superblock";
  io::SimWorld world;
  io::SimNode& node;
  std::unique_ptr<io::SimIo> io;
  io::File file;
  std::unique_ptr<SuperblockWriter> writer;
  int error = 0;
};

}  // namespace

TEST_CASE(
    "superblock: changes become durable in order, several with one write, in alternating slots",
    "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample());
  Waiter first, second;
  bed.writer->change().epoch = Epoch(10);
  bed.writer->change().durable = Lsn(800);
  bed.writer->wait(first);
  CHECK_FALSE(first.done);
  REQUIRE(bed.run([&] { return first.done; }));
  REQUIRE(bed.valid_slots().size() == 1);
  CHECK(bed.valid_slots()[0].generation == 42);
  CHECK(bed.valid_slots()[0].epoch == Epoch(10));
  CHECK(bed.valid_slots()[0].durable == Lsn(800));

  bed.writer->change().epoch = Epoch(11);
  bed.writer->wait(second);
  REQUIRE(bed.run([&] { return second.done; }));
  const auto slots = bed.valid_slots();
  REQUIRE(slots.size() == 2);
  CHECK(slots[0].epoch != slots[1].epoch);
}

TEST_CASE("superblock: a change during a write is not called durable by that write",
          "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample());
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
  Waiter first, second;
  bed.writer->change().epoch = Epoch(10);
  bed.writer->wait(first);
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.writer->change().epoch = Epoch(11);
  bed.writer->wait(second);
  const uint64_t writes =
      bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "superblock"});
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return first.done && bed.node.disk().held(writes) == 1; }));
  CHECK_FALSE(second.done);
  bed.node.disk().release(writes);
  REQUIRE(bed.run([&] { return second.done; }));
  CHECK(bed.writer->current().epoch == Epoch(11));
}

TEST_CASE("superblock: a wait with nothing to write is still answered", "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample());
  Waiter waiter;
  bed.writer->wait(waiter);
  CHECK_FALSE(waiter.done);
  REQUIRE(bed.run([&] { return waiter.done; }));
}

TEST_CASE("superblock: after a failed write or flush nothing is durable any more",
          "[volume][superblock]") {
  for (const io::SimOpKind kind : {io::SimOpKind::kWrite, io::SimOpKind::kFlush}) {
    WriterBed bed;
    bed.writer->open(bed.file, sample());
    bed.node.disk().add_fault({.match = {.kind = kind, .path = "superblock"}});
    Waiter first, later;
    bed.writer->change().epoch = Epoch(10);
    bed.writer->wait(first);
    REQUIRE(bed.run([&] { return bed.error != 0; }));
    CHECK(bed.error == EIO);
    CHECK(bed.writer->failed());
    // The fault is gone, but the device's word is not trusted any more.
    bed.writer->change().epoch = Epoch(11);
    bed.writer->wait(later);
    bed.world.run_for(10 * io::kSecond);
    CHECK_FALSE(first.done);
    CHECK_FALSE(later.done);
    CHECK_FALSE(first.waiting());
    CHECK(bed.io->pending_operations() == 0);
  }
}

TEST_CASE("superblock: a power loss at any moment leaves the last durable one or a newer one",
          "[volume][superblock]") {
  uint64_t torn = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    WriterBed bed(seed);
    bed.writer->open(bed.file, sample());
    uint64_t durable_epoch = 0;
    for (uint64_t epoch = 100;; ++epoch) {
      Waiter waiter;
      // Changes in several sectors, so that a torn write leaves a mixture.
      Superblock& superblock = bed.writer->change();
      superblock.epoch = Epoch(epoch);
      superblock.in_sync = {std::to_string(epoch)};
      bed.writer->wait(waiter);
      if (epoch < 102 || bed.world.random().chance(1, 2)) {
        REQUIRE(bed.run([&] { return waiter.done; }));
        durable_epoch = epoch;
        continue;
      }
      for (uint64_t steps = bed.world.random().below(14); steps > 0; --steps) bed.world.step();
      if (waiter.done) durable_epoch = epoch;
      bed.kill([&] { bed.node.power_loss(static_cast<io::SimPowerLoss>(seed % 3)); });
      break;
    }
    const auto slots = bed.valid_slots();
    REQUIRE_FALSE(slots.empty());
    if (slots.size() == 1) ++torn;
    uint64_t newest = 0, generation = 0;
    for (const Superblock& s : slots) {
      CHECK(s.in_sync.at(0) == std::to_string(s.epoch.value()));
      if (s.generation > generation) {
        generation = s.generation;
        newest = s.epoch.value();
      }
    }
    REQUIRE(newest >= durable_epoch);
  }
  CHECK(torn > 0);
}

// --- through the store
// ---------------------------------------------------------------------------------

TEST_CASE(
    "superblock: the store opens with the newer slot, and with the older one if the newer is torn",
    "[volume][superblock]") {
  StoreBed bed;
  bed.serve();
  bed.write(3);
  bed.flush();
  const Epoch promised(7);
  bed.store->superblock().change().epoch = promised;
  bed.run([&] { return false; });
  const uint64_t newest = bed.store->facts().generation;
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->facts().epoch == promised);
  CHECK(bed.store->facts().generation > newest);
  bed.run([&] { return false; });
  const uint64_t torn_offset = Superblock::kSlotOffset[bed.store->facts().generation % 2];
  const uint64_t generation = bed.store->facts().generation;
  bed.kill();
  // The first half of a slot write that did not end.
  bed.node.write_file(bed.path("superblock"), torn_offset,
                      std::vector<std::byte>(512, std::byte{0x77}));
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->facts().generation >= generation);
  CHECK(bed.difference() == "");
}

// Known and not solved yet, hence the tag: a slot that decayed after it was durable looks like one
// whose write was torn, and the older slot may lack what others rely on (a term, a promise, the
// rebuild mark).
TEST_CASE("superblock: a newest slot that decays is noticed, or nothing in it is lost",
          "[volume][superblock][!shouldfail]") {
  StoreBed bed;
  bed.stable_follows = false;  // no checkpoint, which would bring the new term into both slots
  bed.serve();
  bed.write(3);
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  bed.begin_term();
  bed.write(4);
  bed.flush();
  const uint64_t newest = Superblock::kSlotOffset[bed.store->facts().generation % 2];
  bed.kill();
  bed.node.disk().flip_bit(bed.path("superblock"), newest + 520, 0);
  const Status opened = bed.open();
  CHECK((!opened.has_value() || bed.store->wal().head() == bed.model.head()));
}

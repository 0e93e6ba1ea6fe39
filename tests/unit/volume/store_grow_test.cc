// A store that gets larger: what is new reads as zeros, and no crash leaves a volume that is larger than its base image.
#include <catch2/catch.hpp>
#include <cerrno>

#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;
using io::SimOpKind;
using io::SimPowerLoss;

namespace {

constexpr uint64_t kOld = 512, kNew = 1500, kBetween = 1000;

uint64_t blocks_of(const StoreBed& bed) { return bed.store->config().volume_bytes / kBlockBytes; }

std::shared_ptr<std::optional<Status>> begin_growth(StoreBed& bed, uint64_t blocks) {
  auto result = std::make_shared<std::optional<Status>>();
  bed.store->grow(blocks * kBlockBytes, [result](const Status& status) { *result = status; });
  return result;
}

Status grow(StoreBed& bed, uint64_t blocks) {
  const auto result = begin_growth(bed, blocks);
  REQUIRE(bed.run([&] { return result->has_value(); }));
  if (result->value().has_value()) bed.model.grow(blocks);
  return result->value();
}

/// Behind the volume's end there is what another owner of the device, or a longer file, has left.
void put_rubbish_behind(StoreBed& bed, uint64_t blocks = kNew - kOld) {
  const std::vector<std::byte> rubbish(blocks * kBlockBytes, std::byte{0xa5});
  bed.node.disk().write_file(bed.path("base"), kOld * kBlockBytes, rubbish);
}

/// The configuration has another size from the next start on.
void configure(StoreBed& bed, uint64_t blocks) { bed.config.volume_bytes = blocks * kBlockBytes; }

}  // namespace

TEST_CASE("store_grow: what is new is zeros, is written like the rest, and is there after a restart", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  bed.write(kOld - 8, 8);
  put_rubbish_behind(bed);
  const auto growth = begin_growth(bed, kNew);
  CHECK(bed.store->growing());
  // Writers go on meanwhile.
  bed.write(3, 5);
  REQUIRE(bed.run([&] { return growth->has_value(); }));
  REQUIRE(growth->value().has_value());
  CHECK_FALSE(bed.store->growing());
  CHECK(blocks_of(bed) == kNew);
  bed.model.grow(kNew);
  CHECK(bed.difference().empty());
  bed.write(kOld - 4, 8);
  bed.write(kNew - 1);
  bed.append(RecordKind::kZero, kOld, 2);
  CHECK(bed.difference().empty());
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.store->wal().head()).empty());
  bed.write(kNew - 2);
  bed.flush();
  bed.kill();
  // Also of records that recovery reads back.
  bed.serve();
  CHECK(blocks_of(bed) == kNew);
  CHECK(bed.difference().empty());
  REQUIRE(bed.close().has_value());
}

TEST_CASE("store_grow: the configuration may say what the volume was made with, or anything up to what it is", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  REQUIRE(grow(bed, kBetween).has_value());
  REQUIRE(grow(bed, kNew).has_value());
  bed.write(kNew - 1);
  bed.flush();
  bed.kill();
  for (const uint64_t blocks : {kOld, kOld + 1, kBetween, kNew}) {
    INFO(blocks << " blocks");
    configure(bed, blocks);
    bed.serve();
    CHECK(blocks_of(bed) == kNew);
    CHECK(bed.store->least_bytes() == kOld * kBlockBytes);
    CHECK(bed.difference().empty());
    bed.kill();
  }
  configure(bed, kOld - 1);
  Status refused = bed.open();
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kInvalid);
  CHECK(contains(refused.error().message, "superblock: the size on disk is 6144000, the configuration says 2093056"));
  bed.kill();
  // Nobody makes it larger by a mere start.
  configure(bed, kNew + 1);
  refused = bed.open();
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kInvalid);
  CHECK(contains(refused.error().message, "ringboltctl volume resize does; until then configure 6144000"));
}

TEST_CASE("store_grow: one that was never grown has the size of its configuration and no other", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kNew});
  bed.serve();
  CHECK(bed.store->least_bytes() == kNew * kBlockBytes);
  bed.kill();
  configure(bed, kOld);
  const Status refused = bed.open();
  REQUIRE(refused.has_error());
  CHECK(contains(refused.error().message, "the size on disk is 6144000"));
}

TEST_CASE("store_grow: a crash at any moment leaves the old size or the new one, with all that belongs to it", "[volume][resize]") {
  enum class End : uint8_t { kKill, kDropAll, kKeepAll, kRandom };
  uint64_t old_ones = 0, new_ones = 0;
  for (const End end : {End::kKill, End::kDropAll, End::kKeepAll, End::kRandom}) {
    for (uint64_t at = 1;; ++at) {
      INFO("end " << static_cast<int>(end) << " at operation " << at);
      StoreBed bed({.seed = at, .volume_blocks = kOld});
      bed.serve();
      bed.write(7, 3);
      bed.checkpoint_all();
      put_rubbish_behind(bed, 100);
      bool fired = false;
      bed.node.disk().after_operations(at, [&] { fired = true; });
      const auto growth = begin_growth(bed, kNew);
      REQUIRE(bed.run([&] { return fired || growth->has_value(); }));
      bed.node.disk().after_operations(0, nullptr);
      const bool told = growth->has_value();
      if (end == End::kKill) bed.kill();
      if (end == End::kDropAll) bed.power_loss(SimPowerLoss::kDropAll);
      if (end == End::kKeepAll) bed.power_loss(SimPowerLoss::kKeepAll);
      if (end == End::kRandom) bed.power_loss(SimPowerLoss::kRandom);
      bed.serve();
      const uint64_t blocks = blocks_of(bed);
      CHECK((blocks == kOld || blocks == kNew));
      if (told) CHECK(blocks == kNew);
      CHECK(bed.node.disk().file_bytes(bed.path("base")) >= blocks * kBlockBytes);
      ++(blocks == kOld ? old_ones : new_ones);
      bed.model.grow(blocks);
      CHECK(bed.difference().empty());
      // Once more, over whatever the first time has left.
      REQUIRE(grow(bed, kNew).has_value());
      CHECK(bed.difference().empty());
      if (told) break;
      REQUIRE(at < 100);
    }
  }
  CHECK(old_ones > 12);
  CHECK(new_ones >= 4);
}

TEST_CASE("store_grow: without room for it nothing has changed, and the message says where", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  bed.write(1);
  const auto fails = [&](SimOpKind kind, int error, Errc code, const std::string& words) {
    bed.node.disk().add_fault({.match = {.kind = kind, .path = "base"}, .error = error});
    const Status status = grow(bed, kNew);
    REQUIRE(status.has_error());
    INFO(status.error().message);
    CHECK(status.error().code == code);
    CHECK(contains(status.error().message, words));
    CHECK_FALSE(bed.store->failed());
    CHECK_FALSE(bed.store->growing());
    CHECK(blocks_of(bed) == kOld);
    CHECK(bed.store->facts().volume_bytes == kOld * kBlockBytes);
  };
  fails(SimOpKind::kWrite, ENOSPC, Errc::kNoSpace, "the base image /data/vol0/base cannot have 6144000 bytes: No space left");
  fails(SimOpKind::kWrite, EFBIG, Errc::kNoSpace, "the base image /data/vol0/base cannot have 6144000 bytes: File too large");
  fails(SimOpKind::kWrite, EIO, Errc::kIo, "/data/vol0/base");
  fails(SimOpKind::kZero, ENOSPC, Errc::kNoSpace, "zeroing the base image /data/vol0/base from byte 2097152 on: No space left");
  fails(SimOpKind::kZero, EIO, Errc::kIo, "zeroing the base image /data/vol0/base");
  bed.write(2);
  CHECK(bed.difference().empty());
  REQUIRE(grow(bed, kNew).has_value());
  CHECK(bed.difference().empty());
}

TEST_CASE("store_grow: a device has to be large enough", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.config.base_path = "/dev/nvme0n1";
  bed.node.disk().add_block_device("/dev/nvme0n1", kBetween * kBlockBytes);
  bed.serve();
  const Status refused = grow(bed, kBetween + 1);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kNoSpace);
  CHECK(contains(refused.error().message, "/dev/nvme0n1 cannot have 4100096 bytes"));
  REQUIRE(grow(bed, kBetween).has_value());
  CHECK(bed.difference().empty());
}

TEST_CASE("store_grow: a flush that fails, and a superblock that cannot be written, are the store's end", "[volume][resize]") {
  for (const bool of_base : {true, false}) {
    INFO((of_base ? "base" : "superblock"));
    StoreBed bed({.volume_blocks = kOld});
    bed.serve();
    bed.checkpoint_all();
    bed.node.disk().add_fault({.match = {.kind = of_base ? SimOpKind::kFlush : SimOpKind::kWrite, .path = of_base ? "base" : "superblock"}});
    const Status status = grow(bed, kNew);
    REQUIRE(status.has_error());
    CHECK(status.error().code == Errc::kIo);
    CHECK(bed.store->failed());
    CHECK_FALSE(bed.store->growing());
    CHECK(grow(bed, kNew).has_error());
    static_cast<void>(bed.close());
  }
}

TEST_CASE("store_grow: with room made before, the size is one change of the superblock", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  bed.checkpoint_all();
  put_rubbish_behind(bed);
  std::optional<Status> room;
  bed.store->make_room(kNew * kBlockBytes, [&](const Status& status) { room = status; });
  REQUIRE(bed.run([&] { return room.has_value(); }));
  REQUIRE(room->has_value());
  CHECK(blocks_of(bed) == kOld);
  CHECK(bed.store->facts().volume_bytes == kOld * kBlockBytes);
  const uint64_t hold = bed.node.disk().hold({.kind = std::nullopt, .path = "base"});
  // Also of a part of it.
  REQUIRE(grow(bed, kBetween).has_value());
  CHECK(bed.node.disk().held(hold) == 0);
  bed.node.disk().release(hold);
  CHECK(blocks_of(bed) == kBetween);
  CHECK(bed.difference().empty());
}

TEST_CASE("store_grow: a growth that nobody was told of is taken back, and what comes later is zeros again", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  REQUIRE(grow(bed, kNew).has_value());
  bed.store->take_growth_back(kOld * kBlockBytes);
  CHECK(blocks_of(bed) == kOld);
  bed.checkpoint_all();
  REQUIRE(bed.close().has_value());
  bed.model = BlockModel(kOld);
  StoreBed& same = bed;
  REQUIRE(same.open().has_value());
  CHECK(blocks_of(same) == kOld);
  put_rubbish_behind(same);
  std::optional<Status> grown;
  same.store->grow(kNew * kBlockBytes, [&](const Status& status) { grown = status; });
  REQUIRE(same.run([&] { return grown.has_value(); }));
  REQUIRE(grown->has_value());
  same.model.grow(kNew);
  CHECK(same.difference().empty());
}

TEST_CASE("store_grow: a stop does not wait for a device that zeroes", "[volume][resize]") {
  StoreBed bed({.volume_blocks = kOld});
  bed.serve();
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "base", .from = kOld * kBlockBytes});
  const auto growth = begin_growth(bed, kNew);
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  std::optional<Status> closed;
  bed.store->close([&](Status status) { closed = std::move(status); });
  bed.world.run_for(io::kSecond);
  CHECK_FALSE(closed.has_value());
  CHECK_FALSE(growth->has_value());
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return closed.has_value(); }));
  CHECK(closed->has_value());
  REQUIRE(growth->has_value());
  REQUIRE(growth->value().has_error());
  CHECK(growth->value().error().code == Errc::kBusy);
  CHECK(bed.io->pending_operations() == 0);
  bed.kill();
  bed.serve();
  CHECK(blocks_of(bed) == kOld);
}

TEST_CASE("store_grow: the index grows as well, and takes no more blocks than it has room for", "[volume][resize]") {
  constexpr uint64_t kLarge = uint64_t{1} << 18;
  StoreBed bed({.volume_blocks = 64, .wal_bytes = 64u << 20});
  bed.stable_follows = false;
  bed.serve();
  const uint32_t made_for = bed.store->index().capacity();
  REQUIRE(grow(bed, kLarge).has_value());
  const uint32_t capacity = bed.store->index().capacity();
  CHECK(capacity > made_for);
  uint64_t lba = 0;
  while (bed.try_append(RecordKind::kZero, lba, kZeroRecordBlocksMax)) {
    lba += kZeroRecordBlocksMax;
    REQUIRE(lba < kLarge);
  }
  CHECK(bed.store->index().size() <= bed.store->index().capacity());
  // When what is there has been copied, the next ones find room.
  bed.flush();
  bed.store->set_stable(bed.store->wal().durable());
  bed.append(RecordKind::kZero, lba, kZeroRecordBlocksMax);
  bed.flush();
  bed.kill();
  bed.serve();
  CHECK(blocks_of(bed) == kLarge);
  CHECK(bed.store->index().capacity() == capacity);
}

// Making a store where there is none: never over what may be somebody's only copy.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "store_bed.h"
#include "volume/zero_scan.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

constexpr uint64_t kStamp = 4711;

/// A base image of before the volume: one block in the middle of it holds something.
void put_base(StoreBed& bed, const std::string& path) {
  std::vector<std::byte> block(kBlockBytes);
  fill_block(block.data(), kStamp);
  REQUIRE(bed.node.create_io()->make_directory(bed.config.directory).has_value());
  bed.node.write_file(path, 9 * kBlockBytes, block);
}

void put_marker(StoreBed& bed) { bed.node.write_file(bed.path("use-existing-base"), 0, {}); }

bool base_block_is_kept(StoreBed& bed) {
  StoreBed::Read& read = bed.begin_read(9, 1);
  REQUIRE(bed.run([&] { return read.done; }));
  return read.error == 0 && block_is(read.buffer.data, kStamp);
}

Error refusal(StoreBed& bed) {
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(bed.io->pending_operations() == 0);
  bed.kill();
  return opened.error();
}

}  // namespace

TEST_CASE("store_make: an existing base image is used only where that was asked for",
          "[volume][make]") {
  const bool adopt = GENERATE(true, false);
  StoreBed bed;
  bed.config.adopt_base = adopt;
  bed.config.base_path = "/images/disk";
  put_base(bed, "/images/disk");
  const auto before = bed.node.read_file("/images/disk", 0, bed.config.volume_bytes);
  const Error error = refusal(bed);
  CHECK(error.code == Errc::kInvalid);
  INFO(error.message);
  CHECK(contains(error.message, "the base image /images/disk holds data (at byte 36864)"));
  CHECK(contains(error.message, "if data_dir is not mounted, mount it"));
  CHECK(contains(error.message, "touch /data/vol0/use-existing-base"));
  CHECK(contains(error.message, adopt ? "for the content of a new volume" : "overwritten"));
  // It left no trace, in particular nothing that the next start would take for a volume.
  CHECK_FALSE(bed.node.disk().exists(bed.path("superblock")));
  CHECK_FALSE(bed.node.disk().exists(bed.path("wal")));
  CHECK(bed.node.read_file("/images/disk", 0, bed.config.volume_bytes) == before);

  put_marker(bed);
  for (int life = 0; life < 2; ++life) {
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->base_usable() == adopt);
    CHECK(bed.store->facts().base_seeded == adopt);
    CHECK(base_block_is_kept(bed));
    bed.kill();
  }
  // The marker works once: without superblock and WAL the image is as good as lost again.
  bed.world.run_for(io::kSecond);
  bed.node.disk().remove_file(bed.path("superblock"));
  bed.node.disk().remove_file(bed.path("wal"));
  CHECK(refusal(bed).code == Errc::kInvalid);
}

TEST_CASE("store_make: a data directory that is not mounted costs nothing", "[volume][make]") {
  // The base image, and perhaps the WAL, lie elsewhere; what they hold is not the whole truth.
  const bool wal_elsewhere = GENERATE(true, false);
  const bool devices = GENERATE(true, false);
  StoreBed bed;
  bed.config.adopt_base = true;
  bed.config.base_path = "/dev/base";
  if (wal_elsewhere) bed.config.wal_path = "/dev/wal";
  if (devices) {
    bed.node.disk().add_block_device("/dev/base", bed.config.volume_bytes + 5 * kBlockBytes);
    if (wal_elsewhere) bed.node.disk().add_block_device("/dev/wal", kWalBytesMin + (64u << 20));
  } else {
    REQUIRE(bed.node.create_io()->make_directory("/dev").has_value());
  }
  bed.serve();
  bed.write(5);
  bed.checkpoint_all();
  bed.write(6);  // in the WAL only
  bed.flush();
  bed.kill();
  bed.world.run_for(10 * io::kSecond);
  bed.config.directory = "/elsewhere/vol0";
  const Error error = refusal(bed);
  CHECK(error.code == Errc::kInvalid);
  INFO(error.message);
  CHECK(contains(error.message, wal_elsewhere ? "the WAL /dev/wal holds data"
                                              : "the base image /dev/base holds data"));
  if (wal_elsewhere) {
    // No marker makes a WAL go away.
    put_marker(bed);
    CHECK(contains(refusal(bed).message, "the WAL /dev/wal holds data"));
  }
  bed.config.directory = "/data/vol0";
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.difference() == "");
}

TEST_CASE("store_make: files and devices of nothing but zeros are as good as new ones",
          "[volume][make]") {
  const bool devices = GENERATE(true, false);
  StoreBed bed;
  bed.config.adopt_base = true;
  bed.config.base_path = "/dev/base";
  bed.config.wal_path = "/dev/wal";
  if (devices) {
    bed.node.disk().add_block_device("/dev/base", bed.config.volume_bytes);
    bed.node.disk().add_block_device("/dev/wal", 2 * kWalBytesMin);
    // Beyond what the WAL takes of it the device is not looked at.
    bed.node.write_file("/dev/wal", kWalBytesMin,
                        std::vector<std::byte>(kBlockBytes, std::byte{1}));
  } else {
    bed.node.write_file("/dev/base", bed.config.volume_bytes - 1, std::vector<std::byte>(1));
    bed.node.write_file("/dev/wal", kWalBytesMin / 2 - 1, std::vector<std::byte>(1));
  }
  bed.serve();
  CHECK(bed.store->base_usable());
  CHECK_FALSE(bed.store->facts().base_seeded);
  bed.write(5);
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE("store_make: a WAL that holds anything, or is of another size, is not made over",
          "[volume][make]") {
  StoreBed bed;
  REQUIRE(bed.node.create_io()->make_directory(bed.config.directory).has_value());
  SECTION("a byte near its end") {
    bed.node.write_file(bed.path("wal"), kWalBytesMin - 100,
                        std::vector<std::byte>(1, std::byte{1}));
  }
  SECTION("a part of a block") {
    bed.node.write_file(bed.path("wal"), 0, std::vector<std::byte>(100));
  }
  SECTION("zeros, but too many") {
    bed.node.write_file(bed.path("wal"), kWalBytesMin + kBlockBytes - 1, std::vector<std::byte>(1));
  }
  const uint64_t bytes = bed.node.disk().file_bytes(bed.path("wal"));
  const auto before = bed.node.read_file(bed.path("wal"), 0, bytes);
  for (int i = 0; i < 2; ++i) {
    CHECK(refusal(bed).code == Errc::kInvalid);
    CHECK(bed.node.disk().file_bytes(bed.path("wal")) == bytes);
    CHECK(bed.node.read_file(bed.path("wal"), 0, bytes) == before);
  }
}

TEST_CASE("store_make: a try that died is gone on with, its decision about the base image kept",
          "[volume][make]") {
  // The marker counted when it began. And what it had made so far does not look like data.
  uint64_t again = 0;
  for (uint64_t at = 0;; ++at) {
    StoreBed bed({.seed = at + 1});
    bed.config.adopt_base = at % 2 == 0;
    put_base(bed, bed.path("base"));
    put_marker(bed);
    bed.begin_open();
    for (uint64_t i = 0; i < at && !bed.open_result; ++i) bed.world.step();
    const bool was_open = bed.open_result.has_value();
    if (at % 4 < 2) bed.kill();
    if (at % 4 >= 2) bed.power_loss(io::SimPowerLoss::kRandom);
    if (bed.node.disk().exists(bed.path("superblock"))) ++again;
    const Status opened = bed.open();
    if (!opened.has_value()) FAIL(opened.error().message);
    CHECK(bed.store->base_usable() == bed.config.adopt_base);
    CHECK(bed.store->facts().base_seeded == bed.config.adopt_base);
    CHECK(base_block_is_kept(bed));
    if (at % 4 < 2)  // else its new length may be lost
      CHECK(bed.node.disk().file_bytes(bed.path("use-existing-base")) > 0);
    if (was_open) break;
  }
  CHECK(again > 20);
}

TEST_CASE("store_make: a try that died does not go on over another WAL", "[volume][make]") {
  StoreBed bed;
  bed.begin_open();
  REQUIRE(bed.run([&] { return bed.node.disk().exists(bed.path("wal")); }));
  bed.kill();
  bed.world.run_for(io::kSecond);
  bed.config.wal_path = "/other/wal";
  bed.node.write_file("/other/wal", 7 * kBlockBytes, std::vector<std::byte>(1, std::byte{1}));
  CHECK(contains(refusal(bed).message, "the WAL /other/wal holds data (at byte 28672)"));
}

TEST_CASE("store_make: a WAL without its superblock is no new volume, a damaged superblock neither",
          "[volume][make]") {
  StoreBed bed;
  bed.serve();
  bed.write(5);
  bed.flush();
  bed.kill();
  bed.world.run_for(10 * io::kSecond);
  const auto superblock = bed.node.read_file(bed.path("superblock"), 0, Superblock::kFileBytes);
  const auto wal = bed.node.read_file(bed.path("wal"), 0, kWalBytesMin);
  Errc expected = Errc::kInvalid;
  SECTION("removed") { bed.node.disk().remove_file(bed.path("superblock")); }
  SECTION("emptied") {
    bed.node.write_file(bed.path("superblock"), 0, std::vector<std::byte>(Superblock::kFileBytes));
  }
  SECTION("damaged") {
    expected = Errc::kCorrupt;
    bed.node.write_file(bed.path("superblock"), 0, std::vector<std::byte>(512, std::byte{1}));
    bed.node.write_file(bed.path("superblock"), Superblock::kSlotOffset[1] + 64,
                        std::vector<std::byte>(512, std::byte{1}));
  }
  SECTION("damaged, and the WAL is gone") {
    // It may have promised what nothing else knows of.
    expected = Errc::kCorrupt;
    for (const uint64_t offset : Superblock::kSlotOffset)
      bed.node.disk().flip_bit(bed.path("superblock"), offset + 80, 1);
    bed.node.disk().remove_file(bed.path("wal"));
  }
  const Error error = refusal(bed);
  CHECK(error.code == expected);
  INFO(error.message);
  CHECK(contains(error.message, "refusing to make a new volume over"));
  bed.node.write_file(bed.path("wal"), 0, wal);
  bed.node.write_file(bed.path("superblock"), 0, superblock);
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE(
    "store_make: a device that is full or cannot be read ends it with an error that says where",
    "[volume][make]") {
  StoreBed bed;
  SECTION("no space for the WAL") {
    bed.node.disk().set_capacity(100 * kBlockBytes);
    const Error error = refusal(bed);
    CHECK(error.code == Errc::kNoSpace);
    CHECK(contains(error.message, "cannot allocate the WAL /data/vol0/wal of 8388608 bytes"));
    bed.node.disk().set_capacity(UINT64_MAX);
  }
  SECTION("no space for the superblock") {
    bed.node.disk().set_capacity(1 * kBlockBytes);
    CHECK(contains(refusal(bed).message, "superblock"));
    bed.node.disk().set_capacity(UINT64_MAX);
  }
  SECTION("a base image that cannot be read") {
    REQUIRE(bed.node.create_io()->make_directory(bed.config.directory).has_value());
    bed.node.write_file(bed.path("base"), bed.config.volume_bytes - 1, std::vector<std::byte>(1));
    bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kRead, .path = "base"}});
    const Error error = refusal(bed);
    CHECK(error.code == Errc::kIo);
    CHECK(contains(error.message, "/data/vol0/base at byte 0"));
  }
  bed.world.run_for(io::kSecond);
  bed.serve();
  bed.write(5);
  bed.flush();
  CHECK(bed.difference() == "");
}

TEST_CASE("store_make: of two processes that make the same store, one makes it", "[volume][make]") {
  StoreBed bed;
  const auto other = bed.node.create_io();
  REQUIRE(other->make_directory(bed.config.directory).has_value());
  // The other one is a step ahead: it has made and locked the file, and writes a whole store.
  const auto opened = other->open_file(bed.path("superblock"),
                                       {.create = true, .resize_bytes = Superblock::kFileBytes});
  REQUIRE(opened.has_value());
  bed.begin_open();
  bed.world.run_for(io::kSecond);
  CHECK_FALSE(bed.open_result.has_value());
  Superblock made;
  made.node_id = "n9";
  made.name = bed.config.name;
  made.volume_bytes = bed.config.volume_bytes;
  made.wal_bytes = bed.config.wal_bytes;
  std::vector<std::byte> slot(Superblock::kSlotBytes);
  made.encode(slot.data());
  for (const uint64_t offset : Superblock::kSlotOffset)
    bed.node.write_file(bed.path("superblock"), offset, slot);
  other->close_file(opened.value().file);
  REQUIRE(bed.run([&] { return bed.open_result.has_value(); }));
  REQUIRE_FALSE(bed.open_result->has_value());
  CHECK(contains(bed.open_result->error().message, "n9"));
}

TEST_CASE("store_make: a store that another process makes during the survey is not made over",
          "[volume][make]") {
  // It is over and done with when this one is: no lock is left that would tell.
  StoreBed bed;
  REQUIRE(bed.node.create_io()->make_directory(bed.config.directory).has_value());
  bed.node.write_file(bed.path("base"), bed.config.volume_bytes - 1, std::vector<std::byte>(1));
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kRead, .path = "base"});
  bed.begin_open();
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  Superblock made;
  made.node_id = "n9";
  made.name = bed.config.name;
  made.volume_bytes = bed.config.volume_bytes;
  made.wal_bytes = bed.config.wal_bytes;
  std::vector<std::byte> slot(Superblock::kSlotBytes);
  made.encode(slot.data());
  for (const uint64_t offset : Superblock::kSlotOffset)
    bed.node.write_file(bed.path("superblock"), offset, slot);
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.open_result.has_value(); }));
  REQUIRE_FALSE(bed.open_result->has_value());
  CHECK(contains(bed.open_result->error().message, "n9"));
}

TEST_CASE("store_make: a marker that has been used up counts for the try that used it",
          "[volume][make]") {
  // The try ends between using it and saying that the store is made.
  const bool adopt = GENERATE(true, false);
  StoreBed bed;
  bed.config.adopt_base = adopt;
  put_base(bed, bed.path("base"));
  put_marker(bed);
  const auto used_up = [&] {
    return bed.node.disk().file_bytes(bed.path("use-existing-base")) > 0;
  };
  bed.begin_open();
  REQUIRE(bed.run(used_up));
  const auto superblock = bed.node.read_file(bed.path("superblock"), 0, Superblock::kFileBytes);
  bed.kill();
  bed.world.run_for(10 * io::kSecond);
  bed.node.write_file(bed.path("superblock"), 0, superblock);  // whatever landed after the kill
  REQUIRE(used_up());
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->base_usable() == adopt);
  CHECK(bed.store->facts().base_seeded == adopt);
  CHECK(base_block_is_kept(bed));
}

TEST_CASE("store_make: a scan finds the first thing that is not zero, wherever it is",
          "[volume][make]") {
  io::SimWorld world({.seed = 3});
  io::SimNode& node = world.add_node("n1");
  constexpr uint64_t kBytes = 6u << 20;
  const auto scan = [&](uint64_t bytes) {
    const auto io = node.create_io();
    const auto file = io->open_file("/area", {});
    REQUIRE(file.has_value());
    std::optional<ZeroScan::Outcome> outcome;
    ZeroScan zero_scan(*io, file.value().file, bytes, [&](const ZeroScan::Outcome& o) {
      REQUIRE_FALSE(outcome.has_value());
      outcome = o;
    });
    zero_scan.run();
    CHECK_FALSE(outcome.has_value());
    REQUIRE(world.run_until([&] { return outcome.has_value(); }, 100 * io::kSecond));
    world.run_for(io::kSecond);
    io->close_file(file.value().file);
    return *outcome;
  };
  node.write_file("/area", kBytes - 1, std::vector<std::byte>(1));
  CHECK_FALSE(scan(kBytes).data_at.has_value());
  CHECK_FALSE(scan(0).data_at.has_value());
  // A part of a block is nothing that was made for a volume.
  CHECK(scan(5).data_at == 0);
  CHECK(scan(kBytes - 1).data_at == kBytes - kBlockBytes);
  for (uint64_t at = kBytes - 1;; at /= 2) {
    node.write_file("/area", at, std::vector<std::byte>(1, std::byte{1}));
    INFO(at);
    CHECK(scan(kBytes).data_at == at / kBlockBytes * kBlockBytes);
    if (at > 0) CHECK_FALSE(scan(at / kBlockBytes * kBlockBytes).data_at.has_value());
    if (at == 0) break;
  }
  node.disk().add_fault({.match = {.kind = io::SimOpKind::kRead, .path = "/area"}, .error = EIO});
  CHECK(scan(kBytes).error == EIO);
}

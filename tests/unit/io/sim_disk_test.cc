// The simulated disk: what crashes, power losses, faults and holds do. Simulation tests of the
// whole server are only worth what these rules are worth.
#include <catch2/catch.hpp>
#include <cerrno>
#include <set>

#include "io/sim_io.h"
#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

constexpr const char* kPath = "/data/a";

/// A node with one file open on one shard.
struct Host {
  explicit Host(uint64_t seed, uint64_t bytes = 64 * kBlockBytes)
      : world({.seed = seed}), node(world.add_node("n1")) {
    boot(bytes);
  }
  void boot(uint64_t bytes = 0) {
    io = node.create_io();
    REQUIRE(io->make_directory("/data").has_value());
    auto info = io->open_file(kPath, {.create = true, .resize_bytes = bytes});
    if (!info.has_value()) FAIL(info.error().message);
    file = info.value().file;
  }
  int32_t finish(Awaited& op) {
    if (!world.run_until([&] { return op.done; }, 100 * kSecond)) return -ETIME;
    op.done = false;
    return op.result;
  }
  int32_t write(uint64_t lba, Block& block) {
    Awaited op;
    io->write(file, block.data(), block.bytes(), lba * kBlockBytes, op);
    return finish(op);
  }
  int32_t flush() {
    Awaited op;
    io->flush(file, op);
    return finish(op);
  }
  int32_t read(uint64_t lba, Block& block) {
    Awaited op;
    io->read(file, block.data(), block.bytes(), lba * kBlockBytes, op);
    return finish(op);
  }
  bool holds(uint64_t lba, int value) {
    for (const std::byte byte : node.read_file(kPath, lba * kBlockBytes, kBlockBytes)) {
      if (byte != static_cast<std::byte>(value)) return false;
    }
    return true;
  }
  SimWorld world;
  SimNode& node;
  std::unique_ptr<SimIo> io;
  File file;
};

}  // namespace

TEST_CASE("sim_disk: a power loss keeps what a flush covered and may drop the rest", "[sim]") {
  const uint64_t seed = GENERATE(range(1, 30));
  INFO("seed " << seed);
  Host host(seed);
  Block one(kBlockBytes, 1);
  Block two(kBlockBytes, 2);
  REQUIRE(host.flush() == 0);  // the length
  CHECK(host.write(0, one) == static_cast<int32_t>(kBlockBytes));
  CHECK(host.flush() == 0);
  CHECK(host.write(0, two) == static_cast<int32_t>(kBlockBytes));
  CHECK(host.write(1, two) == static_cast<int32_t>(kBlockBytes));
  CHECK(host.holds(0, 2));
  SECTION("all unflushed dropped") {
    host.node.power_loss(SimPowerLoss::kDropAll);
    CHECK(host.holds(0, 1));
    CHECK(host.holds(1, 0));
  }
  SECTION("all unflushed kept") {
    host.node.power_loss(SimPowerLoss::kKeepAll);
    CHECK(host.holds(0, 2));
    CHECK(host.holds(1, 2));
  }
  SECTION("random: each sector old or new, nothing else") {
    host.node.power_loss(SimPowerLoss::kRandom);
    const auto data = host.node.read_file(kPath, 0, 2 * kBlockBytes);
    for (size_t sector = 0; sector < 16; ++sector) {
      const std::byte first = data[sector * 512];
      const int old = sector < 8 ? 1 : 0;
      CHECK((first == std::byte{2} || first == static_cast<std::byte>(old)));
      for (size_t i = 0; i < 512; ++i) REQUIRE(data[sector * 512 + i] == first);
    }
  }
  CHECK(host.node.disk().file_bytes(kPath) == 64 * kBlockBytes);
}

TEST_CASE("sim_disk: random power losses do tear single blocks", "[sim]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    Host host(seed);
    Block block(kBlockBytes, 1);
    REQUIRE(host.write(0, block) > 0);
    host.node.power_loss(SimPowerLoss::kRandom);
    const auto data = host.node.read_file(kPath, 0, kBlockBytes);
    std::string sectors;
    for (size_t sector = 0; sector < 8; ++sector)
      sectors += data[sector * 512] == std::byte{1} ? '1' : '0';
    outcomes.insert(sectors);
  }
  CHECK(outcomes.count("00000000") == 1);
  CHECK(outcomes.count("11111111") == 1);
  CHECK(outcomes.size() > 8);
}

TEST_CASE("sim_disk: a flush does not cover a write that completed after it was submitted",
          "[sim]") {
  const uint64_t seed = GENERATE(range(1, 40));
  INFO("seed " << seed);
  Host host(seed);
  Block block(kBlockBytes, 7);
  Awaited write;
  Awaited flush;
  host.io->write(host.file, block.data(), kBlockBytes, 0, write);
  host.io->flush(host.file, flush);
  REQUIRE(host.world.run_until([&] { return write.done && flush.done; }, kSecond));
  host.node.power_loss(SimPowerLoss::kDropAll);
  CHECK(host.node.read_file(kPath, 0, 1)[0] == std::byte{0});
}

TEST_CASE("sim_disk: neither the length nor a hole is durable before a flush", "[sim]") {
  Host host(1);
  Block block(kBlockBytes, 7);
  SECTION("length") {
    host.node.power_loss(SimPowerLoss::kDropAll);
    CHECK(host.node.disk().exists(kPath));  // its creation is
    CHECK(host.node.disk().file_bytes(kPath) == 0);
  }
  SECTION("hole") {
    REQUIRE(host.write(0, block) > 0);
    REQUIRE(host.flush() == 0);
    Awaited zero;
    host.io->zero(host.file, 0, kBlockBytes, zero);
    REQUIRE(host.finish(zero) == 0);
    CHECK(host.holds(0, 0));
    SECTION("dropped") {
      host.node.power_loss(SimPowerLoss::kDropAll);
      CHECK(host.holds(0, 7));
    }
    SECTION("flushed") {
      REQUIRE(host.flush() == 0);
      host.node.power_loss(SimPowerLoss::kDropAll);
      CHECK(host.holds(0, 0));
    }
  }
}

TEST_CASE("sim_disk: a kill -9 keeps completed writes and calls nobody", "[sim]") {
  const uint64_t seed = GENERATE(range(1, 30));
  INFO("seed " << seed);
  Host host(seed);
  Block one(kBlockBytes, 1);
  REQUIRE(host.write(0, one) > 0);
  Awaited write;
  Awaited read;
  auto two = std::make_unique<Block>(kBlockBytes, 2);
  auto target = std::make_unique<Block>(kBlockBytes, 3);
  host.io->write(host.file, two->data(), kBlockBytes, 0, write);
  host.io->read(host.file, target->data(), kBlockBytes, 0, read);
  host.node.crash();
  CHECK(host.io->dead());
  CHECK_FALSE(write.pending());
  CHECK_FALSE(read.pending());
  // The dead process's memory is gone; a write in flight must not need it any more.
  two.reset();
  target.reset();
  host.io.reset();
  host.world.run_for(10 * kSecond);
  CHECK(write.calls == 0);
  CHECK(read.calls == 0);
  CHECK((host.holds(0, 1) || host.holds(0, 2)));
  CHECK(host.node.disk().in_flight() == 0);
}

TEST_CASE("sim_disk: a write in flight at a kill lands later and keeps the file busy until then",
          "[sim]") {
  int landed = 0;
  int busy = 0;
  for (uint64_t seed = 1; seed < 60; ++seed) {
    Host host(seed);
    Block two(kBlockBytes, 2);
    Awaited write;
    host.io->write(host.file, two.data(), kBlockBytes, 0, write);
    host.node.crash();
    host.io.reset();
    const auto successor = host.node.create_io();
    const auto first = successor->open_file(kPath, {});
    if (first.has_value()) {
      // Not in flight any more: it must never land from now on.
      const bool before = host.holds(0, 2);
      host.world.run_for(10 * kSecond);
      CHECK(host.holds(0, before ? 2 : 0));
      continue;
    }
    ++busy;
    CHECK(first.error().code == Errc::kBusy);
    REQUIRE(host.world.run_until([&] { return successor->open_file(kPath, {}).has_value(); },
                                 10 * kSecond));
    CHECK(host.holds(0, 2));
    ++landed;
  }
  CHECK(busy > 10);
  CHECK(landed == busy);
  CHECK(busy < 59);  // and sometimes it never lands
}

TEST_CASE("sim_disk: bytes changed before completion may be the ones that land", "[sim]") {
  std::set<int> seen;
  for (uint64_t seed = 1; seed < 40; ++seed) {
    Host host(seed);
    Block block(kBlockBytes, 1);
    Awaited write;
    host.io->write(host.file, block.data(), kBlockBytes, 0, write);
    host.world.run_for(100 * kMicrosecond);
    if (!write.done) std::memset(block.data(), 2, kBlockBytes);
    REQUIRE(host.world.run_until([&] { return write.done; }, kSecond));
    seen.insert(static_cast<int>(host.node.read_file(kPath, 0, 1)[0]));
  }
  CHECK(seen == std::set<int>{1, 2});
}

TEST_CASE("sim_disk: a read's buffer is poisoned until its data come", "[sim]") {
  Host host(1);
  Block block(kBlockBytes, 9);
  Awaited read;
  host.io->read(host.file, block.data(), kBlockBytes, 0, read);
  CHECK_FALSE(block.all(9));
  CHECK_FALSE(block.all(0));
  CHECK(host.finish(read) > 0);
  CHECK(block.all(0));
}

TEST_CASE("sim_disk: faults hit the operation they name, once or for ever", "[sim]") {
  Host host(3);
  Block block(kBlockBytes, 1);
  SimFault fault;
  fault.match.kind = SimOpKind::kWrite;
  fault.match.path = "/a";
  fault.skip = 1;
  SECTION("once, after one that succeeds") {
    host.node.disk().add_fault(fault);
    CHECK(host.flush() == 0);
    CHECK(host.write(0, block) > 0);
    CHECK(host.write(1, block) == -EIO);
    CHECK(host.write(2, block) > 0);
  }
  SECTION("for ever, until removed") {
    fault.forever = true;
    fault.error = ENOSPC;
    const uint64_t id = host.node.disk().add_fault(fault);
    CHECK(host.write(0, block) > 0);
    CHECK(host.write(1, block) == -ENOSPC);
    CHECK(host.holds(1, 0));
    CHECK(host.write(2, block) == -ENOSPC);
    host.node.disk().remove_fault(id);
    CHECK(host.write(3, block) > 0);
  }
  SECTION("elsewhere it does not") {
    fault.skip = 0;
    fault.match.path = "/b";
    host.node.disk().add_fault(fault);
    fault.match.path = "/a";
    fault.match.from = 10 * kBlockBytes;
    host.node.disk().add_fault(fault);
    CHECK(host.write(9, block) > 0);
    CHECK(host.write(10, block) == -EIO);
  }
}

TEST_CASE("sim_disk: after a failed flush no later one makes its writes durable", "[sim]") {
  Host host(4);
  Block one(kBlockBytes, 1);
  Block two(kBlockBytes, 2);
  REQUIRE(host.flush() == 0);
  REQUIRE(host.write(0, one) > 0);
  REQUIRE(host.write(1, one) > 0);
  SimFault fault;
  fault.match.kind = SimOpKind::kFlush;
  host.node.disk().add_fault(fault);
  CHECK(host.flush() == -EIO);
  REQUIRE(host.write(1, two) > 0);
  CHECK(host.flush() == 0);
  SECTION("dropped") {
    host.node.power_loss(SimPowerLoss::kDropAll);
    CHECK(host.holds(0, 0));
    CHECK(host.holds(1, 2));
  }
  SECTION("kept, but never over what is newer and durable") {
    host.node.power_loss(SimPowerLoss::kKeepAll);
    CHECK(host.holds(0, 1));
    CHECK(host.holds(1, 2));
  }
}

TEST_CASE("sim_disk: a held write waits while others pass, until it is released", "[sim]") {
  Host host(5);
  Block one(kBlockBytes, 1);
  SimOpMatch match;
  match.kind = SimOpKind::kWrite;
  match.from = 5 * kBlockBytes;
  match.to = 6 * kBlockBytes;
  const uint64_t hold = host.node.disk().hold(match);
  Awaited held;
  host.io->write(host.file, one.data(), kBlockBytes, 5 * kBlockBytes, held);
  CHECK(host.write(4, one) > 0);
  host.world.run_for(10 * kSecond);
  CHECK_FALSE(held.done);
  CHECK(host.node.disk().held(hold) == 1);
  CHECK(host.holds(5, 0));
  SECTION("released") {
    host.node.disk().release(hold);
    CHECK(host.finish(held) > 0);
    CHECK(host.holds(5, 1));
  }
  SECTION("a crash sets it free to land or not") {
    host.node.crash();
    CHECK(host.node.disk().held(hold) == 0);
    host.world.run_for(10 * kSecond);
    CHECK((host.holds(5, 0) || host.holds(5, 1)));
    CHECK_FALSE(held.done);
  }
  SECTION("a power loss may drop it") {
    host.node.power_loss(SimPowerLoss::kDropAll);
    host.world.run_for(10 * kSecond);
    CHECK(host.holds(5, 0));
  }
}

TEST_CASE("sim_disk: space is counted, runs out and comes back with a hole", "[sim]") {
  Host host(6);
  host.node.disk().set_capacity(2 * kBlockBytes);
  Block block(kBlockBytes, 1);
  CHECK(host.write(0, block) > 0);
  CHECK(host.write(1, block) > 0);
  CHECK(host.write(0, block) > 0);  // in place
  CHECK(host.write(2, block) == -ENOSPC);
  CHECK(host.node.disk().used_bytes() == 2 * kBlockBytes);
  Awaited zero;
  host.io->zero(host.file, 0, kBlockBytes, zero);
  CHECK(host.finish(zero) == 0);
  CHECK(host.write(2, block) > 0);
}

TEST_CASE("sim_disk: corruption by a test is what a read returns, after a power loss too",
          "[sim]") {
  Host host(7);
  Block block(kBlockBytes, 1);
  REQUIRE(host.write(0, block) > 0);
  const bool flushed = GENERATE(false, true);
  if (flushed) REQUIRE(host.flush() == 0);
  host.node.disk().flip_bit(kPath, 100, 1);
  REQUIRE(host.read(0, block) > 0);
  CHECK(block.data()[100] == std::byte{3});
  host.node.power_loss(SimPowerLoss::kKeepAll);
  CHECK(host.node.read_file(kPath, 100, 1)[0] == std::byte{3});
  const std::byte text[] = {std::byte{8}, std::byte{9}};
  host.node.write_file(kPath, 4095, text);
  host.node.power_loss(SimPowerLoss::kDropAll);
  CHECK(host.node.read_file(kPath, 4095, 2) == std::vector<std::byte>(text, text + 2));
}

TEST_CASE("sim_disk: a block device has a fixed size and no holes in its end", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& node = world.add_node("n1");
  node.disk().add_block_device("/dev/nvme0n1", 4 * kBlockBytes);
  const auto io = node.create_io();
  const auto info = io->open_file("/dev/nvme0n1", {.create = true, .resize_bytes = 1 << 20});
  REQUIRE(info.has_value());
  CHECK(info.value().is_block_device);
  CHECK_FALSE(info.value().created);
  CHECK(info.value().bytes == 4 * kBlockBytes);
  Block block(kBlockBytes, 1);
  Awaited op;
  io->write(info.value().file, block.data(), kBlockBytes, 4 * kBlockBytes, op);
  REQUIRE(world.run_until([&] { return op.done; }, kSecond));
  CHECK(op.result == -ENOSPC);
}

TEST_CASE("sim_disk: something can be called when so many more operations have been submitted", "[sim]") {
  Host host(1);
  Block one(kBlockBytes, 1);
  REQUIRE(host.write(0, one) > 0);
  const uint64_t before = host.node.disk().operations();
  uint64_t called_at = 0;
  host.node.disk().after_operations(3, [&] { called_at = host.node.disk().operations(); });
  for (int i = 0; i < 5; ++i) REQUIRE(host.write(1, one) > 0);
  CHECK(called_at == before + 3);
  CHECK(host.node.disk().operations() == before + 5);
  bool again = false;
  host.node.disk().after_operations(1, [&] { again = true; });
  host.node.disk().after_operations(0, nullptr);
  REQUIRE(host.flush() == 0);
  CHECK_FALSE(again);
}

TEST_CASE("sim_disk: a failed flush is remembered until power is lost", "[sim]") {
  Host host(1);
  Block one(kBlockBytes, 1);
  REQUIRE(host.flush() == 0);
  CHECK_FALSE(host.node.disk().flush_failed());
  host.node.disk().add_fault({.match = {.kind = SimOpKind::kFlush, .path = kPath}});
  REQUIRE(host.write(0, one) > 0);
  REQUIRE(host.flush() == -EIO);
  CHECK(host.node.disk().flush_failed());
  REQUIRE(host.flush() == 0);  // says so, and is wrong
  CHECK(host.holds(0, 1));
  host.node.power_loss(SimPowerLoss::kKeepAll);
  CHECK_FALSE(host.node.disk().flush_failed());
}

TEST_CASE("sim_disk: pages that are equal are kept once, and change one by one", "[sim]") {
  Host host(1);
  Block zeros(2 * kBlockBytes, 0);
  Block one(kBlockBytes, 1);
  REQUIRE(host.write(0, zeros) > 0);
  REQUIRE(host.write(2, zeros) > 0);
  CHECK(host.node.disk().used_bytes() == 4 * kBlockBytes);
  REQUIRE(host.flush() == 0);
  REQUIRE(host.write(1, one) > 0);
  host.node.disk().flip_bit(kPath, 2 * kBlockBytes, 3);
  CHECK(host.holds(0, 0));
  CHECK(host.holds(1, 1));
  CHECK(host.node.read_file(kPath, 2 * kBlockBytes, 1)[0] == std::byte{8});
  CHECK(host.holds(3, 0));
  host.node.power_loss(SimPowerLoss::kDropAll);
  CHECK(host.holds(0, 0));
  CHECK(host.holds(1, 0));
  CHECK(host.node.read_file(kPath, 2 * kBlockBytes, 1)[0] == std::byte{8});
  CHECK(host.holds(3, 0));
}

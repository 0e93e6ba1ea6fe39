// A new volume's own memory, taken from a pool that others use.
#include "shard/reserve_claim.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "io/sim_io.h"

namespace ringbolt::test {
namespace {

struct ReserveClaimBed {
  io::SimWorld world;
  io::SimNode& node = world.add_node("n1");
  std::unique_ptr<io::SimIo> io = node.create_io();
  io::BufferPool pool{16u << 20};
  std::optional<std::shared_ptr<io::BufferReserve>> outcome;
  std::unique_ptr<ReserveClaim> claim;

  ReserveClaimBed() { io->attach_pool(&pool); }
  ~ReserveClaimBed() {
    claim.reset();
    outcome.reset();
    io->attach_pool(nullptr);
  }
  void start() {
    claim = std::make_unique<ReserveClaim>(*io, pool);
    claim->start([this](std::shared_ptr<io::BufferReserve> reserve) { outcome = std::move(reserve); });
  }
};

}  // namespace

TEST_CASE("reserve claim: what is free is taken at once, but never from inside", "[volumes]") {
  ReserveClaimBed bed;
  bed.start();
  CHECK(!bed.outcome);
  bed.world.run_until([&] { return bed.outcome.has_value(); }, io::kSecond * 60);
  REQUIRE(bed.outcome);
  REQUIRE(*bed.outcome != nullptr);
  CHECK(bed.pool.aside_bytes() == io::BufferReserve::kBytes);
  bed.claim.reset();
  bed.outcome.reset();
  CHECK(bed.pool.used_bytes() == 0);
}

TEST_CASE("reserve claim: it waits for memory that comes back in pieces", "[volumes]") {
  ReserveClaimBed bed;
  std::vector<io::Buffer> taken;
  while (const io::Buffer buffer = bed.pool.allocate(64u << 10)) taken.push_back(buffer);
  bed.start();
  // Every second piece: there is more than enough, and none of it large enough.
  for (size_t i = 0; i < taken.size(); i += 2) bed.pool.release(taken[i]);
  bed.world.run_for(io::kSecond);
  CHECK(!bed.outcome);
  for (size_t i = 1; i < taken.size(); i += 2) {
    bed.pool.release(taken[i]);
    if (i % 8 == 1) bed.world.run_for(io::kMillisecond);
  }
  bed.world.run_until([&] { return bed.outcome.has_value(); }, io::kSecond * 60);
  REQUIRE(bed.outcome);
  CHECK(*bed.outcome != nullptr);
}

TEST_CASE("reserve claim: it gives up after a bounded time, and gives back what it has", "[volumes]") {
  ReserveClaimBed bed;
  std::vector<io::Buffer> taken;
  while (const io::Buffer buffer = bed.pool.allocate(kFrameBytesMax)) taken.push_back(buffer);
  bed.pool.release(taken.back());
  taken.pop_back();
  bed.start();
  bed.world.run_until([&] { return bed.outcome.has_value(); }, io::kSecond * 60);
  REQUIRE(bed.outcome);
  CHECK(*bed.outcome == nullptr);
  bed.claim.reset();
  CHECK(bed.pool.used_bytes() == taken.size() * kFrameBytesMax);
  CHECK(bed.pool.aside_bytes() == 0);
  for (const io::Buffer& buffer : taken) bed.pool.release(buffer);
}

}  // namespace ringbolt::test

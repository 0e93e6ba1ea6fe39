// Reserves and shares of a pool: what each may have, and that nothing is lost.
#include "io/memory_share.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::io;

TEST_CASE("memory share: the reserve is there when the pool has nothing, and comes back by release",
          "[io][memory]") {
  BufferPool pool(8u << 20);
  {
    BufferReserve reserve(pool);
    CHECK(pool.aside_bytes() == BufferReserve::kBytes);
    std::vector<Buffer> taken;
    while (const Buffer buffer = pool.allocate(kBlockBytes)) taken.push_back(buffer);
    using Use = BufferReserve::Use;
    Buffer frame = reserve.allocate(Use::kFrame, 10000);
    REQUIRE(frame);
    CHECK(frame.bytes == kFrameBytesMax);
    CHECK_FALSE(reserve.allocate(Use::kFrame, kBlockBytes));
    const Buffer read_back = reserve.allocate(Use::kReadBack, kFrameBytesMax);
    const Buffer pad = reserve.allocate(Use::kPad, kBlockBytes);
    const Buffer edge = reserve.allocate(Use::kEdge, kBlockBytes);
    const Buffer other_edge = reserve.allocate(Use::kEdge, kBlockBytes);
    CHECK((read_back && pad && edge && other_edge && edge.data != other_edge.data));
    CHECK_FALSE(reserve.allocate(Use::kEdge, kBlockBytes));
    // Who waits is woken, and nobody else can have it meanwhile.
    struct Waiter : PoolWaiter {
      Waiter() : PoolWaiter([](PoolWaiter& self) { ++static_cast<Waiter&>(self).woken; }) {}
      int woken = 0;
    } waiter;
    pool.wait(waiter);
    frame = pool.shrink(frame, 3 * kBlockBytes);
    pool.release(frame);
    pool.run_waiters();
    CHECK(waiter.woken == 1);
    CHECK_FALSE(pool.allocate(kBlockBytes));
    CHECK(reserve.take(Use::kFrame).bytes == kFrameBytesMax);
    pool.release(frame);
    for (const Buffer& buffer : {read_back, pad, edge, other_edge}) pool.release(buffer);
    for (const Buffer& buffer : taken) pool.release(buffer);
  }
  CHECK(pool.aside_bytes() == 0);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("memory share: what belongs to one cannot be had by another", "[io][memory]") {
  BufferPool pool(32u << 20);
  std::vector<std::unique_ptr<MemoryShare>> shares;
  for (int i = 0; i < 8; ++i) shares.push_back(std::make_unique<MemoryShare>(pool));
  const uint64_t all = (32u << 20) / 8 * 7 / 4 * 3;
  // One after the other takes whatever it is given.
  std::vector<std::pair<MemoryShare*, Buffer>> taken;
  uint64_t before = UINT64_MAX;
  for (const auto& share : shares) {
    const uint64_t limit = share->limit();
    CHECK(limit <= before);  // the later, the less
    CHECK(limit >= all / 16);
    before = limit;
    while (const Buffer buffer = share->allocate(kBlockBytes)) taken.emplace_back(share.get(), buffer);
    CHECK(share->held() <= limit);
    CHECK(share->held() + kBlockBytes > limit);
  }
  CHECK(pool.used_bytes() <= all);
  // What becomes the log's is charged to nobody.
  const auto [first, buffer] = taken.back();
  taken.pop_back();
  const uint64_t held = first->held();
  first->forgo(buffer.bytes);
  CHECK(first->held() == held - buffer.bytes);
  pool.release(buffer);
  for (const auto& [share, one] : taken) share->release(one);
  for (const auto& share : shares) CHECK(share->held() == 0);
  CHECK(pool.used_bytes() == 0);
  // Alone it may have half of the common part, too.
  CHECK(shares[0]->limit() == all / 16 + all / 4);
}

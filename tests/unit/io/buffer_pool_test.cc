// BufferPool: placement, merging, back-pressure.
#include "io/buffer_pool.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::io;

namespace {

struct Waiter : PoolWaiter {
  Waiter(BufferPool& owner, std::vector<int>& log, int number)
      : PoolWaiter(&Waiter::on_memory), pool(owner), order(log), id(number) {}
  static void on_memory(PoolWaiter& waiter) {
    auto& self = static_cast<Waiter&>(waiter);
    self.order.push_back(self.id);
    if (self.also_cancel != nullptr) self.pool.cancel_wait(*self.also_cancel);
    if (self.wants > 0) {
      self.got = self.pool.allocate(self.wants);
      if (!self.got) self.pool.wait(self);
    }
  }
  BufferPool& pool;
  std::vector<int>& order;
  int id;
  uint32_t wants = 0;
  Buffer got;
  PoolWaiter* also_cancel = nullptr;
};

}  // namespace

TEST_CASE("buffer_pool: sizes are rounded up and aligned", "[buffer_pool]") {
  BufferPool pool(1);
  CHECK(pool.limit_bytes() == BufferPool::kChunkBytes);
  for (uint32_t bytes : {1u, 4096u, 4097u, 12288u, 65536u, 300000u, kFrameBytesMax}) {
    const Buffer buffer = pool.allocate(bytes);
    REQUIRE(buffer);
    CHECK(buffer.bytes >= bytes);
    CHECK((buffer.bytes < 2 * bytes || buffer.bytes == kBlockBytes));
    CHECK(reinterpret_cast<uintptr_t>(buffer.data) % buffer.bytes == 0);
    std::memset(buffer.data, 1, buffer.bytes);
    CHECK(pool.used_bytes() == buffer.bytes);
    pool.release(buffer);
    CHECK(pool.used_bytes() == 0);
  }
}

TEST_CASE("buffer_pool: chunks come into use one after the other up to the limit",
          "[buffer_pool]") {
  std::vector<std::byte*> chunks;
  BufferPool pool(2 * BufferPool::kChunkBytes + 1, [&](std::byte* data, size_t bytes) {
    CHECK(bytes == BufferPool::kChunkBytes);
    chunks.push_back(data);
  });
  CHECK(chunks.empty());
  std::vector<Buffer> buffers;
  while (const Buffer buffer = pool.allocate(kFrameBytesMax)) buffers.push_back(buffer);
  CHECK(buffers.size() == 3 * BufferPool::kChunkBytes / kFrameBytesMax);
  REQUIRE(chunks.size() == 3);
  CHECK(chunks[1] == chunks[0] + BufferPool::kChunkBytes);
  CHECK(chunks[2] == chunks[1] + BufferPool::kChunkBytes);
  for (const Buffer& buffer : buffers) pool.release(buffer);
  CHECK(chunks.size() == 3);
}

TEST_CASE("buffer_pool: random use never overlaps and everything merges back", "[buffer_pool]") {
  const uint32_t seed = GENERATE(range(1u, 9u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  BufferPool pool(2 * BufferPool::kChunkBytes);
  std::map<std::byte*, std::pair<uint32_t, uint8_t>> held;  // by address: size, fill
  uint64_t used = 0;
  const auto release = [&](auto at) {
    const auto [bytes, fill] = at->second;
    for (uint32_t i = 0; i < bytes; i += 512) REQUIRE(at->first[i] == std::byte{fill});
    pool.release({at->first, bytes});
    used -= bytes;
    held.erase(at);
  };
  for (int step = 0; step < 6000; ++step) {
    const bool fill_up = (step / 1500) % 2 == 0;
    if (held.empty() || random() % 100 < (fill_up ? 65u : 35u)) {
      const auto wanted =
          static_cast<uint32_t>(1 + random() % (random() % 4 == 0 ? kFrameBytesMax : 40000));
      Buffer buffer = pool.allocate(wanted);
      if (!buffer) continue;
      if (random() % 4 == 0) {
        buffer = pool.shrink(buffer, static_cast<uint32_t>(1 + random() % wanted));
      }
      const auto next = held.lower_bound(buffer.data);
      if (next != held.end()) REQUIRE(buffer.data + buffer.bytes <= next->first);
      if (next != held.begin()) {
        const auto previous = std::prev(next);
        REQUIRE(previous->first + previous->second.first <= buffer.data);
      }
      const auto fill = static_cast<uint8_t>(random());
      std::memset(buffer.data, fill, buffer.bytes);
      held[buffer.data] = {buffer.bytes, fill};
      used += buffer.bytes;
    } else {
      release(std::next(held.begin(), static_cast<long>(random() % held.size())));
    }
    REQUIRE(pool.used_bytes() == used);
  }
  while (!held.empty()) release(held.begin());
  // All of it is there again in the largest size.
  size_t large = 0;
  while (pool.allocate(kFrameBytesMax)) ++large;
  CHECK(large == 2 * BufferPool::kChunkBytes / kFrameBytesMax);
}

TEST_CASE("buffer_pool: shrink gives the upper part back", "[buffer_pool]") {
  BufferPool pool(1);
  std::vector<Buffer> all;
  while (const Buffer buffer = pool.allocate(kFrameBytesMax)) all.push_back(buffer);
  std::byte* const data = all.back().data;
  const Buffer small = pool.shrink(all.back(), 5000);
  all.pop_back();
  CHECK(small.data == data);
  CHECK(small.bytes == 8192);
  const Buffer upper = pool.allocate(kFrameBytesMax / 2);
  REQUIRE(upper);
  CHECK(upper.data == data + kFrameBytesMax / 2);
  CHECK_FALSE(pool.allocate(kFrameBytesMax));
  CHECK(pool.shrink(small, 8192).bytes == 8192);  // nothing to give
  pool.release(upper);
  pool.release(small);
  CHECK(pool.allocate(kFrameBytesMax));
}

TEST_CASE("buffer_pool: waiters are woken in order, once, after a release", "[buffer_pool]") {
  BufferPool pool(1);
  std::vector<Buffer> all;
  while (const Buffer buffer = pool.allocate(kFrameBytesMax)) all.push_back(buffer);
  std::vector<int> order;
  Waiter a(pool, order, 1);
  Waiter b(pool, order, 2);
  Waiter c(pool, order, 3);
  a.wants = b.wants = c.wants = kFrameBytesMax;
  pool.run_waiters();  // drop the state of the allocations above
  pool.wait(a);
  pool.wait(b);
  pool.wait(c);
  pool.wait(a);  // queued already: keeps its place
  CHECK(pool.waiters() == 3);
  CHECK(pool.waits() == 3);
  pool.run_waiters();
  CHECK(order.empty());  // nothing was released
  pool.release(all[0]);
  CHECK(pool.waiters_runnable());
  CHECK(order.empty());  // not from inside release
  pool.run_waiters();
  CHECK(order == std::vector<int>{1, 2, 3});  // each once, though b and c queued again
  CHECK(a.got);
  CHECK_FALSE(b.got);
  CHECK(b.queued());
  pool.cancel_wait(c);
  CHECK_FALSE(c.queued());
  pool.release(a.got);
  pool.run_waiters();
  CHECK(order == std::vector<int>{1, 2, 3, 2});
  CHECK(b.got);
  CHECK_FALSE(pool.has_waiters());
  CHECK(pool.waiters() == 0);
  CHECK(pool.waits() == 5);  // b and c once more
}

TEST_CASE("buffer_pool: a woken waiter may cancel another one", "[buffer_pool]") {
  BufferPool pool(1);
  std::vector<int> order;
  Waiter a(pool, order, 1);
  Waiter b(pool, order, 2);
  Waiter c(pool, order, 3);
  a.also_cancel = &b;
  pool.wait(a);
  pool.wait(b);
  pool.wait(c);
  pool.release(pool.allocate(1));
  pool.run_waiters();
  CHECK(order == std::vector<int>{1, 3});
}

TEST_CASE("buffer_pool: caches are asked in order before an allocation fails", "[buffer_pool]") {
  BufferPool pool(1);
  std::vector<Buffer> first;
  std::vector<Buffer> second;
  const auto give_back = [&](std::vector<Buffer>& cache) {
    if (cache.empty()) return false;
    pool.release(cache.back());
    cache.pop_back();
    return true;
  };
  const uint32_t first_id = pool.add_reclaimer([&] { return give_back(first); });
  pool.add_reclaimer([&] { return give_back(second); });
  for (int i = 0; i < 8; ++i) first.push_back(pool.allocate(kFrameBytesMax));
  for (int i = 0; i < 8; ++i) second.push_back(pool.allocate(kFrameBytesMax));
  CHECK(pool.allocate(kFrameBytesMax));
  CHECK(first.size() == 7);
  CHECK(second.size() == 8);
  pool.remove_reclaimer(first_id);
  CHECK(pool.allocate(kFrameBytesMax));
  CHECK(first.size() == 7);
  CHECK(second.size() == 7);
  while (pool.allocate(kFrameBytesMax)) {
  }
  CHECK(second.empty());
}

TEST_CASE("buffer_pool: waiters try again when a cache says that it could give something back", "[buffer_pool]") {
  BufferPool pool(1);
  std::vector<int> order;
  Waiter waiter(pool, order, 1);
  while (pool.allocate(kFrameBytesMax)) {
  }
  pool.run_waiters();
  pool.hint_reclaimable();  // nobody waits: nothing to remember
  pool.wait(waiter);
  CHECK_FALSE(pool.waiters_runnable());
  pool.run_waiters();
  CHECK(order.empty());
  pool.hint_reclaimable();
  CHECK(pool.waiters_runnable());
  pool.run_waiters();
  CHECK(order == std::vector<int>{1});
}

// PagePopulator, and a BufferPool that grows with it. Part of the ordinary unit tests, and of a program of its own that is always
// built with ThreadSanitizer.
#include "io/page_populator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "io/buffer_pool.h"

using namespace ringbolt;
using namespace ringbolt::io;

namespace {

constexpr size_t kGrowthChunk = BufferPool::kChunkBytes;

/// Address space that nothing may touch yet.
struct Reserved {
  explicit Reserved(size_t size)
      : bytes(size), data(static_cast<std::byte*>(mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    REQUIRE(static_cast<void*>(data) != MAP_FAILED);
  }
  ~Reserved() { munmap(data, bytes); }
  size_t bytes;
  std::byte* data;
};

/// What a populator was asked to do. Each range waits until it is let through, or given up.
struct GatedWork {
  static constexpr size_t kRangesMax = 64;
  std::atomic<std::byte*> begun[kRangesMax] = {};
  std::atomic<size_t> count = 0;    ///< ranges begun
  std::atomic<size_t> may_end = 0;  ///< as many of them as this
  std::atomic<bool> fails = false;
  std::atomic<bool> on_thread_of_test = false;
  std::atomic<size_t> given_up = 0;
  const std::thread::id test = std::this_thread::get_id();

  Status operator()(std::byte* data, size_t bytes, const std::atomic<bool>& stop) {
    if (std::this_thread::get_id() == test || bytes != kGrowthChunk) on_thread_of_test = true;
    begun[count] = data;
    const size_t number = ++count;
    while (number > may_end && !stop) std::this_thread::yield();
    if (stop) ++given_up;
    if (fails) return make_error(Errc::kNoSpace, "no pages today");
    return PagePopulator::make_present(data, bytes, std::atomic<bool>(true));  // usable, the pages as they are touched
  }
};

/// A pool whose next chunks are made ready as `work` says.
struct GrowingPool {
  explicit GrowingPool(size_t chunks_limit)
      : pool(std::make_unique<BufferPool>(chunks_limit * kGrowthChunk, [this](std::byte* data, size_t) { chunks.push_back(data); },
                                          std::make_unique<PagePopulator>([this](std::byte* data, size_t bytes, const std::atomic<bool>& stop) {
                                            return work(data, bytes, stop);
                                          }))) {}
  /// Something that changes nothing, but makes the pool look whether it has enough.
  void touch() { pool->release(pool->allocate(1)); }
  void await_begun(size_t count) {
    while (work.count < count) std::this_thread::yield();
  }
  /// Until nothing is asked for any more: what was asked for has been counted then.
  void await_idle() {
    while (pool->populating()) std::this_thread::yield();
  }
  /// Until the pool has taken that many in all.
  void await_chunks(size_t count) {
    while (chunks.size() < count) {
      touch();
      std::this_thread::yield();
    }
  }
  /// The rest of the chunks in use, and no more.
  void take_all_free() {
    const uint64_t in_use = chunks.size() * kGrowthChunk;
    while (pool->used_bytes() + kFrameBytesMax <= in_use) taken.push_back(pool->allocate(kFrameBytesMax));
  }

  GatedWork work;
  std::vector<std::byte*> chunks;
  std::vector<Buffer> taken;
  std::unique_ptr<BufferPool> pool;
};

}  // namespace

TEST_CASE("page_populator: the pages of a range are there when it is ready, whatever its size", "[page_populator][buffer_pool]") {
  const Reserved range(5u << 20);
  PagePopulator populator;
  CHECK_FALSE(populator.busy());
  for (const size_t bytes : {kBlockBytes + size_t{0}, range.bytes}) {
    populator.begin(range.data, bytes);
    while (populator.busy()) std::this_thread::yield();
    REQUIRE(populator.outcome().has_value());
    std::vector<unsigned char> present(bytes / kBlockBytes);
    REQUIRE(mincore(range.data, bytes, present.data()) == 0);
    CHECK(std::all_of(present.begin(), present.end(), [](unsigned char page) { return (page & 1) != 0; }));
  }
}

TEST_CASE("page_populator: what was written to a range before is kept", "[page_populator][buffer_pool]") {
  const Reserved range(1u << 20);
  REQUIRE(mprotect(range.data, range.bytes, PROT_READ | PROT_WRITE) == 0);
  std::memset(range.data, 0x5a, range.bytes / 2);
  PagePopulator populator;
  populator.begin(range.data, range.bytes);
  while (populator.busy()) std::this_thread::yield();
  CHECK(std::all_of(range.data, range.data + range.bytes / 2, [](std::byte at) { return at == std::byte{0x5a}; }));
}

TEST_CASE("page_populator: what cannot be made present is an error, and the next range is tried all the same", "[page_populator][buffer_pool]") {
  const Reserved range(1u << 20);
  REQUIRE(munmap(range.data + range.bytes / 2, range.bytes / 2) == 0);
  PagePopulator populator;
  populator.begin(range.data, range.bytes);
  while (populator.busy()) std::this_thread::yield();
  REQUIRE(populator.outcome().has_error());
  CHECK_THAT(populator.outcome().error().message, Catch::Matchers::StartsWith("mprotect"));
  populator.begin(range.data, range.bytes / 2);
  while (populator.busy()) std::this_thread::yield();
  CHECK(populator.outcome().has_value());
}

TEST_CASE("page_populator: pages that the kernel does not have are an error, not the end of the process", "[page_populator][buffer_pool]") {
  // A mapping that is longer than what it maps: its second page can never be there.
  const int file = memfd_create("page_populator_test", MFD_CLOEXEC);
  REQUIRE(file >= 0);
  REQUIRE(ftruncate(file, kBlockBytes) == 0);
  void* const mapped = mmap(nullptr, size_t{2} * kBlockBytes, PROT_NONE, MAP_SHARED, file, 0);
  close(file);
  REQUIRE(mapped != MAP_FAILED);
  PagePopulator populator;
  populator.begin(static_cast<std::byte*>(mapped), size_t{2} * kBlockBytes);
  while (populator.busy()) std::this_thread::yield();
  REQUIRE(populator.outcome().has_error());
  CHECK_THAT(populator.outcome().error().message, Catch::Matchers::StartsWith("madvise(MADV_POPULATE_WRITE)"));
  munmap(mapped, size_t{2} * kBlockBytes);
}

TEST_CASE("buffer_pool: the next chunk is made ready on another thread, and taken by an allocation", "[page_populator][buffer_pool]") {
  GrowingPool growing(8);
  CHECK(growing.work.count == 0);
  growing.touch();  // the first chunk is needed at once
  CHECK(growing.chunks.size() == 1);
  growing.await_begun(1);
  for (int i = 0; i < 100; ++i) growing.touch();
  CHECK(growing.work.count == 1);  // asked for once
  CHECK(growing.chunks.size() == 1);
  growing.work.may_end = GatedWork::kRangesMax;
  growing.await_chunks(2);
  CHECK(growing.work.begun[0] == growing.chunks[1]);
  CHECK_FALSE(growing.work.on_thread_of_test);
  for (int i = 0; i < 100; ++i) growing.touch();
  CHECK(growing.work.count == 1);  // there is enough now
  CHECK(growing.chunks.size() == 2);
  CHECK(growing.pool->populate_failure().empty());
}

TEST_CASE("buffer_pool: a chunk that is not ready in time is taken as it is", "[page_populator][buffer_pool]") {
  GrowingPool growing(8);
  growing.touch();
  growing.await_begun(1);
  growing.take_all_free();
  CHECK(growing.chunks.size() == 1);
  const Buffer buffer = growing.pool->allocate(kFrameBytesMax);  // would hang if it waited: nothing lets the work end
  REQUIRE(buffer);
  REQUIRE(growing.chunks.size() == 2);
  CHECK(growing.work.begun[0] == growing.chunks[1]);
  std::memset(buffer.data, 0x33, buffer.bytes);
  while (growing.work.count < 2) growing.touch();  // the next one is asked for when the populator has left this one
  CHECK(growing.work.given_up == 1);
  CHECK(std::all_of(buffer.data, buffer.data + buffer.bytes, [](std::byte at) { return at == std::byte{0x33}; }));
}

TEST_CASE("buffer_pool: a chunk that is being made ready is part of the limit", "[page_populator][buffer_pool]") {
  GrowingPool growing(2);
  growing.touch();
  growing.await_begun(1);
  growing.work.may_end = GatedWork::kRangesMax;
  growing.await_chunks(2);
  while (const Buffer buffer = growing.pool->allocate(kFrameBytesMax)) growing.taken.push_back(buffer);
  CHECK(growing.taken.size() == growing.pool->limit_bytes() / kFrameBytesMax);
  CHECK(growing.chunks.size() == 2);
  CHECK(growing.work.count == 1);
  for (const Buffer& buffer : growing.taken) growing.pool->release(buffer);
  growing.touch();
  growing.await_idle();
  CHECK(growing.work.count == 1);
}

TEST_CASE("buffer_pool: no more is made ready than what is to be free", "[page_populator][buffer_pool]") {
  GrowingPool growing(8);
  growing.work.may_end = GatedWork::kRangesMax;
  for (int i = 0; i < 50; ++i) {
    growing.touch();
    growing.await_idle();
  }
  const size_t free = growing.chunks.size() * kGrowthChunk;
  CHECK(free >= BufferPool::kAheadBytes);
  CHECK(free < BufferPool::kAheadBytes + 2 * kGrowthChunk);
  CHECK(growing.work.count == growing.chunks.size() - 1);
}

TEST_CASE("buffer_pool: more is made ready although much is free, if that is in pieces", "[page_populator][buffer_pool]") {
  GrowingPool growing(8);
  growing.work.may_end = GatedWork::kRangesMax;
  for (int i = 0; i < 50; ++i) {
    growing.touch();
    growing.await_idle();
  }
  const size_t ready = growing.chunks.size();
  // As the log gathers small frames: all but one whole block has a frame in it, and is free behind that.
  for (size_t left = ready * kGrowthChunk / kFrameBytesMax; left > 1; --left) {
    growing.taken.push_back(growing.pool->shrink(growing.pool->allocate(kFrameBytesMax), kBlockBytes));
    growing.await_idle();
  }
  CHECK(growing.work.count >= ready);
  CHECK(growing.chunks.size() > ready);
  for (const Buffer& buffer : growing.taken) growing.pool->release(buffer);
  for (int i = 0; i < 50; ++i) {
    growing.touch();
    growing.await_idle();
  }
  CHECK(growing.work.count == growing.chunks.size() - 1);
}

TEST_CASE("buffer_pool: a chunk that cannot be made ready is tried once, and comes into use when it is needed", "[page_populator][buffer_pool]") {
  GrowingPool growing(3);
  growing.work.fails = true;
  growing.work.may_end = GatedWork::kRangesMax;
  growing.touch();
  for (size_t chunk = 1; chunk < 3; ++chunk) {
    growing.await_begun(chunk);
    growing.await_idle();
    for (int i = 0; i < 100; ++i) growing.touch();
    CHECK(growing.chunks.size() == chunk);
    CHECK(growing.work.count == chunk);
    growing.take_all_free();
    growing.taken.push_back(growing.pool->allocate(kFrameBytesMax));
    REQUIRE(growing.taken.back());
    std::memset(growing.taken.back().data, 1, kFrameBytesMax);
    CHECK(growing.chunks.size() == chunk + 1);
  }
  CHECK(growing.work.count == 2);
}

TEST_CASE("buffer_pool: it says why chunks are not made ready", "[page_populator][buffer_pool]") {
  GrowingPool growing(3);
  growing.work.fails = true;
  growing.work.may_end = GatedWork::kRangesMax;
  growing.touch();
  growing.await_begun(1);
  CHECK(growing.pool->populate_failure().empty());
  growing.await_idle();
  growing.take_all_free();
  growing.taken.push_back(growing.pool->allocate(kFrameBytesMax));
  CHECK(growing.pool->populate_failure() == "no pages today");
}

TEST_CASE("buffer_pool: it goes with a chunk under way, whose memory stays until nobody touches it", "[page_populator][buffer_pool]") {
  std::atomic<bool> begun = false;
  std::atomic<bool> still_there = false;
  auto populator = std::make_unique<PagePopulator>([&](std::byte* data, size_t bytes, const std::atomic<bool>& stop) {
    begun = true;
    while (!stop) std::this_thread::yield();
    Status status = PagePopulator::make_present(data, bytes, std::atomic<bool>(false));
    still_there = status.has_value();
    return status;
  });
  auto pool = std::make_unique<BufferPool>(2 * kGrowthChunk, nullptr, std::move(populator));
  pool->release(pool->allocate(1));
  while (!begun) std::this_thread::yield();
  pool.reset();
  CHECK(still_there);
}

TEST_CASE("buffer_pool: its limit holds while a chunk is under way", "[page_populator][buffer_pool]") {
  GrowingPool growing(2);
  growing.touch();
  growing.await_begun(1);
  REQUIRE(growing.pool->populating());
  while (const Buffer buffer = growing.pool->allocate(kFrameBytesMax)) growing.taken.push_back(buffer);
  CHECK(growing.taken.size() == growing.pool->limit_bytes() / kFrameBytesMax);
  growing.await_idle();
  CHECK_FALSE(growing.pool->allocate(1));
  growing.pool->release(growing.taken.back());
  growing.touch();
  CHECK_FALSE(growing.pool->populating());  // for good, if it were: nothing lets the work end
  CHECK(growing.work.count == 1);
  CHECK(growing.chunks.size() == 2);
}

TEST_CASE("buffer_pool: a chunk that was made ready and never used goes with it", "[page_populator][buffer_pool]") {
  GrowingPool growing(2);
  growing.touch();
  growing.await_begun(1);
  growing.work.may_end = GatedWork::kRangesMax;
  growing.await_idle();
  REQUIRE(growing.chunks.size() == 1);
  std::vector<unsigned char> present(kGrowthChunk / kBlockBytes);
  REQUIRE(mincore(growing.work.begun[0], kGrowthChunk, present.data()) == 0);
  growing.pool.reset();
  CHECK(mincore(growing.work.begun[0], kGrowthChunk, present.data()) == -1);
  CHECK(errno == ENOMEM);  // nothing is mapped there
}

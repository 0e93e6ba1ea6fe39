// Memory: bounded by the pool, and none allocated per request in the steady state. Counted by the
// allocator itself, so that no way to get memory is overlooked.
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "log/log.h"
#include "memory_io.h"
#include "repl/primary.h"
#include "volume/checkpoint_memory.h"
#include "volume/store.h"

using namespace ringbolt;
using namespace ringbolt::test;

// One of the two is there: jemalloc's control function in ordinary builds, the hooks of the
// sanitizers' allocators in theirs.
extern "C" {
__attribute__((weak)) int mallctl(const char* name, void* old_value, size_t* old_length,
                                  void* new_value, size_t new_length);
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void*, size_t), void (*on_free)(const volatile void*));
}

namespace {

uint64_t g_hooked_bytes = 0;

/// Bytes that this thread has ever allocated; empty if nothing counts them.
std::optional<uint64_t> allocated_bytes() {
  if (mallctl != nullptr) {
    uint64_t bytes = 0;
    size_t length = sizeof bytes;
    if (mallctl("thread.allocated", &bytes, &length, nullptr, 0) == 0) return bytes;
  }
  if (__sanitizer_install_malloc_and_free_hooks != nullptr) {
    static const int installed = __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, size_t bytes) { g_hooked_bytes += bytes; },
        [](const volatile void*) {});
    if (installed > 0) return g_hooked_bytes;
  }
  return std::nullopt;
}

constexpr uint64_t kVolumeBytes = 24u << 20;
constexpr uint32_t kRequestBytes = 8 * kBlockBytes;

/// A volume with a primary and no replicas, and clients that always have `depth` requests open.
class ServedVolume : public StoreListener, public repl::PrimaryListener {
 public:
  ServedVolume(uint64_t pool_bytes, size_t depth)
      : io_(kVolumeBytes), pool_(pool_bytes), payload_(kFramePayloadBytesMax), open_(depth) {
    log::set_level(log::Level::kWarn);
    memory_ = std::make_unique<CheckpointMemory>(pool_);
    StoreConfig config;
    config.name = "vol0";
    config.node_id = "n1";
    config.directory = "/d";
    config.volume_bytes = kVolumeBytes;
    config.wal_bytes = kWalBytesMin;
    StoreListener& listener = *this;
    store_ = std::make_unique<Store>(io_, pool_, *memory_, config, listener);
    bool opened = false;
    store_->open([&](const Status& status) { opened = status.has_value(); });
    run([&] { return opened; });
    REQUIRE(opened);
    store_->adopt_volume(Uuid{{1}});
    repl::PrimaryListener& primary_listener = *this;
    primary_ = std::make_unique<repl::Primary>(io_, pool_, *store_, repl::PrimaryConfig{},
                                               primary_listener);
    primary_->start();
    run([&] { return primary_->serving(); });
    REQUIRE(primary_->serving());
    for (size_t i = 0; i < depth; ++i) {
      open_[i].volume = this;
      open_[i].read_buffer = pool_.allocate(kRequestBytes);
      REQUIRE(open_[i].read_buffer);
    }
  }
  ~ServedVolume() override {
    bool stopped = false;
    primary_->stop(repl::Farewell::kDrained, [&] { stopped = true; });
    run([&] { return stopped; });
    primary_.reset();
    bool closed = false;
    store_->close([&](const Status&) { closed = true; });
    run([&] { return closed; });
    store_.reset();
    memory_.reset();
    for (const Open& one : open_) pool_.release(one.read_buffer);
    log::set_level(log::Level::kInfo);
  }

  /// Serves `count` requests: of all kinds, or all of the kind that `only` stands for in submit().
  void serve(uint64_t count, std::optional<uint64_t> only = std::nullopt) {
    only_ = only;
    const uint64_t end = served_ + count;
    while (served_ < end) {
      for (Open& one : open_) {
        if (one.idle) submit(one);
      }
      io_.turn(pool_);
      used_max_ = std::max(used_max_, pool_.used_bytes());
    }
  }
  void settle() {
    run([&] {
      for (const Open& one : open_) {
        if (!one.idle) return false;
      }
      return true;
    });
  }
  /// All at once, the largest ones there are.
  bool write_large_on_all() {
    for (Open& one : open_) {
      one.request = {};
      one.request.kind = RequestKind::kWrite;
      one.request.length = kFramePayloadBytesMax;
      one.request.offset =
          random_() % ((kVolumeBytes - kFramePayloadBytesMax) / kBlockBytes) * kBlockBytes;
      one.request.payload = payload_.data();
      start(one);
    }
    settle();
    return failed_ == 0;
  }
  [[nodiscard]] uint64_t failed() const { return failed_; }
  [[nodiscard]] uint64_t used_max() const { return used_max_; }
  [[nodiscard]] const io::BufferPool& pool() const { return pool_; }
  [[nodiscard]] const Store& store() const { return *store_; }

  void on_store_sealed() override {
    if (primary_) primary_->on_sealed();
  }
  void on_store_written() override {
    if (primary_) primary_->on_positions();
  }
  void on_store_durable() override {
    if (primary_) primary_->on_positions();
  }
  void on_store_space() override {
    if (primary_) primary_->on_space();
  }
  void on_store_failed(const std::string& reason) override { FAIL(reason); }
  void on_primary_opened() override {}
  void on_primary_fenced(Epoch, const std::string&) override { FAIL("fenced"); }
  void on_primary_serving() override {}
  uint64_t next_connection() override { return 1; }
  void on_primary_fact(core::Event) override {}
  repl::RequestMeter& request_meter() override { return meter_; }

 private:
  struct Open {
    Request request;
    ServedVolume* volume = nullptr;
    io::Buffer read_buffer;
    bool idle = true;
  };

  template <class Done>
  void run(const Done& done) {
    for (uint64_t turns = 0; !done() && turns < 10'000'000; ++turns) {
      io_.turn(pool_);
      used_max_ = std::max(used_max_, pool_.used_bytes());
    }
  }
  void start(Open& one) {
    one.idle = false;
    one.request.owner = &one;
    one.request.done = [](Request& request, RequestError error) {
      auto& self = *static_cast<Open*>(request.owner);
      self.idle = true;
      ++self.volume->served_;
      if (error != RequestError::kNone) ++self.volume->failed_;
      // What the volume did not keep is still the connection's.
      if (request.kind == RequestKind::kWrite && request.buffer)
        self.volume->pool_.release(request.buffer);
    };
    primary_->submit(one.request);
  }
  void submit(Open& one) {
    Request& r = one.request;
    r = {};
    const uint64_t choice = only_.value_or(random_() % 100);
    r.length = (1 + random_() % 8) * kBlockBytes;
    r.offset = random_() % ((kVolumeBytes - kRequestBytes) / kBlockBytes) * kBlockBytes;
    r.fua = random_() % 10 == 0;
    if (choice < 45) {
      r.kind = RequestKind::kRead;
      r.buffer = one.read_buffer;
    } else if (choice < 90) {
      r.kind = RequestKind::kWrite;
      r.payload = payload_.data();
      if (choice < 60) {
        r.buffer = pool_.allocate(kRequestBytes + kBlockBytes);
        if (r.buffer) r.payload = r.buffer.data + kBlockBytes;
        if (r.buffer) std::memset(r.buffer.data + kBlockBytes, static_cast<int>(choice), r.length);
      } else if (choice < 65) {
        r.offset += 512;  // not block-aligned: its edges are read and merged
        r.length = 1000;
      }
    } else if (choice < 96) {
      r.kind = choice < 93 ? RequestKind::kZero : RequestKind::kTrim;
    } else {
      r.kind = RequestKind::kFlush;
      r.offset = r.length = 0;
    }
    start(one);
  }

  MemoryIo io_;
  io::BufferPool pool_;
  std::vector<std::byte> payload_;
  std::unique_ptr<CheckpointMemory> memory_;
  std::unique_ptr<Store> store_;
  repl::RequestMeter meter_;
  std::unique_ptr<repl::Primary> primary_;
  std::vector<Open> open_;
  std::mt19937_64 random_{3};
  std::optional<uint64_t> only_;
  uint64_t served_ = 0, failed_ = 0, used_max_ = 0;
};

}  // namespace

TEST_CASE("memory: allocations are counted, of whatever kind", "[volume][memory]") {
  const auto start = allocated_bytes();
  REQUIRE(start.has_value());
  // The pointers are volatile so that no compiler takes the pairs away.
  void* volatile by_malloc = std::malloc(100);
  const uint64_t after_malloc = *allocated_bytes();
  CHECK(after_malloc >= *start + 100);
  std::free(by_malloc);
  auto* volatile by_new = new char[200];
  CHECK(*allocated_bytes() >= after_malloc + 200);
  delete[] by_new;
}

TEST_CASE("memory: no allocation in the steady state of reads, writes, zeros, trims and flushes",
          "[volume][memory]") {
  ServedVolume volume(32u << 20, 64);
  // Until every pool and table has its full size: laps of the WAL, checkpoints, all depths.
  for (const uint64_t kind : {0u, 50u, 62u, 92u, 95u, 99u}) volume.serve(2'000, kind);
  volume.serve(60'000);
  const uint64_t checkpoint = volume.store().checkpoint().value();
  const uint64_t before = *allocated_bytes();
  volume.serve(100'000);
  const uint64_t after = *allocated_bytes();
  CHECK(after - before == 0);
  CHECK(volume.failed() == 0);
  // Checkpoints were part of it.
  CHECK(volume.store().checkpoint().value() > checkpoint + 10'000);
  volume.settle();
}

TEST_CASE("memory: a small pool is back-pressure, not an error, and is never exceeded",
          "[volume][memory]") {
  // 64 requests of half a MiB each want several times what there is.
  ServedVolume volume(8u << 20, 64);
  for (int round = 0; round < 4; ++round) CHECK(volume.write_large_on_all());
  volume.serve(3'000);
  volume.settle();
  CHECK(volume.failed() == 0);
  CHECK(volume.used_max() > 4u << 20);
  CHECK(volume.used_max() <= volume.pool().limit_bytes());
}

// Where a shard's threads may run, and that the one beside it is there for the shard's memory.
#include <pthread.h>
#include <sched.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <semaphore>
#include <string>
#include <vector>

#include "ringbolt/assert.h"
#include "shard/shard.h"

namespace ringbolt::test {
namespace {

std::vector<int> cores_of(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  REQUIRE(sched_getaffinity(thread, sizeof set, &set) == 0);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

/// By name, which a thread gives itself: waits until there is one.
pid_t thread_named(const std::string& name) {
  for (;;) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream file(task.path() / "comm");
      std::string found;
      if (std::getline(file, found) && found == name) return std::stoi(task.path().filename());
    }
  }
}

struct LoneShard {
  explicit LoneShard(const ShardOptions& options) : shard(options, [](const std::string&) { RINGBOLT_ASSERT(false); }) {
    const Status started = shard.start();
    if (!started.has_value()) FAIL(started.error().message);
  }
  template <class Action>
  void run(const Action& action) {
    std::binary_semaphore done(0);
    shard.run([&] {
      action();
      done.release();
    });
    done.acquire();
  }
  Shard shard;
};

}  // namespace

TEST_CASE("shard: it runs on every core that the process may use", "[shard]") {
  const std::vector<int> allowed = cores_of(0);
  const LoneShard lone({.index = 1, .memory_bytes = io::BufferPool::kChunkBytes, .limits = {.spin = 0}});
  CHECK(cores_of(thread_named("shard-1")) == allowed);
}

TEST_CASE("shard: pinned, it stays on the core of its index, and its memory is made ready on any", "[shard]") {
  const std::vector<int> allowed = cores_of(0);
  for (uint32_t index = 0; index < 3; ++index) {
    const LoneShard lone({.index = index, .memory_bytes = io::BufferPool::kChunkBytes, .pin = true, .limits = {.spin = 0}});
    CHECK(cores_of(thread_named("shard-" + std::to_string(index))) == std::vector<int>{allowed[index % allowed.size()]});
    CHECK(cores_of(thread_named("memory")) == allowed);
  }
}

TEST_CASE("shard: the next step of its memory is made ready beside it", "[shard]") {
  LoneShard lone({.memory_bytes = 4 * io::BufferPool::kChunkBytes, .limits = {.spin = 0}});
  bool seen = false;
  lone.run([&] {
    io::BufferPool& pool = lone.shard.pool();
    std::vector<io::Buffer> taken;
    while (const io::Buffer buffer = pool.allocate(kFrameBytesMax)) {
      taken.push_back(buffer);
      seen = seen || pool.populating();
    }
    for (const io::Buffer& buffer : taken) pool.release(buffer);
  });
  CHECK(seen);
}

}  // namespace ringbolt::test

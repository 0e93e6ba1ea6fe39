// process_facts: from a directory that looks like /proc, and from the real one.
#include "io/process_facts.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace ringbolt::io {
namespace {

/// A directory of its own that is removed at the end.
class FakeProc {
 public:
  FakeProc() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ringbolt-proc-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~FakeProc() { std::filesystem::remove_all(path_); }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;
  void put(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] ProcessFacts read() const { return read_process_facts(path_.string()); }

 private:
  std::filesystem::path path_;
};

constexpr const char* kStat =
    "77 (a (odd) name) S 1 77 77 0 -1 4194304 99 0 0 0 250 150 0 0 20 0 7 0 5000 1048576 3 18446744073709551615 1 1 0 0 0 0\n";

TEST_CASE("process_facts: the fields of stat are found behind a name of any form") {
  const FakeProc proc;
  proc.put("self/stat", kStat);
  proc.put("stat", "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n");
  const ProcessFacts facts = proc.read();
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  CHECK(facts.virtual_bytes == 1048576u);
  CHECK(facts.resident_bytes == 3u * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  REQUIRE(facts.cpu_seconds);
  CHECK(*facts.cpu_seconds == Approx(400 / ticks));
  REQUIRE(facts.started_at);
  CHECK(*facts.started_at == Approx(1700000000 + 5000 / ticks).epsilon(1e-12));
}

TEST_CASE("process_facts: the kernel's ring workers are told from other threads, and one that has ended is neither") {
  const FakeProc proc;
  proc.put("self/task/77/comm", "ringboltd\n");
  proc.put("self/task/78/comm", "shard-0\n");
  proc.put("self/task/79/comm", "iou-wrk-78\n");
  proc.put("self/task/80/comm", "iou-wrk-4194303\n");
  proc.put("self/task/81/comm", "iou-sqp-78\n");
  proc.put("self/task/82/other", "");
  proc.put("self/fd/0", "");
  proc.put("self/fd/5", "");
  const ProcessFacts facts = proc.read();
  CHECK(facts.threads == 3u);
  CHECK(facts.ring_workers == 2u);
  CHECK(facts.open_files == 2u);
}

TEST_CASE("process_facts: what is not there or makes no sense is absent") {
  const FakeProc proc;
  CHECK_FALSE(proc.read().resident_bytes);
  CHECK_FALSE(proc.read().threads);
  CHECK_FALSE(proc.read().open_files);
  proc.put("self/stat", "77 (name) S 1 77 77 0 -1 4194304 99 0 0 0 x 150 0");
  proc.put("stat", "cpu 1\n");
  const ProcessFacts facts = proc.read();
  CHECK_FALSE(facts.cpu_seconds);
  CHECK_FALSE(facts.started_at);
  CHECK_FALSE(facts.virtual_bytes);
}

TEST_CASE("process_facts: this process has memory, threads, files and a past") {
  const ProcessFacts facts = read_process_facts();
  CHECK(facts.resident_bytes.value_or(0) > 100'000);
  CHECK(facts.virtual_bytes.value_or(0) >= facts.resident_bytes.value_or(0));
  CHECK(facts.threads.value_or(0) >= 1);
  CHECK(facts.ring_workers.has_value());
  CHECK(facts.open_files.value_or(0) >= 3);
  REQUIRE(facts.started_at);
  const auto now = static_cast<double>(std::time(nullptr));
  CHECK(*facts.started_at <= now + 2);
  CHECK(*facts.started_at > now - 1e7);
  CHECK(thread_cpu_seconds() > 0);
}

TEST_CASE("process_facts: a thread's allocations are its own, and only grow") {
  const auto before = thread_allocated_bytes();
  if (!before) return;  // with a sanitizer's allocator
  std::thread([] { const std::vector<char> other(1 << 20); }).join();
  std::vector<char> bytes(100'000);
  bytes.clear();
  bytes.shrink_to_fit();
  const uint64_t after = thread_allocated_bytes().value_or(0);
  CHECK(after >= *before + 100'000);
  CHECK(after < *before + (1 << 20));
}

}  // namespace
}  // namespace ringbolt::io

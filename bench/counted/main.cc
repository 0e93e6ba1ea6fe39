// ringbolt-count: runs micro benchmarks, each a fixed number of times, for valgrind to count their instructions (bench/guard.py
// starts it and judges). No clock, no threads, nothing drawn: the same build counts the same each time.
//
//   ringbolt-count               all of kParts
//   ringbolt-count NAME...       only these
//
// Prints what the counts depend on besides ringbolt ("fact KEY VALUE"), and how many operations each count is of
// ("part OPERATIONS NAME").
#include <gnu/libc-version.h>
#include <isa-l.h>

#include <algorithm>
#include <array>
#include <boost/version.hpp>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "benchmark.h"

namespace {

struct Part {
  std::string_view name;
  int64_t iterations;  ///< few: under valgrind all takes fifty times as long
};

// What every request passes, and the engine's facts. At the sizes at which the number of instructions tells something: a
// cache that is too small does not change it. Not here: what needs several threads (mailbox_producers).
constexpr Part kParts[] = {
    {"buffer_pool_allocate_release/4096", 2000},
    {"buffer_pool_allocate_release/524288", 2000},
    {"buffer_pool_mixed", 4096},
    {"commit_rule/mode:0/replicas:2", 2000},
    {"commit_rule/mode:1/replicas:2", 2000},
    {"commit_rule/mode:2/replicas:2", 2000},
    {"commit_rule/mode:1/replicas:8", 2000},
    {"crc32c_range/4096", 200},
    {"crc32c_range/520192", 4},
    {"dirty_index_fill/1048576", 1},
    {"dirty_index_replace/1048576", 10000},
    {"dirty_index_find_hit/1048576", 10000},
    {"dirty_index_find_miss/1048576", 10000},
    {"dirty_index_remove_and_put/1048576", 10000},
    {"dirty_index_remove_refused/1048576", 10000},
    {"engine_committed_advanced", 500},
    {"engine_sync_ack_observed/terms:1", 500},
    {"engine_sync_ack_observed/terms:64", 500},
    {"engine_session_again/terms:1", 100},
    {"engine_session_again/terms:64", 100},
    {"mailbox_push_take/batch:1", 2000},
    {"mailbox_push_take/batch:32", 100},
    {"nbd_request_decode", 4},
    {"nbd_reply_encode", 2000},
    {"rebuild_bitmap_mark_block/1", 5000},
    {"rebuild_bitmap_mark_range/1", 1000},
    {"rebuild_bitmap_chunk_clear/1", 1000},
    {"rebuild_bitmap_chunk_fragmented/1", 200},
    {"rebuild_bitmap_scan/1", 4},
    {"wal_frame_encode_header/records:1/blocks:1", 1000},
    {"wal_frame_encode_header/records:127/blocks:1", 50},
    {"wal_frame_encode/records:1/blocks:1", 200},
    {"wal_frame_encode/records:127/blocks:1", 4},
    {"wal_frame_check/records:1/blocks:1", 200},
    {"wal_frame_check/records:127/blocks:1", 4},
    {"wire_header_encode", 1000},
    {"wire_header_decode", 1000},
    {"wire_wal_data_fields", 1000},
    {"write_path/copies:1/depth:1", 2000},
    {"write_path/copies:1/depth:32", 2000},
    {"write_path/copies:2/depth:1", 1000},
    {"write_path/copies:2/depth:32", 2000},
};

/// ISA-L and the C library choose their code by these. Under valgrind any processor that has them looks the same.
void print_processor() {
#if defined(__x86_64__)
  std::printf("fact processor x86_64%s%s%s%s%s\n", __builtin_cpu_supports("sse4.2") ? " sse4.2" : "", __builtin_cpu_supports("pclmul") ? " pclmul" : "",
              __builtin_cpu_supports("avx") ? " avx" : "", __builtin_cpu_supports("avx2") ? " avx2" : "",
              __builtin_cpu_supports("avx512f") ? " avx512" : "");
#elif defined(__aarch64__)
  std::puts("fact processor aarch64");
#else
  std::puts("fact processor other");
#endif
}

void print_facts() {
#if defined(__clang__)
  std::printf("fact compiler clang-%d.%d.%d\n", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  std::printf("fact compiler gcc-%d.%d.%d\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
  std::printf("fact options %s\n", RINGBOLT_COUNTED_OPTIONS);
  print_processor();
  std::printf("fact libc %s\n", gnu_get_libc_version());
  std::printf("fact isa-l %d.%d.%d\n", ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION);
  std::printf("fact boost %s\n", BOOST_LIB_VERSION);
}

/// Empty: it was counted.
std::string count(const Part& part) {
  for (const benchmark::Benchmark& one : benchmark::all_benchmarks()) {
    for (const benchmark::Benchmark::Case& found : one.cases()) {
      if (found.name != part.name) continue;
      benchmark::State state(found.name, found.arguments, part.iterations);
      one.run(state);
      if (!state.error().empty()) return state.error();
      if (!state.counted()) return "its loop did not end";
      std::printf("part %lld %s\n", static_cast<long long>(state.operations()), found.name.c_str());
      return {};
    }
  }
  return "there is no such benchmark";
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<char*> names(argv + 1, static_cast<size_t>(argc - 1));
  print_facts();
  int failed = 0;
  for (const std::string_view name : names) {
    if (std::ranges::find(kParts, name, &Part::name) != std::end(kParts)) continue;
    std::fprintf(stderr, "%s is not counted\n", std::string(name).c_str());
    failed = 1;
  }
  for (const Part& part : kParts) {
    if (!names.empty() && std::ranges::find(names, part.name, [](const char* name) { return std::string_view(name); }) == names.end()) continue;
    const std::string problem = count(part);
    if (problem.empty()) continue;
    std::fprintf(stderr, "%s: %s\n", std::string(part.name).c_str(), problem.c_str());
    failed = 1;
  }
  return failed;
}

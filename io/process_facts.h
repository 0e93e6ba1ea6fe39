// What the kernel says of this process, for whoever watches it: memory, processor time, descriptors, threads. From /proc, so
// it blocks: any thread but a shard's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ringbolt::io {

/// What the kernel does not say is absent.
struct ProcessFacts {
  std::optional<uint64_t> resident_bytes, virtual_bytes;
  std::optional<double> cpu_seconds;
  std::optional<double> started_at;  ///< seconds since 1970
  std::optional<uint64_t> open_files, open_files_max;
  std::optional<uint64_t> threads;  ///< without the kernel's workers
  /// Threads of the kernel that do for the rings what cannot be done without blocking. (They are named after the thread that a
  /// ring belongs to, but by a number that means nothing within a container: so they are not told apart.)
  std::optional<uint64_t> ring_workers;
};

/// `proc`: where the kernel's file system of processes is; tests have one of their own.
ProcessFacts read_process_facts(const std::string& proc = "/proc");

/// What the calling thread has used of a processor, in seconds. A system call; any thread.
double thread_cpu_seconds();

/// Bytes of heap that the calling thread has asked for so far, whatever was freed since; absent where the allocator does not count
/// them. No system call; any thread.
std::optional<uint64_t> thread_allocated_bytes();

}  // namespace ringbolt::io

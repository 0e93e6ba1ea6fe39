// What the calling thread has allocated, counted by the allocator itself so that no way to get memory
// is overlooked.
#pragma once

#include <cstdint>
#include <optional>

namespace ringbolt::test {

/// Bytes that this thread has ever allocated, whatever was freed since; empty if nothing counts them.
/// Does not allocate itself, apart from the first call in a process.
std::optional<uint64_t> thread_allocated_bytes();

}  // namespace ringbolt::test

// Memory for direct I/O, filled with what no device can compress.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "ringbolt/types.h"

namespace ringbolt::ctl::bench {

struct FreeMemory {
  void operator()(void* data) const { std::free(data); }
};
using BlockMemory = std::unique_ptr<std::byte, FreeMemory>;

/// A fast sequence that does not repeat within a run; nothing secret.
class Sequence {
 public:
  explicit Sequence(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  uint64_t below(uint64_t limit) { return next() % limit; }

 private:
  uint64_t state_;
};

/// `bytes`: whole blocks, at least one.
inline BlockMemory block_memory(size_t bytes, Sequence& content) {
  BlockMemory memory(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes)));
  if (memory == nullptr) throw std::bad_alloc();
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
    const uint64_t word = content.next();
    std::memcpy(memory.get() + at, &word, sizeof word);
  }
  return memory;
}

}  // namespace ringbolt::ctl::bench

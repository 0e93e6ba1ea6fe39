// What the ring_*.cc files share and nobody else may see: liburing.
#pragma once

#include <liburing.h>

#include <vector>

#include "io/ring_io.h"

namespace ringbolt::io {

struct RingIo::Ring {
  io_uring uring{};
  bool ready = false;
  uint32_t chunk_slots = 0;  ///< of the table of registered memory
  /// Completions taken out of a full queue while a submission needed room; handled in the next
  /// turn.
  struct Spilled {
    uint64_t tag;
    int32_t result;
  };
  std::vector<Spilled> spilled;
};

enum class RingIo::Kind : uint8_t {
  kRead,
  kWrite,
  kFlush,
  kZero,
  kAccept,
  kConnect,
  kReceive,
  kSend
};

// What a completion's tag may be besides the address of a Completion.
inline constexpr uint64_t kDoorbellTag = 1;
inline constexpr uint64_t kIgnoreTag = 2;

// Completion::State::flags.
inline constexpr uint8_t kExactly = 1;
inline constexpr uint8_t kByWriting = 2;  // zero() without help from the file system
inline constexpr uint8_t kCancelled = 4;  // must not be started again

}  // namespace ringbolt::io

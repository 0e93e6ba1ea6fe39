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

/// A connect's host name on its way to the resolver and back. Outlives its connect if that is cancelled.
struct RingIo::Naming final : Resolver::Question {
  Naming(RingIo& owner, Completion& connect) : io(owner), done(&connect) {}
  void run() override {
    if (done != nullptr) io.on_named(*this);
    delete this;
  }
  RingIo& io;
  Completion* done;  ///< null: cancelled
};

// What a completion's tag may be besides the address of a Completion.
inline constexpr uint64_t kDoorbellTag = 1;
inline constexpr uint64_t kIgnoreTag = 2;

}  // namespace ringbolt::io

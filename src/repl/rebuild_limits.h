// How much of this node the rebuilds that it feeds may take, together: one for all volumes and shards.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace ringbolt::repl {

/// Any of them may change while rebuilds run. Thread: any.
struct RebuildLimits {
  std::atomic<uint64_t> rate_max{0};  ///< bytes per second of all base lanes together; 0: no cap
  std::atomic<uint32_t> running{0};   ///< rebuilds that have begun and not ended
  std::atomic<uint32_t> parallel{2};  ///< how many may run at a time, at least 1; those that run already go on
  // Of rebuilds that begin from now on:
  std::atomic<uint64_t> chunk_bytes{uint64_t{1} << 20};
  std::atomic<uint32_t> in_flight{4};  ///< chunks per rebuild

  /// Takes one of the places; false if all are taken. Who has one gives it back by end(), once.
  [[nodiscard]] bool try_begin() {
    uint32_t now = running.load(std::memory_order_relaxed);
    // Shards begin at the same moment: the place must still be free when it is taken.
    while (now < parallel.load(std::memory_order_relaxed)) {
      if (running.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void end() { running.fetch_sub(1, std::memory_order_relaxed); }

  /// What one of those that run may use at this moment, in bytes per second; 0: no cap. A share of a cap stays a cap.
  [[nodiscard]] uint64_t rate_per_lane() const {
    const uint64_t rate = rate_max.load(std::memory_order_relaxed);
    if (rate == 0) return 0;
    return std::max<uint64_t>(rate / std::max(running.load(std::memory_order_relaxed), 1u), 1);
  }
};

}  // namespace ringbolt::repl

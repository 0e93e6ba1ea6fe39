// How much of this node the rebuilds that it feeds may take, together: one for all volumes and shards.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "io/io.h"
#include "repl/client_loads.h"

namespace ringbolt::repl {

/// Places for rebuilds that run at a time. Thread: any.
class RebuildPlaces {
 public:
  /// Takes one; false if all of `places` are taken (or more are, if there were more). Who has one gives it back by end(), once.
  [[nodiscard]] bool try_begin(uint32_t places) {
    uint32_t now = running();
    // Shards begin at the same moment: the place must still be free when it is taken.
    while (now < places) {
      if (running_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void end() { running_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] uint32_t running() const { return running_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> running_{0};
};

/// Any of them may change while rebuilds run. Thread: any.
struct RebuildLimits {
  std::atomic<uint64_t> rate_max{0};  ///< bytes per second of all base lanes together; 0: no cap
  std::atomic<uint32_t> parallel{2};  ///< how many may run at a time, at least 1; those that run already go on
  // Of rebuilds that begin from now on:
  std::atomic<uint64_t> chunk_bytes{uint64_t{1} << 20};
  std::atomic<uint32_t> in_flight{4};  ///< chunks per rebuild

  RebuildPlaces places;  ///< of base lanes that read here
  ClientLoads clients;   ///< of all volumes of this node

  /// What one of the lanes that run may use at this moment, in bytes per second; 0: no cap. A share of a cap stays a cap.
  [[nodiscard]] uint64_t rate_per_lane() const {
    const uint64_t rate = rate_max.load(std::memory_order_relaxed);
    if (rate == 0) return 0;
    return std::max<uint64_t>(rate / std::max(places.running(), 1u), 1);
  }

  /// A lane that pauses to see how clients are without it: no other one of this node reads meanwhile, or each would take for the clients' own
  /// latency what the others do to them. `until`: of the clock that all shards have.
  void keep_quiet(io::Nanos until) {
    io::Nanos now = quiet_until_.load(std::memory_order_relaxed);
    while (now < until && !quiet_until_.compare_exchange_weak(now, until, std::memory_order_relaxed)) {
    }
  }
  [[nodiscard]] io::Nanos quiet_until() const { return quiet_until_.load(std::memory_order_relaxed); }

 private:
  std::atomic<io::Nanos> quiet_until_{0};
};

}  // namespace ringbolt::repl

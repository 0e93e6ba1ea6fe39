// What clients ask of a primary, and how long it takes them.
#pragma once

#include <atomic>
#include <cstdint>

#include "io/io.h"
#include "repl/latency_histogram.h"

namespace ringbolt::repl {

/// One thread counts, any may copy or add up.
class ClientLoad {
 public:
  LatencyHistogram latency;  ///< of the requests that were answered

  ClientLoad() = default;
  ClientLoad(const ClientLoad& other) { *this = other; }
  ClientLoad& operator=(const ClientLoad& other) {
    latency = other.latency;
    set_open(other.open());
    return *this;
  }
  void begin() { set_open(open() + 1); }
  void end(io::Nanos took) {
    set_open(open() - 1);
    latency.add(took);
  }
  void add(const ClientLoad& other) {
    latency.add(other.latency);
    set_open(open() + other.open());
  }
  /// Not answered yet.
  [[nodiscard]] uint64_t open() const { return open_.load(std::memory_order_relaxed); }

 private:
  void set_open(uint64_t count) { open_.store(count, std::memory_order_relaxed); }

  std::atomic<uint64_t> open_{0};
};

}  // namespace ringbolt::repl

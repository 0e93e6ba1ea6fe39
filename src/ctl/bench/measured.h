// One line of what `ringboltctl bench` measured, and how it is made of single operations.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace ringbolt::ctl::bench {

using Clock = std::chrono::steady_clock;

/// What is done again and again.
struct Workload {
  std::string name;  ///< stays, for scripts: "durable_write"
  std::string what;  ///< for people: "write 4 KiB, flush"
  uint32_t bytes = 0;  ///< of one operation; 0: it moves none
  uint32_t depth = 1;  ///< operations at a time
};

struct Measured {
  std::string target;  ///< "disk /data", "network n2", "volume vol0"
  Workload work;
  uint64_t operations = 0;
  double seconds = 0;
  std::chrono::nanoseconds median{0}, p99{0};
  std::string problem = {};  ///< why there are no numbers; empty: there are
  [[nodiscard]] double per_second() const { return seconds > 0 ? static_cast<double>(operations) / seconds : 0; }
  /// 10^6 bytes.
  [[nodiscard]] double megabytes_per_second() const { return per_second() * work.bytes / 1e6; }
};

/// Something that was left out.
struct NotMeasured {
  std::string target, what, why;
};

/// How long each operation took. Bounded by how many a host can do in the longest run.
class Samples {
 public:
  void begin() { began_ = Clock::now(); }
  void add(Clock::duration took);
  [[nodiscard]] Clock::time_point began() const { return began_; }
  /// All of them, from begin() to now.
  [[nodiscard]] Measured summary(std::string target, const Workload& work);

 private:
  Clock::time_point began_;
  std::vector<uint32_t> nanoseconds_;  // 4.3 s are as long as one needs to know
};

}  // namespace ringbolt::ctl::bench

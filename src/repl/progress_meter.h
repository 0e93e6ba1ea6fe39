// How fast something gets on, and when it will be through, from what was done at which time: for people, nothing is decided from it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "io/io.h"

namespace ringbolt::repl {

class ProgressMeter {
 public:
  void begin(io::Nanos now) {
    samples_[0] = {now, 0, 0};
    size_ = 1;
    newest_ = 0;
  }
  /// `done` bytes so far; `lag`: bytes of log that it is behind.
  void add(io::Nanos now, uint64_t done, uint64_t lag) {
    if (now - samples_[newest_].at < kInterval) return;
    newest_ = (newest_ + 1) % kSamples;
    samples_[newest_] = {now, done, lag};
    size_ = std::min(size_ + 1, kSamples);
  }
  /// Bytes per second over the last seconds; empty while too little is known.
  [[nodiscard]] std::optional<uint64_t> rate() const {
    const Sample& first = oldest();
    const Sample& last = samples_[newest_];
    if (last.at - first.at < kInterval) return std::nullopt;
    return static_cast<uint64_t>(static_cast<double>(last.done - first.done) * static_cast<double>(io::kSecond) / static_cast<double>(last.at - first.at));
  }
  /// Seconds until `left` bytes are done at that rate; empty if nothing moves or nothing is known.
  [[nodiscard]] std::optional<uint64_t> seconds_for(uint64_t left) const {
    const auto now = rate();
    if (!now || *now == 0) return std::nullopt;
    return (left + *now - 1) / *now;
  }
  /// Clients write faster than it takes their records: it will not be through as long as this goes on.
  [[nodiscard]] bool losing_ground() const {
    return size_ == kSamples && samples_[newest_].lag > oldest().lag + kLagMin && samples_[newest_].lag > oldest().lag * 5 / 4;
  }

 private:
  struct Sample {
    io::Nanos at = 0;
    uint64_t done = 0, lag = 0;
  };
  static constexpr io::Nanos kInterval = io::kSecond / 2;
  static constexpr size_t kSamples = 12;
  static constexpr uint64_t kLagMin = uint64_t{4} << 20;
  [[nodiscard]] const Sample& oldest() const { return samples_[(newest_ + kSamples - size_ + 1) % kSamples]; }

  std::array<Sample, kSamples> samples_{};
  size_t size_ = 1;
  size_t newest_ = 0;
};

}  // namespace ringbolt::repl

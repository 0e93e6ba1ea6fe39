// Prometheus' text format, version 0.0.4: families with HELP and TYPE, samples with labels, escaped as they have to be. Writes
// text, and knows nothing of what is measured.
//
// Own code, as Debian's prometheus-cpp is another thing: a registry whose counters are atomics behind locks and shared
// pointers, to be counted in on the data path. Here shards count for themselves, and only copies are to be shown.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringbolt/duration_histogram.h"

namespace ringbolt {

/// Names are part of the program; values may have any bytes. What is not ASCII is shown as '?', as in the API's JSON.
using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

class PrometheusText {
 public:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };

  /// Samples belong to this family from now on. Each name once; a counter's ends in "_total".
  void family(std::string_view name, Type type, std::string_view help);
  void sample(const MetricLabels& labels, uint64_t value);
  void sample(const MetricLabels& labels, double value);
  /// Requires: the family is a histogram, of seconds.
  void histogram(const MetricLabels& labels, const DurationHistogram& values);

  /// All of it; nothing is left.
  [[nodiscard]] std::string take() { return std::exchange(text_, {}); }

 private:
  void line(std::string_view suffix, const MetricLabels& labels, std::string_view last_name, std::string_view last_value, std::string_view value);

  std::string text_;
  std::string name_;
  Type type_ = Type::kGauge;
  std::set<std::string, std::less<>> names_;
};

/// A number as the format has it: shortest text that is the same number again, "+Inf", "-Inf", "NaN".
std::string prometheus_number(double value);

}  // namespace ringbolt

#include "control/prometheus_text.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

const char* to_string(PrometheusText::Type type) {
  switch (type) {
    case PrometheusText::Type::kCounter: return "counter";
    case PrometheusText::Type::kGauge: return "gauge";
    case PrometheusText::Type::kHistogram: return "histogram";
  }
  return "untyped";
}

/// In HELP a quotation mark stays as it is, in a label's value it does not.
void append_escaped(std::string& text, std::string_view value, bool quoted) {
  for (const char c : value) {
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '"' && quoted) {
      text += "\\\"";
    } else {
      text += static_cast<unsigned char>(c) >= 0x80 ? '?' : c;
    }
  }
}

}  // namespace

std::string prometheus_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void PrometheusText::family(std::string_view name, Type type, std::string_view help) {
  RINGBOLT_ASSERT(names_.emplace(name).second);
  RINGBOLT_ASSERT((type == Type::kCounter) == name.ends_with("_total"));
  name_ = name;
  type_ = type;
  text_ += "# HELP ";
  text_ += name;
  text_ += ' ';
  append_escaped(text_, help, false);
  fmt::format_to(std::back_inserter(text_), "\n# TYPE {} {}\n", name, to_string(type));
}

void PrometheusText::line(std::string_view suffix, const MetricLabels& labels, std::string_view last_name, std::string_view last_value, std::string_view value) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  const auto append = [&](std::string_view name, std::string_view text) {
    text_ += std::exchange(before, ',');
    text_ += name;
    text_ += "=\"";
    append_escaped(text_, text, true);
    text_ += '"';
  };
  for (const auto& [name, text] : labels) append(name, text);
  if (!last_name.empty()) append(last_name, last_value);
  if (before == ',') text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

void PrometheusText::sample(const MetricLabels& labels, uint64_t value) {
  RINGBOLT_ASSERT(type_ != Type::kHistogram);
  line({}, labels, {}, {}, fmt::format_int(value).str());
}

void PrometheusText::sample(const MetricLabels& labels, double value) {
  RINGBOLT_ASSERT(type_ != Type::kHistogram);
  line({}, labels, {}, {}, prometheus_number(value));
}

void PrometheusText::histogram(const MetricLabels& labels, const DurationHistogram& values) {
  RINGBOLT_ASSERT(type_ == Type::kHistogram);
  uint64_t up_to_here = 0;
  for (size_t i = 0; i < DurationHistogram::kBounds; ++i) {
    up_to_here += values.count_in(i);
    line("_bucket", labels, "le", prometheus_number(static_cast<double>(DurationHistogram::upper_ns(i)) / 1e9), fmt::format_int(up_to_here).str());
  }
  const std::string count = fmt::format_int(values.count()).str();
  line("_bucket", labels, "le", "+Inf", count);
  line("_sum", labels, {}, {}, prometheus_number(static_cast<double>(values.sum_ns()) / 1e9));
  line("_count", labels, {}, {}, count);
}

}  // namespace ringbolt

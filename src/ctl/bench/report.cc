#include "ctl/bench/report.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "ctl/table.h"

namespace ringbolt::ctl::bench {

namespace json = boost::json;

namespace {

constexpr size_t kWhatColumns = 40;

/// At most 9 columns.
std::string latency_words(std::chrono::nanoseconds time) {
  const double us = static_cast<double>(time.count()) / 1e3;
  if (us < 1e3) return fmt::format("{:.0f} us", us);
  if (us < 1e5) return fmt::format("{:.2f} ms", us / 1e3);
  return fmt::format("{:.2f} s", us / 1e6);
}

std::string line_of(const std::string& what, const std::string& median, const std::string& p99, const std::string& iops, const std::string& rate) {
  return fmt::format("{:<{}}{:>10}{:>10}{:>10}{:>10}\n", what, kWhatColumns, median, p99, iops, rate);
}

double micros(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e3; }

}  // namespace

std::string title_line() { return line_of("", "MEDIAN", "P99", "IOPS", "MB/S"); }

std::string measured_line(const Measured& measured, const std::string& last_target) {
  const std::string target = measured.target == last_target ? std::string() : paragraph("", measured.target, 0);
  const std::string what = fmt::format("  {}, depth {}", measured.work.what, measured.work.depth);
  if (!measured.problem.empty()) return target + paragraph(what, measured.problem, kWhatColumns);
  return target + line_of(what, latency_words(measured.median), latency_words(measured.p99), fmt::format("{:.0f}", measured.per_second()),
                          measured.work.bytes == 0 ? std::string("-") : fmt::format("{:.1f}", measured.megabytes_per_second()));
}

std::string not_measured_lines(const std::vector<NotMeasured>& left_out) {
  std::string text;
  for (const NotMeasured& one : left_out) text += paragraph("", fmt::format("{}: {} not measured: {}", one.target, one.what, one.why), 0);
  return text;
}

std::string bench_json(const std::vector<Measured>& measured, const std::vector<NotMeasured>& left_out) {
  json::array rows, missing;
  for (const Measured& one : measured) {
    json::object row{{"target", one.target}, {"name", one.work.name}, {"what", one.work.what}, {"bytes", one.work.bytes}, {"depth", one.work.depth}};
    if (one.problem.empty()) {
      row["operations"] = one.operations;
      row["seconds"] = one.seconds;
      row["median_us"] = micros(one.median);
      row["p99_us"] = micros(one.p99);
      row["iops"] = one.per_second();
      row["mb_per_s"] = one.work.bytes == 0 ? json::value(nullptr) : json::value(one.megabytes_per_second());
    }
    row["problem"] = one.problem.empty() ? json::value(nullptr) : json::value(one.problem);
    rows.push_back(std::move(row));
  }
  for (const NotMeasured& one : left_out) missing.push_back(json::object{{"target", one.target}, {"what", one.what}, {"why", one.why}});
  return json::serialize(json::object{{"rows", std::move(rows)}, {"not_measured", std::move(missing)}}) + "\n";
}

}  // namespace ringbolt::ctl::bench

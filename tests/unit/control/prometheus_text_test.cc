// The text format, as its specification has it (prometheus.io, "exposition formats").
#include "control/prometheus_text.h"

#include <catch2/catch.hpp>
#include <limits>

namespace ringbolt {
namespace {

using Type = PrometheusText::Type;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("prometheus_text: a family, then its samples", "[metrics]") {
  PrometheusText text;
  text.family("x_total", Type::kCounter, "How many.");
  text.sample({}, uint64_t{18446744073709551615u});
  text.sample({{"volume", "vol0"}, {"op", "read"}}, uint64_t{0});
  text.family("y_seconds", Type::kGauge, "How long.");
  text.sample({{"volume", "vol0"}}, 0.25);
  CHECK(text.take() ==
        "# HELP x_total How many.\n# TYPE x_total counter\nx_total 18446744073709551615\nx_total{volume=\"vol0\",op=\"read\"} 0\n"
        "# HELP y_seconds How long.\n# TYPE y_seconds gauge\ny_seconds{volume=\"vol0\"} 0.25\n");
  CHECK(text.take().empty());
}

TEST_CASE("prometheus_text: what a label's value or a help text must not have is escaped", "[metrics]") {
  PrometheusText text;
  text.family("x", Type::kGauge, "a \"quote\", a \\ and\na line");
  text.sample({{"l", "a \"quote\", a \\ and\na line"}}, uint64_t{1});
  text.sample({{"l", std::string("\xff\xc3\xa4")}}, uint64_t{1});
  CHECK(text.take() ==
        "# HELP x a \"quote\", a \\\\ and\\na line\n# TYPE x gauge\nx{l=\"a \\\"quote\\\", a \\\\ and\\na line\"} 1\nx{l=\"???\"} 1\n");
}

TEST_CASE("prometheus_text: numbers", "[metrics]") {
  CHECK(prometheus_number(0) == "0");
  CHECK(prometheus_number(1) == "1");
  CHECK(prometheus_number(-1.5) == "-1.5");
  CHECK(prometheus_number(0.000008) == "8e-06");
  CHECK(prometheus_number(16.777216) == "16.777216");
  CHECK(prometheus_number(0.1) == "0.1");
  CHECK(prometheus_number(std::numeric_limits<double>::infinity()) == "+Inf");
  CHECK(prometheus_number(-std::numeric_limits<double>::infinity()) == "-Inf");
  CHECK(prometheus_number(std::numeric_limits<double>::quiet_NaN()) == "NaN");
}

TEST_CASE("prometheus_text: a histogram has cumulative buckets up to +Inf, a sum of seconds, and a count", "[metrics]") {
  DurationHistogram times;
  times.add(8'000);
  times.add(9'000);
  times.add(1'000'000'000);
  times.add(100'000'000'000);
  PrometheusText text;
  text.family("x_seconds", Type::kHistogram, "How long.");
  text.histogram({{"op", "read"}}, times);
  const std::string lines = text.take();
  CHECK_THAT(lines, StartsWith("# HELP x_seconds How long.\n# TYPE x_seconds histogram\n"
                               "x_seconds_bucket{op=\"read\",le=\"8e-06\"} 1\nx_seconds_bucket{op=\"read\",le=\"1.6e-05\"} 2\n"));
  CHECK_THAT(lines, Contains("le=\"0.524288\"} 2\n") && Contains("le=\"1.048576\"} 3\n") && Contains("le=\"16.777216\"} 3\n"));
  CHECK_THAT(lines, Contains("x_seconds_bucket{op=\"read\",le=\"+Inf\"} 4\nx_seconds_sum{op=\"read\"} 101.000017\nx_seconds_count{op=\"read\"} 4\n"));
  text.histogram({}, {});
  CHECK_THAT(text.take(), StartsWith("x_seconds_bucket{le=\"8e-06\"} 0\n") && Contains("\nx_seconds_sum 0\nx_seconds_count 0\n"));
}

}  // namespace
}  // namespace ringbolt

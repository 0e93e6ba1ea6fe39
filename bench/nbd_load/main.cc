// ringbolt-nbd-load: one connection, a fixed number of requests in flight, for some seconds; prints
// one JSON object. bench/compare uses it where fio's NBD engine cannot do what is to be measured.
#include <fmt/format.h>
#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include "bench/nbd_load/client.h"
#include "ringbolt/types.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::bench;

constexpr const char* kUsage =
    "usage: ringbolt-nbd-load URI [--rw=randwrite|randread|randrw|write|read] [--bs=BYTES] "
    "[--depth=N]\n"
    "                         [--seconds=S] [--fua=0|1] [--flush-every=N] [--seed=N]\n"
    "  URI    nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH\n"
    "  randrw is 70 % reads; --fua=1 sets FUA on every write; a flush is one of the\n"
    "         requests in flight\n";

template <class Number>
bool parse(std::string_view text, Number least, Number most, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc{} && end == text.data() + text.size() && *value >= least &&
         *value <= most;
}

bool parse_pattern(std::string_view text, LoadOptions* options) {
  static const std::map<std::string_view, std::pair<uint32_t, bool>> kPatterns{
      {"randwrite", {0, false}},
      {"randread", {100, false}},
      {"randrw", {70, false}},
      {"write", {0, true}},
      {"read", {100, true}}};
  const auto found = kPatterns.find(text);
  if (found == kPatterns.end()) return false;
  options->read_percent = found->second.first;
  options->sequential = found->second.second;
  return true;
}

bool parse_option(std::string_view argument, LoadOptions* options) {
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = argument.substr(0, equals);
  const std::string_view value = argument.substr(equals + 1);
  if (name == "--rw") return parse_pattern(value, options);
  if (name == "--bs") return parse<uint32_t>(value, 512, kRequestBytesMax, &options->block_bytes);
  if (name == "--depth") return parse<uint32_t>(value, 1, 1024, &options->depth);
  if (name == "--flush-every") return parse<uint32_t>(value, 0, UINT32_MAX, &options->flush_every);
  if (name == "--seconds") return parse<double>(value, 0.001, 86400, &options->seconds);
  if (name == "--seed") return parse<uint64_t>(value, 0, UINT64_MAX, &options->seed);
  if (name == "--fua") {
    options->fua = value == "1";
    return value == "0" || value == "1";
  }
  return false;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string latencies(std::string_view prefix, const LatencyHistogram& latency) {
  const auto microseconds = [&](double part) {
    return static_cast<double>(latency.percentile(part)) / 1e3;
  };
  return fmt::format(
      "\"{0}mean_us\": {1:.2f}, \"{0}p50_us\": {2:.1f}, \"{0}p99_us\": {3:.1f}, "
      "\"{0}p999_us\": {4:.1f}",
      prefix, latency.mean() / 1e3, microseconds(0.5), microseconds(0.99), microseconds(0.999));
}

void print(const LoadOptions& options, const LoadResult& result, double cpu) {
  const auto count = static_cast<double>(result.reads + result.writes);
  fmt::print(
      "{{\"reads\": {}, \"writes\": {}, \"fua_writes\": {}, \"flushes\": {}, \"seconds\": {:.6f}, "
      "\"iops\": {:.1f}, \"bytes_per_second\": {:.0f}, {}, {}, \"cpu_seconds\": {:.4f}}}\n",
      result.reads, result.writes, options.fua ? result.writes : 0, result.flushes, result.seconds,
      count / result.seconds, count * options.block_bytes / result.seconds,
      latencies("", result.latency), latencies("flush_", result.flush_latency), cpu);
}

}  // namespace

int main(int argc, char** argv) {
  LoadOptions options;
  bool good = argc >= 2 && argv[1][0] != '-';
  if (good) options.uri = argv[1];
  for (int i = 2; i < argc && good; ++i) good = parse_option(argv[i], &options);
  if (!good) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  LoadClient client(options);
  if (const Status connected = client.connect(); !connected.has_value()) {
    fmt::print(stderr, "ringbolt-nbd-load: {}\n", connected.error().message);
    return 1;
  }
  const double cpu_before = cpu_seconds();
  const Result<LoadResult> result = client.run();
  if (!result.has_value()) {
    fmt::print(stderr, "ringbolt-nbd-load: {}\n", result.error().message);
    return 1;
  }
  print(options, result.value(), cpu_seconds() - cpu_before);
  return 0;
}

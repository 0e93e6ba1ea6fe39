// ringboltctl bench: what it may touch, what it makes of single operations, how it is shown. No number that takes time is looked at.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ctl/bench/disk_bench.h"
#include "ctl/bench/disk_target.h"
#include "ctl/bench/network_bench.h"
#include "ctl/bench/report.h"
#include "ctl/table.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl::bench {
namespace {

using Catch::Matchers::Contains;
using std::chrono::microseconds;
using std::chrono::milliseconds;

/// On a file system with direct I/O, which /tmp may not be.
struct BenchDirectory {
  BenchDirectory() {
    const char* const parent = std::getenv("TMPDIR");
    path = std::string(parent != nullptr ? parent : "/var/tmp") + "/ringbolt-bench-XXXXXX";
    REQUIRE(mkdtemp(path.data()) != nullptr);
  }
  ~BenchDirectory() { std::filesystem::remove_all(path); }
  BenchDirectory(const BenchDirectory&) = delete;
  BenchDirectory& operator=(const BenchDirectory&) = delete;
  std::string file(const std::string& name, uint64_t bytes) const {
    std::ofstream out(path + "/" + name, std::ios::binary);
    const std::string block(1u << 20, 'x');
    for (uint64_t at = 0; at < bytes; at += block.size()) out << block;
    return path + "/" + name;
  }
  std::string path;
};

std::unique_ptr<io::RingIo> bench_ring() {
  Result<std::unique_ptr<io::RingIo>> made = io::RingIo::create({.spin = 0});
  if (made.has_error()) FAIL(made.error().message);
  return std::move(made.value());
}

bool holds_only(const std::string& path, char what) {
  std::ifstream in(path, std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return !all.empty() && std::all_of(all.begin(), all.end(), [what](char c) { return c == what; });
}

TEST_CASE("bench: a directory, or a path where nothing is, gets a file that has no name", "[bench]") {
  const BenchDirectory here;
  const auto io = bench_ring();
  for (const std::string& path : {here.path, here.path + "/new"}) {
    Result<DiskTarget> target = open_disk_target(*io, path, Touch::kNothingThatExists, 16u << 20);
    if (target.has_error()) FAIL(target.error().message);
    CHECK(target.value().may_write);
    CHECK(target.value().is_scratch);
    CHECK(target.value().bytes == 16u << 20);
    CHECK(std::filesystem::is_empty(here.path));
    close_disk_target(*io, target.value());
  }
  CHECK(open_disk_target(*io, here.path, Touch::kNothingThatExists, 1u << 20).error().code == Errc::kNoSpace);
  CHECK(open_disk_target(*io, here.path + "/none/new", Touch::kNothingThatExists, 16u << 20).error().code == Errc::kNotFound);
}

TEST_CASE("bench: a device whose name is misspelt is not taken for a path where nothing is", "[bench]") {
  const auto io = bench_ring();
  for (const Touch touch : {Touch::kNothingThatExists, Touch::kReadOnly, Touch::kOverwrite}) {
    const Result<DiskTarget> target = open_disk_target(*io, "/dev/no-disk-has-that-name", touch, 16u << 20);
    REQUIRE(target.has_error());
    CHECK(target.error().code == Errc::kNotFound);
  }
}

TEST_CASE("bench: what exists is refused unless it is said what may be done with it", "[bench]") {
  const BenchDirectory here;
  const auto io = bench_ring();
  const std::string path = here.file("data", 2u << 20);
  const Result<DiskTarget> refused = open_disk_target(*io, path, Touch::kNothingThatExists, 16u << 20);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kNotPermitted);
  CHECK_THAT(refused.error().message, Contains(path) && Contains("--overwrite") && Contains("--read-only"));
  Result<DiskTarget> target = open_disk_target(*io, path, Touch::kReadOnly, 16u << 20);
  REQUIRE(target.has_value());
  CHECK_FALSE(target.value().may_write);
  close_disk_target(*io, target.value());
  target = open_disk_target(*io, path, Touch::kOverwrite, 16u << 20);
  REQUIRE(target.has_value());
  CHECK(target.value().may_write);
  CHECK(target.value().bytes == 2u << 20);
  close_disk_target(*io, target.value());
  CHECK(open_disk_target(*io, here.file("small", 0), Touch::kReadOnly, 16u << 20).error().code == Errc::kInvalid);
  CHECK(open_disk_target(*io, "/dev/null", Touch::kOverwrite, 16u << 20).error().code == Errc::kInvalid);
}

TEST_CASE("bench: a file that a daemon holds is refused whatever is said", "[bench]") {
  const BenchDirectory here;
  const auto io = bench_ring();
  const std::string path = here.file("base", 2u << 20);
  const int held = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(held >= 0);
  REQUIRE(::flock(held, LOCK_EX) == 0);
  for (const Touch touch : {Touch::kReadOnly, Touch::kOverwrite}) {
    const Result<DiskTarget> refused = open_disk_target(*io, path, touch, 16u << 20);
    REQUIRE(refused.has_error());
    CHECK(refused.error().code == Errc::kBusy);
  }
  ::close(held);
  Result<DiskTarget> target = open_disk_target(*io, path, Touch::kReadOnly, 16u << 20);
  REQUIRE(target.has_value());
  close_disk_target(*io, target.value());
}

std::vector<Measured> measure_disk(io::RingIo& io, const std::string& path, Touch touch) {
  Result<DiskTarget> target = open_disk_target(io, path, touch, 16u << 20);
  if (target.has_error()) FAIL(target.error().message);
  std::vector<Measured> lines;
  bench_disk(io, "disk x", target.value(), milliseconds(5), [&](const Measured& one) { lines.push_back(one); });
  close_disk_target(io, target.value());
  return lines;
}

TEST_CASE("bench: a disk is read and written, and a file that is only read keeps what it holds", "[bench]") {
  const BenchDirectory here;
  const auto io = bench_ring();
  const std::string path = here.file("data", 4u << 20);
  const auto names = [](const std::vector<Measured>& lines) {
    std::vector<std::string> result;
    for (const Measured& one : lines) {
      INFO(one.work.name << ": " << one.problem);
      CHECK(one.problem.empty());
      CHECK(one.operations > 0);
      CHECK(one.median.count() > 0);
      CHECK(one.median <= one.p99);
      result.push_back(one.work.name);
    }
    return result;
  };
  const std::vector<std::string> all{"sequential_write", "sequential_read", "durable_write", "random_write", "random_read"};
  CHECK(names(measure_disk(*io, here.path, Touch::kNothingThatExists)) == all);
  CHECK(names(measure_disk(*io, path, Touch::kReadOnly)) == std::vector<std::string>{"sequential_read", "random_read"});
  CHECK(holds_only(path, 'x'));
  CHECK(names(measure_disk(*io, path, Touch::kOverwrite)) == all);
  CHECK_FALSE(holds_only(path, 'x'));
  CHECK(std::filesystem::file_size(path) == 4u << 20);
}

TEST_CASE("bench: a file that gets shorter meanwhile is a failure that is told", "[bench]") {
  const BenchDirectory here;
  const auto io = bench_ring();
  const std::string path = here.file("data", 4u << 20);
  Result<DiskTarget> target = open_disk_target(*io, path, Touch::kReadOnly, 16u << 20);
  REQUIRE(target.has_value());
  std::filesystem::resize_file(path, 0);
  std::vector<Measured> lines;
  bench_disk(*io, "disk x", target.value(), milliseconds(5), [&](const Measured& one) { lines.push_back(one); });
  close_disk_target(*io, target.value());
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0].problem, Contains("read: "));
}

TEST_CASE("bench: a node that cannot be reached, or does not answer, is a failure that is told", "[bench]") {
  const auto io = bench_ring();
  std::vector<Measured> lines;
  const auto tell = [&](const Measured& one) { lines.push_back(one); };
  bench_network(*io, "network x", "127.0.0.1:1", milliseconds(5), tell);
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0].problem, Contains("connect: "));
  bench_network(*io, "network x", "nonsense", milliseconds(5), tell);
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[1].problem, Contains("connect: "));
}

TEST_CASE("bench: median, 99th percentile and rates", "[bench]") {
  const Workload work{"x", "x", 4096, 4};
  Samples samples;
  samples.begin();
  for (int i = 1000; i >= 1; --i) samples.add(microseconds(i));
  const Measured all = samples.summary("t", work);
  CHECK(all.operations == 1000);
  CHECK(all.median == microseconds(500));
  CHECK(all.p99 == microseconds(990));
  Samples none;
  none.begin();
  CHECK(none.summary("t", work).operations == 0);
  CHECK(none.summary("t", work).median.count() == 0);
  Samples one;
  one.begin();
  one.add(std::chrono::seconds(100));  // more than is told apart
  CHECK(one.summary("t", work).median.count() == UINT32_MAX);
  Measured rate{"t", work, 1000, 2.0};
  CHECK(rate.per_second() == Approx(500));
  CHECK(rate.megabytes_per_second() == Approx(2.048));
  rate.seconds = 0;
  CHECK(rate.per_second() == 0);
}

TEST_CASE("bench: the table fits 80 columns, and JSON has all of it", "[bench]") {
  const Measured good{"disk /data", {"durable_write", "write 4 KiB, flush", 4096, 1}, 1234567, 1.0, microseconds(999), milliseconds(50)};
  Measured flush = good;
  flush.work = {"flush", "flush", 0, 1};
  Measured slow = good;
  slow.median = milliseconds(99);
  slow.p99 = std::chrono::seconds(4);
  Measured bad = good;
  bad.problem = std::string(100, 'w') + " why";
  Measured far = good;
  far.target = "network to " + std::string(90, 'n');
  std::string text = title_line();
  for (const Measured& one : {good, flush, slow, bad}) text += measured_line(one, one.problem.empty() ? "disk /data" : "");
  text += measured_line(far, "disk /data") + not_measured_lines({{"volume v", "writes", std::string(90, 'x')}});
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= kTerminalColumns);
  CHECK_THAT(measured_line(good, "disk /data"), Contains("write 4 KiB, flush, depth 1") && Contains("999 us") && Contains("50.00 ms") && Contains("1234567") &&
                                                    Contains("5056.8") && !Contains("disk"));
  CHECK_THAT(measured_line(good, ""), Contains("disk /data\n"));
  CHECK_THAT(measured_line(slow, ""), Contains("99.00 ms") && Contains("4.00 s"));
  CHECK_THAT(measured_line(flush, ""), Contains(" -\n"));
  const boost::json::value json = boost::json::parse(bench_json({good, bad, flush}, {{"volume v", "writes", "why"}}));
  CHECK(json.at("rows").at(0).at("median_us") == 999.0);
  CHECK(json.at("rows").at(0).at("problem").is_null());
  CHECK(json.at("rows").at(1).at("problem").is_string());
  CHECK(json.at("rows").at(1).as_object().if_contains("iops") == nullptr);
  CHECK(json.at("rows").at(2).at("mb_per_s").is_null());
  CHECK(json.at("not_measured").at(0).at("why") == "why");
}

TEST_CASE("bench: wrong usage, and what cannot be measured, by exit codes", "[bench]") {
  const BenchDirectory here;
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"bench"}, {"bench", "x", "--seconds", "0"}, {"bench", "x", "--size", "1 elephant"}, {"bench", "x", "--nbd", "nowhere"}, {"bench", "x", "--overwrite", "--read-only"}}) {
    INFO(wrong.back());
    CHECK(call(wrong).code == kUsage);
  }
  const Outcome good = call({"--json", "bench", here.path, "--seconds", "0.05", "--size", "16MiB"});
  INFO(good.err);
  CHECK(good.code == kDone);
  CHECK(boost::json::parse(good.out).at("rows").as_array().size() == 5);
  const Outcome refused = call({"bench", here.file("data", 2u << 20)});
  CHECK(refused.code == kRefused);
  CHECK(refused.out.empty());
  CHECK(call("127.0.0.1:1", {"bench", "vol0"}).code == kNoAnswer);
  CHECK(std::distance(std::filesystem::directory_iterator(here.path), {}) == 1);
}

}  // namespace
}  // namespace ringbolt::ctl::bench

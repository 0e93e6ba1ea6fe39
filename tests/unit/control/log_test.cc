// Log lines: what a peer's text can and cannot do to them, and the rate limit.
#include "log/log.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace ringbolt::log {
namespace {

TEST_CASE("log: control characters cannot forge a line", "[log]") {
  CHECK(printable("plain {} text, \xc3\xa4") == "plain {} text, \xc3\xa4");
  CHECK(printable("a\nERROR b\x1b[2J\x7f") == "a\\x0aERROR b\\x1b[2J\\x7f");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
}

TEST_CASE("log: a line has a largest length and is not cut inside a character", "[log]") {
  CHECK(printable(std::string(kLineBytesMax, 'x')).size() == kLineBytesMax);
  const std::string cut = printable(std::string(1 << 20, 'x'));
  CHECK(cut.size() == kLineBytesMax);
  CHECK(cut.ends_with(" [cut]"));
  std::string wide;
  while (wide.size() < 2 * kLineBytesMax) wide += "\xe2\x82\xac";
  const std::string cut_wide = printable(wide);
  CHECK(cut_wide.size() <= kLineBytesMax);
  CHECK((cut_wide.size() - 6) % 3 == 0);
}

TEST_CASE("log: a rate limit lets the first lines of a period through and counts the rest",
          "[log]") {
  RateLimit limit;
  int64_t now = 0;
  for (uint64_t i = 0; i < RateLimit::kLinesPerPeriod; ++i) CHECK(limit.admit(now) == 0u);
  for (int i = 0; i < 1000; ++i) CHECK(!limit.admit(now += 1));
  now = RateLimit::kPeriodNs - 1;
  CHECK(!limit.admit(now));
  now = RateLimit::kPeriodNs;
  CHECK(limit.admit(now) == 1001u);
  CHECK(limit.admit(now) == 0u);
}

TEST_CASE("log: the journal is known by its device and inode", "[log]") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  struct stat status {};
  REQUIRE(fstat(ends[1], &status) == 0);
  const std::string stream = fmt::format("{}:{}", status.st_dev, status.st_ino);
  CHECK(is_journal_stream(stream.c_str(), ends[1]));
  CHECK(!is_journal_stream(nullptr, ends[1]));
  CHECK(!is_journal_stream("", ends[1]));
  CHECK(!is_journal_stream((stream + "0").c_str(), ends[1]));
  CHECK(!is_journal_stream(stream.c_str(), STDIN_FILENO));
  close(ends[0]);
  close(ends[1]);
  CHECK(!is_journal_stream(stream.c_str(), ends[1]));
}

TEST_CASE("log: levels below the set one are off", "[log]") {
  CHECK(enabled(Level::kInfo));
  CHECK(!enabled(Level::kDebug));
  set_level(Level::kError);
  CHECK(!enabled(Level::kWarn));
  set_level(Level::kInfo);
  CHECK(enabled(Level::kWarn));
}

}  // namespace
}  // namespace ringbolt::log

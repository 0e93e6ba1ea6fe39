// Log lines: what a peer's text can and cannot do to them, and the rate limit.
#include "log/log.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>

namespace ringbolt::log {
namespace {

TEST_CASE("log: control characters cannot forge a line", "[log]") {
  CHECK(printable("plain {} text, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xa2") == "plain {} text, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xa2");
  CHECK(printable("a\nERROR b\x1b[2J\x7f") == "a\\x0aERROR b\\x1b[2J\\x7f");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
  // Next line, control sequence introducer, line and paragraph separators, right-to-left override.
  CHECK(printable("\xc2\x85\xc2\x9b\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae") == "\\xc2\\x85\\xc2\\x9b\\xe2\\x80\\xa8\\xe2\\x80\\xa9\\xe2\\x80\\xae");
  CHECK(printable("\xd8\x9c") == "\\xd8\\x9c");
}

TEST_CASE("log: what is not UTF-8 is shown byte by byte", "[log]") {
  CHECK(printable("a\xff\xfe z") == "a\\xff\\xfe z");
  CHECK(printable("\xc3") == "\\xc3");                          // cut off
  CHECK(printable("\xc3z") == "\\xc3z");                        // what follows is not part of it
  CHECK(printable("\xc0\xaf\xe0\x80\xaf") == "\\xc0\\xaf\\xe0\\x80\\xaf");  // too long for what it is
  CHECK(printable("\xed\xa0\x80\xf4\x90\x80\x80") == "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");  // no characters
}

TEST_CASE("log: a line has a largest length and is not cut inside a character", "[log]") {
  CHECK(printable(std::string(kLineBytesMax, 'x')).size() == kLineBytesMax);
  const std::string cut = printable(std::string(1 << 20, 'x'));
  CHECK(cut.size() == kLineBytesMax);
  CHECK(cut.ends_with("x [cut]"));
  std::string wide;
  while (wide.size() < 2 * kLineBytesMax) wide += "\xe2\x82\xac";
  const std::string cut_wide = printable(wide);
  CHECK(cut_wide.size() <= kLineBytesMax);
  CHECK((cut_wide.size() - 6) % 3 == 0);
  // Nor inside of what stands for a byte.
  const std::string bytes = printable(std::string(kLineBytesMax, '\n'));
  CHECK(bytes.size() <= kLineBytesMax);
  CHECK((bytes.size() - 6) % 4 == 0);
  CHECK(text_line({.peer = wide}, "x").size() < 20 + kFieldBytesMax);
}

TEST_CASE("log: as text a line has its words, then its fields", "[log]") {
  CHECK(text_line({}, "stopped") == "stopped");
  CHECK(text_line({.volume = "vol0"}, "serving clients") == "volume vol0: serving clients");
  CHECK(text_line({.volume = "vol0"}, "volume vol0: damaged") == "volume vol0: damaged");  // not twice
  CHECK(text_line({.volume = "vol0", .replica = "n2", .session = SessionId(7), .epoch = Epoch(3), .lsn = Lsn(42)}, "it is in sync") ==
        "volume vol0: it is in sync | replica=n2 session=7 epoch=3 lsn=42");
  CHECK(text_line({.client = "[::1]:10809", .shard = 0, .left_out = 12}, "gone") == "gone | client=[::1]:10809 shard=0 left_out=12");
}

TEST_CASE("log: as text nothing that is quoted can be taken for a field", "[log]") {
  CHECK(text_line({.volume = "v"}, "refused: x | lsn=9 |") == "volume v: refused: x \\x7c lsn=9 \\x7c");
  CHECK(text_line({}, "a | | b") == "a \\x7c \\x7c b");
  CHECK(text_line({}, "sizes|of|a|table") == "sizes|of|a|table");
  CHECK(text_line({.peer = "n2 lsn=9"}, "x") == "x | peer=\"n2 lsn=9\"");
  CHECK(text_line({.peer = "\" | lsn=9"}, "x") == "x | peer=\"\\\" \\\\x7c lsn=9\"");
  CHECK(text_line({.peer = "a\nb"}, "x") == "x | peer=\"a\\\\x0ab\"");
}

TEST_CASE("log: as JSON a line is an object with its fields", "[log]") {
  CHECK(json_line("T", Level::kWarn, {}, "stopped") == R"({"time":"T","level":"warn","message":"stopped"})");
  CHECK(json_line("T", Level::kInfo,
                  {.volume = "vol0", .replica = "n2", .peer = "n3", .client = "h:1", .key = "log.level", .shard = 0, .session = SessionId(7), .epoch = Epoch(3),
                   .lsn = Lsn(42), .left_out = 5},
                  "x") ==
        R"({"time":"T","level":"info","message":"x","volume":"vol0","replica":"n2","peer":"n3","client":"h:1","key":"log.level","shard":0,"session":7,"epoch":3,"lsn":42,"left_out":5})");
}

TEST_CASE("log: as JSON whatever bytes are quoted it stays one object that any parser takes", "[log]") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string line = json_line("T", Level::kError, {.peer = all}, all + "\"}\n{\"level\":\"info");
  CHECK(line.find('\n') == std::string::npos);
  const boost::json::value parsed = boost::json::parse(line);
  CHECK(parsed.at("message").as_string() == printable(all + "\"}\n{\"level\":\"info"));
  CHECK(parsed.at("peer").as_string() == printable(all, kFieldBytesMax));
  CHECK(parsed.at("level").as_string() == "error");
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

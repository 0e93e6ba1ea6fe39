// How a base lane's rate follows what clients see.
#include "repl/rebuild_pace.h"

#include <catch2/catch.hpp>
#include <random>
#include <utility>

namespace ringbolt::repl {
namespace {

using io::kMicrosecond;
using io::kMillisecond;

constexpr uint64_t kMiB = uint64_t{1} << 20;

ClientWatch::Seen clients(int count, io::Nanos latency, uint64_t open = 0) {
  ClientWatch::Seen seen;
  for (int i = 0; i < count; ++i) seen.latency.add(latency);
  seen.waited = seen.waiting = open;
  return seen;
}

/// A lane on a disk that reads `disk` bytes per second at most, and clients that are slowed down in proportion.
struct Model {
  RebuildPace pace;
  uint64_t disk = 500 * kMiB;
  io::Nanos alone = 200 * kMicrosecond;
  io::Nanos per_mib = 0;  // that each MiB/s of the lane adds
  int per_second = 5000;  // requests; 0: no clients
  uint64_t open = 0;      // requests that are not answered
  int others = 0;         // requests per second to other volumes, with the same latency
  int only_in_pauses = 0; // requests per second that end then
  int hurt_one_in = 1;    // of the requests one is slowed down by the lane
  int slow_one_in = 0;    // of the requests one takes ten times as long, lane or not; 0: none
  double due = 0, others_due = 0;
  std::minstd_rand random{7};
  io::Nanos elapsed = 0;
  uint64_t bytes = 0;
  io::Nanos slowest = 0;

  [[nodiscard]] uint64_t rate() const { return pace.pausing() ? 0 : std::min(pace.rate(), disk); }
  [[nodiscard]] io::Nanos latency() const { return alone + per_mib * static_cast<io::Nanos>(rate() / kMiB); }
  void part() {
    const auto moved = static_cast<uint64_t>(static_cast<double>(rate()) * static_cast<double>(pace.part()) / static_cast<double>(io::kSecond));
    bytes += moved;
    slowest = std::max(slowest, latency());
    elapsed += pace.part();
    const auto ended = [this](int rate, double& left) {
      left += static_cast<double>(rate) * static_cast<double>(pace.part()) / static_cast<double>(io::kSecond);
      const int whole = static_cast<int>(left);
      left -= whole;
      return whole;
    };
    const int own = ended(pace.pausing() && only_in_pauses > 0 ? only_in_pauses : per_second, due);
    ClientWatch::Seen mine = clients(own, latency(), open);
    if (slow_one_in > 0) {
      mine.latency = {};
      for (int i = 0; i < own; ++i) mine.latency.add(random() % static_cast<unsigned>(slow_one_in) == 0 ? 10 * latency() : latency());
    }
    if (hurt_one_in > 1) {
      mine.latency = {};
      for (int i = 0; i < own; ++i) mine.latency.add(random() % static_cast<unsigned>(hurt_one_in) == 0 ? latency() : alone);
    }
    ClientWatch::Seen all = mine;
    for (int i = ended(others, others_due); i > 0; --i) all.latency.add(latency());
    pace.end_part({.own = mine, .node = all, .bytes = moved});
  }
  void run(io::Nanos time) {
    for (const io::Nanos end = elapsed + time; elapsed < end;) part();
  }
};

}  // namespace

TEST_CASE("pace: without clients it is at any disk's speed within a quarter of a second", "[repl][rebuild]") {
  Model m;
  m.per_second = 0;
  m.run(250 * kMillisecond);
  CHECK(m.pace.rate() > 16 * 1024 * kMiB);
  CHECK_FALSE(m.pace.pausing());
  m.run(10 * io::kSecond);
  CHECK(m.pace.rate() == RebuildPace::kRateMax);
}

TEST_CASE("pace: with clients it pauses at once to see what they are without it", "[repl][rebuild]") {
  Model m;
  m.per_mib = 10 * kMicrosecond;
  m.run(300 * kMillisecond);
  // The requests that the lane had slowed down do not count as those without it.
  REQUIRE(m.pace.alone() != 0);
  CHECK(m.pace.alone() < 2 * m.alone);
}

TEST_CASE("pace: clients stay within twice of their latency, and the lane near what that allows", "[repl][rebuild]") {
  Model m;
  m.per_mib = 4 * kMicrosecond;  // twice at 50 MiB/s
  m.run(20 * io::kSecond);
  const uint64_t before = m.bytes;
  m.slowest = 0;
  m.run(20 * io::kSecond);
  CHECK(m.slowest <= 2 * m.alone);
  CHECK((m.bytes - before) / 20 > 15 * kMiB);
}

TEST_CASE("pace: whatever clients see, it goes on", "[repl][rebuild]") {
  Model m;
  m.per_mib = 100 * kMillisecond;
  m.run(20 * io::kSecond);
  CHECK(m.pace.rate() >= RebuildPace::kRateMin);
  CHECK(m.bytes / 20 > RebuildPace::kRateMin * 3 / 4);
}

TEST_CASE("pace: clients that come back to a lane at full speed are yielded to soon", "[repl][rebuild]") {
  Model m;
  m.per_mib = 4 * kMicrosecond;
  m.per_second = 0;
  m.run(5 * io::kSecond);
  REQUIRE(m.pace.rate() == RebuildPace::kRateMax);
  m.per_second = 5000;
  m.run(2500 * kMillisecond);
  // From what the disk gave, not from a rate that nothing ever had.
  CHECK(m.rate() < 80 * kMiB);
}

TEST_CASE("pace: clients whose requests are not answered beside the lane are not taken for none", "[repl][rebuild]") {
  Model m;
  m.per_second = 0;
  m.run(5 * io::kSecond);
  REQUIRE(m.pace.rate() == RebuildPace::kRateMax);
  m.open = 32;
  m.only_in_pauses = 5000;
  m.run(2 * io::kSecond);
  CHECK(m.rate() < 80 * kMiB);
  m.run(5 * io::kSecond);
  CHECK(m.pace.rate() == RebuildPace::kRateMin);
}

TEST_CASE("pace: what waits without the lane, too, may be waiting for it, and is not yielded to", "[repl][rebuild]") {
  Model m;
  m.per_second = 5000;
  m.per_mib = 4 * kMicrosecond;
  m.run(20 * io::kSecond);
  m.per_second = 0;
  m.open = 32;
  m.run(10 * io::kSecond);
  CHECK(m.rate() == m.disk);
  // And when they are answered again, they are clients again.
  m.per_second = 5000;
  m.run(5 * io::kSecond);
  CHECK(m.rate() < 80 * kMiB);
}

TEST_CASE("pace: now and then a slow request, as there is without the lane, is no sign of anything", "[repl][rebuild]") {
  const int per_second = GENERATE(20, 150, 1000, 5000);
  const int one_in = GENERATE(50, 200);
  INFO(per_second << " requests a second, one of " << one_in << " ten times as slow");
  Model m;
  m.per_second = per_second;
  m.slow_one_in = one_in;
  m.run(180 * io::kSecond);
  const uint64_t before = m.bytes;
  m.run(120 * io::kSecond);
  CHECK((m.bytes - before) / 120 > m.disk / 2);
}

TEST_CASE("pace: a lane that sees another one pause learns from that pause, and not twice from one", "[repl][rebuild]") {
  Model m;
  m.per_mib = 4 * kMicrosecond;
  m.run(5 * io::kSecond);
  while (m.pace.pausing()) m.part();
  m.part();
  if (m.pace.pausing()) m.run(300 * kMillisecond);
  REQUIRE_FALSE(m.pace.pausing());
  CHECK(m.pace.join_pause());
  CHECK(m.pace.pausing());
  CHECK_FALSE(m.pace.join_pause());
  while (m.pace.pausing()) m.part();
  CHECK_FALSE(m.pace.join_pause());
  m.part();
  CHECK(m.pace.join_pause());
}

TEST_CASE("pace: a request now and then holds nobody up", "[repl][rebuild]") {
  Model m;
  m.per_second = 1;
  m.per_mib = kMillisecond;
  m.run(10 * io::kSecond);
  CHECK(m.pace.rate() == RebuildPace::kRateMax);
  CHECK(m.pace.alone() == 0);
}

TEST_CASE("pace: clients that send few requests are yielded to like those that send many", "[repl][rebuild]") {
  const int per_second = GENERATE(4, 10, 20, 100, 250, 500);
  INFO(per_second << " requests a second");
  Model m;
  m.per_second = per_second;
  m.per_mib = 4 * kMicrosecond;  // twice at 50 MiB/s
  m.run(60 * io::kSecond);
  REQUIRE(m.pace.alone() != 0);
  CHECK(m.pace.alone() < 2 * m.alone);
  const uint64_t before = m.bytes;
  m.slowest = 0;
  m.run(60 * io::kSecond);
  CHECK(m.slowest <= 2 * m.alone);
  CHECK((m.bytes - before) / 60 > 10 * kMiB);
}

TEST_CASE("pace: the slowest of the requests are looked at, as far out as there are enough of them", "[repl][rebuild]") {
  // A median would see nothing of it; nor would a 90th percentile where one of twenty is hurt.
  const auto [per_second, one_in] = GENERATE(std::pair(5000, 20), std::pair(100, 5));
  INFO(per_second << " requests a second, the lane slows down one of " << one_in);
  Model m;
  m.per_second = per_second;
  m.hurt_one_in = one_in;
  m.per_mib = 4 * kMicrosecond;  // twice at 50 MiB/s
  m.run(60 * io::kSecond);
  m.slowest = 0;
  m.run(60 * io::kSecond);
  CHECK(m.slowest <= 2 * m.alone);
}

TEST_CASE("pace: a lane that hurts nobody gets to the disk's speed beside clients, however few", "[repl][rebuild]") {
  const int per_second = GENERATE(10, 5000);
  Model m;
  m.per_second = per_second;
  m.run(120 * io::kSecond);
  CHECK(m.rate() == m.disk);
}

TEST_CASE("pace: clients of other volumes are yielded to, also where this one has none", "[repl][rebuild]") {
  const int own = GENERATE(0, 1000);
  Model m;
  m.per_second = own;
  m.others = 5000;
  m.per_mib = 4 * kMicrosecond;
  m.run(20 * io::kSecond);
  m.slowest = 0;
  m.run(20 * io::kSecond);
  CHECK(m.slowest <= 2 * m.alone);
}

TEST_CASE("pace: a moment without requests does not let a lane loose", "[repl][rebuild]") {
  Model m;
  m.per_mib = 4 * kMicrosecond;
  m.run(20 * io::kSecond);
  const uint64_t rate = m.pace.rate();
  m.per_second = 0;
  m.run(kMillisecond * 600);
  CHECK(m.pace.rate() <= rate * 3 / 2);
  // Who is away for long is not waited for.
  m.run(5 * io::kSecond);
  CHECK(m.pace.rate() == RebuildPace::kRateMax);
}

TEST_CASE("pace: a lane that other ones kept quiet reads before it pauses again", "[repl][rebuild]") {
  RebuildPace pace;
  const ClientWatch::Seen seen = clients(1000, kMillisecond);
  const auto slice = [&](uint64_t bytes) { pace.end_part({.own = seen, .node = seen, .bytes = bytes}); };
  REQUIRE(pace.join_pause());
  while (pace.pausing()) pace.end_part({.own = seen, .node = seen});
  // As many slices without a byte as would call for a pause, twice: its turn is still to come.
  for (uint32_t i = 0; i < 2 * RebuildPace::kSlicesPerPause; ++i) {
    slice(0);
    REQUIRE_FALSE(pace.pausing());
    REQUIRE_FALSE(pace.join_pause());
  }
  slice(kMiB);
  CHECK((pace.pausing() || pace.join_pause()));
}

TEST_CASE("pace: two sets of clients need not say at once that the lane may go faster", "[repl][rebuild]") {
  RebuildPace pace;
  // The volume's clients can be judged by after two slices, all of the node after three.
  const ClientWatch::Seen own = clients(160, kMillisecond), node = clients(110, kMillisecond);
  REQUIRE(pace.join_pause());
  while (pace.pausing()) pace.end_part({.own = own, .node = node});
  const auto slice = [&] {
    do pace.end_part({.own = own, .node = node, .bytes = kMiB});
    while (pace.pausing());
  };
  slice();
  slice();
  CHECK(pace.rate() == RebuildPace::kRateStart);
  slice();
  CHECK(pace.rate() > RebuildPace::kRateStart);
}

}  // namespace ringbolt::repl

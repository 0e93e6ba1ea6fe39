// The contract of io::Io for time and the loop, on the real and the simulated implementation.
#include <catch2/catch.hpp>

#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

struct Recorder;

struct RecordingTimer : Timer {
  RecordingTimer(Recorder& owner, int number)
      : Timer(&RecordingTimer::on_fire), recorder(owner), id(number) {}
  static void on_fire(Timer& timer);
  Recorder& recorder;
  int id;
};

struct RecordingDeferred : Deferred {
  RecordingDeferred(Recorder& owner, int number)
      : Deferred(&RecordingDeferred::on_run), recorder(owner), id(number) {}
  static void on_run(Deferred& deferred);
  Recorder& recorder;
  int id;
};

struct Recorder {
  explicit Recorder(Bed& owner) : bed(owner) {}
  Bed& bed;
  std::vector<int> order;
  RecordingTimer t1{*this, 1};
  RecordingTimer t2{*this, 2};
  RecordingTimer t3{*this, 3};
  RecordingTimer again{*this, 4};
  RecordingDeferred d1{*this, 11};
  RecordingDeferred d2{*this, 12};
  RecordingDeferred d3{*this, 13};
  int repeats = 0;
};

void RecordingTimer::on_fire(Timer& timer) {
  auto& self = static_cast<RecordingTimer&>(timer);
  self.recorder.order.push_back(self.id);
  if (self.id == 4 && ++self.recorder.repeats < 3) self.recorder.bed.io().arm(timer, 0);
  // At the end of the turn, after all timers that are due.
  if (self.id == 3) {
    self.recorder.bed.io().defer(self.recorder.d2);
    self.recorder.bed.io().defer(self.recorder.d1);
  }
}

void RecordingDeferred::on_run(Deferred& deferred) {
  auto& self = static_cast<RecordingDeferred&>(deferred);
  self.recorder.order.push_back(self.id);
  if (self.id == 12) self.recorder.bed.io().defer(self.recorder.d3);
}

}  // namespace

TEST_CASE("io: timers fire in the order of their deadlines, ties in the order of arming", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  Recorder r(*bed);
  const Nanos begin = bed->io().now();
  bed->io().arm(r.t3, 30 * kMillisecond);
  bed->io().arm(r.t1, 50 * kMillisecond);
  bed->io().arm(r.t2, 20 * kMillisecond);
  bed->io().arm(r.t1, 10 * kMillisecond);  // moved
  CHECK(r.t1.armed());
  REQUIRE(bed->run_until([&] { return r.order.size() == 6; }));
  CHECK(r.order == std::vector<int>{1, 2, 3, 12, 11, 13});
  CHECK(bed->io().now() - begin >= 30 * kMillisecond);
  CHECK_FALSE(r.t1.armed());
}

TEST_CASE("io: a disarmed timer does not fire and a timer can arm itself again", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  Recorder r(*bed);
  bed->io().arm(r.t1, kMillisecond);
  bed->io().arm(r.again, 0);
  bed->io().arm(r.t2, 5 * kMillisecond);
  bed->io().disarm(r.t1);
  bed->io().disarm(r.t1);
  CHECK_FALSE(r.t1.armed());
  REQUIRE(bed->run_until([&] { return r.order.size() == 4; }));
  CHECK(r.order == std::vector<int>{4, 4, 4, 2});
}

TEST_CASE("io: deferred work runs in order, once per queueing, and can be taken back", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  Recorder r(*bed);
  bed->io().defer(r.d1);
  bed->io().defer(r.d2);
  bed->io().defer(r.d1);  // queued already
  CHECK(r.order.empty());
  bed->io().undefer(r.d1);
  CHECK_FALSE(r.d1.queued());
  bed->io().defer(r.d1);
  REQUIRE(bed->run_until([&] { return r.order.size() == 3; }));
  CHECK(r.order == std::vector<int>{12, 11, 13});
  CHECK_FALSE(r.d3.queued());
}

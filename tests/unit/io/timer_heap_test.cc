// TimerHeap: order and the rules about timers that change timers.
#include "io/timer_heap.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <vector>

using namespace ringbolt::io;

namespace {
struct Recorded : Timer {
  Recorded() : Timer(&Recorded::on_fire) {}
  static void on_fire(Timer& timer) {
    auto& self = static_cast<Recorded&>(timer);
    self.log->push_back(self.id);
    if (self.rearm != nullptr) self.rearm->arm(timer, self.deadline_);
    if (self.disarms != nullptr) self.heap->disarm(*self.disarms);
  }
  std::vector<int>* log = nullptr;
  int id = 0;
  TimerHeap* heap = nullptr;
  TimerHeap* rearm = nullptr;
  Timer* disarms = nullptr;
};
}  // namespace

TEST_CASE("timer_heap: random arming, moving and disarming fires like a sorted list",
          "[timer_heap]") {
  const uint32_t seed = GENERATE(range(1u, 9u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  TimerHeap heap(4);
  std::vector<int> log;
  std::vector<std::unique_ptr<Recorded>> timers;
  for (int i = 0; i < 200; ++i) {
    timers.push_back(std::make_unique<Recorded>());
    timers.back()->log = &log;
    timers.back()->id = i;
  }
  struct Armed {
    Nanos deadline;
    int order;
    int id;
  };
  std::vector<Armed> armed;
  int order = 0;
  Nanos now = 0;
  for (int step = 0; step < 3000; ++step) {
    const int id = static_cast<int>(random() % timers.size());
    const auto is_it = [id](const Armed& entry) { return entry.id == id; };
    switch (random() % 4) {
      case 0:
      case 1: {
        const Nanos deadline = now + static_cast<Nanos>(random() % 50);
        heap.arm(*timers[static_cast<size_t>(id)], deadline);
        std::erase_if(armed, is_it);
        armed.push_back({deadline, order++, id});
        break;
      }
      case 2:
        heap.disarm(*timers[static_cast<size_t>(id)]);
        std::erase_if(armed, is_it);
        break;
      default: {
        now += static_cast<Nanos>(random() % 10);
        log.clear();
        heap.fire_due(now);
        std::sort(armed.begin(), armed.end(), [](const Armed& a, const Armed& b) {
          return a.deadline != b.deadline ? a.deadline < b.deadline : a.order < b.order;
        });
        std::vector<int> expected;
        while (!armed.empty() && armed.front().deadline <= now) {
          expected.push_back(armed.front().id);
          armed.erase(armed.begin());
        }
        REQUIRE(log == expected);
      }
    }
    REQUIRE(heap.size() == armed.size());
  }
  heap.clear();  // the timers go first
}

TEST_CASE("timer_heap: one that arms itself without delay does not hold up the loop",
          "[timer_heap]") {
  TimerHeap heap;
  std::vector<int> log;
  Recorded a;
  a.log = &log;
  a.id = 1;
  a.rearm = &heap;
  heap.arm(a, 5);
  CHECK(heap.fire_due(4) == 0);
  CHECK(heap.fire_due(5) == 1);
  CHECK(a.armed());
  CHECK(heap.fire_due(5) == 1);
  CHECK(log == std::vector<int>{1, 1});
  heap.clear();
}

TEST_CASE("timer_heap: a firing timer can disarm one that is due too", "[timer_heap]") {
  TimerHeap heap;
  std::vector<int> log;
  Recorded a;
  Recorded b;
  a.log = b.log = &log;
  a.id = 1;
  b.id = 2;
  a.heap = &heap;
  a.disarms = &b;
  heap.arm(a, 1);
  heap.arm(b, 1);
  CHECK(heap.fire_due(10) == 1);
  CHECK(log == std::vector<int>{1});
  CHECK(heap.empty());
}

TEST_CASE("timer_heap: clearing disarms all", "[timer_heap]") {
  Recorded a;
  {
    TimerHeap heap;
    heap.arm(a, 1);
    CHECK(a.armed());
  }
  CHECK_FALSE(a.armed());
}

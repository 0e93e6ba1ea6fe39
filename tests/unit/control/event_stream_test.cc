// Events as text, and what waits for one reader.
#include "control/event_stream.h"

#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

EventStream::Text text(const std::string& words) { return std::make_shared<const std::string>(words); }

TEST_CASE("event text: id, name, data, and an empty line", "[events]") {
  CHECK(event_text(7, "volume", R"({"a":1})") == "id: 7\nevent: volume\ndata: {\"a\":1}\n\n");
  CHECK(event_text(1, "x", "") == "id: 1\nevent: x\ndata: \n\n");
  // No data can end the event, or begin another one.
  CHECK(event_text(1, "x", "a\n\nevent: y\n") == "id: 1\nevent: x\ndata: a\ndata: \ndata: event: y\ndata: \n\n");
}

TEST_CASE("event stream: what is pushed is taken in order, whole events at a time", "[events]") {
  EventStream stream(100);
  int woken = 0;
  stream.on_ready([&] { ++woken; });
  stream.push(text("one"));
  stream.push(text("two"));
  stream.push(text("three"));
  CHECK(woken == 3);
  CHECK(stream.take(7) == "onetwo");
  CHECK(stream.take(1) == "three");  // at least one
  CHECK(stream.take(7).empty());
}

TEST_CASE("event stream: of what is said again only the newest waits, in its place by age", "[events]") {
  EventStream stream(100);
  stream.push_newest("a", text("a1 "));
  stream.push(text("change1 "));
  stream.push_newest("b", text("b1 "));
  stream.push_newest("a", text("a2 "));
  stream.push(text("change2 "));
  CHECK(stream.take(1000) == "change1 b1 a2 change2 ");
  stream.push_newest("a", text("a3"));
  CHECK(stream.take(1000) == "a3");
}

TEST_CASE("event stream: numbers never make a reader too slow, changes do", "[events]") {
  EventStream stream(10);
  for (int i = 0; i < 100; ++i) stream.push_newest("a", text("longer than ten bytes"));
  CHECK(!stream.overrun());
  stream.push(text("12345"));
  stream.push(text("67890"));
  CHECK(!stream.overrun());
  CHECK(stream.take(1000) == "longer than ten bytes1234567890");
  stream.push(text("1234567890"));  // what was taken counts no more
  CHECK(!stream.overrun());
  bool woken = false;
  stream.on_ready([&] { woken = true; });
  stream.push(text("!"));
  CHECK(stream.overrun());
  CHECK(woken);
  CHECK(stream.take(1000).empty());
  stream.push(text("late"));
  stream.push_newest("a", text("late"));
  CHECK(stream.take(1000).empty());
}

TEST_CASE("event stream: the end comes after what waits", "[events]") {
  EventStream stream(100);
  stream.push(text("last"));
  stream.end();
  stream.push(text("too late"));
  CHECK(!stream.ended());
  CHECK(stream.take(100) == "last");
  CHECK(stream.ended());
}

TEST_CASE("event stream: nobody is woken who has left, also from inside", "[events]") {
  EventStream stream(100);
  int woken = 0;
  stream.on_ready([&] {
    ++woken;
    stream.close();
  });
  stream.push(text("one"));
  stream.push(text("two"));
  stream.end();
  CHECK(woken == 1);
  CHECK(stream.closed());
  CHECK(stream.take(100).empty());
}

}  // namespace
}  // namespace ringbolt

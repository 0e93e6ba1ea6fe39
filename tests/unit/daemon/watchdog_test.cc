// The service manager's watchdog is fed as long as all shards answer, and no longer.
#include "daemon/watchdog.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>

#include "tests/unit/control/fake_daemon.h"

namespace ringbolt {
namespace {

constexpr std::chrono::milliseconds kTimeout{30};  // so that a test sees many periods of it

/// Runs the control thread until `condition`; false if it does not come true although there was all the time in the world.
template <class Condition>
bool run_until(boost::asio::io_context& io, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    io.run_one_for(std::chrono::milliseconds(100));
  }
  return true;
}

struct WatchedDaemon {
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  int fed = 0;
  Watchdog watchdog{io, kTimeout, [this] { ++fed; }};
  test::FakeDaemon daemon;
};

TEST_CASE("watchdog: it is fed again and again, once for each time that all shards have answered", "[daemon]") {
  WatchedDaemon watched;
  watched.watchdog.watch(watched.daemon);
  REQUIRE(run_until(watched.io, [&] { return watched.fed >= 5; }));
  CHECK(watched.daemon.node_asked() - watched.fed <= 1);
  CHECK(watched.daemon.node_asked() >= watched.fed);
}

TEST_CASE("watchdog: it is not fed while a shard does not answer, and is again when it does", "[daemon]") {
  WatchedDaemon watched;
  watched.daemon.hold(true);
  watched.watchdog.watch(watched.daemon);
  REQUIRE(watched.daemon.node_asked() == 1);
  // The control thread runs for as long as several feeds would take.
  const auto end = std::chrono::steady_clock::now() + 5 * kTimeout;
  while (std::chrono::steady_clock::now() < end) watched.io.run_one_for(kTimeout);
  CHECK(watched.fed == 0);
  CHECK(watched.daemon.node_asked() == 1);  // questions do not pile up
  watched.daemon.hold(false);
  REQUIRE(run_until(watched.io, [&] { return watched.fed >= 2; }));
}

TEST_CASE("watchdog: after its end nothing is fed or asked, also by an answer that was under way", "[daemon]") {
  WatchedDaemon watched;
  watched.daemon.hold(true);
  watched.watchdog.watch(watched.daemon);
  watched.watchdog.end();
  watched.daemon.hold(false);
  REQUIRE(watched.io.run_one_for(std::chrono::seconds(60)) == 1);  // the answer
  CHECK(watched.io.run_one_for(2 * kTimeout) == 0);
  CHECK(watched.fed == 0);
  CHECK(watched.daemon.node_asked() == 1);
}

TEST_CASE("watchdog: without a timeout nobody is asked", "[daemon]") {
  WatchedDaemon watched;
  Watchdog idle(watched.io, std::chrono::microseconds(0), [&] { ++watched.fed; });
  idle.watch(watched.daemon);
  CHECK(watched.daemon.node_asked() == 0);
  CHECK(watched.io.poll() == 0);
  CHECK(watched.fed == 0);
}

}  // namespace
}  // namespace ringbolt

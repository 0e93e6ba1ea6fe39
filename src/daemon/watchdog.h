// Feeds the service manager's watchdog while the daemon makes progress: the control thread, whose timer this is, and every
// shard, each of which has to answer a question before the next feed. One that hangs is noticed by the manager, which ends
// the process and starts it again.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>

#include "control/daemon.h"

namespace ringbolt {

/// Thread: all members on the thread that runs `io`.
/// Requires: `io` outlives the Daemon given to watch(), whose shards post answers to it; this object is there as long as `io` runs.
class Watchdog {
 public:
  /// `timeout`: how long the manager waits for `feed`; zero: it has no watchdog, and nothing is done here.
  Watchdog(boost::asio::io_context& io, std::chrono::microseconds timeout, std::function<void()> feed);

  /// Feeds from now on. Requires: `daemon` lives until end().
  void watch(Daemon& daemon);
  void end();

 private:
  void ask();
  void on_answer();

  boost::asio::io_context& io_;
  const std::chrono::microseconds period_;
  const std::function<void()> feed_;
  boost::asio::steady_timer timer_;
  Daemon* daemon_ = nullptr;  ///< null: not watched
};

}  // namespace ringbolt

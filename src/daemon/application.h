// The life of ringboltd from a checked configuration to its exit code: start, signals, clean stop.
// Wires the admin server, the daemon proper, the process's signals and the service manager together;
// decides nothing about volumes.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <memory>
#include <string>
#include <thread>

#include "control/admin_server.h"
#include "control/config.h"
#include "control/daemon.h"
#include "daemon/service_manager.h"
#include "daemon/watchdog.h"

namespace ringbolt {

enum ExitCode : int {
  kStopped = 0,      ///< clean stop
  kFailed = 1,       ///< could not start, could not go on, or was told twice to stop
  kBadConfig = 2,    ///< --check found a mistake
  kUsage = 2,
};

/// Lives on the control thread, which is the one that calls run().
class Application {
 public:
  Application(Config config, std::string config_path);
  ~Application();

  /// Runs until a signal or a failure ends it; the process's exit code.
  int run();

 private:
  /// Opening volumes can take long (recovery reads the WAL) and blocks, so it has a thread of its
  /// own while this one answers signals and health checks.
  void start_daemon();
  void on_started(Result<std::unique_ptr<Daemon>> result);
  void wait_for_signal();
  void on_signal(int number);
  void stop();
  void on_stopped();
  void on_hang_up();
  void reread_config();
  bool change_rebuild_rate(uint64_t bytes_per_second);
  void fail(const std::string& why);
  void end(int exit_code);
  [[nodiscard]] std::string serving_words() const;

  const Config config_;
  const std::string config_path_;
  uint64_t rebuild_rate_max_;  ///< in force; config_ has what it was at the start
  boost::asio::io_context io_;
  boost::asio::signal_set signals_{io_};
  std::thread starter_;
  ServiceManager manager_;
  Watchdog watchdog_{io_, manager_.watchdog_timeout(), [this] { manager_.alive(); }};
  // After io_, so destroyed before it: the daemon's shards post to io_ until they have ended. The
  // admin server refers to the daemon, so it goes first.
  std::unique_ptr<Daemon> daemon_;
  AdminServer admin_{io_};
  bool stop_requested_ = false;
  int exit_code_ = kStopped;
};

}  // namespace ringbolt

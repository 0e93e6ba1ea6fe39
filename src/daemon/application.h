// The life of ringboltd from a checked configuration to its exit code: start, signals, clean stop.
// Wires the admin server, the daemon proper, the process's signals and the service manager together;
// decides nothing about volumes.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/admin_server.h"
#include "control/config.h"
#include "control/daemon.h"
#include "control/question.h"
#include "control/reload.h"
#include "coord/coordinator.h"
#include "daemon/cluster_member.h"
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
class Application : private Reloader {
 public:
  /// `file`: what is in the file at `config_path`; `options` win over it.
  Application(const Config& file, std::string config_path, const LogOptions& options);
  ~Application() override;

  /// Runs until a signal or a failure ends it; the process's exit code.
  int run();

 private:
  /// Opening volumes can take long (recovery reads the WAL) and blocks, so it has a thread of its
  /// own while this one answers signals and health checks.
  void start_daemon();
  struct Started;
  static Result<Started> start_now(const Config& config);
  void on_started(Result<Started> result);
  void wait_for_signal();
  void on_signal(int number);
  void stop();
  void on_stopped();
  void on_left();
  void on_hang_up();
  void reload(std::function<void(const Result<ReloadReport>&)> done) override;
  /// False: the daemon stops.
  bool begin_reload();
  void on_reloaded(ReloadPlan plan, const std::vector<std::string>& problems);
  void end_reload(const Result<ReloadReport>& result);
  void tell_reloaded(const ReloadReport& report) const;
  void fail(const std::string& why);
  void end(int exit_code);
  [[nodiscard]] std::string serving_words() const;

  Config config_;  ///< in force. Another thread reads it until the daemon has started; a reload changes it after that
  Config file_;    ///< as it was read last
  const std::string config_path_;
  const LogOptions options_;
  bool hung_up_ = false;  ///< before it served
  /// One reload at a time; who asks while it goes on has the next one.
  Question<Result<ReloadReport>> reloads_{[this] { return begin_reload(); }};
  boost::asio::io_context io_;
  boost::asio::signal_set signals_{io_};
  std::thread starter_;
  ServiceManager manager_;
  Watchdog watchdog_{io_, manager_.watchdog_timeout(), [this] { manager_.alive(); }};
  // After io_, so destroyed before it: the daemon's shards post to io_ until they have ended. The
  // admin server refers to the daemon, so it goes first.
  std::unique_ptr<Daemon> daemon_;
  std::optional<ClusterMember> member_;  ///< nullopt: there is no coordinator
  std::unique_ptr<coord::Coordinator> coordinator_;
  AdminServer admin_{io_};
  bool stop_requested_ = false;
  int exit_code_ = kStopped;
};

}  // namespace ringbolt

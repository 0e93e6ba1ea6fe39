#include "daemon/application.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <boost/asio/post.hpp>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

#include "io/host_check.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

namespace asio = boost::asio;

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP};

/// While it lives, threads that are created do not take the daemon's signals: one that interrupted
/// a shard in its ring would cost it a turn for nothing.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : kSignals) sigaddset(&set, number);
    const int error = pthread_sigmask(SIG_BLOCK, &set, &before_);
    RINGBOLT_ASSERT(error == 0);
  }
  ~SignalsBlocked() {
    const int error = pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    RINGBOLT_ASSERT(error == 0);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

/// Ends the process as it stands: no volume is marked clean, so the next start recovers.
[[noreturn]] void end_at_once() { std::_Exit(kFailed); }

void on_fatal(const std::string& reason) {
  log::error("cannot go on: {}", reason);
  end_at_once();
}

}  // namespace

struct Application::Started {
  std::unique_ptr<Daemon> daemon;
  std::optional<ClusterMember> member;
};

Result<Application::Started> Application::start_now(const Config& config) {
  try {
    Started started;
    BOOST_OUTCOME_TRY(started.member, prepare_member(config));
    BOOST_OUTCOME_TRY(started.daemon, Daemon::start(config, on_fatal));
    return started;
  } catch (const std::exception& failure) {
    return make_error(Errc::kIo, failure.what());
  }
}

Application::Application(const Config& file, std::string config_path, const LogOptions& options)
    : config_(file), file_(file), config_path_(std::move(config_path)), options_(options) {
  config_.log_level = options_.level.value_or(file.log_level);
  config_.log_format = options_.format.value_or(file.log_format);
}

Application::~Application() {
  if (starter_.joinable()) starter_.join();
}

int Application::run() {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that goes away is an error of the write
  io::raise_file_limit();
  const Status host = io::check_host(config_.memory_bytes);
  if (host.has_error()) {
    fail(host.error().message);
    return exit_code_;
  }
  // Before anything is opened: a second daemon by mistake ends here, having touched nothing.
  const Status listening = admin_.listen(config_.admin_listen);
  if (listening.has_error()) {
    fail(listening.error().message);
    return exit_code_;
  }
  for (const int number : kSignals) signals_.add(number);
  wait_for_signal();
  start_daemon();
  io_.run();
  return exit_code_;
}

void Application::start_daemon() {
  log::info("ringboltd {} starting: node {}, data in {}", RINGBOLT_VERSION, config_.node_id,
            config_.data_dir);
  manager_.say(fmt::format("opening {} volumes", config_.volumes.size()));
  const SignalsBlocked blocked;
  starter_ = std::thread([this] {
    // Shared, because a posted function must be copyable.
    auto result = std::make_shared<std::optional<Result<Started>>>();
    result->emplace(start_now(config_));
    asio::post(io_, [this, result] { on_started(std::move(**result)); });
  });
}

void Application::on_started(Result<Started> result) {
  starter_.join();
  if (result.has_error()) return fail(result.error().message);
  daemon_ = std::move(result.value().daemon);
  member_ = std::move(result.value().member);
  if (stop_requested_) return stop();
  if (member_) coordinator_ = std::make_unique<coord::Coordinator>(io_, member_->options, node_record(config_, *member_, admin_.local_address()));
  admin_.serve(*daemon_, *this, coordinator_.get());
  log::info("ready: nbd {}, replication {}, admin {}, {} volumes",
            fmt::join(config_.nbd_listen, " "), config_.replication_listen, admin_.local_address(),
            daemon_->volume_count());
  manager_.ready(serving_words());
  watchdog_.watch(*daemon_);
  // While volumes were being opened.
  if (std::exchange(hung_up_, false)) on_hang_up();
}

std::string Application::serving_words() const { return fmt::format("serving {} volumes", daemon_->volume_count()); }

void Application::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;  // cancelled at the end
    wait_for_signal();
    on_signal(number);
  });
}

void Application::on_signal(int number) {
  if (number == SIGHUP) return on_hang_up();
  if (stop_requested_) {
    // Once they are closed, it is only the coordinator that has not answered.
    const bool closed = coordinator_ != nullptr && daemon_ == nullptr;
    log::error("told to stop a second time: ending at once, {}", closed ? "the registration ends with its lease" : "volumes are not marked clean");
    end_at_once();
  }
  stop_requested_ = true;
  log::info("signal {}: stopping", number);
  manager_.stopping();
  // Else on_started() goes on from here.
  if (daemon_) stop();
}

void Application::stop() {
  admin_.unserve();
  daemon_->stop([this] { asio::post(io_, [this] { on_stopped(); }); });
}

void Application::on_stopped() {
  watchdog_.end();
  daemon_.reset();
  if (coordinator_ == nullptr) return on_left();
  // Within a call of the coordinator's it cannot end.
  coordinator_->leave([this] { asio::post(io_, [this] { on_left(); }); });
}

void Application::on_left() {
  coordinator_.reset();
  log::info("stopped");
  end(kStopped);
}

void Application::on_hang_up() {
  if (stop_requested_) return;
  if (daemon_ == nullptr) {
    hung_up_ = true;
    return;
  }
  reload([](const Result<ReloadReport>&) {});
}

// --- rereading the configuration --------------------------------------------------------------------------

void Application::reload(std::function<void(const Result<ReloadReport>&)> done) { reloads_.add(std::move(done)); }

bool Application::begin_reload() {
  if (stop_requested_) return false;
  manager_.reloading();
  const Result<Config> now = load_config(config_path_);
  admin_.note_reload(now.has_value());
  if (now.has_error()) {
    log::error("reload: the configuration is not valid, nothing changes: {}", now.error().message);
    asio::post(io_, [this, error = now.error()] { end_reload(error); });
    return true;
  }
  ReloadPlan plan = plan_reload(config_, std::exchange(file_, now.value()), now.value(), options_);
  log::set_level(plan.next.log_level);
  const Config next = plan.next;
  const std::vector<ReplicaMove> moves = plan.moves;
  daemon_->change(next, moves, [this, plan = std::move(plan)](const std::vector<std::string>& problems) {
    asio::post(io_, [this, plan, problems] { on_reloaded(plan, problems); });
  });
  return true;
}

void Application::on_reloaded(ReloadPlan plan, const std::vector<std::string>& problems) {
  take_back_moves(plan, config_, problems);
  config_ = plan.next;
  if (coordinator_ != nullptr) coordinator_->change(node_record(config_, *member_, admin_.local_address()));
  tell_reloaded(plan.report);
  end_reload(plan.report);
}

void Application::end_reload(const Result<ReloadReport>& result) {
  // Once it stops, that would not be true.
  if (!stop_requested_) manager_.ready(serving_words());
  reloads_.on_answer(result);
}

void Application::tell_reloaded(const ReloadReport& report) const {
  for (const ConfigChange& change : report.applied) {
    log::info({.volume = change.volume, .replica = change.replica, .key = change.key}, "reload: {} is now {} (was {})", name_of(change), change.to, change.from);
  }
  for (const PendingChange& pending : report.pending) {
    if (pending.needs_restart()) continue;
    const ConfigChange& change = pending.change;
    log::warn({.volume = change.volume, .replica = change.replica, .key = change.key}, "reload: {} stays {}, {} is not in force: {}", name_of(change),
              change.from, change.to, pending.why);
  }
  const std::string restart = restart_words(report);
  if (!restart.empty()) log::warn("reload: needs a restart: {}", restart);
  if (report.applied.empty() && report.pending.empty()) log::info("reload: {} has nothing new", config_path_);
}

void Application::fail(const std::string& why) {
  // The line that people and scripts look for: without time stamp.
  log::write_bare(log::Level::kError, "ringboltd: " + why);
  manager_.say(why);
  end(kFailed);
}

void Application::end(int exit_code) {
  exit_code_ = exit_code;
  admin_.close();
  signals_.cancel();
}

}  // namespace ringbolt

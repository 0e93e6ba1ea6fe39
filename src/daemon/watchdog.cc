#include "daemon/watchdog.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace ringbolt {
namespace {

/// From one answer to the next question. systemd advises to feed twice within its timeout; the rest of it is for the answers.
constexpr int kFeedsPerTimeout = 3;

}  // namespace

Watchdog::Watchdog(boost::asio::io_context& io, std::chrono::microseconds timeout, std::function<void()> feed)
    : io_(io), period_(timeout / kFeedsPerTimeout), feed_(std::move(feed)), timer_(io) {}

void Watchdog::watch(Daemon& daemon) {
  if (period_ == std::chrono::microseconds::zero()) return;
  daemon_ = &daemon;
  ask();
}

void Watchdog::end() {
  daemon_ = nullptr;
  timer_.cancel();
}

void Watchdog::ask() {
  // Any question would do that all shards answer.
  daemon_->node([this](const NodeStatus&) { boost::asio::post(io_, [this] { on_answer(); }); });
}

void Watchdog::on_answer() {
  if (daemon_ == nullptr) return;
  feed_();
  timer_.expires_after(period_);
  timer_.async_wait([this](const boost::system::error_code& cancelled) {
    // A timer that was due already is not cancelled any more.
    if (!cancelled && daemon_ != nullptr) ask();
  });
}

}  // namespace ringbolt

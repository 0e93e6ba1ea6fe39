// What systemd, if it started the daemon, is told about it; the only place that knows libsystemd. Outside of systemd
// (no $NOTIFY_SOCKET) every call does nothing.
#pragma once

#include <chrono>
#include <string>

namespace ringbolt {

/// Thread: the control thread. A call is one datagram to the manager.
class ServiceManager {
 public:
  /// Reads the environment.
  ServiceManager();

  /// How long the manager waits for alive() before it takes the daemon for hung; zero: for ever.
  [[nodiscard]] std::chrono::microseconds watchdog_timeout() const { return watchdog_timeout_; }

  /// What the daemon does now, a line for people.
  void say(const std::string& status);
  /// It serves: what was to start after it may start now. Also what ends a reload.
  void ready(const std::string& status);
  void reloading();
  void stopping();
  void alive();

 private:
  void tell(const std::string& state);

  std::chrono::microseconds watchdog_timeout_{0};
};

}  // namespace ringbolt

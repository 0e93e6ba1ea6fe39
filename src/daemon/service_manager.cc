#include "daemon/service_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstring>

#include "log/log.h"

namespace ringbolt {
namespace {

/// One line, whatever an error message quotes: a further line would be another assignment.
std::string status_line(const std::string& status) { return "STATUS=" + log::printable(status); }

}  // namespace

ServiceManager::ServiceManager() {
  uint64_t timeout_us = 0;
  const int result = sd_watchdog_enabled(0, &timeout_us);
  if (result > 0) watchdog_timeout_ = std::chrono::microseconds(timeout_us);
  if (result < 0) log::warn("the service manager's watchdog is not fed: WATCHDOG_USEC or WATCHDOG_PID is not a number");
}

void ServiceManager::say(const std::string& status) { tell(status_line(status)); }

void ServiceManager::ready(const std::string& status) { tell("READY=1\n" + status_line(status)); }

void ServiceManager::reloading() {
  // The time lets newer managers (Type=notify-reload) tell this reload from an earlier one.
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.count()));
}

void ServiceManager::stopping() { tell("STOPPING=1\n" + status_line("stopping")); }

void ServiceManager::alive() { tell("WATCHDOG=1"); }

void ServiceManager::tell(const std::string& state) {
  const int result = sd_notify(0, state.c_str());
  if (result < 0) RINGBOLT_LOG_LIMITED(kWarn, "the service manager cannot be told \"{}\": {}", log::printable(state), std::strerror(-result));
}

}  // namespace ringbolt

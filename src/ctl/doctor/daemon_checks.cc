#include "ctl/doctor/daemon_checks.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "control/config_values.h"
#include "ctl/doctor/advice.h"
#include "ctl/doctor/port_owner.h"

namespace ringbolt::ctl::doctor {

namespace {

constexpr std::string_view kProgram = "ringboltd";

std::vector<std::pair<std::string, std::string>> addresses_of(const Config& config) {
  std::vector<std::pair<std::string, std::string>> addresses;
  for (const std::string& address : config.nbd_listen) addresses.emplace_back("nbd.listen", address);
  addresses.emplace_back("replication.listen", config.replication_listen);
  addresses.emplace_back("admin.listen", config.admin_listen);
  return addresses;
}

void check_port(const HostFiles& files, const std::string& key, const std::string& text, Findings& findings) {
  const std::string subject = fmt::format("{} {}", key, text);
  const Result<io::Address> address = io::parse_address(text);
  if (address.has_error()) return add_unknown(findings, subject, "port", address.error());
  if (address.value().kind == io::Address::Kind::kTcp && address.value().port == 0) return add_ok(findings, subject, "port", "any free one");
  const Result<std::optional<Listener>> listener = listener_on(files, address.value());
  if (listener.has_error()) return add_unknown(findings, subject, "port", listener.error());
  if (!listener.value()) return add_ok(findings, subject, "port", "free");
  const Listener& owner = *listener.value();
  if (!owner.pid) return add_unknown(findings, subject, "port", make_error(Errc::kNotPermitted, "in use; by whom, root may see"));
  const std::string found = fmt::format("held by {}, pid {}", owner.program, *owner.pid);
  if (owner.program == kProgram) return add_ok(findings, subject, "port", found);
  findings.push_back({subject, "port", State::kProblem, found, fmt::format("end that program, or give another address to {}", key)});
}

}  // namespace

std::optional<uint32_t> daemon_pid(const HostFiles& files, const Config& config) {
  for (const auto& [key, text] : addresses_of(config)) {
    const Result<io::Address> address = io::parse_address(text);
    if (address.has_error()) continue;
    const Result<std::optional<Listener>> listener = listener_on(files, address.value());
    if (listener.has_value() && listener.value() && listener.value()->program == kProgram) return listener.value()->pid;
  }
  return std::nullopt;
}

void check_ports(const HostFiles& files, const Config& config, Findings& findings) {
  for (const auto& [key, text] : addresses_of(config)) check_port(files, key, text, findings);
}

void check_daemon(const NodeAnswer& answer, const std::string& node_id, bool holds_port, Findings& findings) {
  const std::string subject = "daemon " + answer.address;
  if (!answer.problem.empty()) {
    if (holds_port) {
      findings.push_back({subject, "daemon", State::kProblem, "a ringboltd listens there, and does not answer: " + answer.problem, "journalctl -u ringboltd"});
    } else {
      add_unknown(findings, subject, "daemon", make_error(Errc::kNotFound, "none answers, so its version is not known: " + answer.problem));
    }
    return;
  }
  const std::string found = fmt::format("node {}, version {}", answer.id, answer.version);
  if (!node_id.empty() && answer.id != node_id) {
    findings.push_back({subject, "daemon", State::kProblem, fmt::format("{}; the configuration says node {}", found, node_id),
                        "name the configuration that the daemon runs with, or restart the daemon"});
  } else if (answer.version != RINGBOLT_VERSION) {
    findings.push_back({subject, "daemon", State::kWarning, fmt::format("{}; this program is {}", found, RINGBOLT_VERSION),
                        "after an update the daemon is restarted by hand: systemctl restart ringboltd"});
  } else {
    add_ok(findings, subject, "daemon", found + ", as this program's");
  }
}

}  // namespace ringbolt::ctl::doctor

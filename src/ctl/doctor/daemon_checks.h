// The daemon of this host, as far as it runs: its addresses, whether it answers, and as what.
#pragma once

#include <optional>
#include <string>

#include "control/config.h"
#include "ctl/doctor/finding.h"
#include "ctl/doctor/host_files.h"

namespace ringbolt::ctl::doctor {

/// The process that listens where the configuration says that the daemon does.
std::optional<uint32_t> daemon_pid(const HostFiles& files, const Config& config);

/// Every address of the configuration is free, or the daemon's.
void check_ports(const HostFiles& files, const Config& config, Findings& findings);

/// What GET /v1/node came to.
struct NodeAnswer {
  std::string address;  ///< who was asked
  std::string id, version;
  std::string problem;  ///< why there is no answer; empty: there is
};

/// `node_id`: as configured; empty: no configuration. `holds_port`: a ringboltd listens at the address.
void check_daemon(const NodeAnswer& answer, const std::string& node_id, bool holds_port, Findings& findings);

}  // namespace ringbolt::ctl::doctor

// How TCP is set up for request and reply.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"

namespace ringbolt::ctl::doctor {

void check_congestion_control(const HostFiles& files, Findings& findings) {
  const Result<std::string> used = files.read("/proc/sys/net/ipv4/tcp_congestion_control");
  if (used.has_error()) return add_unknown(findings, kHostSubject, "tcp_congestion", used.error());
  static constexpr std::array kPlain = {"cubic", "reno", "dctcp"};
  if (std::find(kPlain.begin(), kPlain.end(), used.value()) != kPlain.end()) return add_ok(findings, kHostSubject, "tcp_congestion", used.value());
  if (used.value().starts_with("bbr")) {
    findings.push_back({kHostSubject, "tcp_congestion", State::kWarning,
                        used.value() + ": it paces what is sent, which delays requests and replies on loopback and short links",
                        "sysctl -w net.ipv4.tcp_congestion_control=cubic, or tcp_congestion in [nbd] and [replication]; ringboltctl bench shows what it makes of round trips"});
    return;
  }
  add_unknown(findings, kHostSubject, "tcp_congestion",
              make_error(Errc::kUnsupported, used.value() + ": not one that ringbolt was tried with (cubic, reno, dctcp); ringboltctl bench shows round trips"));
}

}  // namespace ringbolt::ctl::doctor

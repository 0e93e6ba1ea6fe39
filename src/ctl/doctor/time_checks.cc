// Whether the host's time is set by somebody. Nothing that ringbolt decides rests on it, but who reads the logs of two hosts does.
#include <fmt/format.h>
#include <sys/timex.h>

#include <cerrno>
#include <cstring>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"

namespace ringbolt::ctl::doctor {

ClockState clock_state() {
  timex clock{};
  const int result = ::adjtimex(&clock);
  if (result < 0) return {.result = -errno};
  return {result, clock.status, clock.maxerror};
}

void check_time(const ClockState& clock, Findings& findings) {
  if (clock.result < 0) {
    return add_unknown(findings, kHostSubject, "time", make_error(Errc::kIo, fmt::format("adjtimex: {}", std::strerror(-clock.result))));
  }
  if (clock.result == TIME_ERROR || (clock.status & STA_UNSYNC) != 0) {
    findings.push_back({kHostSubject, "time", State::kWarning, "not synchronized: logs of different hosts cannot be laid beside each other",
                        "systemctl enable --now systemd-timesyncd, or chrony"});
    return;
  }
  add_ok(findings, kHostSubject, "time", fmt::format("synchronized, at most {:.1f} ms off", static_cast<double>(clock.max_error_us) / 1000));
}

}  // namespace ringbolt::ctl::doctor

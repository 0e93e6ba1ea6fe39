// The kernel's version, and whether it lets ringbolt have an io_uring.
#include <fmt/format.h>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"
#include "io/host_check.h"

namespace ringbolt::ctl::doctor {

void check_kernel(const HostFiles& files, Findings& findings) {
  const Result<std::string> release = files.read("/proc/sys/kernel/osrelease");
  if (release.has_error()) return add_unknown(findings, kHostSubject, "kernel", release.error());
  const Status status = io::check_kernel_release(release.value());
  if (status.has_value()) return add_ok(findings, kHostSubject, "kernel", "Linux " + release.value());
  if (status.error().code == Errc::kInvalid) return add_unknown(findings, kHostSubject, "kernel", status.error());
  add_problem(findings, kHostSubject, "kernel", status.error());
}

void check_io_uring(const HostFiles& files, const Status& set_up, Findings& findings) {
  if (set_up.has_error()) {
    add_problem(findings, kHostSubject, "io_uring", set_up.error());
  } else {
    add_ok(findings, kHostSubject, "io_uring", "can be set up here, and has all operations that are needed");
  }
  // What holds for this user need not hold for the service's.
  const Result<std::string> setting = files.read("/proc/sys/kernel/io_uring_disabled");
  if (setting.has_error()) {
    if (setting.error().code != Errc::kNotFound || set_up.has_error()) return add_unknown(findings, kHostSubject, "io_uring_disabled", setting.error());
    return add_ok(findings, kHostSubject, "io_uring_disabled", "this kernel has no such setting");
  }
  if (setting.value() == "0") return add_ok(findings, kHostSubject, "io_uring_disabled", "0, for everybody");
  if (setting.value() == "1") {
    findings.push_back({kHostSubject, "io_uring_disabled", State::kWarning, "1, only for the group of kernel.io_uring_group, and with CAP_SYS_ADMIN",
                        "put the service's user into that group, or: sysctl -w kernel.io_uring_disabled=0"});
  } else {
    findings.push_back({kHostSubject, "io_uring_disabled", State::kProblem, fmt::format("{}, for nobody", setting.value()), "sysctl -w kernel.io_uring_disabled=0"});
  }
}

}  // namespace ringbolt::ctl::doctor

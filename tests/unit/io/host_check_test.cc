// host_check: each refusal says what is wrong and what to do.
#include "io/host_check.h"

#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

using namespace ringbolt;
using namespace ringbolt::io;

namespace {
bool says(const Error& error, const char* what) {
  return error.message.find(what) != std::string::npos &&
         error.message.find('\n') == std::string::npos;
}
}  // namespace

TEST_CASE("host_check: kernel releases are parsed and compared", "[host_check]") {
  CHECK(parse_kernel_release("6.1.0-18-amd64").value() == KernelVersion{6, 1});
  CHECK(parse_kernel_release("5.10").value() == KernelVersion{5, 10});
  CHECK(parse_kernel_release("6.18.44-fc").value() == KernelVersion{6, 18});
  for (const char* text : {"", "6", "6.", "x.1", "six.one", ".1", "-6.1"}) {
    INFO(text);
    REQUIRE_FALSE(parse_kernel_release(text).has_value());
    CHECK(parse_kernel_release(text).error().code == Errc::kInvalid);
  }
  CHECK(check_kernel_release("6.1.0").has_value());
  CHECK(check_kernel_release("10.0").has_value());
  const Status old = check_kernel_release("5.15.0-91-generic");
  REQUIRE_FALSE(old.has_value());
  CHECK(old.error().code == Errc::kUnsupported);
  CHECK(says(old.error(), "5.15.0-91-generic"));
  CHECK(says(old.error(), "6.1"));
}

TEST_CASE("host_check: a refused io_uring is explained with the remedy", "[host_check]") {
  CHECK(says(explain_setup_failure(EPERM, "2\n"), "sysctl -w kernel.io_uring_disabled=0"));
  CHECK(says(explain_setup_failure(EPERM, "1\n"), "kernel.io_uring_group"));
  CHECK(says(explain_setup_failure(EPERM, "0\n"), "seccomp"));
  CHECK(says(explain_setup_failure(EPERM, ""), "seccomp"));
  CHECK(says(explain_setup_failure(ENOSYS, ""), "6.1"));
  CHECK(says(explain_setup_failure(ENOMEM, ""), "LimitMEMLOCK"));
  CHECK(says(explain_setup_failure(EMFILE, ""), "LimitNOFILE"));
  CHECK(explain_setup_failure(EPERM, "0").code == Errc::kNotPermitted);
  CHECK(explain_setup_failure(EINVAL, "").code == Errc::kUnsupported);
  CHECK(says(explain_setup_failure(EFAULT, ""), "Bad address"));
}

TEST_CASE("host_check: unlockable memory is explained with the remedy", "[host_check]") {
  const Error error = explain_lock_failure(ENOMEM, 8u << 20, 256u << 20);
  CHECK(error.code == Errc::kNotPermitted);
  CHECK(says(error, "256 MiB"));
  CHECK(says(error, "8 MiB"));
  CHECK(says(error, "LimitMEMLOCK=infinity"));
  CHECK(says(explain_lock_failure(ENOMEM, UINT64_MAX, 1u << 20), "memory is short"));
  CHECK(explain_lock_failure(EINVAL, 0, 1).code == Errc::kUnsupported);
}

TEST_CASE("host_check: this host passes, or only its limit of locked memory is in the way",
          "[host_check]") {
  const Status status = check_host(8u << 20);
  if (status.has_value()) return;
  // An ordinary user on a default system; everything else must be right where tests are run.
  INFO(status.error().message);
  CHECK(status.error().code == Errc::kNotPermitted);
  CHECK(says(status.error(), "cannot lock 8 MiB of buffers"));
}

TEST_CASE("host_check: more than can be locked is refused with the remedy", "[host_check]") {
  // As root, or with CAP_IPC_LOCK, there is no limit to run into.
  if (geteuid() == 0) return;
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
  if (limit.rlim_cur >= (uint64_t{1} << 36)) return;
  const Status status = check_host(limit.rlim_cur + (64u << 20));
  REQUIRE_FALSE(status.has_value());
  CHECK(says(status.error(), "LimitMEMLOCK=infinity"));
}

TEST_CASE("host_check: the limit of open files is raised to the hard one", "[host_check]") {
  raise_file_limit();
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(limit.rlim_cur == limit.rlim_max);
}

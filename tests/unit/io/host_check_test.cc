// host_check: each refusal says what is wrong and what to do.
#include "io/host_check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>

using namespace ringbolt;
using namespace ringbolt::io;

namespace {
bool says(const Error& error, const char* what) {
  return error.message.find(what) != std::string::npos &&
         error.message.find('\n') == std::string::npos;
}

/// What check_host() answers in a child process that `prepare` has made poorer; "fine" if nothing.
template <class Prepare>
std::string checked_in_child(uint64_t lockable_bytes, const Prepare& prepare) {
  int ends[2] = {-1, -1};
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string answer = "not prepared";
    if (prepare()) {
      const Status status = check_host(lockable_bytes);
      answer = status.has_value() ? "fine" : status.error().message;
    }
    const ssize_t written = ::write(ends[1], answer.data(), answer.size());
    _exit(written == static_cast<ssize_t>(answer.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string answer(4096, '\0');
  const ssize_t got = ::read(ends[0], answer.data(), answer.size());
  ::close(ends[0]);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  answer.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return answer;
}

/// As a container's profile does: io_uring_setup fails with `error`, everything else is allowed.
bool forbid_io_uring(int error) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// An ordinary user with a limit of locked memory.
bool lock_little(uint64_t bytes) {
  const rlimit limit{bytes, bytes};
  return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && (geteuid() != 0 || setuid(65534) == 0);
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

TEST_CASE("host_check: a host where io_uring is forbidden is refused with the remedy", "[host_check]") {
  const std::string answer = checked_in_child(1u << 20, [] { return forbid_io_uring(EPERM); });
  CHECK_THAT(answer, Catch::Contains("io_uring is not permitted") && Catch::Contains("seccomp"));
  CHECK_THAT(checked_in_child(1u << 20, [] { return forbid_io_uring(ENOSYS); }), Catch::Contains("no io_uring"));
}

TEST_CASE("host_check: more than can be locked is refused with the remedy", "[host_check]") {
  const auto limited = [] { return lock_little(1u << 20); };
  const std::string answer = checked_in_child(64u << 20, limited);
  CHECK_THAT(answer, Catch::Contains("LimitMEMLOCK=infinity"));
  CHECK_THAT(answer, Catch::Contains("cannot lock 64 MiB") && Catch::Contains("1 MiB per user"));
}

TEST_CASE("host_check: the limit of open files is raised to the hard one", "[host_check]") {
  raise_file_limit();
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(limit.rlim_cur == limit.rlim_max);
}

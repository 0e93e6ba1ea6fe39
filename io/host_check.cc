// Bodies of host_check.h.
#include "io/host_check.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <utility>

namespace ringbolt::io {

namespace {

constexpr size_t kProbeBytes = 8u << 20;

std::string megabytes(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

// A small ring for questions; not the shards' rings.
class ProbeRing {
 public:
  ProbeRing() : error_(-io_uring_queue_init(4, &ring_, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)) {}
  ~ProbeRing() {
    if (error_ == 0) io_uring_queue_exit(&ring_);
  }
  ProbeRing(const ProbeRing&) = delete;
  ProbeRing& operator=(const ProbeRing&) = delete;
  [[nodiscard]] int error() const { return error_; }
  io_uring* get() { return &ring_; }

 private:
  io_uring ring_{};
  int error_;
};

Status check_operations(io_uring* ring) {
  static constexpr std::pair<int, const char*> kNeeded[] = {
      {IORING_OP_READ, "READ"},
      {IORING_OP_WRITE, "WRITE"},
      {IORING_OP_READ_FIXED, "READ_FIXED"},
      {IORING_OP_WRITE_FIXED, "WRITE_FIXED"},
      {IORING_OP_FSYNC, "FSYNC"},
      {IORING_OP_FALLOCATE, "FALLOCATE"},
      {IORING_OP_RECV, "RECV"},
      {IORING_OP_SEND, "SEND"},
      {IORING_OP_SENDMSG, "SENDMSG"},
      {IORING_OP_ACCEPT, "ACCEPT"},
      {IORING_OP_CONNECT, "CONNECT"},
      {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"}};
  io_uring_probe* probe = io_uring_get_probe_ring(ring);
  if (probe == nullptr) {
    return make_error(
        Errc::kUnsupported,
        "the kernel does not say which io_uring operations it has: use Linux 6.1 or newer");
  }
  std::string missing;
  for (const auto& [operation, name] : kNeeded) {
    if (io_uring_opcode_supported(probe, operation) != 0) continue;
    missing += missing.empty() ? name : std::string(", ") + name;
  }
  io_uring_free_probe(probe);
  if (missing.empty()) return boost::outcome_v2::success();
  return make_error(Errc::kUnsupported,
                    "this kernel's io_uring lacks " + missing + ": use Linux 6.1 or newer");
}

// Registers one small area as often as it takes to have `bytes` accounted: the kernel counts small
// pages once per registration, so the limit is tried as a whole without using the memory.
Status try_to_lock(io_uring* ring, uint64_t bytes) {
  const auto times = static_cast<unsigned>(
      std::min<uint64_t>(16384, std::max<uint64_t>(1, (bytes + kProbeBytes - 1) / kProbeBytes)));
  void* area =
      mmap(nullptr, kProbeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) {
    return make_error(Errc::kNoSpace, "no memory for " + megabytes(kProbeBytes) + " of buffers");
  }
  // Huge pages would be accounted once only. A kernel without them has none to avoid.
  static_cast<void>(madvise(area, kProbeBytes, MADV_NOHUGEPAGE));
  int result = io_uring_register_buffers_sparse(ring, times);
  for (unsigned i = 0; i < times && result >= 0; ++i) {
    const iovec part{area, kProbeBytes};
    result = io_uring_register_buffers_update_tag(ring, i, &part, nullptr, 1);
  }
  munmap(area, kProbeBytes);
  if (result >= 0) return boost::outcome_v2::success();
  return explain_lock_failure(-result, lock_limit_bytes(), bytes);
}

}  // namespace

Result<KernelVersion> parse_kernel_release(std::string_view release) {
  KernelVersion version;
  const char* end = release.data() + release.size();
  const auto major = std::from_chars(release.data(), end, version.major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
    const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
    if (minor.ec == std::errc()) return version;
  }
  return make_error(Errc::kInvalid,
                    "kernel release \"" + std::string(release) + "\" is not a version");
}

Status check_kernel_release(std::string_view release) {
  BOOST_OUTCOME_TRY(const KernelVersion version, parse_kernel_release(release));
  if (version >= kKernelMin) return boost::outcome_v2::success();
  return make_error(Errc::kUnsupported,
                    "Linux " + std::string(release) +
                        " is too old: ringbolt needs 6.1 or newer (Debian 12 has it)");
}

Error explain_setup_failure(int error, std::string_view sysctl) {
  const char setting = sysctl.empty() ? '0' : sysctl.front();
  switch (error) {
    case EPERM:
    case EACCES:
      if (setting == '2') {
        return make_error(
            Errc::kNotPermitted,
            "io_uring is switched off on this host: set kernel.io_uring_disabled to 0 "
            "(sysctl -w kernel.io_uring_disabled=0)");
      }
      if (setting == '1') {
        return make_error(Errc::kNotPermitted,
                          "io_uring is restricted on this host: add the user to the group of "
                          "kernel.io_uring_group, or set kernel.io_uring_disabled to 0");
      }
      return make_error(
          Errc::kNotPermitted,
          "io_uring is not permitted to this process: a seccomp filter or security module "
          "forbids it; in a container allow the io_uring_* system calls "
          "(docker run --security-opt seccomp=unconfined, or a profile that has them)");
    case ENOSYS:
      return make_error(
          Errc::kNotPermitted,
          "the kernel has no io_uring, or a container's seccomp filter hides it: use Linux "
          "6.1 or newer with CONFIG_IO_URING and allow the io_uring_* system calls");
    case ENOMEM:
      return make_error(
          Errc::kNotPermitted,
          "no memory for an io_uring: raise the limit of locked memory "
          "(systemd: LimitMEMLOCK=infinity; shell: ulimit -l unlimited) or free memory");
    case EMFILE:
    case ENFILE:
      return make_error(Errc::kNotPermitted,
                        "no file descriptor left for an io_uring: raise the limit of open files "
                        "(systemd: LimitNOFILE=1048576; shell: ulimit -n)");
    case EINVAL:
      return make_error(
          Errc::kUnsupported,
          "this kernel's io_uring does not know what ringbolt needs: use Linux 6.1 or newer");
    default:
      return make_error(Errc::kUnsupported,
                        std::string("io_uring cannot be set up: ") + std::strerror(error));
  }
}

Error explain_lock_failure(int error, uint64_t limit_bytes, uint64_t wanted_bytes) {
  if (error == ENOMEM || error == EPERM) {
    const std::string limit = limit_bytes == UINT64_MAX
                                  ? std::string("no limit is set, so memory is short")
                                  : "the limit is " + megabytes(limit_bytes) + " per user";
    return make_error(Errc::kNotPermitted,
                      "cannot lock " + megabytes(wanted_bytes) + " of buffers in memory (" + limit +
                          "): raise it (systemd: LimitMEMLOCK=infinity; shell: ulimit -l), give "
                          "CAP_IPC_LOCK, or lower node.memory");
  }
  return make_error(
      Errc::kUnsupported,
      std::string("buffers cannot be registered with io_uring: ") + std::strerror(error));
}

uint64_t lock_limit_bytes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

std::string read_io_uring_sysctl() {
  const int fd = ::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[16] = {};
  const ssize_t got = ::read(fd, text, sizeof(text));
  ::close(fd);
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

Status check_io_uring() {
  ProbeRing ring;
  if (ring.error() != 0) return explain_setup_failure(ring.error(), read_io_uring_sysctl());
  return check_operations(ring.get());
}

Status check_lockable(uint64_t bytes) {
  ProbeRing ring;
  if (ring.error() != 0) return explain_setup_failure(ring.error(), read_io_uring_sysctl());
  return try_to_lock(ring.get(), bytes);
}

Status check_host(uint64_t lockable_bytes) {
  utsname name{};
  if (uname(&name) != 0) {
    return make_error(Errc::kUnsupported, std::string("uname: ") + std::strerror(errno));
  }
  BOOST_OUTCOME_TRY(check_kernel_release(name.release));
  BOOST_OUTCOME_TRY(check_io_uring());
  return check_lockable(lockable_bytes);
}

void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  // Where it is refused the old limit stays, and running out of it is reported where it happens.
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace ringbolt::io

// Whether this host can run ringbolt at all, asked once at start-up, so that the answer is one line
// with a remedy instead of a strange failure later.
#pragma once

#include <cstdint>
#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt::io {

/// Checks the kernel's version, that io_uring is permitted and has the needed operations, and that
/// `lockable_bytes` of buffers can be locked in memory. Errors: kNotPermitted or kUnsupported, one
/// line each that says what is wrong and the remedy. Any thread; blocking.
Status check_host(uint64_t lockable_bytes);
/// The part about io_uring itself: permitted, and with the needed operations.
Status check_io_uring();
/// The part about memory: `bytes` can be locked now, beside what else this user has locked.
Status check_lockable(uint64_t bytes);

/// Raises the limit of open files to what is allowed; fewer is not an error here.
void raise_file_limit();

// The parts, as functions of what the kernel says.

struct KernelVersion {
  uint32_t major = 0;
  uint32_t minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};
inline constexpr KernelVersion kKernelMin{6, 1};

/// From uname's release, "6.1.0-18-amd64". Errors: kInvalid.
Result<KernelVersion> parse_kernel_release(std::string_view release);
/// Errors: kUnsupported (too old), kInvalid.
Status check_kernel_release(std::string_view release);
/// Why io_uring_setup failed with `error`; `sysctl` is the text of kernel.io_uring_disabled, empty
/// if the kernel has no such setting.
Error explain_setup_failure(int error, std::string_view sysctl);
/// Why memory could not be locked: `limit_bytes` is RLIMIT_MEMLOCK, `wanted_bytes` what is needed.
Error explain_lock_failure(int error, uint64_t limit_bytes, uint64_t wanted_bytes);
/// RLIMIT_MEMLOCK of this process; UINT64_MAX: none.
uint64_t lock_limit_bytes();
/// The present text of kernel.io_uring_disabled; empty if there is none.
std::string read_io_uring_sysctl();

}  // namespace ringbolt::io

#include "ctl/bench/disk_target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "ringbolt/types.h"

namespace ringbolt::ctl::bench {

namespace {

constexpr uint64_t kScratchBytesMin = 16u << 20;
constexpr uint64_t kTargetBytesMin = 1u << 20;

Error failed(const std::string& path, int error) {
  const Errc code = error == ENOENT || error == ENOTDIR ? Errc::kNotFound : error == EBUSY ? Errc::kBusy : Errc::kIo;
  return make_error(code, fmt::format("{}: {}", path, std::strerror(error)));
}

/// A new file in `directory` that has no name any more.
Result<io::FileInfo> open_nameless(io::Io& io, const std::string& directory, uint64_t bytes) {
  std::string path = directory + "/.ringboltctl-bench-XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return failed(directory, errno);
  ::close(fd);
  Result<io::FileInfo> opened = io.open_file(path, {.resize_bytes = bytes});
  if (::unlink(path.c_str()) == 0) return opened;
  const int error = errno;
  if (opened.has_value()) io.close_file(opened.value().file);
  return failed(path, error);
}

Result<DiskTarget> open_scratch_in(io::Io& io, const std::string& directory, uint64_t size) {
  struct statvfs space {};
  if (::statvfs(directory.c_str(), &space) != 0) return failed(directory, errno);
  const uint64_t quarter = uint64_t{space.f_bavail} * space.f_frsize / 4;
  const uint64_t bytes = std::min(size, quarter) / kBlockBytes * kBlockBytes;
  if (bytes < kScratchBytesMin) {
    return make_error(Errc::kNoSpace, fmt::format("{}: at least {} MiB are needed, and four times as much free space", directory, kScratchBytesMin >> 20));
  }
  BOOST_OUTCOME_TRY(const io::FileInfo opened, open_nameless(io, directory, bytes));
  return DiskTarget{opened.file, bytes, true, true, -1};
}

/// Nobody has it mounted or made a mapping of it, and nobody will while the descriptor is open.
Result<int> claim_device(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd >= 0) return fd;
  return errno == EBUSY ? make_error(Errc::kBusy, path + ": the device is mounted, or part of a mapping") : failed(path, errno);
}

Result<DiskTarget> open_existing(io::Io& io, const std::string& path, bool is_device, Touch touch) {
  if (touch == Touch::kNothingThatExists) {
    return make_error(Errc::kNotPermitted, path + " exists: --read-only measures reads alone, --overwrite destroys what it holds");
  }
  int exclusive = -1;
  if (is_device) {
    BOOST_OUTCOME_TRY(exclusive, claim_device(path));
  }
  // Takes the lock that a daemon holds on the files of its volumes.
  const Result<io::FileInfo> opened = io.open_file(path, {});
  const uint64_t bytes = opened.has_value() ? opened.value().bytes / kBlockBytes * kBlockBytes : 0;
  DiskTarget target{opened.has_value() ? opened.value().file : io::File{}, bytes, false, touch == Touch::kOverwrite, exclusive};
  if (opened.has_value() && bytes >= kTargetBytesMin) return target;
  close_disk_target(io, target);
  if (opened.has_error()) return opened.error();
  return make_error(Errc::kInvalid, fmt::format("{}: is shorter than {} MiB", path, kTargetBytesMin >> 20));
}

}  // namespace

Result<DiskTarget> open_disk_target(io::Io& io, const std::string& path, Touch touch, uint64_t size) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    // Of a device whose name is misspelt not the memory that /dev is in would be meant.
    if (errno != ENOENT || path.starts_with("/dev/")) return failed(path, errno);
    const std::string parent = std::filesystem::path(path).parent_path().string();
    return open_scratch_in(io, parent.empty() ? "." : parent, size);
  }
  if (S_ISDIR(status.st_mode)) return open_scratch_in(io, path, size);
  if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return open_existing(io, path, S_ISBLK(status.st_mode), touch);
  return make_error(Errc::kInvalid, path + ": neither a directory, a regular file nor a block device");
}

void close_disk_target(io::Io& io, DiskTarget& target) {
  if (target.file.is_open()) io.close_file(target.file);
  if (target.exclusive >= 0) ::close(target.exclusive);
  target = {};
}

}  // namespace ringbolt::ctl::bench

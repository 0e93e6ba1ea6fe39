#include "ctl/doctor/path_facts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "ringbolt/types.h"

namespace ringbolt::ctl::doctor {

namespace {

namespace fs = std::filesystem;

class LookFd {
 public:
  explicit LookFd(int fd) : fd_(fd) {}
  ~LookFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  LookFd(const LookFd&) = delete;
  LookFd& operator=(const LookFd&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Trial failed_trial(int error, const char* what) {
  // That this user may not write, or that the disk is full, says nothing of what the file system can do.
  const bool says_nothing = error == EACCES || error == EPERM || error == EROFS || error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE;
  return {says_nothing ? Trial::Result::kNotTried : Trial::Result::kFails, fmt::format("{}: {}", what, std::strerror(error))};
}

/// A file of its own in `directory` that no crash leaves behind; where files cannot be made without a name, one that loses it at once.
int open_scratch(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return fd;
  const std::string name = fmt::format("{}/.ringboltctl-doctor-{}", directory, ::getpid());
  const int named = ::open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  const int error = errno;
  // Also when it was refused: O_DIRECT is, after the file was made.
  if (named >= 0 || error == EINVAL) static_cast<void>(::unlink(name.c_str()));
  errno = error;
  return named;
}

void try_file_system(const std::string& directory, PathFacts& facts) {
  const LookFd scratch(open_scratch(directory));
  if (scratch.get() < 0) {
    facts.direct_io = failed_trial(errno, "open with O_DIRECT");
    facts.punch_hole = {Trial::Result::kNotTried, facts.direct_io.why};
    return;
  }
  const std::unique_ptr<void, decltype(&std::free)> block(std::aligned_alloc(kBlockBytes, kBlockBytes), &std::free);
  std::memset(block.get(), 0x5a, kBlockBytes);
  const bool written = ::pwrite(scratch.get(), block.get(), kBlockBytes, 0) == static_cast<ssize_t>(kBlockBytes);
  facts.direct_io = written ? Trial{Trial::Result::kWorks} : failed_trial(errno, "write of 4 KiB with O_DIRECT");
  const bool punched = ::fallocate(scratch.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBlockBytes) == 0;
  facts.punch_hole = punched ? Trial{Trial::Result::kWorks} : failed_trial(errno, "fallocate that punches a hole");
}

void look_at_file_system(const struct stat& status, PathFacts& facts) {
  struct statvfs space {};
  if (::statvfs(facts.path.c_str(), &space) != 0) {
    facts.problem = fmt::format("{}: {}", facts.path, std::strerror(errno));
    return;
  }
  facts.free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  facts.total_bytes = uint64_t{space.f_blocks} * space.f_frsize;
  facts.major = major(status.st_dev);
  facts.minor = minor(status.st_dev);
  if (S_ISREG(status.st_mode)) {
    facts.bytes = static_cast<uint64_t>(status.st_size);
    facts.allocated_bytes = static_cast<uint64_t>(status.st_blocks) * 512;
  }
  try_file_system(S_ISDIR(status.st_mode) ? facts.path : fs::path(facts.path).parent_path().string(), facts);
}

}  // namespace

PathFacts look_at(const std::string& path) {
  PathFacts facts;
  facts.asked = path;
  facts.exists = true;
  if (path.empty()) {
    facts.problem = "an empty path";
    return facts;
  }
  fs::path at = fs::absolute(path);
  struct stat status {};
  while (::stat(at.c_str(), &status) != 0) {
    const int error = errno;
    if (error != ENOENT || at == at.root_path()) {
      facts.problem = fmt::format("{}: {}", at.string(), std::strerror(error));
      return facts;
    }
    facts.exists = false;
    at = at.parent_path();
  }
  std::error_code error;
  facts.path = fs::canonical(at, error).string();
  if (error) facts.path = at.string();
  facts.is_block_device = S_ISBLK(status.st_mode);
  if (facts.is_block_device) {
    facts.major = major(status.st_rdev);
    facts.minor = minor(status.st_rdev);
  } else if (S_ISDIR(status.st_mode) || S_ISREG(status.st_mode)) {
    look_at_file_system(status, facts);
  } else {
    facts.problem = fmt::format("{}: neither a file, a directory nor a block device", facts.path);
  }
  return facts;
}

}  // namespace ringbolt::ctl::doctor

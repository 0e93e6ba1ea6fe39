// Bodies of posix_files.h.
#include "io/posix_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ringbolt/types.h"

namespace ringbolt::io {

namespace {

// A descriptor that closes itself unless it is taken.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

int open_retrying(const char* path, int flags, mode_t mode = 0) {
  int fd = -1;
  do {
    fd = ::open(path, flags, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

Status sync_directory(const std::string& path) {
  const Descriptor directory(open_retrying(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return errno_error(errno, path + ": open directory");
  if (::fsync(directory.get()) != 0) return errno_error(errno, path + ": fsync directory");
  return boost::outcome_v2::success();
}

bool is_link(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

// Opens, creating if asked and needed. Of two processes that try, one creates.
Result<int> open_or_create(const std::string& path, bool create, bool& created) {
  constexpr int kFlags = O_RDWR | O_DIRECT | O_CLOEXEC | O_NOCTTY;
  for (;;) {
    int fd = open_retrying(path.c_str(), kFlags);
    if (fd < 0 && errno == ENOENT && create) {
      fd = open_retrying(path.c_str(), kFlags | O_CREAT | O_EXCL, 0600);
      created = fd >= 0;
      if (fd < 0 && errno == EEXIST) {
        if (is_link(path)) return make_error(Errc::kNotFound, path + ": is a symbolic link to something that is not there");
        continue;
      }
      if (fd < 0 && errno == EINVAL) {
        // The kernel refuses O_DIRECT only after it made the file.
        static_cast<void>(::unlink(path.c_str()));
        errno = EINVAL;
      }
    }
    if (fd >= 0) return fd;
    if (errno == EINVAL) {
      return make_error(Errc::kInvalid, path + ": the file system does not allow direct I/O");
    }
    if (errno == EISDIR) return make_error(Errc::kInvalid, path + ": is a directory");
    return errno_error(errno, path + ": open");
  }
}

// Direct I/O in units of a block must be possible: the whole product aligns to it.
Status check_alignment(int fd, const std::string& path, bool is_block_device) {
  uint32_t alignment = 0;
#ifdef STATX_DIOALIGN
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    alignment = std::max(info.stx_dio_mem_align, info.stx_dio_offset_align);
    if (alignment == 0) {
      return make_error(Errc::kInvalid, path + ": the file system does not allow direct I/O");
    }
  }
#endif
  if (is_block_device) {
    int sector = 0;
    if (::ioctl(fd, BLKSSZGET, &sector) != 0) return errno_error(errno, path + ": sector size");
    alignment = std::max(alignment, static_cast<uint32_t>(sector));
  }
  if (alignment > kBlockBytes) {
    return make_error(Errc::kInvalid, path + ": needs direct I/O in units of " +
                                          std::to_string(alignment) + " bytes, more than the " +
                                          std::to_string(kBlockBytes) + " that ringbolt uses");
  }
  return boost::outcome_v2::success();
}

Result<FileInfo> inspect(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return errno_error(errno, path + ": fstat");
  FileInfo info;
  info.is_block_device = S_ISBLK(status.st_mode);
  if (!info.is_block_device && !S_ISREG(status.st_mode)) {
    return make_error(Errc::kInvalid, path + ": neither a regular file nor a block device");
  }
  info.bytes = static_cast<uint64_t>(status.st_size);
  if (info.is_block_device && ::ioctl(fd, BLKGETSIZE64, &info.bytes) != 0) {
    return errno_error(errno, path + ": device size");
  }
  return info;
}

Status extend(int fd, const std::string& path, uint64_t bytes) {
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return errno_error(errno, path + ": extend to " + std::to_string(bytes) + " bytes");
  }
  if (::fsync(fd) != 0) return errno_error(errno, path + ": fsync");
  return boost::outcome_v2::success();
}

Result<FileInfo> prepare(int fd, const std::string& path, const OpenOptions& options) {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return make_error(
          Errc::kBusy,
          path + ": in use by another process, or its last writes are still in flight");
    }
    return errno_error(errno, path + ": flock");
  }
  BOOST_OUTCOME_TRY(FileInfo info, inspect(fd, path));
  BOOST_OUTCOME_TRY(check_alignment(fd, path, info.is_block_device));
  if (!info.is_block_device && options.resize_bytes > info.bytes) {
    BOOST_OUTCOME_TRY(extend(fd, path, options.resize_bytes));
    info.bytes = options.resize_bytes;
  }
  // Also when it was there already: a predecessor may have died between creating and this.
  if (options.create) {
    BOOST_OUTCOME_TRY(sync_directory(parent_of(path)));
  }
  return info;
}

}  // namespace

Error errno_error(int error, const std::string& what) {
  Errc code = Errc::kIo;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      code = Errc::kNotFound;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Errc::kNotPermitted;
      break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      code = Errc::kNoSpace;
      break;
    case EBUSY:
    case ETXTBSY:
    case EADDRINUSE:
      code = Errc::kBusy;
      break;
    case EEXIST:
      code = Errc::kExists;
      break;
    case ENAMETOOLONG:
    case ELOOP:
    case EADDRNOTAVAIL:
      code = Errc::kInvalid;
      break;
    default:
      break;
  }
  return make_error(code, what + ": " + std::strerror(error));
}

Result<FileInfo> open_data_file(const std::string& path, const OpenOptions& options) {
  bool created = false;
  BOOST_OUTCOME_TRY(const int opened, open_or_create(path, options.create, created));
  Descriptor fd(opened);
  Result<FileInfo> info = prepare(fd.get(), path, options);
  if (!info.has_value()) {
    // A file that was made just now and is not usable must not look like data at the next start.
    if (created && ::unlink(path.c_str()) != 0) {
      return make_error(info.error().code, info.error().message + " (and it could not be removed)");
    }
    return info.error();
  }
  info.value().created = created;
  info.value().file.fd = fd.take();
  return info;
}

Status make_directory_durably(const std::string& path) {
  if (path.empty()) return make_error(Errc::kInvalid, "empty directory name");
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0750) == 0) {
      BOOST_OUTCOME_TRY(sync_directory(parent_of(part)));
    } else if (errno != EEXIST) {
      const int error = errno;
      struct stat status {};
      // A read-only parent of an existing directory is no obstacle.
      if (::stat(part.c_str(), &status) != 0) return errno_error(error, part + ": mkdir");
    }
    if (end == std::string::npos || end + 1 == path.size()) break;
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno_error(errno, path);
  if (!S_ISDIR(status.st_mode)) return make_error(Errc::kExists, path + ": is not a directory");
  return boost::outcome_v2::success();
}

}  // namespace ringbolt::io

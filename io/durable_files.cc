#include "io/durable_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "io/posix_files.h"

namespace ringbolt::io {

namespace {

/// Closes itself.
class OpenFile {
 public:
  OpenFile(const std::string& path, int flags) {
    do {
      fd_ = ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, 0600);
    } while (fd_ < 0 && errno == EINTR);
  }
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

std::string folder_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Status flush_folder(const std::string& path) {
  const OpenFile folder(path, O_RDONLY | O_DIRECTORY);
  if (folder.fd() < 0) return errno_error(errno, path + ": open directory");
  if (::fsync(folder.fd()) != 0) return errno_error(errno, path + ": fsync directory");
  return boost::outcome_v2::success();
}

Status write_all(int fd, const std::string& text, const std::string& path) {
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t bytes = ::write(fd, text.data() + written, text.size() - written);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return errno_error(errno, path + ": write");
    written += static_cast<size_t>(bytes);
  }
  if (::fsync(fd) != 0) return errno_error(errno, path + ": fsync");
  return boost::outcome_v2::success();
}

}  // namespace

Status DurableFiles::make_directory(const std::string& path) { return make_directory_durably(path); }

Result<std::vector<std::string>> DurableFiles::list(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) names.push_back(entry->path().filename().string());
  if (error == std::errc::no_such_file_or_directory) return names;
  if (error) return errno_error(error.value(), path + ": list");
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::optional<std::string>> DurableFiles::read(const std::string& path) {
  const OpenFile file(path, O_RDONLY);
  if (file.fd() < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::optional<std::string>();
  if (file.fd() < 0) return errno_error(errno, path + ": open");
  std::string text(kTextBytesMax + 1, '\0');
  size_t bytes = 0;
  while (bytes < text.size()) {
    const ssize_t got = ::read(file.fd(), text.data() + bytes, text.size() - bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, path + ": read");
    if (got == 0) break;
    bytes += static_cast<size_t>(got);
  }
  if (bytes > kTextBytesMax) return make_error(Errc::kInvalid, path + ": is longer than " + std::to_string(kTextBytesMax) + " bytes");
  text.resize(bytes);
  return std::optional(std::move(text));
}

Status DurableFiles::replace(const std::string& path, const std::string& text) {
  const std::string unfinished = path + kUnfinished;
  {
    const OpenFile file(unfinished, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.fd() < 0) return errno_error(errno, unfinished + ": open");
    const Status written = write_all(file.fd(), text, unfinished);
    if (!written.has_value()) {
      static_cast<void>(::unlink(unfinished.c_str()));  // a full disk; left over it would say nothing
      return written;
    }
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return errno_error(errno, path + ": rename");
  return flush_folder(folder_of(path));
}

Status DurableFiles::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return errno_error(errno, from + ": rename");
  return flush_folder(folder_of(to));
}

Result<bool> DurableFiles::make_file(const std::string& path) {
  const OpenFile file(path, O_RDWR | O_CREAT | O_EXCL);
  if (file.fd() < 0 && errno == EEXIST) return false;
  if (file.fd() < 0) return errno_error(errno, path + ": create");
  BOOST_OUTCOME_TRYV(flush_folder(folder_of(path)));
  return true;
}

Result<bool> DurableFiles::remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return errno_error(errno, path + ": remove");
  }
  BOOST_OUTCOME_TRYV(flush_folder(folder_of(path)));
  return true;
}

Result<bool> DurableFiles::remove_directory(const std::string& path) {
  if (::rmdir(path.c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST) return false;
    return errno_error(errno, path + ": remove directory");
  }
  BOOST_OUTCOME_TRYV(flush_folder(folder_of(path)));
  return true;
}

// --- the lock -------------------------------------------------------------------------------------------------

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<DirectoryLock> DirectoryLock::take(const std::string& directory) {
  // On the directory itself: there is no file that could be left over, or taken away under a lock.
  OpenFile folder(directory, O_RDONLY | O_DIRECTORY);
  if (folder.fd() < 0) return errno_error(errno, directory + ": open directory");
  if (::flock(folder.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return make_error(Errc::kBusy, directory + ": is in use by another ringboltd");
    return errno_error(errno, directory + ": flock");
  }
  return DirectoryLock(folder.take());
}

}  // namespace ringbolt::io

// Small files that are there whole or not at all, whatever happens in between; and what else a catalogue of them needs
// from a file system. Every call blocks and ends durable: for start-up and for threads that serve nobody.
//
// Virtual, so that a test can end the "process" between any two steps.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt::io {

class DurableFiles {
 public:
  static constexpr size_t kTextBytesMax = 64u << 10;
  /// What replace() writes first; it may be left over, and then says nothing.
  static constexpr const char* kUnfinished = ".new";

  virtual ~DurableFiles() = default;

  /// With its missing parents.
  virtual Status make_directory(const std::string& path);
  /// The names in it, sorted; none if it is not there.
  virtual Result<std::vector<std::string>> list(const std::string& path);
  /// nullopt: it is not there. Errors: kInvalid, longer than kTextBytesMax.
  virtual Result<std::optional<std::string>> read(const std::string& path);
  /// Makes `path` hold `text`; whoever looks, also after a crash, finds the old text or the new one.
  virtual Status replace(const std::string& path, const std::string& text);
  /// Takes no space, so it also works where there is none. On error `from` has its name, or that cannot be said: look.
  virtual Status rename(const std::string& from, const std::string& to);
  /// Makes an empty file. False: there is something of that name already, which stays what it is.
  virtual Result<bool> make_file(const std::string& path);
  /// False: it was not there.
  virtual Result<bool> remove_file(const std::string& path);
  /// False: it is not there, or not empty.
  virtual Result<bool> remove_directory(const std::string& path);
};

/// Held while it lives: no other process has the same directory. Ends with the process, however that ends.
class DirectoryLock {
 public:
  DirectoryLock() = default;
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;
  ~DirectoryLock();

  /// Errors: kBusy, another process has it.
  static Result<DirectoryLock> take(const std::string& directory);

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace ringbolt::io

// What the contract tests of io::Io run on: the real implementation on real files and loopback, and
// the simulated one. One test text for both, so that they cannot drift apart.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/io.h"
#include "ringbolt/types.h"

namespace ringbolt::io::test {

class Bed {
 public:
  virtual ~Bed() = default;
  virtual Io& io() = 0;
  /// Runs the loop until `done`; false if that took longer than any sane run.
  virtual bool run_until(const std::function<bool()>& done) = 0;
  /// A directory for files.
  virtual std::string directory() = 0;
  /// Addresses to listen on (TCP with port 0, or a fresh unix path).
  virtual std::string tcp_address() = 0;
  std::string unix_address() { return "unix:" + directory() + "/socket"; }
};

/// "ring", or "sim:SEED".
std::unique_ptr<Bed> make_bed(const std::string& kind);

/// The kinds for GENERATE_COPY(from_range(bed_kinds())).
std::vector<std::string> bed_kinds();

/// A directory on a real disk that is removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// An operation whose outcome a test waits for.
class Awaited : public Completion {
 public:
  Awaited() : Completion(&Awaited::on_done) {}
  bool done = false;
  int32_t result = 0;
  int calls = 0;

 private:
  static void on_done(Completion& completion, int32_t result) {
    auto& self = static_cast<Awaited&>(completion);
    self.done = true;
    self.result = result;
    ++self.calls;
  }
};

/// Runs until `op` is done and returns its result; -ETIME if it never is.
int32_t await(Bed& bed, Awaited& op);

/// Aligned memory for direct I/O.
class Block {
 public:
  explicit Block(uint32_t bytes, int fill = 0)
      : bytes_(bytes), data_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes))) {
    std::memset(data_, fill, bytes);
  }
  ~Block() { std::free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  std::byte* data() { return data_; }
  [[nodiscard]] uint32_t bytes() const { return bytes_; }
  [[nodiscard]] bool all(int value) const {
    for (uint32_t i = 0; i < bytes_; ++i) {
      if (data_[i] != static_cast<std::byte>(value)) return false;
    }
    return true;
  }

 private:
  uint32_t bytes_;
  std::byte* data_;
};

/// A listener and both ends of one connection to it.
struct Pair {
  Socket listener;
  Socket client;
  Socket server;
};
Pair connect_pair(Bed& bed, const std::string& address);
void close_pair(Bed& bed, const Pair& pair);

/// `count` bytes that differ from place to place.
std::string pattern(size_t count, uint32_t salt = 1);

}  // namespace ringbolt::io::test

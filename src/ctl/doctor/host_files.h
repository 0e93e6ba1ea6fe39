// The files in which Linux tells about itself, /proc and /sys, below a root of choice: tests give the checks hosts that they
// do not run on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

class HostFiles {
 public:
  /// `root` stands in front of every path; empty: this host.
  explicit HostFiles(std::string root = {}) : root_(std::move(root)) {}

  /// The whole text without white space at its end. The error is one line: path and why.
  [[nodiscard]] Result<std::string> read(const std::string& path) const;
  /// A file that holds one number.
  [[nodiscard]] Result<uint64_t> read_number(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  /// Names in a directory, sorted; none if there is no such directory, or it may not be read.
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const;
  /// What a symbolic link holds, as it is.
  [[nodiscard]] std::optional<std::string> link(const std::string& path) const;
  /// With all symbolic links followed, as a path below the root.
  [[nodiscard]] std::optional<std::string> real_path(const std::string& path) const;

 private:
  std::string root_;
};

/// `text` in lines.
std::vector<std::string_view> lines_of(std::string_view text);
/// What white space divides.
std::vector<std::string_view> words_of(std::string_view text);
/// "0-3,8" as numbers. Errors: kInvalid.
Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text);

}  // namespace ringbolt::ctl::doctor

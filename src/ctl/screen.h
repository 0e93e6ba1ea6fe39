// Where a live view goes: on a terminal it is drawn again in its place, elsewhere line after line.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace ringbolt::ctl {

class Screen {
 public:
  struct Size {
    size_t rows = 24, columns = 80;
  };

  /// Looks whether `out` is standard output, and that a terminal.
  explicit Screen(std::ostream& out);
  /// A terminal of that size.
  Screen(std::ostream& out, Size terminal) : out_(out), terminal_(true), size_(terminal) {}

  [[nodiscard]] bool is_terminal() const { return terminal_; }
  /// Lines may be coloured: it is a terminal, and $NO_COLOR is not set.
  [[nodiscard]] bool colour() const;
  /// Of a line; at most 80, however wide the terminal is.
  [[nodiscard]] size_t columns() const;
  /// Instead of what was drawn before, as far as the terminal has rows.
  void draw(const std::vector<std::string>& lines);
  /// What was drawn stays; what comes next goes below.
  void keep() { drawn_ = 0; }

 private:
  std::ostream& out_;
  bool terminal_ = false;
  Size size_;
  size_t drawn_ = 0;
};

}  // namespace ringbolt::ctl

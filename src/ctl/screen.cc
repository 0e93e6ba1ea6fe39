#include "ctl/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "ctl/table.h"

namespace ringbolt::ctl {

namespace {

/// Lines are broken at 14 columns for their titles; less room than this is not used.
constexpr size_t kColumnsMin = 40;

}  // namespace

Screen::Screen(std::ostream& out) : out_(out) {
  const char* term = std::getenv("TERM");
  terminal_ = &out == &std::cout && isatty(STDOUT_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
  winsize size{};
  if (!terminal_ || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return;
  size_ = {size.ws_row, size.ws_col};
}

bool Screen::colour() const {
  const char* without = std::getenv("NO_COLOR");
  return terminal_ && (without == nullptr || *without == '\0');
}

size_t Screen::columns() const { return std::clamp(size_.columns, kColumnsMin, kTerminalColumns); }

void Screen::draw(const std::vector<std::string>& lines) {
  // One row is the cursor's; a line that scrolled away could not be drawn again.
  const size_t count = terminal_ ? std::min(lines.size(), std::max<size_t>(size_.rows, 2) - 1) : lines.size();
  std::string text;
  if (terminal_ && drawn_ > 0) text += "\x1b[" + std::to_string(drawn_) + "F";
  for (size_t i = 0; i < count; ++i) text += lines[i] + (terminal_ ? "\x1b[K\n" : "\n");
  if (terminal_) text += "\x1b[J";
  drawn_ = count;
  out_ << text << std::flush;
}

}  // namespace ringbolt::ctl

// Text tables and paragraphs for a terminal of kTerminalColumns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringbolt::ctl {

inline constexpr size_t kTerminalColumns = 80;

/// `text` with '?' for everything that is not printable ASCII, a terminal escape for one. One byte is one
/// column then.
std::string plain(std::string_view text);

struct Column {
  std::string title;
  bool right_aligned = false;
  bool may_shrink = false;  ///< its cells may be cut (marked '~') so that the table fits
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// Requires: one cell per column.
  void add_row(std::vector<std::string> cells);

  /// The title line, then one line per row, without line ends; at most `width` columns as far as
  /// the columns that may shrink allow it.
  [[nodiscard]] std::vector<std::string> lines(size_t width = kTerminalColumns) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

enum class Break : uint8_t { kAtSpaces, kAtCommas };
/// `lead`, then `text` from column `indent` on, broken to fit `width`; ends with '\n'. A lead that does not leave a space before
/// that column has a line of its own.
std::string paragraph(std::string_view lead, std::string_view text, size_t indent, Break where = Break::kAtSpaces, size_t width = kTerminalColumns);

/// `title` in a column of 14, `text` beside it, broken at commas or spaces to fit `width`; ends with '\n'.
std::string field(std::string_view title, std::string_view text, size_t width = kTerminalColumns);

/// "1.5 GiB", "0 B".
std::string human_bytes(uint64_t bytes);

}  // namespace ringbolt::ctl

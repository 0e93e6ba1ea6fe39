#include "ctl/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ringbolt/assert.h"

namespace ringbolt::ctl {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kShrunkMin = 8;
constexpr size_t kTitleColumns = 14;

std::string fit(const std::string& text, size_t width, bool right_aligned) {
  std::string cell = text;
  if (cell.size() > width) cell = cell.substr(0, width - 1) + "~";
  return right_aligned ? fmt::format("{:>{}}", cell, width) : fmt::format("{:<{}}", cell, width);
}

}  // namespace

std::string plain(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return result;
}

void Table::add_row(std::vector<std::string> cells) {
  RINGBOLT_ASSERT(cells.size() == columns_.size());
  for (std::string& cell : cells) cell = plain(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::lines(size_t width) const {
  std::vector<size_t> widths;
  size_t total = kGap * (columns_.size() - 1);
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t widest = columns_[i].title.size();
    for (const auto& row : rows_) widest = std::max(widest, row[i].size());
    widths.push_back(widest);
    total += widest;
  }
  // One column at a time from the widest that may shrink, until it fits or none can give more.
  while (total > width) {
    size_t* widest = nullptr;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!columns_[i].may_shrink || widths[i] <= kShrunkMin) continue;
      if (widest == nullptr || widths[i] > *widest) widest = &widths[i];
    }
    if (widest == nullptr) break;
    --*widest;
    --total;
  }
  std::vector<std::string> result;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) line.append(kGap, ' ');
      line += fit(cell_of(i), widths[i], columns_[i].right_aligned);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result.push_back(std::move(line));
  };
  add_line([&](size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) {
    add_line([&](size_t i) { return row[i]; });
  }
  return result;
}

std::string paragraph(std::string_view lead_text, std::string_view text, size_t indent, Break where, size_t width) {
  RINGBOLT_ASSERT(width > indent);
  const size_t room = width - indent;
  std::string rest = plain(text);
  std::string result;
  std::string lead = plain(lead_text);
  if (lead.size() >= indent && !lead.empty() && !lead.ends_with(' ')) {
    result = lead + "\n";
    lead.clear();
  }
  do {
    size_t take = rest.size();
    if (take > room) {
      // At commas: between the items of an enumeration rather than inside one ("written 42, | durable 40").
      const size_t comma = where == Break::kAtCommas ? rest.rfind(", ", room - 1) : std::string::npos;
      take = comma == std::string::npos ? rest.rfind(' ', room) : comma + 1;
      if (take == std::string::npos || take == 0) take = room;
    }
    std::string line = fmt::format("{:<{}}{}", lead, indent, rest.substr(0, take));
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
    lead.clear();
    rest.erase(0, take);
    rest.erase(0, rest.find_first_not_of(' '));
  } while (!rest.empty());
  return result;
}

std::string field(std::string_view title, std::string_view text, size_t width) { return paragraph(title, text, kTitleColumns, Break::kAtCommas, width); }

std::string human_bytes(uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace ringbolt::ctl

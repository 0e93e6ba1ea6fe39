// What clients of a volume may see: the history of every 512-byte cell, checked for linearizability
// over crashes, and for durability over power losses.
//
// Every write gives its cells a value that no other write gives, so a read names the write that it
// saw. For such a register linearizability can be decided exactly and cheaply (Gibbons and Korach):
// between the first response and the last invocation that speak of a value no other value may have
// been seen to hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace ringbolt::sim {

inline constexpr uint32_t kCellBytes = 512;

/// Fills one cell so that it can be recognised, and a mixture of two noticed.
void fill_cell(std::byte* cell, uint64_t value);
/// The value that the cell holds (0: zeros), or nothing if it holds no whole value.
std::optional<uint64_t> cell_value(const std::byte* cell);

class CellModel {
 public:
  explicit CellModel(uint64_t cells) : cells_(cells) {
    for (Cell& cell : cells_) cell.zones[0] = Zone{0, 0, 0, 0, false};
  }

  [[nodiscard]] uint64_t cells() const { return cells_.size(); }
  /// The volume has more cells from now on, all zeros.
  void grow(uint64_t cells) {
    for (uint64_t i = cells_.size(); i < cells; ++i) cells_.emplace_back().zones[0] = Zone{0, 0, 0, 0, false};
  }
  /// A moment later than all before.
  uint64_t tick() { return ++clock_; }
  uint64_t new_value() { return ++values_; }

  void write_begun(uint64_t cell, uint64_t value, bool zeros, uint64_t begun);
  void write_acknowledged(uint64_t cell, uint64_t value, uint64_t ended, bool fua);
  void flush_acknowledged(uint64_t begun);
  /// `value` as cell_value() gave it. A value that nobody wrote is a violation at once.
  void read(uint64_t cell, std::optional<uint64_t> value, uint64_t begun, uint64_t ended);
  /// After power was lost: the cell holds `value` now. Checks that nothing flushed is lost, and
  /// begins a new history from there.
  void recovered(uint64_t cell, std::optional<uint64_t> value);
  /// After acknowledged data was given up on purpose: the cell holds any of the values that were written to it, flushed or not.
  void given_up(uint64_t cell, std::optional<uint64_t> value);

  /// Empty, or the first violation in words.
  std::string check();
  /// Likewise, as far as it was noticed at once.
  [[nodiscard]] const std::string& violation() const { return violation_; }

 private:
  static constexpr uint64_t kNever = UINT64_MAX;
  struct Zone {
    uint64_t begun = kNever;         ///< the write's invocation
    uint64_t acknowledged = kNever;  ///< and its response
    uint64_t first_response = kNever;
    uint64_t last_invocation = 0;
    bool fua = false;
  };
  struct Cell {
    std::unordered_map<uint64_t, Zone> zones;
    uint64_t zeros = 0;  ///< the newest value that is all zeros
    /// What began the history was not flushed: values of before, which are forgotten, may come back when power is lost.
    bool on_unflushed = false;
  };
  void violation(std::string text) {
    if (violation_.empty()) violation_ = std::move(text);
  }
  void begin_again(Cell& cell, uint64_t value, bool flushed);
  [[nodiscard]] bool is_forgotten(const Cell& cell, std::optional<uint64_t> value) const;
  Zone* find(uint64_t cell, std::optional<uint64_t> value, const char* what);
  [[nodiscard]] bool guaranteed(const Zone& zone) const {
    return zone.acknowledged != kNever && (zone.fua || zone.acknowledged <= flushed_);
  }
  void check_cell(uint64_t index, const Cell& cell);

  std::vector<Cell> cells_;
  uint64_t clock_ = 0;
  uint64_t values_ = 0;
  uint64_t flushed_ = 0;  ///< what was acknowledged before is on stable storage
  std::string violation_;
};

}  // namespace ringbolt::sim

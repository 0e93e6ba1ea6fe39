// Which parts of a volume a rebuild's base lane has passed: at most 256 cells, in order. Pure.
//
// The primary knows two sums, what was copied and what was left out because the log had brought something newer, and that
// the lane goes through the volume from its beginning to its end. So how far it is is exact, and what was left out is
// spread evenly over what was passed from one look to the next.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "control/status.h"

namespace ringbolt {

class RebuildMap {
 public:
  static constexpr uint64_t kCellsMax = 256;

  /// Takes what a look at the session says. False if the map is as it was.
  bool look(const SessionStatus& session);

  [[nodiscard]] std::optional<uint64_t> session() const { return session_; }
  [[nodiscard]] uint64_t bytes_total() const { return total_; }
  [[nodiscard]] uint64_t bytes_passed() const { return passed_; }
  /// One character for each cell: '.' not reached, '>' begun, '0' to '9' passed: how many ninths of it were left out.
  [[nodiscard]] std::string cells() const;

 private:
  void begin(const SessionStatus& session);

  std::optional<uint64_t> session_;
  uint64_t total_ = 0, passed_ = 0, skipped_ = 0;
  uint64_t count_ = 0;                         ///< of cells
  std::array<double, kCellsMax> cell_passed_{}, cell_skipped_{};  ///< bytes
};

}  // namespace ringbolt

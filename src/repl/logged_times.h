// When about a record was logged: how many seconds a replica is behind. Marks of Lsn and time in levels, each four times as
// coarse as the one before: 100 ms apart for the last seconds, minutes apart for the last hours, in constant memory. An
// answer is late by at most the distance of the marks around it, about an eighth of the record's age. For people and
// monitoring; no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "io/io.h"
#include "ringbolt/types.h"

namespace ringbolt::repl {

class LoggedTimes {
 public:
  /// The log ends at `last`. Often: mostly it is one comparison.
  void note(Lsn last, io::Nanos now) {
    io::Nanos distance = kDistance;
    for (Level& level : levels_) {
      if (level.size > 0 && now - level.newest().at < distance) return;
      level.push({last, now});
      distance *= 4;
    }
  }
  /// When `lsn` was logged; of one that is older than all that is known the oldest time that is. Empty: nothing is known.
  [[nodiscard]] std::optional<io::Nanos> time_of(Lsn lsn) const {
    for (const Level& level : levels_) {
      if (level.size == 0 || level.at(0).last >= lsn) continue;
      // What was logged so soon after the newest mark that it got none of its own belongs to that.
      for (size_t i = 1; i < level.size; ++i) {
        if (level.at(i).last >= lsn) return level.at(i).at;
      }
      return level.newest().at;
    }
    std::optional<io::Nanos> oldest;
    for (const Level& level : levels_) {
      if (level.size > 0 && (!oldest || level.at(0).at < *oldest)) oldest = level.at(0).at;
    }
    return oldest;
  }

 private:
  static constexpr io::Nanos kDistance = 100 * io::kMillisecond;
  static constexpr size_t kLevels = 8;
  static constexpr size_t kMarks = 32;
  struct Mark {
    Lsn last;
    io::Nanos at = 0;
  };
  struct Level {
    std::array<Mark, kMarks> marks{};
    size_t first = 0, size = 0;
    [[nodiscard]] const Mark& at(size_t index) const { return marks[(first + index) % kMarks]; }
    [[nodiscard]] const Mark& newest() const { return at(size - 1); }
    void push(const Mark& mark) {
      if (size == kMarks) {
        first = (first + 1) % kMarks;
        --size;
      }
      marks[(first + size++) % kMarks] = mark;
    }
  };
  std::array<Level, kLevels> levels_;
};

}  // namespace ringbolt::repl

// Which term wrote which Lsns of a volume: the fact that shows where two copies' histories fork.
// Pure values: no I/O, no clock, no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "ringbolt/types.h"

namespace ringbolt::core {

/// `term` wrote the records from `first` on, until the next entry's `first`.
struct TermStart {
  Term term;
  Lsn first;
  constexpr auto operator<=>(const TermStart&) const = default;
};

/// The newest terms of a copy's WAL, oldest first: terms and first Lsns both strictly ascending.
class TermHistory {
 public:
  static constexpr size_t kTermsMax = 64;

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] const TermStart& at(size_t index) const { return terms_[index]; }
  [[nodiscard]] std::span<const TermStart> terms() const { return {terms_.data(), size_}; }
  [[nodiscard]] std::optional<TermStart> last() const;

  /// Opens `term` at `first`. Entries that start at or after `first` wrote nothing that survives and
  /// are dropped; when full the oldest entry is dropped.
  /// Requires: `term` higher than every entry that stays.
  void open(Term term, Lsn first);

  /// Appends an entry read from disk or wire. False if it would break the ascending order or the
  /// limit (the bytes are wrong).
  [[nodiscard]] bool append_checked(TermStart entry);

  /// The term that wrote `lsn` (or would: for the newest term there is no upper end). Empty if `lsn`
  /// is older than the oldest entry kept.
  [[nodiscard]] std::optional<Term> term_at(Lsn lsn) const;

  constexpr bool operator==(const TermHistory& other) const {
    if (size_ != other.size_) return false;
    for (size_t i = 0; i < size_; ++i) {
      if (terms_[i] != other.terms_[i]) return false;
    }
    return true;
  }

 private:
  std::array<TermStart, kTermsMax> terms_{};
  size_t size_ = 0;
};

/// One copy's log as seen from outside: its history and where it ends.
struct LogShape {
  const TermHistory& history;
  Lsn head;
};

/// The last Lsn up to which both logs are the same; Lsn 0 if they share nothing but their origin;
/// empty if the histories kept do not meet (unrelated, or too far apart to tell).
std::optional<Lsn> fork_point(const LogShape& a, const LogShape& b);

}  // namespace ringbolt::core

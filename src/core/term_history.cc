#include "core/term_history.h"

#include <algorithm>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::core {

std::optional<TermStart> TermHistory::last() const {
  if (size_ == 0) return std::nullopt;
  return terms_[size_ - 1];
}

void TermHistory::open(Term term, Lsn first) {
  while (size_ > 0 && terms_[size_ - 1].first >= first) --size_;
  RINGBOLT_ASSERT(size_ == 0 || terms_[size_ - 1].term < term);
  if (size_ == kTermsMax) {
    std::move(terms_.begin() + 1, terms_.end(), terms_.begin());
    --size_;
  }
  terms_[size_++] = TermStart{term, first};
}

bool TermHistory::append_checked(TermStart entry) {
  if (size_ == kTermsMax || entry.first == Lsn{} || entry.term.incarnation == Incarnation{}) return false;
  if (size_ > 0) {
    const TermStart& previous = terms_[size_ - 1];
    if (entry.term <= previous.term || entry.first <= previous.first) return false;
  }
  terms_[size_++] = entry;
  return true;
}

std::optional<Term> TermHistory::term_at(Lsn lsn) const {
  for (size_t i = size_; i > 0; --i) {
    if (terms_[i - 1].first <= lsn) return terms_[i - 1].term;
  }
  return std::nullopt;
}

namespace {

/// Last Lsn written by entry `index` of `log`.
Lsn term_end(const LogShape& log, size_t index) {
  const Lsn limit = index + 1 < log.history.size() ? Lsn(log.history.at(index + 1).first.value() - 1) : log.head;
  return std::min(limit, log.head);
}

/// True if the history reaches back to the first record.
bool is_complete(const LogShape& log) {
  return log.history.empty() ? log.head == Lsn{} : log.history.at(0).first == Lsn(1);
}

}  // namespace

std::optional<Lsn> fork_point(const LogShape& a, const LogShape& b) {
  // The newest term that both have, started at the same place: the logs are equal up to the end of
  // the shorter run of that term. An entry that starts beyond a log's head holds no record there.
  if (defect(Defect::kForkIgnored)) return std::min(a.head, b.head);
  for (size_t i = a.history.size(); i > 0; --i) {
    const TermStart& entry = a.history.at(i - 1);
    for (size_t j = b.history.size(); j > 0; --j) {
      if (b.history.at(j - 1) != entry) continue;
      const Lsn end = std::min(term_end(a, i - 1), term_end(b, j - 1));
      // Both know the term, but one of them has nothing of it yet: then all that it has is common.
      return end;
    }
  }
  if (a.head == Lsn{} || b.head == Lsn{}) return Lsn{};
  if (is_complete(a) && is_complete(b)) return Lsn{};
  return std::nullopt;
}

}  // namespace ringbolt::core

// Term histories: their limits, and where two copies' logs fork, by tables and against a model that
// keeps a term per record.
#include "core/term_history.h"

#include <catch2/catch.hpp>
#include <initializer_list>
#include <random>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

Term term(uint64_t epoch, uint64_t incarnation = 1) {
  return {Epoch(epoch), Incarnation(incarnation)};
}
TermStart start(uint64_t epoch, uint64_t first) { return {term(epoch), Lsn(first)}; }

TermHistory history(std::initializer_list<TermStart> entries) {
  TermHistory result;
  for (const TermStart& entry : entries) REQUIRE(result.append_checked(entry));
  return result;
}

/// A log as the list of its records' terms.
struct ModelLog {
  std::vector<Term> records;
  TermHistory history;
  [[nodiscard]] Lsn head() const { return Lsn(records.size()); }
};

/// Records are equal if the same term wrote the same Lsn.
Lsn model_fork(const ModelLog& a, const ModelLog& b) {
  size_t same = 0;
  while (same < a.records.size() && same < b.records.size() && a.records[same] == b.records[same])
    ++same;
  return Lsn(same);
}

}  // namespace

TEST_CASE("core: a history drops entries that a new term starts at or before", "[core]") {
  TermHistory h = history({start(1, 1), start(2, 10), start(3, 20)});
  h.open(term(4), Lsn(10));
  CHECK(h == history({start(1, 1), start(4, 10)}));
  h.open(term(5), Lsn(11));
  CHECK(h == history({start(1, 1), start(4, 10), start(5, 11)}));
  h.open(term(6), Lsn(1));
  CHECK(h == history({start(6, 1)}));
  CHECK(h.last() == start(6, 1));
}

TEST_CASE("core: a full history drops its oldest entry", "[core]") {
  TermHistory h;
  for (uint64_t i = 1; i <= TermHistory::kTermsMax; ++i) h.open(term(i), Lsn(i * 10));
  REQUIRE(h.size() == TermHistory::kTermsMax);
  CHECK(h.at(0) == start(1, 10));
  h.open(term(100), Lsn(1000));
  REQUIRE(h.size() == TermHistory::kTermsMax);
  CHECK(h.at(0) == start(2, 20));
  CHECK(h.at(TermHistory::kTermsMax - 1) == start(100, 1000));
  CHECK(h.terms().size() == TermHistory::kTermsMax);
}

TEST_CASE("core: entries from outside are refused unless they ascend and fit", "[core]") {
  TermHistory h;
  CHECK_FALSE(h.append_checked({term(1), Lsn{}}));
  CHECK_FALSE(h.append_checked({{Epoch(1), Incarnation{}}, Lsn(1)}));
  CHECK(h.empty());
  REQUIRE(h.append_checked({term(5, 2), Lsn(10)}));
  CHECK_FALSE(h.append_checked({term(5, 2), Lsn(11)}));
  CHECK_FALSE(h.append_checked({term(5, 1), Lsn(11)}));
  CHECK_FALSE(h.append_checked({term(4, 9), Lsn(11)}));
  CHECK_FALSE(h.append_checked({term(6, 1), Lsn(10)}));
  CHECK_FALSE(h.append_checked({term(6, 1), Lsn(9)}));
  CHECK(h.size() == 1);
  CHECK(h.append_checked({term(5, 3), Lsn(11)}));
  TermHistory full;
  for (uint64_t i = 1; i <= TermHistory::kTermsMax; ++i) REQUIRE(full.append_checked(start(i, i)));
  CHECK_FALSE(full.append_checked(start(100, 100)));
}

TEST_CASE("core: the term of an Lsn is that of the last entry that starts at or before it",
          "[core]") {
  const TermHistory h = history({start(3, 5), start(4, 6), start(9, 20)});
  CHECK_FALSE(h.term_at(Lsn(4)).has_value());
  CHECK_FALSE(h.term_at(Lsn{}).has_value());
  CHECK(h.term_at(Lsn(5)) == term(3));
  CHECK(h.term_at(Lsn(6)) == term(4));
  CHECK(h.term_at(Lsn(19)) == term(4));
  CHECK(h.term_at(Lsn(20)) == term(9));
  CHECK(h.term_at(Lsn(1u << 30)) == term(9));
  CHECK_FALSE(TermHistory{}.last().has_value());
  CHECK_FALSE(TermHistory{}.term_at(Lsn(1)).has_value());
}

TEST_CASE("core: the fork of two logs, case by case", "[core]") {
  struct Case {
    const char* what;
    TermHistory a;
    uint64_t a_head;
    TermHistory b;
    uint64_t b_head;
    std::optional<uint64_t> fork;
  };
  const std::vector<Case> cases = {
      {"both empty", {}, 0, {}, 0, 0},
      {"one empty", history({start(1, 1)}), 7, {}, 0, 0},
      {"the same", history({start(1, 1)}), 7, history({start(1, 1)}), 7, 7},
      {"one shorter", history({start(1, 1)}), 7, history({start(1, 1)}), 4, 4},
      {"the shorter one went on in a new term", history({start(1, 1)}), 7,
       history({start(1, 1), start(2, 5)}), 9, 4},
      {"a term recorded, nothing of it written", history({start(1, 1), start(2, 8)}), 7,
       history({start(1, 1), start(2, 8)}), 12, 7},
      {"it meets in a term in the middle", history({start(1, 1), start(2, 5), start(3, 9)}), 12,
       history({start(1, 1), start(2, 5), start(4, 11)}), 15, 8},
      {"different terms from the start", history({start(1, 1)}), 7, history({start(2, 1)}), 7, 0},
      {"the same term from different starts is not the same term",
       history({start(1, 1), start(3, 5)}), 9, history({start(1, 1), start(3, 6)}), 9, 4},
      {"the last common term has just begun in one", history({start(1, 1), start(2, 5)}), 5,
       history({start(1, 1), start(2, 5)}), 40, 5},
      {"too far apart to tell", history({start(5, 100)}), 120, history({start(9, 300)}), 320,
       std::nullopt},
      {"one knows its beginning, the other not", history({start(1, 1)}), 120,
       history({start(9, 300)}), 320, std::nullopt},
      {"an empty log meets one that forgot its beginning", {}, 0, history({start(9, 300)}), 320, 0},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    const LogShape a{c.a, Lsn(c.a_head)}, b{c.b, Lsn(c.b_head)};
    std::optional<Lsn> expected;
    if (c.fork) expected = Lsn(*c.fork);
    CHECK(fork_point(a, b) == expected);
    CHECK(fork_point(b, a) == expected);
  }
}

TEST_CASE("core: the fork of random logs is where their records begin to differ", "[core]") {
  // Copies of one volume: one is primary at a time, writes in a term of its own, ships a part of
  // what it has to some others after cutting them at the fork, crashes and loses its newest
  // records.
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  uint64_t known = 0, unknown = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<ModelLog> copies(3);
    // Every other round has many restarts, and a copy that soon hears nothing of them any more: the
    // others' histories lose what they have in common with it.
    const bool one_left_out = round % 2 == 1;
    const uint64_t steps = one_left_out ? 60 + below(120) : 1 + below(12);
    for (uint64_t step = 1; step <= steps; ++step) {
      ModelLog& primary = copies[below(one_left_out ? 2 : 3)];
      primary.history.open(term(step), primary.head().next());
      const uint64_t written = below(5);  // possibly nothing, not even the term record
      for (uint64_t i = 0; i < written; ++i) primary.records.push_back(term(step));
      for (ModelLog& replica : copies) {
        if (&replica == &primary || below(3) == 0) continue;
        if (one_left_out && &replica == &copies[2] && step > 6) continue;
        const Lsn fork = model_fork(primary, replica);
        const uint64_t shipped = below(primary.head().minus(fork) + 1);
        replica.records.assign(
            primary.records.begin(),
            primary.records.begin() + static_cast<ptrdiff_t>(fork.value() + shipped));
        replica.history = primary.history;
      }
      if (below(3) == 0)
        primary.records.resize(primary.records.size() - std::min<uint64_t>(below(3), written));
    }
    for (const ModelLog& a : copies) {
      for (const ModelLog& b : copies) {
        const auto fork = fork_point({a.history, a.head()}, {b.history, b.head()});
        ++(fork ? known : unknown);
        if (fork) REQUIRE(*fork == model_fork(a, b));
        // Not to know is allowed only when a history has dropped its beginning.
        if (!fork) REQUIRE((a.history.at(0).first > Lsn(1) || b.history.at(0).first > Lsn(1)));
      }
    }
  }
  // Both outcomes must have been seen, or this test tests nothing.
  CHECK(known > 1000);
  CHECK(unknown > 0);
}

// The one decision of how a replica is brought into step: a table with each boundary exactly met
// and missed by one.
#include "core/recovery_decision.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

TermStart start(uint64_t epoch, uint64_t first) {
  return {{Epoch(epoch), Incarnation(1)}, Lsn(first)};
}

TermHistory history_of(const std::vector<TermStart>& entries) {
  TermHistory result;
  for (const TermStart& entry : entries) REQUIRE(result.append_checked(entry));
  return result;
}

struct Case {
  const char* what;
  bool base_usable = true;
  uint64_t position;
  uint64_t checkpoint = 0;
  std::vector<TermStart> replica_terms;
  bool seeded = false;
  RecoveryKind kind;
  uint64_t result = 0;
};

}  // namespace

TEST_CASE("core: how a replica is brought into step, case by case", "[core]") {
  // The primary: terms 1 from 1, 2 from 50; its WAL holds 40 .. 100.
  const TermHistory primary_history = history_of({start(1, 1), start(2, 50)});
  const std::vector<TermStart> ours = {start(1, 1), start(2, 50)};
  const std::vector<TermStart> older = {start(1, 1)};
  const std::vector<Case> cases = {
      {.what = "at the head",
       .position = 100,
       .replica_terms = ours,
       .kind = RecoveryKind::kKeepup,
       .result = 100},
      {.what = "one behind the head",
       .position = 99,
       .replica_terms = ours,
       .kind = RecoveryKind::kCatchup,
       .result = 99},
      {.what = "misses exactly what is retained",
       .position = 39,
       .replica_terms = older,
       .kind = RecoveryKind::kCatchup,
       .result = 39},
      {.what = "misses one record more than that",
       .position = 38,
       .replica_terms = older,
       .kind = RecoveryKind::kRebuild},
      {.what = "blank, and the first records are gone",
       .position = 0,
       .replica_terms = {},
       .kind = RecoveryKind::kRebuild},
      {.what = "one beyond the head in our newest term",
       .position = 101,
       .replica_terms = ours,
       .kind = RecoveryKind::kCutTail,
       .result = 100},
      {.what = "a tail of an older term",
       .position = 60,
       .replica_terms = older,
       .kind = RecoveryKind::kCutTail,
       .result = 49},
      {.what = "ends exactly at the fork",
       .position = 49,
       .replica_terms = older,
       .kind = RecoveryKind::kCatchup,
       .result = 49},
      {.what = "a tail of a term that we never saw",
       .position = 70,
       .replica_terms = {start(1, 1), start(2, 50), start(3, 65)},
       .kind = RecoveryKind::kCutTail,
       .result = 64},
      {.what = "a tail, as long as our log",
       .position = 100,
       .replica_terms = {start(1, 1), start(3, 50)},
       .kind = RecoveryKind::kCutTail,
       .result = 49},
      {.what = "a tail, and the fork is where its base image ends",
       .position = 60,
       .checkpoint = 49,
       .replica_terms = older,
       .kind = RecoveryKind::kCutTail,
       .result = 49},
      {.what = "a tail that is in its base image",
       .position = 60,
       .checkpoint = 50,
       .replica_terms = older,
       .kind = RecoveryKind::kRebuild},
      {.what = "a base image marked unusable, at the head",
       .base_usable = false,
       .position = 100,
       .replica_terms = ours,
       .kind = RecoveryKind::kRebuild},
      {.what = "a base image marked unusable, with a tail",
       .base_usable = false,
       .position = 60,
       .replica_terms = older,
       .kind = RecoveryKind::kRebuild},
      {.what = "histories that do not meet",
       .position = 60,
       .replica_terms = {start(7, 55)},
       .kind = RecoveryKind::kRebuild},
      {.what = "a seeded volume, a copy with records",
       .position = 99,
       .replica_terms = ours,
       .seeded = true,
       .kind = RecoveryKind::kCatchup,
       .result = 99},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    const ReplicaFacts replica{c.base_usable, Lsn(c.position), Lsn(c.checkpoint),
                               history_of(c.replica_terms)};
    const RecoveryDecision decision = decide_recovery(replica, {.wal_tail = Lsn(40),
                                                                .wal_head = Lsn(100),
                                                                .base_seeded = c.seeded,
                                                                .history = primary_history});
    CHECK(decision.kind == c.kind);
    if (c.kind != RecoveryKind::kRebuild) CHECK(decision.position == Lsn(c.result));
    CHECK(std::string(decision.reason).size() > 5);
  }
}

TEST_CASE("core: nobody catches up through records whose term the history does not name", "[core]") {
  // So many terms that the oldest are forgotten, and all records are in the WAL still.
  TermHistory primary_history;
  for (uint64_t epoch = 1; epoch <= TermHistory::kTermsMax + 3; ++epoch) primary_history.open({Epoch(epoch), Incarnation(1)}, Lsn(10 * epoch - 9));
  REQUIRE(primary_history.at(0).first == Lsn(31));
  const auto decide = [&](uint64_t position, const TermHistory& terms) {
    return decide_recovery({true, Lsn(position), Lsn{}, terms},
                           {.wal_tail = Lsn(1), .wal_head = Lsn(1000), .base_seeded = false, .history = primary_history})
        .kind;
  };
  CHECK(decide(0, {}) == RecoveryKind::kRebuild);
  // A copy that knows one of the named terms, and says that it has less than its records.
  const TermHistory named = history_of({start(3, 21), start(4, 31)});
  CHECK(decide(15, named) == RecoveryKind::kRebuild);
  CHECK(decide(29, named) == RecoveryKind::kRebuild);
  CHECK(decide(30, named) == RecoveryKind::kCatchup);
  CHECK(decide(35, named) == RecoveryKind::kCatchup);
}

TEST_CASE("core: a blank replica catches up from the first record, unless the base was seeded",
          "[core]") {
  const TermHistory primary_history = history_of({start(1, 1)});
  const ReplicaFacts blank{true, Lsn{}, Lsn{}, {}};
  const auto decide = [&](uint64_t tail, uint64_t head, bool seeded) {
    return decide_recovery(blank, {.wal_tail = Lsn(tail),
                                   .wal_head = Lsn(head),
                                   .base_seeded = seeded,
                                   .history = primary_history});
  };
  CHECK(decide(1, 10, false).kind == RecoveryKind::kCatchup);
  CHECK(decide(1, 10, false).position == Lsn{});
  CHECK(decide(2, 10, false).kind == RecoveryKind::kRebuild);
  CHECK(decide(1, 10, true).kind == RecoveryKind::kRebuild);
  // Nothing logged at all: the blank copy is complete, but for a seed.
  CHECK(decide(1, 0, false).kind == RecoveryKind::kKeepup);
  CHECK(decide(1, 0, true).kind == RecoveryKind::kRebuild);
}

// Which prefix satisfies a durability mode: by hand, and against counting record by record.
#include "core/commit_rule.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

/// Whether the record at `lsn` counts as done, straight from the words of the design.
bool is_satisfied(Durability mode, uint64_t lsn, uint64_t local,
                  const std::vector<CopyPosition>& replicas) {
  if (local < lsn) return false;
  switch (mode) {
    case Durability::kBestEffort:
      return true;
    case Durability::kSyncAll: {
      for (const CopyPosition& copy : replicas) {
        if (copy.required && copy.position.value() < lsn) return false;
      }
      return true;
    }
    case Durability::kSyncQuorum: {
      size_t have = 1;
      for (const CopyPosition& copy : replicas) have += copy.position.value() >= lsn ? 1 : 0;
      return have * 2 > replicas.size() + 1;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("core: what each durability mode waits for", "[core]") {
  using Copies = std::vector<CopyPosition>;
  const auto prefix = [](Durability mode, uint64_t local, const Copies& copies) {
    return satisfied_prefix(mode, Lsn(local), copies).value();
  };
  const Copies two = {{Lsn(5), true}, {Lsn(8), false}};
  CHECK(prefix(Durability::kBestEffort, 10, two) == 10);
  CHECK(prefix(Durability::kSyncAll, 10, two) == 5);
  CHECK(prefix(Durability::kSyncAll, 4, two) == 4);
  CHECK(prefix(Durability::kSyncAll, 10, {{Lsn(5), false}, {Lsn(0), false}}) == 10);
  CHECK(prefix(Durability::kSyncAll, 10, {{Lsn(0), true}}) == 0);
  CHECK(prefix(Durability::kSyncQuorum, 10, two) == 8);  // two of three
  CHECK(prefix(Durability::kSyncQuorum, 6, two) == 6);   // never beyond the primary's own copy
  CHECK(prefix(Durability::kSyncQuorum, 10, {{Lsn(5), true}}) == 5);  // two of two
  CHECK(prefix(Durability::kSyncQuorum, 10, {{Lsn(5), true}, {Lsn(6), true}, {Lsn(7), true}}) ==
        6);  // three of four
  for (const Durability mode :
       {Durability::kBestEffort, Durability::kSyncAll, Durability::kSyncQuorum})
    CHECK(prefix(mode, 10, {}) == 10);
}

TEST_CASE("core: the satisfied prefix is the last record of which each one before is satisfied",
          "[core]") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 5000; ++round) {
    std::vector<CopyPosition> replicas(random() % (kReplicasMax + 1));
    for (CopyPosition& copy : replicas) copy = {Lsn(random() % 12), random() % 2 == 0};
    const uint64_t local = random() % 12;
    for (const Durability mode :
         {Durability::kBestEffort, Durability::kSyncAll, Durability::kSyncQuorum}) {
      uint64_t expected = 0;
      while (is_satisfied(mode, expected + 1, local, replicas)) ++expected;
      REQUIRE(satisfied_prefix(mode, Lsn(local), replicas) == Lsn(expected));
    }
  }
}

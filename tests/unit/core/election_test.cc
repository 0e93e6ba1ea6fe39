// Who may follow a primary: by hand, and that nobody who lacks something acknowledged ever does.
#include "core/election.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <random>

#include "core/commit_rule.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

CopyReport reports(std::string node, uint64_t promised, uint64_t term, uint64_t last, bool usable = true) {
  return {std::move(node), Epoch(promised), Term{Epoch(term), Incarnation(1)}, Lsn(last), usable};
}

ElectionFacts three(Durability durability, std::vector<std::string> in_sync = {"n1", "n2", "n3"}) {
  return {durability, Epoch(5), {"n1", "n2", "n3"}, {}, std::move(in_sync), {}};
}

}  // namespace

TEST_CASE("core: with sync_all the furthest member of the in-sync set follows", "[core][election]") {
  ElectionFacts facts = three(Durability::kSyncAll);
  Election election = elect(facts);
  CHECK_FALSE(election.winner);
  CHECK(election.epoch == Epoch(6));
  CHECK(election.reason == "1 more of these must report: n1, n2, n3");

  facts.reports = {reports("n3", 6, 5, 10)};
  election = elect(facts);
  CHECK(election.winner == "n3");
  CHECK(election.epoch == Epoch(7));  // the promise is nobody's own term
  CHECK(election.missing == std::vector<std::string>{"n1", "n2"});

  facts.reports.push_back(reports("n2", 8, 5, 12));
  CHECK(elect(facts).winner == "n2");
  CHECK(elect(facts).epoch == Epoch(9));

  SECTION("not whoever is outside the set, however far it is") {
    facts.in_sync = {"n1", "n3"};
    CHECK(elect(facts).winner == "n3");
    CHECK(elect(facts).epoch == Epoch(9));
    facts.in_sync = {"n1"};
    CHECK_FALSE(elect(facts).winner);
  }
  SECTION("a later term is further than a longer log") {
    facts.reports = {reports("n2", 6, 4, 100), reports("n3", 6, 5, 7)};
    CHECK(elect(facts).winner == "n3");
  }
  SECTION("of equal ones the first") {
    facts.reports = {reports("n3", 6, 5, 7), reports("n2", 6, 5, 7)};
    CHECK(elect(facts).winner == "n2");
  }
}

TEST_CASE("core: what is no promise to a later epoch, or of a damaged copy, counts for nothing", "[core][election]") {
  for (const Durability durability : {Durability::kSyncAll, Durability::kSyncQuorum}) {
    ElectionFacts facts = three(durability);
    facts.reports = {reports("n2", 5, 5, 12), reports("n3", 4, 5, 12)};
    CHECK_FALSE(elect(facts).winner);
    facts.reports = {reports("n2", 6, 5, 12, false), reports("n3", 6, 5, 12, false)};
    CHECK_FALSE(elect(facts).winner);
    // Not the older one either, by which it was not damaged yet.
    facts.reports = {reports("n2", 6, 5, 12), reports("n2", 7, 5, 12, false)};
    CHECK_FALSE(elect(facts).winner);
    facts.reports = {reports("n8", 60, 5, 12), reports("n9", 60, 5, 12)};
    CHECK_FALSE(elect(facts).winner);
    CHECK(elect(facts).epoch == Epoch(6));
  }
}

TEST_CASE("core: with sync_quorum so many report that every majority has one of them", "[core][election]") {
  ElectionFacts facts = three(Durability::kSyncQuorum, {"n1"});  // the in-sync set says nothing there
  facts.reports = {reports("n2", 6, 5, 10)};
  CHECK_FALSE(elect(facts).winner);
  CHECK(elect(facts).reason == "1 more of these must report: n1, n3");
  facts.reports.push_back(reports("n3", 6, 5, 11));
  CHECK(elect(facts).winner == "n3");
  // Two of two: one that reports is in every majority.
  facts.copies = {"n1", "n2"};
  facts.reports = {reports("n2", 6, 5, 10)};
  CHECK(elect(facts).winner == "n2");
  // Four: a majority is three, so two must report.
  facts.copies = {"n1", "n2", "n3", "n4"};
  CHECK_FALSE(elect(facts).winner);
  facts.reports.push_back(reports("n4", 6, 4, 90));
  CHECK(elect(facts).winner == "n2");
}

TEST_CASE("core: while members are being changed, every majority of before has one of those that report, too", "[core][election]") {
  ElectionFacts facts = three(Durability::kSyncQuorum);
  facts.copies = {"n1", "n4", "n5"};
  facts.copies_before = {"n1", "n2", "n3"};
  // Of all five that is a majority, and yet n1 and n3 alone may have acknowledged.
  facts.reports = {reports("n4", 6, 5, 1), reports("n5", 6, 5, 1), reports("n2", 6, 5, 2)};
  CHECK_FALSE(elect(facts).winner);
  CHECK(elect(facts).reason == "1 more of these must report: n1, n3");
  facts.reports.push_back(reports("n3", 6, 5, 9));
  CHECK(elect(facts).winner == "n3");
  facts.copies_before.clear();
  CHECK(elect(facts).winner == "n4");
}

TEST_CASE("core: of a volume that nobody has a copy of nobody is elected", "[core][election]") {
  for (const Durability durability : {Durability::kSyncAll, Durability::kSyncQuorum, Durability::kBestEffort}) {
    ElectionFacts facts;
    facts.durability = durability;
    facts.reports = {reports("n1", 6, 5, 10)};
    CHECK_FALSE(elect(facts).winner);
    CHECK_FALSE(elect(facts).reason.empty());
  }
}

TEST_CASE("core: with best_effort nobody follows by itself", "[core][election]") {
  ElectionFacts facts = three(Durability::kBestEffort);
  facts.reports = {reports("n1", 6, 5, 10), reports("n2", 6, 5, 10), reports("n3", 6, 5, 10)};
  const Election election = elect(facts);
  CHECK_FALSE(election.winner);
  CHECK_FALSE(election.reason.empty());
}

/// Copies have any prefixes of what a primary wrote, and some have promised. What the commit rule then acknowledges, now and with whatever
/// those that have not promised may still take, the winner has: over the members of now, and over those of before where they change.
TEST_CASE("core: nobody is elected who lacks what was, or still can be, acknowledged", "[core][election]") {
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t n) { return random() % n; };
  size_t elected = 0;
  for (int round = 0; round < 20000; ++round) {
    const size_t count = 1 + below(kReplicasMax + 1);
    const Durability durability = below(2) == 0 ? Durability::kSyncAll : Durability::kSyncQuorum;
    const bool changing = durability == Durability::kSyncQuorum && below(2) == 0;
    const uint64_t head = below(20);
    ElectionFacts facts;
    facts.durability = durability;
    facts.epoch = Epoch(5);
    // What each can have by the time at which the winner has opened its term. The first one is the primary, a member of both sets.
    std::vector<CopyPosition> now, before;
    uint64_t primary_last = head;
    for (size_t i = 0; i < count; ++i) {
      const std::string node = "n" + std::to_string(i);
      const bool promised = below(2) == 0;
      const bool in_sync = i == 0 || below(2) == 0;
      const bool stays = i == 0 || !changing || below(3) != 0;
      const bool was_there = i == 0 || !stays || below(2) == 0;
      const uint64_t last = i == 0 ? head : below(head + 1);
      // Who has not promised may take all that there is, and more.
      const uint64_t reach = promised ? last : head + 10;
      if (stays) facts.copies.push_back(node);
      if (changing && was_there) facts.copies_before.push_back(node);
      if (in_sync) facts.in_sync.push_back(node);
      if (promised) facts.reports.push_back(reports(node, 6 + below(3), 5, last, below(8) != 0));
      if (i == 0) {
        primary_last = reach;
        continue;
      }
      if (stays) now.push_back({Lsn(reach), in_sync});
      if (was_there) before.push_back({Lsn(reach), in_sync});
    }
    std::shuffle(facts.reports.begin(), facts.reports.end(), random);
    const Election election = elect(facts);
    for (const CopyReport& report : facts.reports) CHECK(election.epoch > report.promised);
    if (!election.winner) continue;
    ++elected;
    Lsn acknowledged = satisfied_prefix(durability, Lsn(primary_last), now);
    if (changing) acknowledged = std::max(acknowledged, satisfied_prefix(durability, Lsn(primary_last), before));
    const auto has = std::find_if(facts.reports.begin(), facts.reports.end(), [&](const CopyReport& report) { return report.node == *election.winner; });
    REQUIRE(has != facts.reports.end());
    CHECK(has->usable);
    CHECK(has->last >= acknowledged);
  }
  CHECK(elected > 5000);
}

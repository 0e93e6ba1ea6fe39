// Who may take an assignment, case by case.
#include "core/assignment.h"

#include <catch2/catch.hpp>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

Assignment assignment(Role role, uint64_t epoch, const std::vector<std::string>& replicas = {}) {
  Assignment a{Epoch(epoch), 0, role, Durability::kSyncAll, {}};
  for (const std::string& id : replicas) a.replicas.push_back({id, id + ":1"});
  return a;
}

/// Was primary of `epoch`, in its only opening, and is assigned so.
CopyFacts primary_of(uint64_t epoch) {
  CopyFacts copy;
  copy.promised = Epoch(epoch);
  copy.incarnation = Incarnation(1);
  copy.last_term = TermStart{{Epoch(epoch), Incarnation(1)}, Lsn(10)};
  copy.current = assignment(Role::kPrimary, epoch, {"n2"});
  copy.current->version = 7;
  return copy;
}

/// Is a replica of `epoch`, with records of it.
CopyFacts replica_of(uint64_t epoch) {
  CopyFacts copy = primary_of(epoch);
  copy.incarnation = Incarnation{};
  copy.current = assignment(Role::kReplica, epoch);
  return copy;
}

void check(const Assignment& next, Authority authority, const CopyFacts& copy, Verdict verdict, const std::string& reason = "") {
  const Judgement judgement = judge(next, authority, copy);
  CHECK(judgement.verdict == verdict);
  if (verdict == Verdict::kTake || verdict == Verdict::kNothingNew) {
    CHECK(judgement.reason.empty());
  } else {
    INFO(judgement.reason);
    CHECK_FALSE(reason.empty());
    CHECK(judgement.reason.find(reason) != std::string::npos);
  }
}

constexpr Authority kEach[] = {Authority::kAssigned, Authority::kPromoted, Authority::kForced};

}  // namespace

TEST_CASE("core: a copy that nobody has used takes any role", "[core][assignment]") {
  const CopyFacts blank;
  check(assignment(Role::kPrimary, 1, {"n2"}), Authority::kAssigned, blank, Verdict::kTake);
  for (const Authority authority : kEach) {
    check(assignment(Role::kReplica, 1), authority, blank, Verdict::kTake);
    check(assignment(Role::kNone, 1), authority, blank, Verdict::kTake);
  }
}

TEST_CASE("core: an epoch begins at 1", "[core][assignment]") {
  for (const Role role : {Role::kNone, Role::kPrimary, Role::kReplica}) {
    check(assignment(role, 0), Authority::kForced, {}, Verdict::kRefused, "epoch is 1 or higher");
  }
}

TEST_CASE("core: a stale epoch is refused with the current one named, whoever asks", "[core][assignment]") {
  for (const Authority authority : kEach) {
    for (const Role role : {Role::kNone, Role::kPrimary, Role::kReplica}) {
      check(assignment(role, 4), authority, replica_of(5), Verdict::kStaleEpoch, "promised to epoch 5");
      CopyFacts only_assigned;  // and not in effect yet
      only_assigned.current = assignment(Role::kReplica, 6);
      check(assignment(role, 5), authority, only_assigned, Verdict::kStaleEpoch, "the current one is 6");
    }
  }
  // A promise counts above an older assignment: also when just that is delivered again.
  CopyFacts fenced = primary_of(2);
  fenced.promised = Epoch(3);
  fenced.incarnation = Incarnation{};
  check(*fenced.current, Authority::kAssigned, fenced, Verdict::kStaleEpoch, "promised to epoch 3");
}

TEST_CASE("core: an assignment that is delivered again is nothing new, whatever its version", "[core][assignment]") {
  for (const Authority authority : kEach) {
    check(assignment(Role::kPrimary, 2, {"n2"}), authority, primary_of(2), Verdict::kNothingNew);
    check(assignment(Role::kReplica, 2), authority, replica_of(2), Verdict::kNothingNew);
  }
  // Recorded, and not in effect yet.
  CopyFacts pending = replica_of(2);
  pending.current = assignment(Role::kPrimary, 3);
  check(*pending.current, Authority::kAssigned, pending, Verdict::kNothingNew);
  // One that had to give way to another holder of its epoch is not what it was assigned to be.
  CopyFacts fenced = primary_of(2);
  fenced.incarnation = Incarnation{};
  check(*fenced.current, Authority::kAssigned, fenced, Verdict::kRefused, "another node was primary of epoch 2");
}

TEST_CASE("core: within an epoch replicas and durability change, the role does not", "[core][assignment]") {
  const CopyFacts primary = primary_of(2);
  check(assignment(Role::kPrimary, 2, {"n3"}), Authority::kAssigned, primary, Verdict::kTake);
  check(assignment(Role::kPrimary, 2), Authority::kAssigned, primary, Verdict::kTake);
  Assignment quorum = *primary.current;
  quorum.durability = Durability::kSyncQuorum;
  check(quorum, Authority::kAssigned, primary, Verdict::kTake);
  Assignment moved = *primary.current;
  moved.replicas.front().address = "elsewhere:1";
  check(moved, Authority::kAssigned, primary, Verdict::kTake);
  for (const Authority authority : kEach) {
    check(assignment(Role::kReplica, 2), authority, primary, Verdict::kRefused, "it is primary of epoch 2 here; another role needs a higher epoch");
    check(assignment(Role::kNone, 2), authority, primary, Verdict::kRefused, "another role needs a higher epoch");
    check(assignment(Role::kPrimary, 2), authority, replica_of(2), Verdict::kRefused, "it is replica of epoch 2 here");
  }
  check(assignment(Role::kReplica, 3), Authority::kAssigned, primary, Verdict::kTake);
  check(assignment(Role::kPrimary, 3), Authority::kAssigned, replica_of(2), Verdict::kTake);
  // All of that an operator may ask, too, of a copy that is primary: he needs no force for it.
  for (const Assignment& next : {assignment(Role::kPrimary, 2, {"n3"}), quorum, moved, assignment(Role::kPrimary, 3)}) {
    check(next, Authority::kPromoted, primary, Verdict::kTake);
  }
}

TEST_CASE("core: only a primary has replicas, and not more than eight", "[core][assignment]") {
  check(assignment(Role::kReplica, 1, {"n2"}), Authority::kAssigned, {}, Verdict::kRefused, "only a primary has replicas");
  check(assignment(Role::kNone, 1, {"n2"}), Authority::kAssigned, {}, Verdict::kRefused, "only a primary has replicas");
  std::vector<std::string> replicas;
  for (uint32_t i = 0; i < kReplicasMax; ++i) replicas.push_back("r" + std::to_string(i));
  check(assignment(Role::kPrimary, 1, replicas), Authority::kAssigned, {}, Verdict::kTake);
  replicas.push_back("one more");
  check(assignment(Role::kPrimary, 1, replicas), Authority::kForced, {}, Verdict::kRefused, "at most 8 replicas");
}

TEST_CASE("core: a primary's replicas have ids, each its own", "[core][assignment]") {
  for (const Authority authority : kEach) {
    check(assignment(Role::kPrimary, 1, {"n2", "n3", "n2"}), authority, {}, Verdict::kRefused, "replica n2 is named twice");
    check(assignment(Role::kPrimary, 1, {"n2", ""}), authority, {}, Verdict::kRefused, "a replica has no id");
    check(assignment(Role::kPrimary, 1, {""}), authority, {}, Verdict::kRefused, "a replica has no id");
  }
  // At two addresses it is still one.
  Assignment twice = assignment(Role::kPrimary, 1, {"n2", "n2"});
  twice.replicas.back().address = "elsewhere:1";
  check(twice, Authority::kAssigned, {}, Verdict::kRefused, "replica n2 is named twice");
  check(assignment(Role::kPrimary, 1, {"n2", "n22", "N2"}), Authority::kAssigned, {}, Verdict::kTake);
}

TEST_CASE("core: an epoch that another node was primary of is not taken, not even by force", "[core][assignment]") {
  for (const Authority authority : kEach) {
    // Promised to another, after a restart that knows no assignment.
    CopyFacts promised = replica_of(3);
    promised.current.reset();
    promised.handed_over = true;
    check(assignment(Role::kPrimary, 3), authority, promised, Verdict::kRefused, "another node was primary of epoch 3");
    promised.last_term.reset();  // nor has it any record of it
    check(assignment(Role::kPrimary, 3), authority, promised, Verdict::kRefused, "another node was primary of epoch 3");
    // Records of the epoch that it did not write: by a later opening than its own last one, ...
    CopyFacts later = primary_of(3);
    later.current.reset();
    later.last_term->term.incarnation = Incarnation(2);
    check(assignment(Role::kPrimary, 3), authority, later, Verdict::kRefused, "another node was primary of epoch 3");
    // ... or under an older promise.
    CopyFacts older = primary_of(2);
    older.current.reset();
    older.last_term->term.epoch = Epoch(3);
    check(assignment(Role::kPrimary, 3), authority, older, Verdict::kRefused, "another node was primary of epoch 3");
    // Its own it opens again: a restart.
    CopyFacts own = primary_of(3);
    own.current.reset();
    check(assignment(Role::kPrimary, 3), authority, own, Verdict::kTake);
    own.incarnation = Incarnation(5);  // the last openings wrote nothing
    check(assignment(Role::kPrimary, 3), authority, own, Verdict::kTake);
  }
  // As a replica there is nothing against it.
  CopyFacts promised = replica_of(3);
  promised.current.reset();
  check(assignment(Role::kReplica, 3), Authority::kAssigned, promised, Verdict::kTake);
}

TEST_CASE("core: a copy with an unusable base image is never primary, not even by force", "[core][assignment]") {
  for (const Authority authority : kEach) {
    CopyFacts copy = replica_of(2);
    copy.base_usable = false;
    copy.handed_over = true;
    check(assignment(Role::kPrimary, 3), authority, copy, Verdict::kRefused, "base image is marked unusable");
    check(assignment(Role::kReplica, 3), authority, copy, Verdict::kTake);
  }
}

TEST_CASE("core: a copy that may be stale is promoted by force only", "[core][assignment]") {
  const Assignment next = assignment(Role::kPrimary, 4, {"n1"});
  CopyFacts copy = replica_of(3);
  check(next, Authority::kPromoted, copy, Verdict::kRefused, "may be stale");
  check(next, Authority::kForced, copy, Verdict::kTake);
  check(next, Authority::kAssigned, copy, Verdict::kTake);  // who assigns knows which copy is fit
  SECTION("its primary has handed over to it") {
    copy.handed_over = true;
    check(next, Authority::kPromoted, copy, Verdict::kTake);
  }
  SECTION("nobody has used it") {
    CopyFacts blank;
    blank.blank = true;
    check(next, Authority::kPromoted, blank, Verdict::kTake);
    // But as a replica: its primary may have written.
    blank.current = assignment(Role::kReplica, 3);
    blank.promised = Epoch(3);
    check(next, Authority::kPromoted, blank, Verdict::kRefused, "may be stale");
  }
  SECTION("it was the last primary itself") { check(next, Authority::kPromoted, primary_of(3), Verdict::kTake); }
  SECTION("it was primary, of an epoch before the one it has promised to") {
    copy.incarnation = Incarnation{};
    copy.last_term = TermStart{{Epoch(2), Incarnation(9)}, Lsn(1)};
    check(next, Authority::kPromoted, copy, Verdict::kRefused, "may be stale");
  }
  SECTION("nothing is known of it") { check(next, Authority::kPromoted, CopyFacts{}, Verdict::kRefused, "may be stale"); }
  SECTION("an incarnation of no epoch is none") {
    CopyFacts odd;
    odd.incarnation = Incarnation(1);
    check(next, Authority::kPromoted, odd, Verdict::kRefused, "may be stale");
  }
  SECTION("of its own epoch, with other replicas") { check(assignment(Role::kPrimary, 3), Authority::kPromoted, primary_of(3), Verdict::kTake); }
}

#include "tests/unit/coord/store_cases.h"

#include <catch2/catch.hpp>
#include <optional>

namespace ringbolt::coord {
namespace {

/// The answer to a call.
template <class T, class Call>
Reply<T> answer_of(StoreUnderTest& under_test, const Call& call) {
  std::optional<Reply<T>> answer;
  call([&answer](const Reply<T>& reply) { answer.emplace(reply); });
  CHECK_FALSE(answer);  // later, never at once
  under_test.wait([&answer] { return answer.has_value(); });
  return *answer;
}

template <class T, class Call>
T value_of(StoreUnderTest& under_test, const Call& call) {
  const Reply<T> reply = answer_of<T>(under_test, call);
  INFO((reply.has_error() ? reply.error().message : ""));
  REQUIRE(reply.has_value());
  return reply.value();
}

std::vector<Entry> look(StoreUnderTest& on, const std::string& key, bool prefix = false) {
  return value_of<Entries>(on, [&](auto done) { on.store.range({on.prefix + key, prefix}, done); }).entries;
}

TransactionReply commit(StoreUnderTest& on, const Transaction& transaction) {
  return value_of<TransactionReply>(on, [&](auto done) { on.store.commit(transaction, done); });
}

Transaction put_of(StoreUnderTest& on, const std::string& key, const std::string& value, LeaseId lease = 0) {
  return {{}, {{Step::Kind::kPut, {on.prefix + key}, value, lease}}, {}};
}

Stamp put(StoreUnderTest& on, const std::string& key, const std::string& value, LeaseId lease = 0) { return commit(on, put_of(on, key, value, lease)).stamp; }

Stamp remove(StoreUnderTest& on, const std::string& key, bool prefix = false) { return commit(on, {{}, {{Step::Kind::kRemove, {on.prefix + key, prefix}}}, {}}).stamp; }

/// What a watch has said.
struct Told {
  std::vector<Event> events;
  Revision revision = 0;
  std::optional<WatchEnd> end;
  WatchTaker taker() {
    return {[this](Revision at, const std::vector<Event>& more) {
              revision = at;
              events.insert(events.end(), more.begin(), more.end());
            },
            [this](const WatchEnd& how) { end = how; }};
  }
};

}  // namespace

void check_entries(StoreUnderTest& on) {
  const std::string bytes("\0\xff\n\"x", 5);
  CHECK(look(on, "a").empty());
  const Stamp first = put(on, "a", bytes), second = put(on, "a", "2");
  CHECK(second.revision == first.revision + 1);
  put(on, "ab", "3");
  CHECK(look(on, "a") == std::vector<Entry>{{on.prefix + "a", "2", first.revision, second.revision, 0}});
  REQUIRE(look(on, "a", true).size() == 2);
  const auto limited = value_of<Entries>(on, [&](auto done) { on.store.range({on.prefix + "a", true, 1}, done); });
  CHECK((limited.entries.size() == 1 && limited.more));
  CHECK(limited.stamp.revision == second.revision + 1);
  remove(on, "a", true);
  CHECK(look(on, "a", true).empty());
  const Stamp nothing = remove(on, "a", true);
  CHECK(nothing.revision == second.revision + 2);  // what changes nothing makes no revision
}

void check_transactions(StoreUnderTest& on) {
  const std::string key = on.prefix + "t";
  const auto holds = [&](Compare::Of of, int64_t number) { return commit(on, {{{key, of, number}}, {}, {}}).held; };
  const Transaction create{{{key, Compare::Of::kCreated, 0}}, {{Step::Kind::kPut, {key}, "1"}}, {{Step::Kind::kRange, {key}}}};
  const TransactionReply made = commit(on, create);
  CHECK(made.held);
  const TransactionReply again = commit(on, create);
  CHECK_FALSE(again.held);
  REQUIRE(again.entries.size() == 1);
  REQUIRE(again.entries[0].size() == 1);
  CHECK(again.entries[0][0] == Entry{key, "1", made.stamp.revision, made.stamp.revision, 0});
  using Of = Compare::Of;
  const Revision at = made.stamp.revision;
  for (const Of of : {Of::kCreated, Of::kModified}) CHECK((holds(of, at) && !holds(of, at - 1) && !holds(of, 0)));
  CHECK((holds(Of::kLease, 0) && !holds(Of::kLease, 1)));
  // All or nothing, at one revision; removing nothing makes none.
  const TransactionReply two = commit(on, {{}, {{Step::Kind::kPut, {key}, "2"}, {Step::Kind::kPut, {key + "2"}, "2"}, {Step::Kind::kRemove, {on.prefix + "none"}}}, {}});
  CHECK((two.held && two.stamp.revision == at + 1));
  CHECK(look(on, "t", true)[1].created == at + 1);
  CHECK(commit(on, {{{key, Of::kModified, at + 1}}, {{Step::Kind::kRemove, {on.prefix + "none"}}}, {}}).stamp.revision == at + 1);
}

void check_leases(StoreUnderTest& on) {
  const auto lease_of = [&on](auto call) { return value_of<Lease>(on, call); };
  const Lease lease = lease_of([&](auto done) { on.store.grant(60, done); });
  CHECK((lease.id != 0 && lease.seconds == 60));
  put(on, "l", "x", lease.id);
  CHECK(look(on, "l")[0].lease == lease.id);
  const Lease renewed = lease_of([&](auto done) { on.store.renew(lease.id, done); });
  CHECK((renewed.id == lease.id && renewed.seconds == 60));
  // In quiet times one member and one term answer all.
  CHECK((renewed.stamp.member == lease.stamp.member && renewed.stamp.term == lease.stamp.term));
  value_of<Stamp>(on, [&](auto done) { on.store.revoke(lease.id, done); });
  CHECK(look(on, "l").empty());
  CHECK(lease_of([&](auto done) { on.store.renew(lease.id, done); }).seconds == 0);
  const auto gone = answer_of<Stamp>(on, [&](auto done) { on.store.revoke(lease.id, done); });
  REQUIRE(gone.has_error());
  CHECK(gone.error().trouble == Trouble::kNotFound);
  const auto refused = answer_of<TransactionReply>(on, [&](auto done) { on.store.commit(put_of(on, "l", "x", lease.id), done); });
  REQUIRE(refused.has_error());
  CHECK((refused.error().trouble == Trouble::kNotFound && !refused.error().may_have_happened));
}

void check_watches(StoreUnderTest& on) {
  const Stamp first = put(on, "w1", "1");
  put(on, "other", "1");
  Told told, late;
  const auto watch = on.store.watch({on.prefix + "w", true}, first.revision, told.taker());
  const Stamp second = put(on, "w2", "2");
  on.wait([&] { return told.events.size() >= 2; });
  remove(on, "w1");
  on.wait([&] { return told.events.size() >= 3; });
  REQUIRE(told.events.size() == 3);
  CHECK(told.events[0] == Event{{on.prefix + "w1", "1", first.revision, first.revision, 0}, false});
  CHECK(told.events[1].entry.modified == second.revision);
  CHECK((told.events[2].removed && told.events[2].entry.key == on.prefix + "w1"));
  CHECK(told.revision == second.revision + 1);
  // From the past, and no more after it was ended.
  auto ended = on.store.watch({on.prefix + "w2"}, second.revision, late.taker());
  on.wait([&] { return !late.events.empty(); });
  ended.reset();
  put(on, "w2", "3");
  on.wait([&] { return told.events.size() >= 4; });
  CHECK(late.events.size() == 1);
  CHECK_FALSE(told.end);
}

void check_compaction(StoreUnderTest& on) {
  const Stamp first = put(on, "c", "1"), second = put(on, "c", "2");
  on.compact(second.revision);
  Told told;
  const auto watch = on.store.watch({on.prefix + "c"}, first.revision, told.taker());
  on.wait([&] { return told.end.has_value(); });
  CHECK(told.end->compacted == second.revision);
  CHECK(told.events.empty());
}

}  // namespace ringbolt::coord

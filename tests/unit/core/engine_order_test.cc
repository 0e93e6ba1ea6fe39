// The same facts, in whatever order and however often they are told, end in the same state, with the same outstanding
// commands and the same projection. And telling a fact, or carrying out a command, twice changes nothing.
#include <algorithm>
#include <catch2/catch.hpp>

#include "../seed_stride.h"
#include "engine_model.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

Engine replay(const std::vector<Event>& events) {
  Engine engine("vol0");
  for (const Event& event : events) engine.apply(event);
  return engine;
}

void check_equal(const Engine& engine, const Engine& expected) {
  // Compared before they are printed: a state is large.
  const bool same_state = engine.state() == expected.state();
  CHECK(same_state);
  CHECK(orders(engine.outstanding()) == orders(expected.outstanding()));
  const bool same_outstanding = engine.outstanding() == expected.outstanding();
  CHECK(same_outstanding);
  CHECK(engine.projection().mode == expected.projection().mode);
  CHECK(engine.projection().reason == expected.projection().reason);
}

/// Facts of which no two contradict each other: what is said under one number is always the same. Nothing else is
/// consistent about them.
class Facts {
 public:
  explicit Facts(uint64_t seed) : seed_(seed), random_(seed) {}

  Event any() {
    // Few different ones, so that facts meet.
    const std::string id = "n" + std::to_string(pick(2) + 2);
    const Term of{Epoch(1 + pick(2)), Incarnation(1)};
    const uint64_t number = pick(4);
    switch (pick(std::variant_size_v<Event>)) {
      case 0: return assignment(Epoch(pick(4)), number);
      case 1: return EpochObserved{Epoch(pick(4)), word()};
      case 2: return role(number);
      case 3: return ReceiverReady{Epoch(pick(4))};
      case 4: return ShipperConfigured{Epoch(pick(4)), number};
      case 5: return ShipperConnected{id, number, pick(2) == 0, word()};
      case 6: return ShippedAdvanced{id, Lsn(number)};
      case 7: return CommittedAdvanced{of, Lsn(number), Lsn(pick(6))};
      case 8: return CheckpointAdvanced{Lsn(number)};
      case 9: return ack(id, of, number);
      case 10: return SessionStarted{id, of, SessionId(number), static_cast<SessionKind>(1 + said(number, 1) % 3), Lsn(said(number, 2) % 9), Lsn(9)};
      case 11: return SessionProgress{id, of, SessionId(number), static_cast<SessionPhase>(pick(6)), Lsn(pick(9))};
      case 12: return SessionCompleted{id, of, SessionId(number), Lsn(pick(9))};
      case 13: return SessionFailed{id, of, SessionId(number), static_cast<Reason>(pick(4)), word()};
      case 14:
      case 15: return decision(id, of, number);
      case 16: return NeedsRebuildObserved{id, of, number, std::to_string(said(number, 3))};
      case 17: return RebuildOrdered{id, term(1 + said(number, 12) % 2), number, said(number, 13) % 2 == 0, said(number, 14) % 5};
      default: return CopyObserved{number, said(number, 4) % 2 == 0, said(number, 5) % 3 == 0 ? "gone" : "", said(number, 6) % 2 == 0 ? "n9" : ""};
    }
  }

 private:
  uint64_t pick(uint64_t below) { return random_() % below; }
  std::string word() { return std::string(1, static_cast<char>('a' + pick(3))); }
  /// The same for the same number.
  [[nodiscard]] uint64_t said(uint64_t number, uint64_t of) const { return std::mt19937_64(seed_ * 1000003 + number * 101 + of)(); }

  Event assignment(Epoch epoch, uint64_t version) {
    const uint64_t bits = said(epoch.value() * 10 + version, 7);
    // The role is the epoch's.
    AssignmentDelivered event{{epoch, version, static_cast<Role>(said(epoch.value(), 8) % 4 == 0 ? 2 : 1), static_cast<Durability>(bits % 3), {}}};
    for (uint64_t i = 0; i < 4; ++i) {
      if ((bits >> (8 + i) & 1) != 0) event.assignment.replicas.push_back(at("n" + std::to_string(i + 2)));
    }
    return event;
  }
  Event role(uint64_t count) {
    const uint64_t bits = said(count, 9);
    RoleApplied event = applied(count, static_cast<Role>(bits % 8 == 0 ? 2 : 1), bits / 8 % 4);
    event.incarnation = Incarnation(bits / 64 % 3);
    event.history = history({{term(1), Lsn(1)}, {term(2), Lsn(4)}});
    event.in_sync = {"n2"};
    return event;
  }
  Event ack(const std::string& id, Term of, uint64_t sync) {
    const uint64_t bits = said(sync * 100 + of.epoch.value() * 10 + of.incarnation.value(), 10);
    SyncAckObserved event = core::ack(id, of, bits % 4, sync, bits / 4 % 16);
    event.facts.history = history({{term(1), Lsn(1)}, {term(1 + bits / 64 % 3, 2), Lsn(5)}});
    event.facts.base_usable = bits / 1024 % 4 != 0;
    event.wal_tail = Lsn(3);
    event.wal_head = Lsn(10);
    event.epoch = Epoch(bits / 4096 % 4);
    event.kind = static_cast<SyncAckKind>(1 + bits / 16384 % 4);
    if (bits / 65536 % 2 == 0) event.active = ActiveSession{SessionId(bits / 131072 % 6), SessionKind::kKeepup, static_cast<SessionPhase>(bits / 1048576 % 6)};
    return event;
  }
  Event decision(const std::string& id, Term of, uint64_t number) {
    const uint64_t bits = said(number * 100 + of.epoch.value() * 10 + of.incarnation.value(), 11);
    if (bits % 2 == 0) return BarrierRejected{id, of, number, std::to_string(bits)};
    return BarrierAccepted{id, of, number, SessionId(bits / 2 % 6), Lsn(bits / 16 % 9)};
  }

  uint64_t seed_;
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("core: of any two facts it does not matter which came first", "[core][engine][property]") {
  std::mt19937_64 random(1);
  for (uint64_t seed = 1; seed <= 2000; seed += test::kSeedStride) {
    INFO("seed " << seed);
    Facts facts(seed);
    std::vector<Event> events;
    for (uint64_t i = 0; i < 5 + seed % 60; ++i) events.push_back(facts.any());
    const Engine expected = replay(events);
    for (int permutation = 0; permutation < 5; ++permutation) {
      std::shuffle(events.begin(), events.end(), random);
      check_equal(replay(events), expected);
    }
  }
}

TEST_CASE("core: the order in which facts arrive, and repetitions, do not matter", "[core][engine][property]") {
  constexpr uint64_t kScenarios = 500;
  constexpr int kPermutations = 20;  // of each: 10,000
  std::mt19937_64 random(4711);
  for (uint64_t seed = 1; seed <= kScenarios; seed += test::kSeedStride) {
    INFO("seed " << seed);
    Model model({.seed = seed, .replicas = 1 + seed % 3, .rebuilds = seed % 4 != 0});
    const size_t length = 5 + seed % 150;
    while (model.told().size() < length && model.problem().empty()) model.step();
    REQUIRE(model.problem().empty());
    // Half of them where everything has come to rest.
    if (seed % 2 == 0) {
      model.stop_faults();
      for (int i = 0; i < 120 && !model.is_quiet(); ++i) model.step();
    }
    const Engine& expected = model.engine();
    for (int permutation = 0; permutation < kPermutations; ++permutation) {
      std::vector<Event> events = model.told();
      const size_t count = events.size();
      for (size_t i = 0; i < count / 4; ++i) events.push_back(events[random() % count]);
      std::shuffle(events.begin(), events.end(), random);
      check_equal(replay(events), expected);
    }
    // The worst orders: backwards, and each twice.
    std::vector<Event> backwards(model.told().rbegin(), model.told().rend());
    check_equal(replay(backwards), expected);
    std::vector<Event> twice;
    for (const Event& event : model.told()) twice.insert(twice.end(), 2, event);
    check_equal(replay(twice), expected);
  }
}

TEST_CASE("core: a fact that is told again calls for nothing and changes nothing", "[core][engine][property]") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    Model model({.seed = seed, .replicas = 1 + seed % 3});
    for (int i = 0; i < 80; ++i) model.step();
    Engine engine("vol0");
    for (size_t i = 0; i < model.told().size(); ++i) {
      engine.apply(model.told()[i]);
      const EngineState before = engine.state();
      // The last one, and any older one.
      for (const size_t again : {i, i / 2, i / 3}) {
        const std::vector<Command> commands = engine.apply(model.told()[again]);
        CHECK(commands.empty());
        const bool same = engine.state() == before;
        CHECK(same);
      }
    }
  }
}

TEST_CASE("core: carrying out a command twice changes nothing", "[core][engine][property]") {
  for (uint64_t seed = 1; seed <= 500; seed += test::kSeedStride) {
    INFO("seed " << seed);
    Model once({.seed = seed, .replicas = 1 + seed % 3, .rebuilds = seed % 4 != 0});
    Model twice({.seed = seed, .replicas = 1 + seed % 3, .rebuilds = seed % 4 != 0, .executes_twice = true});
    for (int i = 0; i < 100; ++i) {
      once.step();
      twice.step();
      check_equal(twice.engine(), once.engine());
    }
    CHECK(twice.problem() == once.problem());
  }
}

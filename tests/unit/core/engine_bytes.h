// Facts made of arbitrary bytes, with any value in any field: for tests that throw them at an engine.
#pragma once

#include <algorithm>
#include <span>
#include <stdexcept>
#include <string>

#include "engine_facts.h"

namespace ringbolt::core {

/// Reads bytes; zeros at the end.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> data) : data_(data) {}
  [[nodiscard]] bool empty() const { return data_.empty(); }
  uint8_t byte() {
    if (data_.empty()) return 0;
    const uint8_t value = data_.front();
    data_ = data_.subspan(1);
    return value;
  }
  bool flag() { return (byte() & 1) != 0; }
  /// Mostly small, so that facts meet; rarely the ends of the range, where counters wrap.
  uint64_t number() {
    const uint8_t kind = byte();
    if (kind < 252) return kind % 4;
    if (kind == 252) return kind / 4;
    if (kind == 253) return UINT64_MAX - byte() % 3;
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }
  std::string text() {
    const size_t length = byte() % 4;
    return std::string(length, static_cast<char>('a' + byte() % 3));
  }
  std::string id() {
    const uint8_t kind = byte();
    return "n" + std::to_string(kind < 200 ? kind % 4 : kind);
  }
  /// Often that of any_engine()'s primary, so that facts are about it.
  ringbolt::Term term() { return byte() % 4 != 0 ? present() : ringbolt::Term{Epoch(number()), Incarnation(number())}; }
  TermHistory history() {
    if (flag()) return core::history(standard());
    TermHistory result;
    for (int count = byte() % 5; count > 0; --count) {
      if (!result.append_checked({term(), Lsn(number())})) break;
    }
    return result;
  }
  static ringbolt::Term present() { return {Epoch(3), Incarnation(1)}; }
  static std::vector<TermStart> standard() { return {{{Epoch(1), Incarnation(1)}, Lsn(1)}, {present(), Lsn(2)}}; }
  template <class Enum>
  Enum any() {
    const uint8_t value = byte();
    return static_cast<Enum>(value < 250 ? value % 6 : value);
  }

 private:
  std::span<const uint8_t> data_;
};

inline Event any_event(Bytes& bytes) {
  switch (bytes.byte() % std::variant_size_v<Event>) {
    case 0: {
      AssignmentDelivered e;
      e.assignment.epoch = Epoch(bytes.number());
      e.assignment.version = bytes.number();
      e.assignment.role = bytes.any<Role>();
      e.assignment.durability = bytes.any<Durability>();
      for (int count = bytes.byte() % 16 % 10; count > 0; --count) e.assignment.replicas.push_back({bytes.id(), bytes.text()});
      return e;
    }
    case 1: return EpochObserved{Epoch(bytes.number()), bytes.text()};
    case 2: {
      RoleApplied e{bytes.number(), Epoch(bytes.number()), bytes.any<Role>(), Incarnation(bytes.number()), bytes.history(), bytes.flag(), {}};
      for (int count = bytes.byte() % 4; count > 0; --count) e.in_sync.push_back(bytes.id());
      return e;
    }
    case 3: return ReceiverReady{Epoch(bytes.number())};
    case 4: return ShipperConfigured{Epoch(bytes.number()), bytes.number()};
    case 5: return ShipperConnected{bytes.id(), bytes.number(), bytes.flag(), bytes.text()};
    case 6: return ShippedAdvanced{bytes.id(), Lsn(bytes.number())};
    case 7: return CommittedAdvanced{bytes.term(), Lsn(bytes.number()), Lsn(bytes.number())};
    case 8: return CheckpointAdvanced{Lsn(bytes.number())};
    case 9: {
      SyncAckObserved e;
      e.replica = bytes.id();
      e.term = bytes.term();
      e.connection = bytes.number();
      e.sync = bytes.number();
      e.kind = bytes.any<SyncAckKind>();
      e.epoch = Epoch(bytes.number());
      e.facts = {bytes.flag(), Lsn(bytes.number()), Lsn(bytes.number()), bytes.history()};
      if (bytes.flag()) e.active = ActiveSession{SessionId(bytes.number()), bytes.any<SessionKind>(), bytes.any<SessionPhase>()};
      e.wal_tail = Lsn(bytes.number());
      e.wal_head = Lsn(bytes.number());
      return e;
    }
    case 10: {
      SessionStarted e{bytes.id(), bytes.term(), SessionId(bytes.number()), bytes.any<SessionKind>(), Lsn(bytes.number()), {}};
      e.target = Lsn(bytes.number());
      return e;
    }
    case 11: return SessionProgress{bytes.id(), bytes.term(), SessionId(bytes.number()), bytes.any<SessionPhase>(), Lsn(bytes.number())};
    case 12: return SessionCompleted{bytes.id(), bytes.term(), SessionId(bytes.number()), Lsn(bytes.number())};
    case 13: return SessionFailed{bytes.id(), bytes.term(), SessionId(bytes.number()), bytes.any<Reason>(), bytes.text()};
    case 14: return BarrierAccepted{bytes.id(), bytes.term(), bytes.number(), SessionId(bytes.number()), Lsn(bytes.number())};
    case 15: return BarrierRejected{bytes.id(), bytes.term(), bytes.number(), bytes.text()};
    case 16: return NeedsRebuildObserved{bytes.id(), bytes.term(), bytes.number(), bytes.text()};
    case 17: return RebuildOrdered{bytes.id(), bytes.term(), bytes.number(), bytes.flag(), bytes.number()};
    default: return CopyObserved{bytes.number(), bytes.flag(), bytes.text(), bytes.text()};
  }
}

/// Where the facts begin: nowhere, or at a primary that knows nothing of its replicas yet.
inline Engine any_engine(Bytes& bytes) {
  Engine engine("vol0");
  if (!bytes.flag()) return engine;
  // Of a low version, so that later ones of the epoch come.
  engine.apply(assigned(Role::kPrimary, 3, 1, {"n0", "n1", "n2"}));
  engine.apply(applied_primary(2, Bytes::present(), {"n0"}, Bytes::standard()));
  engine.apply(configured(3, 1));
  return engine;
}

/// Throws if the engine did what it must not, whatever it was told.
inline void tell_anything(Engine& engine, const Event& event) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  };
  const std::vector<Command> before = engine.outstanding();
  const Projection published = engine.projection();
  const std::vector<Command> emitted = engine.apply(event);
  const auto in = [](const std::vector<Command>& commands, const Command& command) {
    return std::find(commands.begin(), commands.end(), command) != commands.end();
  };
  for (const Command& command : emitted) {
    require(describe(command).find(name_of(command)) == 0, "a command without a name");
    if (const auto* publish = std::get_if<PublishProjection>(&command)) {
      require(publish->projection == engine.projection() && publish->projection != published, "published without a change");
      continue;
    }
    require(in(engine.outstanding(), command), "emitted, and not wanted");
    require(!in(before, command), "emitted again while it is outstanding");
  }
  for (const Command& command : engine.outstanding()) require(in(before, command) || in(emitted, command), "wanted, and not emitted");
  const EngineState& state = engine.state();
  require(engine.outstanding() == plan(state) && engine.projection() == projection_of(state), "a fact's consequence was left out");
  require(state.replicas.size() <= size_t{4} * kReplicasMax, "too many replicas are known");
  for (size_t i = 1; i < state.replicas.size(); ++i) require(state.replicas[i - 1].id < state.replicas[i].id, "replicas out of order");
  require(engine.outstanding().size() <= size_t{4} * kReplicasMax + 1, "too many commands");
  for (const std::string& line : explain(state)) require(!line.empty(), "an empty line");
  for (const ReplicaState& replica : state.replicas) {
    require(std::string(to_string(recovery_phase(state, replica))) != "unknown", "a recovery without a name");
  }
  require(std::string(name_of(event)).find('_') != std::string::npos, "an event without a name");
  const EngineState known = state;
  require(engine.apply(event).empty() && engine.state() == known, "a fact told again did something");
}

}  // namespace ringbolt::core

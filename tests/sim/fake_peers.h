// Peers that say what a test wants, to real nodes: a primary to a replica, a replica to a primary.
#pragma once

#include <catch2/catch.hpp>

#include "cluster.h"
#include "raw_peer.h"

namespace ringbolt::sim {

using namespace repl;
using io::kMillisecond;
using io::kSecond;

inline Uuid some_volume() {
  Uuid uuid;
  uuid.bytes.fill(0x42);
  return uuid;
}

inline core::TermHistory history_of(std::initializer_list<core::TermStart> entries) {
  core::TermHistory history;
  for (const core::TermStart& entry : entries) history.open(entry.term, entry.first);
  return history;
}

/// A blank real replica (n2) and a fake primary on n1.
struct FakePrimary {
  explicit FakePrimary(uint64_t seed) : c({.seed = seed}), peer(c.world, c.sim(0)) {
    c.start(1);
    peer.volume = some_volume();
  }

  void hello(uint64_t bytes = 2u << 20) {
    REQUIRE(peer.call(c.address(1)));
    peer.session = SessionId{};
    peer.send(MessageType::kHello, Hello{"vol0", "n1", "n2", incarnation, bytes});
    welcomed = false;
  }
  SyncAck facts() {
    if (!std::exchange(welcomed, true)) {
      REQUIRE(peer.expect(MessageType::kWelcome).has_value());
    }
    peer.session = SessionId{};
    peer.send(MessageType::kSync, Sync{++syncs, std::nullopt, {}});
    const auto message = peer.expect(MessageType::kSyncAck);
    REQUIRE(message.has_value());
    const auto decoded = decode_sync_ack(message->payload);
    REQUIRE(decoded.has_value());
    CHECK(decoded.value().sync_id == syncs);
    return decoded.value();
  }
  void start(Lsn position, const core::TermHistory& history, SessionId session = SessionId(1)) {
    peer.session = session;
    peer.send(MessageType::kSessionControl, start_control(position, history));
  }
  static SessionControl start_control(Lsn position, const core::TermHistory& history) {
    SessionControl control;
    control.base = position;
    control.target = std::max(position, Lsn(1));
    control.history = history;
    return control;
  }
  void cut(Lsn fork, const core::TermHistory& history) {
    peer.session = SessionId{};
    SessionControl control;
    control.kind = ControlKind::kCutTail;
    control.target = fork;
    control.history = history;
    peer.send(MessageType::kSessionControl, control);
  }
  /// A session at Lsn 0 with `records` records in it.
  void session_with(uint64_t records) {
    hello();
    CHECK(facts().durable == Lsn{});
    start(Lsn{}, one);
    REQUIRE(peer.expect(MessageType::kSessionAck).has_value());
    for (uint64_t i = 1; i <= records; ++i) peer.send_record(term, Lsn(i), Lba(i), 7, at(records));
    if (records == 0) return;
    REQUIRE(written(records));
  }
  bool written(uint64_t lsn) {
    return c.run_until([&] { return c.status(1).written_lsn == lsn; }, 5 * kSecond);
  }
  static WalDataFields at(uint64_t head, uint64_t committed = 0) {
    WalDataFields f;
    f.head = Lsn(head);
    f.committed = Lsn(committed);
    return f;
  }
  /// Refused with this reason, connection ended, nothing appended.
  void check_refused(Reason reason, uint64_t head, std::optional<SessionId> current = std::nullopt) {
    const auto reject = peer.reject();
    REQUIRE(reject.has_value());
    INFO(reject->text);
    CHECK(reject->reason == reason);
    if (current) CHECK(reject->session == current);
    CHECK(reject->epoch == Epoch(c.status(1).epoch.value()));
    CHECK(peer.wait_ended());
    CHECK(c.status(1).wal_head == head);
  }

  Cluster c;
  RawPeer peer;
  bool welcomed = false;
  uint64_t syncs = 0;
  Incarnation incarnation{1};
  Term term{Epoch(1), Incarnation(1)};
  core::TermHistory one = history_of({{{Epoch(1), Incarnation(1)}, Lsn(1)}});
};

/// A real primary (n1) with a fake replica on n2.
struct FakeReplica {
  explicit FakeReplica(uint64_t seed, Durability durability = Durability::kSyncAll)
      : c({.seed = seed, .durability = durability}), peer(c.world, c.sim(1)) {
    c.configure_pair();
    c.start(0);
    answer();
  }
  void answer() {
    REQUIRE(peer.answer(c.address(1)));
    const auto hello = peer.expect(MessageType::kHello);
    REQUIRE(hello.has_value());
    peer.volume = hello->header.volume;
    peer.epoch = hello->header.epoch;
    peer.session = SessionId{};
    welcomed = false;
  }
  void facts(Lsn position = {}, core::TermHistory history = {}, const std::string& id = "n2") {
    if (!std::exchange(welcomed, true)) {
      welcome(id);
      if (id != "n2") return;
    }
    const auto sync = peer.expect(MessageType::kSync);
    REQUIRE(sync.has_value());
    const auto asked = decode_sync(sync->payload);
    REQUIRE(asked.has_value());
    send_facts(asked.value().sync_id, position, history);
  }
  void welcome(const std::string& id = "n2") {
    Welcome message;
    message.node_id = id;
    message.volume_bytes = 2u << 20;
    message.wal_bytes = 8u << 20;
    peer.send(MessageType::kWelcome, message);
  }
  void send_facts(uint64_t sync_id, Lsn position, const core::TermHistory& history) {
    SyncAck ack;
    ack.sync_id = sync_id;
    ack.epoch = peer.epoch;
    ack.base_usable = true;
    ack.written = ack.durable = position;
    ack.base_limit = Lsn{};
    ack.history = history;
    peer.send(MessageType::kSyncAck, ack);
  }
  void accept_session() {
    const auto control = peer.expect(MessageType::kSessionControl);
    REQUIRE(control.has_value());
    peer.session = control->header.session;
    peer.send(MessageType::kSessionAck, SessionAck{});
  }
  void ack(uint64_t written, uint64_t durable, uint64_t stable = 0) {
    peer.send(MessageType::kWalAck, WalAck{Lsn(written), Lsn(durable), Lsn(stable)});
  }
  Cluster c;
  RawPeer peer;
  bool welcomed = false;
};

}  // namespace ringbolt::sim

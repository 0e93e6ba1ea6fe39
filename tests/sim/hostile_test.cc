// Peers that send what they must not: to a real replica as a primary, to a real primary as a
// replica.
#include <catch2/catch.hpp>

#include "fake_peers.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;

TEST_CASE("sim_hostile: a replica takes exactly the next record of the history it was told",
          "[sim][repl]") {
  FakePrimary f(1);
  f.session_with(3);
  SECTION("the next one") {
    f.peer.send_record(f.term, Lsn(4), Lba(9), 1, f.at(4));
    CHECK(f.written(4));
  }
  SECTION("a gap") {
    f.peer.send_record(f.term, Lsn(5), Lba(9), 1, f.at(5));
    f.check_refused(Reason::kProtocolViolation, 3);
  }
  SECTION("a record again") {
    f.peer.send_record(f.term, Lsn(3), Lba(9), 1, f.at(3));
    f.check_refused(Reason::kProtocolViolation, 3);
  }
  SECTION("a record of a term that is not in the history") {
    f.peer.send_record({Epoch(1), Incarnation(2)}, Lsn(4), Lba(9), 1, f.at(4));
    f.check_refused(Reason::kProtocolViolation, 3);
  }
  SECTION("a record with a damaged payload") {
    f.peer.send_record(f.term, Lsn(4), Lba(9), 1, f.at(4), true);
    f.check_refused(Reason::kProtocolViolation, 3);
  }
  SECTION("a record beyond the volume's end") {
    f.peer.send_record(f.term, Lsn(4), Lba(512), 1, f.at(4));
    f.check_refused(Reason::kProtocolViolation, 3);
  }
  SECTION("a record of another session") {
    f.peer.session = SessionId(7);
    f.peer.send_record(f.term, Lsn(4), Lba(9), 1, f.at(4));
    f.check_refused(Reason::kSuperseded, 3, SessionId(1));
  }
  SECTION("positions of another session") {
    f.peer.session = SessionId(7);
    f.peer.send_positions(f.at(3, 3));
    f.check_refused(Reason::kSuperseded, 3, SessionId(1));
  }
  SECTION("a question of another session") {
    f.peer.session = SessionId(7);
    f.peer.send(MessageType::kSync, Sync{99, std::nullopt, {}});
    f.check_refused(Reason::kSuperseded, 3, SessionId(1));
  }
  SECTION("the end of another session") {
    f.peer.session = SessionId(7);
    SessionControl control;
    control.kind = ControlKind::kCancelSession;
    control.reason = Reason::kCancelled;
    f.peer.send(MessageType::kSessionControl, control);
    f.check_refused(Reason::kSuperseded, 3, SessionId(1));
  }
  SECTION("a record of a stale epoch") {
    f.peer.epoch = Epoch{};
    f.peer.send_record(f.term, Lsn(4), Lba(9), 1, f.at(4));
    f.check_refused(Reason::kEpochMismatch, 3);
  }
  SECTION("a record of another volume") {
    f.peer.volume.bytes.fill(1);
    f.peer.send_record(f.term, Lsn(4), Lba(9), 1, f.at(4));
    f.check_refused(Reason::kWrongVolume, 3);
  }
  SECTION("a message again (sequence)") {
    --f.peer.sequence;
    f.peer.send_positions(f.at(3));
    CHECK(f.peer.wait_ended());
  }
  SECTION("a message left out (sequence)") {
    ++f.peer.sequence;
    f.peer.send_positions(f.at(3));
    CHECK(f.peer.wait_ended());
  }
  SECTION("garbage") {
    f.peer.send_bytes(std::vector<std::byte>(1000, std::byte{0x5A}));
    CHECK(f.peer.wait_ended());
  }
  // It still serves a proper primary.
  if (!f.peer.ended()) f.peer.hang_up();
  f.peer.volume = some_volume();
  f.peer.epoch = Epoch(1);
  f.hello();
  CHECK(f.facts().durable >= Lsn(3));
}

TEST_CASE("sim_hostile: acknowledgements name only what is written and flushed", "[sim][repl]") {
  FakePrimary f(2);
  f.session_with(1);
  const uint64_t writes = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kWrite, .path = "/wal"});
  f.peer.send_record(f.term, Lsn(2), Lba(2), 7, f.at(2));
  f.peer.send_positions(f.at(2));
  WalAck last;
  const auto acks = [&](io::Nanos limit) {
    while (const auto message = f.peer.expect(MessageType::kWalAck, limit)) {
      last = decode_wal_ack(message->payload).value();
    }
  };
  acks(100 * kMillisecond);
  CHECK(last.written == Lsn(1));
  f.c.sim(1).disk().release(writes);
  const uint64_t flushes = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/wal"});
  WalDataFields flush = f.at(2);
  flush.flush_to = Lsn(2);
  f.peer.send_positions(flush);
  acks(100 * kMillisecond);
  CHECK(last.written == Lsn(2));
  CHECK(last.durable < Lsn(2));
  f.c.sim(1).disk().release(flushes);
  acks(100 * kMillisecond);
  CHECK(last.durable == Lsn(2));
}

TEST_CASE("sim_hostile: a session begins only where this copy's log ends and its records belong",
          "[sim][repl]") {
  FakePrimary f(3);
  f.session_with(5);
  f.peer.hang_up();
  f.hello();
  CHECK(f.facts().durable == Lsn(5));
  const Term two{Epoch(1), Incarnation(2)};
  SECTION("beyond the end") { f.start(Lsn(6), f.one); }
  SECTION("before the end") { f.start(Lsn(4), f.one); }
  SECTION("without a history") { f.start(Lsn(5), {}); }
  SECTION("with a history that forked before") {
    f.peer.hang_up();
    f.incarnation = Incarnation(2);
    f.hello();
    CHECK(f.facts().durable == Lsn(5));
    f.start(Lsn(5), history_of({{f.term, Lsn(1)}, {two, Lsn(4)}}));
  }
  SECTION("with a history that does not end in the caller's term") {
    f.start(Lsn(5), history_of({{f.term, Lsn(1)}, {{Epoch(uint64_t{1} << 40), Incarnation(1)}, Lsn(6)}}));
  }
  SECTION("a cut beyond the end") {
    f.cut(Lsn(6), f.one);
  }
  SECTION("a cut of records that belong") {
    f.cut(Lsn(3), f.one);
  }
  SECTION("a cut below the fork") {
    f.peer.hang_up();
    f.incarnation = Incarnation(2);
    f.hello();
    CHECK(f.facts().durable == Lsn(5));
    f.cut(Lsn(2), history_of({{f.term, Lsn(1)}, {two, Lsn(4)}}));
  }
  SECTION("frames before a session") { f.peer.send_record(f.term, Lsn(6), Lba(1), 1, f.at(6)); }
  f.check_refused(Reason::kProtocolViolation, 5);
}

TEST_CASE("sim_hostile: a cut replica keeps what it was told to and takes the new term",
          "[sim][repl]") {
  FakePrimary f(4);
  f.session_with(5);
  f.peer.hang_up();
  f.incarnation = Incarnation(2);
  f.hello();
  CHECK(f.facts().durable == Lsn(5));
  const auto two = history_of({{f.term, Lsn(1)}, {{Epoch(1), Incarnation(2)}, Lsn(3)}});
  f.cut(Lsn(2), two);
  CHECK(f.facts().durable == Lsn(2));
  f.start(Lsn(2), two);
  REQUIRE(f.peer.expect(MessageType::kSessionAck).has_value());
  // The history was recorded before the session was accepted: a crash right now must know it.
  CHECK(read_superblock(f.c.sim(1), Cluster::directory())->history == two);
  f.peer.send_record({Epoch(1), Incarnation(2)}, Lsn(3), Lba(3), 9, f.at(3));
  REQUIRE(f.written(3));
  f.c.kill(1);
  f.c.start(1);
  CHECK(f.c.status(1).wal_head == 3);
  CHECK(f.c.copy(1).records.back().term == Term{Epoch(1), Incarnation(2)});
}

TEST_CASE("sim_hostile: a replica cuts only where the histories part", "[sim][repl]") {
  FakePrimary f(4);
  f.session_with(5);
  f.peer.hang_up();
  f.incarnation = Incarnation(2);
  const Term second{Epoch(1), Incarnation(2)};
  const auto two = history_of({{f.term, Lsn(1)}, {second, Lsn(3)}});
  f.hello();
  CHECK(f.facts().durable == Lsn(5));
  SECTION("before") { f.cut(Lsn(1), two); }
  SECTION("behind") { f.cut(Lsn(3), two); }
  SECTION("nowhere, it goes on at the end") { f.cut(Lsn(2), history_of({{f.term, Lsn(1)}, {second, Lsn(6)}})); }
  SECTION("by the history of another opening") { f.cut(Lsn(2), history_of({{f.term, Lsn(1)}, {{Epoch(1), Incarnation(3)}, Lsn(3)}})); }
  SECTION("by a history that has nothing of this log") { f.cut(Lsn(2), history_of({{second, Lsn(3)}})); }
  SECTION("not again on a connection that is played back") {
    f.cut(Lsn(2), two);
    CHECK(f.facts().durable == Lsn(2));
    f.start(Lsn(2), two);
    REQUIRE(f.peer.expect(MessageType::kSessionAck).has_value());
    for (uint64_t lsn = 3; lsn <= 5; ++lsn) f.peer.send_record(second, Lsn(lsn), Lba(lsn), 9, f.at(lsn));
    REQUIRE(f.written(5));
    f.peer.hang_up();
    f.hello();
    CHECK(f.facts().durable == Lsn(5));
    f.cut(Lsn(2), two);
  }
  f.check_refused(Reason::kProtocolViolation, 5);
}

TEST_CASE("sim_hostile: a session is accepted only when its history is durable", "[sim][repl]") {
  FakePrimary f(5);
  f.hello();
  CHECK(f.facts().durable == Lsn{});
  const uint64_t hold =
      f.c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  f.start(Lsn{}, f.one);
  CHECK_FALSE(f.peer.expect(MessageType::kSessionAck, 500 * kMillisecond).has_value());
  f.c.sim(1).disk().release(hold);
  CHECK(f.peer.expect(MessageType::kSessionAck).has_value());
}

TEST_CASE("sim_hostile: a replica answers callers of a lower epoch with the current one",
          "[sim][repl]") {
  FakePrimary f(6);
  f.peer.epoch = Epoch(5);
  f.hello();
  static_cast<void>(f.facts());
  f.peer.hang_up();
  CHECK(f.c.status(1).epoch == 5);
  f.peer.epoch = Epoch(4);
  f.hello();
  f.check_refused(Reason::kEpochMismatch, 0);
  // It is recorded: a restart remembers.
  f.c.power_loss(1, io::SimPowerLoss::kDropAll);
  f.c.start(1);
  f.hello();
  f.check_refused(Reason::kEpochMismatch, 0);
}

TEST_CASE("sim_hostile: a second promise is durable before it is acted on, too", "[sim][repl]") {
  FakePrimary f(7);
  RawPeer other(f.c.world, f.c.world.add_node("n9"));
  const uint64_t hold =
      f.c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  f.peer.epoch = Epoch(2);
  f.hello();
  REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(hold) == 1; }, 5 * kSecond));
  REQUIRE(other.call(f.c.address(1)));
  other.volume = some_volume();
  other.epoch = Epoch(3);
  other.send(MessageType::kHello, Hello{"vol0", "n9", "n2", Incarnation(1), 2u << 20});
  REQUIRE(f.c.run_until([&] { return f.c.status(1).epoch == 3; }, 5 * kSecond));
  f.c.sim(1).disk().release(hold);
  const auto facts = other.expect(MessageType::kWelcome);
  REQUIRE(facts.has_value());
  CHECK(facts->header.epoch == Epoch(3));
  f.c.power_loss(1, io::SimPowerLoss::kDropAll);
  CHECK(read_superblock(f.c.sim(1), Cluster::directory())->epoch == Epoch(3));
}

TEST_CASE("sim_hostile: two nodes that claim one epoch do not both ship to a replica",
          "[sim][repl]") {
  FakePrimary f(8);
  RawPeer other(f.c.world, f.c.world.add_node("n9"));
  f.session_with(1);
  REQUIRE(other.call(f.c.address(1)));
  other.volume = some_volume();
  other.send(MessageType::kHello, Hello{"vol0", "n9", "n2", Incarnation(1), 2u << 20});
  const auto reject = other.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kEpochMismatch);
  f.peer.send_record(f.term, Lsn(2), Lba(9), 1, f.at(2));
  CHECK(f.written(2));
}

TEST_CASE("sim_hostile: who called first in an epoch holds it across a restart, too",
          "[sim][repl]") {
  FakePrimary f(9);
  f.hello();
  static_cast<void>(f.facts());  // no session yet: nothing but the promise says who it was
  f.peer.hang_up();
  f.c.power_loss(1, io::SimPowerLoss::kDropAll);
  f.c.start(1);
  RawPeer other(f.c.world, f.c.world.add_node("n9"));
  REQUIRE(other.call(f.c.address(1)));
  other.volume = some_volume();
  other.send(MessageType::kHello, Hello{"vol0", "n9", "n2", Incarnation(7), 2u << 20});
  const auto reject = other.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kEpochMismatch);
  INFO(reject->text);
  CHECK(reject->text.find("n1 is primary of epoch 1") != std::string::npos);
  f.session_with(1);
}

TEST_CASE("sim_hostile: a primary believes no impossible acknowledgement", "[sim][repl]") {
  FakeReplica f(10);
  f.facts();
  f.accept_session();
  REQUIRE(f.peer.expect(MessageType::kWalData).has_value());
  CHECK_FALSE(f.c.status(0).role_applied);
  SECTION("what was not sent") { f.ack(100, 0); }
  SECTION("durable beyond written") { f.ack(0, 1); }
  SECTION("a position that goes back") {
    f.ack(1, 1);
    REQUIRE(f.c.wait_serving(0));
    f.ack(0, 0);
  }
  SECTION("wal_data from a replica") { f.peer.send_positions({}); }
  SECTION("facts that nobody asked for") { f.send_facts(1, {}, {}); }
  SECTION("another session's acknowledgement") {
    const SessionId current = std::exchange(f.peer.session, SessionId(77));
    f.ack(1, 1);
    const auto reject = f.peer.reject();
    REQUIRE(reject.has_value());
    CHECK(reject->reason == Reason::kSuperseded);
    CHECK(reject->session == current);
  }
  CHECK(f.peer.wait_ended(100 * kMillisecond));  // at once, not because nothing is acknowledged
  f.answer();                                    // it tries again
}

TEST_CASE("sim_hostile: a primary counts nothing before the session is accepted", "[sim][repl]") {
  FakeReplica f(11);
  f.facts();
  const auto control = f.peer.expect(MessageType::kSessionControl);
  REQUIRE(control.has_value());
  f.c.run_for(100 * kMillisecond);
  CHECK_FALSE(f.c.status(0).role_applied);
  f.peer.session = control->header.session;
  f.peer.send(MessageType::kSessionAck, SessionAck{});
  f.c.run_for(100 * kMillisecond);
  CHECK_FALSE(f.c.status(0).role_applied);
  f.ack(1, 0);
  CHECK(f.c.wait_serving(0));
}

TEST_CASE(
    "sim_hostile: records of an older term are committed only through the new term's first one",
    "[sim][repl]") {
  FakeReplica f(17);
  f.facts();
  f.accept_session();
  f.ack(1, 1);
  REQUIRE(f.c.wait_serving(0));
  CHECK_FALSE(
      f.c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 50 * kMillisecond).has_value());
  f.c.kill(0);
  f.c.start(0);
  f.answer();
  // It has both records of the first term, and acknowledges nothing of the second.
  f.facts(Lsn(2), history_of({{{Epoch(1), Incarnation(1)}, Lsn(1)}}));
  f.accept_session();
  f.c.run_for(200 * kMillisecond);
  REQUIRE(f.c.session_kind(0, 1) != "");
  CHECK_FALSE(f.c.status(0).role_applied);
  CHECK_FALSE(f.c.status(0).committed_lsn.has_value());
  CHECK_FALSE(f.c.request(0, RequestKind::kFlush, 0, 0, 0, false, 50 * kMillisecond).has_value());
  f.ack(3, 3);
  CHECK(f.c.wait_serving(0));
  CHECK(f.c.read_cell(0, 0) == 5);
}

TEST_CASE("sim_hostile: a primary judges a replica by its facts alone", "[sim][repl]") {
  SECTION("another node answers") {
    FakeReplica f(12);
    f.facts({}, {}, "n5");
    CHECK(f.peer.wait_ended());
  }
  SECTION("unrelated history") {
    FakeReplica f(13);
    f.facts(Lsn(9), history_of({{{Epoch(1), Incarnation(1)}, Lsn(5)}}));
    REQUIRE(f.c.run_until([&] { return f.c.session_kind(0, 1) == "rebuild"; }, 5 * kSecond));
  }
  SECTION("a tail of another term") {
    FakeReplica f(14);
    f.facts(Lsn(9), history_of({{{Epoch(1), Incarnation(1)}, Lsn(1)}}));
    const auto control = f.peer.expect(MessageType::kSessionControl);
    REQUIRE(control.has_value());
    const auto decoded = decode_session_control(control->payload);
    REQUIRE(decoded.has_value());
    CHECK(decoded.value().kind == ControlKind::kCutTail);
    CHECK(decoded.value().target == Lsn(1));
  }
  SECTION("silence after the cut is noticed") {
    FakeReplica f(15);
    f.facts(Lsn(9), history_of({{{Epoch(1), Incarnation(1)}, Lsn(1)}}));
    REQUIRE(f.peer.expect(MessageType::kSessionControl).has_value());
    CHECK(f.peer.wait_ended());
  }
}

TEST_CASE("sim_hostile: a stranger's epoch fences nobody", "[sim][repl]") {
  FakeReplica f(17);
  f.peer.epoch = Epoch(7);
  SECTION("a reject for another reason") { f.peer.send(MessageType::kReject, Reject{Reason::kNotReady, Epoch(7), "no"}); }
  SECTION("a reject by another volume's copy") {
    f.peer.volume = some_volume();
    f.peer.send(MessageType::kReject, Reject{Reason::kEpochMismatch, Epoch(7), "over"});
  }
  SECTION("a reject without identity") {
    f.peer.volume = Uuid{};
    f.peer.send(MessageType::kReject, Reject{Reason::kWrongVolume, Epoch(7), "this node is x2, not n2"});
  }
  SECTION("facts of another volume's copy") {
    f.peer.volume = some_volume();
    f.welcome();
  }
  CHECK(f.peer.wait_ended());
  f.c.run_for(kSecond);
  CHECK(f.c.status(0).role == "primary");
  CHECK(f.c.status(0).epoch == 1);
}

TEST_CASE("sim_hostile: a caller who is not one of the volume's is told no epoch", "[sim][repl]") {
  FakePrimary f(18);
  f.peer.epoch = Epoch(5);
  f.hello();
  static_cast<void>(f.facts());
  f.peer.hang_up();
  REQUIRE(f.peer.call(f.c.address(1)));
  SECTION("meant for another node") {
    f.peer.send(MessageType::kHello, Hello{"vol0", "n1", "n7", Incarnation(1), 2u << 20});
  }
  SECTION("of another volume") {
    f.peer.volume.bytes.fill(0x43);
    f.peer.send(MessageType::kHello, Hello{"vol0", "n1", "n2", Incarnation(1), 2u << 20});
  }
  const auto reject = f.peer.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kWrongVolume);
  CHECK(reject->epoch == Epoch{});
}

TEST_CASE("sim_hostile: an opening that is over does not ship, also after a restart", "[sim][repl]") {
  FakePrimary f(19);
  f.incarnation = Incarnation(2);
  const Term two{Epoch(1), Incarnation(2)};
  f.hello();
  CHECK(f.facts().durable == Lsn{});
  f.start(Lsn{}, history_of({{two, Lsn(1)}}));
  REQUIRE(f.peer.expect(MessageType::kSessionAck).has_value());
  if (GENERATE(false, true)) {
    f.c.kill(1);
    f.c.start(1);
  } else {
    f.peer.hang_up();
  }
  f.incarnation = Incarnation(1);
  f.hello();
  f.check_refused(Reason::kEpochMismatch, 0);
}

TEST_CASE("sim_hostile: a primary whose epoch has a later opening stops serving", "[sim][repl]") {
  FakeReplica f(20);
  SECTION("a replica says so") { f.peer.send(MessageType::kReject, Reject{Reason::kEpochMismatch, Epoch(1), "incarnation 2 is known"}); }
  SECTION("a replica's records show it") { f.facts(Lsn(3), history_of({{{Epoch(1), Incarnation(2)}, Lsn(1)}})); }
  REQUIRE(f.c.run_until([&] { return f.c.status(0).role == "replica"; }, 5 * kSecond));
  CHECK(f.c.request(0, RequestKind::kWrite, 0, 4096, 1) == RequestError::kShutdown);
}

TEST_CASE("sim_hostile: a silent primary is not a healthy one", "[sim][repl]") {
  FakePrimary f(21);
  f.session_with(1);
  CHECK(f.c.status(1).healthy);
  CHECK(f.peer.wait_ended(60 * kSecond));
  CHECK_FALSE(f.c.status(1).healthy);
}

TEST_CASE("sim_hostile: a replica that knows a higher epoch ends the primary's role",
          "[sim][repl]") {
  for (const bool by_reject : {true, false}) {
    FakeReplica f(16);
    f.facts();
    f.accept_session();
    f.ack(0, 0);
    if (by_reject) {
      f.peer.send(MessageType::kReject, Reject{Reason::kEpochMismatch, Epoch(9), "over"});
    } else {
      f.peer.epoch = Epoch(9);
      f.ack(1, 1);
    }
    REQUIRE(f.c.run_until([&] { return f.c.status(0).role == "replica"; }, 5 * kSecond));
    CHECK(f.c.status(0).epoch == 9);
    CHECK(f.c.request(0, RequestKind::kWrite, 0, 4096, 1) == RequestError::kShutdown);
    // Until it is on disk nobody has been told of the promise either.
    REQUIRE(f.c.run_until(
        [&] { return read_superblock(f.c.sim(0), Cluster::directory())->epoch == Epoch(9); },
        5 * kSecond));
    f.c.kill(0);
    f.c.start(0);
    CHECK(f.c.status(0).role == "replica");
  }
}

TEST_CASE("sim_hostile: random bytes and mutated messages end a connection, never the process",
          "[sim][repl]") {
  for_seeds(1, 40, [](uint64_t seed) {
    io::SimRandom random(seed);
    const auto mutate = [&random](std::vector<std::byte>& payload) {
      for (uint64_t i = 1 + random.below(3); i > 0 && !payload.empty(); --i) {
        payload[random.below(payload.size())] = static_cast<std::byte>(random.next());
      }
    };
    if (seed % 2 == 0) {
      FakePrimary f(seed);
      f.session_with(2);
      const auto type = static_cast<MessageType>(1 + random.below(11));
      std::vector<std::byte> payload;
      encode(FakePrimary::start_control(Lsn(2), f.one), payload);
      if (type == MessageType::kWalData) payload.resize(WalDataFields::kBytes + random.below(9000));
      mutate(payload);
      if (random.chance(1, 2)) f.peer.send_payload(type, payload);
      std::vector<std::byte> noise(random.below(4000));
      for (std::byte& byte : noise) byte = static_cast<std::byte>(random.next());
      f.peer.send_bytes(noise);
      f.c.run_for(100 * kMillisecond);
      if (!f.peer.ended()) f.peer.hang_up();
      f.hello();
      CHECK(f.facts().durable >= Lsn(2));
    } else {
      FakeReplica f(seed);
      f.facts();
      f.accept_session();
      std::vector<std::byte> payload;
      encode(WalAck{Lsn(1), Lsn(1), Lsn{}}, payload);
      mutate(payload);
      f.peer.send_payload(static_cast<MessageType>(1 + random.below(11)), payload);
      f.c.run_for(100 * kMillisecond);
      CHECK(f.c.up(0));
      if (!f.peer.ended()) f.peer.hang_up();
      f.answer();
    }
  });
}

TEST_CASE("sim_hostile: an epoch that nobody can assign is promised to nobody", "[sim][repl]") {
  FakePrimary f(22);
  f.peer.epoch = kPeerEpochMax.next();
  f.hello();
  CHECK(f.peer.wait_ended());
  CHECK(f.c.status(1).epoch == 1);
  FakeReplica primary(23);
  primary.peer.epoch = kPeerEpochMax.next();
  primary.welcome();
  CHECK(primary.peer.wait_ended());
  CHECK(primary.c.status(0).role == "primary");
}

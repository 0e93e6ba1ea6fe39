// Epochs that meet: a primary that is on its way to a higher one and is called by one in between.
#include <catch2/catch.hpp>

#include "fake_peers.h"
#include "orders.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;

namespace {

/// Another node that says that it is primary of some epoch.
struct Caller {
  explicit Caller(Cluster& cluster) : c(cluster), peer(c.world, c.world.add_node("n9")) {}
  void call(size_t node, uint64_t epoch) {
    if (called) peer.hang_up();
    called = true;
    REQUIRE(peer.call(c.address(node)));
    peer.volume = read_superblock(c.sim(node), Cluster::directory())->volume;
    peer.epoch = Epoch(epoch);
    peer.send(MessageType::kHello, Hello{"vol0", "n9", c.name(node), Incarnation(1), 2u << 20});
  }
  Cluster& c;
  RawPeer peer;
  bool called = false;
};

std::vector<core::ReplicaAddress> replicas_of(const Cluster& c, std::initializer_list<size_t> nodes) {
  std::vector<core::ReplicaAddress> replicas;
  for (const size_t node : nodes) replicas.push_back({c.name(node), c.address(node)});
  return replicas;
}

}  // namespace

TEST_CASE("sim_fence: a primary that is fenced while its epoch is raised beyond the fence becomes primary of the higher one", "[sim][repl]") {
  Cluster c({.seed = 1});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  // The assignment is recorded before a change of the set is, and the raise waits for that.
  const io::SimOpMatch flushes{.kind = io::SimOpKind::kFlush, .path = "/superblock"};
  uint64_t hold = c.sim(0).disk().hold(flushes);
  const auto raised = give(c, 0, order(Role::kPrimary, 3));
  c.kill(1);
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, kSecond).has_value());
  const auto assigned = [&] { return c.volume(0).engine().state().assignment->epoch == Epoch(3); };
  for (int i = 0; i < 10 && !assigned(); ++i) {
    REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0; }, kSecond));
    c.sim(0).disk().release(hold);
    hold = c.sim(0).disk().hold(flushes);
    static_cast<void>(c.run_until(assigned, 20 * kMillisecond));
  }
  REQUIRE(assigned());
  c.run_for(20 * kMillisecond);
  REQUIRE(c.sim(0).disk().held(hold) > 0);
  REQUIRE(c.status(0).epoch == 1);
  Caller caller(c);
  caller.call(0, 2);
  REQUIRE(c.run_until([&] { return c.volume(0).refusal().find("epoch 2") != std::string::npos; }, kSecond));
  c.sim(0).disk().release(hold);
  check_taken(c, raised);
  REQUIRE(c.wait_serving(0));
  CHECK(c.status(0).epoch == 3);
  c.start(1);
  REQUIRE(c.wait_in_sync(0, 1));
  check_taken(c, give(c, 0, order(Role::kPrimary, 4)));
  REQUIRE(c.wait_serving(0));
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 6) == RequestError::kNone);
}

TEST_CASE("sim_fence: calls of rising epochs meet orders of rising epochs, and the last order is in force at the end", "[sim][repl]") {
  for_seeds(1, 60, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    io::SimRandom& random = c.world.random();
    c.sim(0).disk().set_slow_factor(1 + static_cast<uint32_t>(random.below(4)));
    c.load.options().cells_max = 24;
    Caller caller(c);
    uint64_t epoch = 1;
    for (int round = 0; round < 6; ++round) {
      if (c.status(0).role == "primary" && random.chance(1, 2)) c.begin_load(0);
      const uint64_t calls = 1 + random.below(4);
      const Role role = random.chance(4, 5) ? Role::kPrimary : Role::kReplica;
      const auto replicas = role == Role::kPrimary ? std::optional(replicas_of(c, {1})) : std::nullopt;
      const auto before = give(c, 0, order(role, epoch + calls + 1, core::Authority::kAssigned, replicas));
      for (uint64_t i = 1; i <= calls; ++i) {
        c.run_for(static_cast<io::Nanos>(random.below(400 * io::kMicrosecond)));
        caller.call(0, epoch + i);
      }
      REQUIRE(c.run_until([&] { return before->has_value(); }, 20 * kSecond));
      epoch += calls + 1;
      if (c.load.attached()) c.abandon_load();
    }
    c.sim(0).disk().set_slow_factor(1);
    caller.peer.hang_up();
    check_taken(c, give(c, 0, order(Role::kPrimary, epoch + 1, core::Authority::kAssigned, replicas_of(c, {1}))));
    REQUIRE(c.wait_serving(0));
    CHECK(c.status(0).epoch == epoch + 1);
    REQUIRE(c.wait_in_sync(0, 1));
    c.read_back(0);
  });
}

namespace {

RequestError read(Cluster& c) {
  Request request;
  request.length = 4096;
  request.buffer = c.pool(0).allocate(kBlockBytes);
  std::optional<RequestError> answer;
  request.owner = &answer;
  request.done = [](Request& r, RequestError error) { *static_cast<std::optional<RequestError>*>(r.owner) = error; };
  c.volume(0).submit(request);
  REQUIRE(c.run_until([&] { return answer.has_value(); }, 20 * kSecond));
  c.pool(0).release(request.buffer);
  return *answer;
}

/// A primary alone whose log has failed; it goes on answering reads.
void fail_log(Cluster& c) {
  c.assignment(0).role = Role::kPrimary;
  c.start(0);
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  c.sim(0).disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "/wal"}, .forever = true});
  REQUIRE(c.request(0, RequestKind::kWrite, 8192, 4096, 6) == RequestError::kIo);
  REQUIRE(c.read_cell(0, 0) == 5);
}

}  // namespace

TEST_CASE("sim_fence: a primary that has failed is fenced by a call, too, whatever becomes of that", "[sim][repl]") {
  Cluster c({.seed = 2, .nodes = 1});
  fail_log(c);
  const bool can_record = GENERATE(true, false);
  if (!can_record) c.sim(0).disk().add_fault({.match = {.kind = {}, .path = "/superblock"}, .forever = true});
  Caller caller(c);
  caller.call(0, 2);
  const auto reject = caller.peer.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kNotReady);
  CHECK(read(c) == RequestError::kShutdown);
  CHECK_FALSE(c.status(0).role == "primary");
  if (!can_record) return;
  // Also after a restart, with a device that works again.
  const auto recorded = [&] { return read_superblock(c.sim(0), Cluster::directory())->epoch == Epoch(2); };
  REQUIRE(c.run_until(recorded, 5 * kSecond));
  c.kill(0);
  c.sim(0).disk().clear_faults();
  c.start(0);
  CHECK(c.status(0).role == "replica");
}

TEST_CASE("sim_fence: a call that cannot be taken fences all the same", "[sim][repl]") {
  Cluster c({.seed = 3, .nodes = 1});
  c.assignment(0).role = Role::kPrimary;
  c.start(0);
  REQUIRE(c.wait_serving(0));
  Caller caller(c);
  REQUIRE(caller.peer.call(c.address(0)));
  caller.peer.volume = read_superblock(c.sim(0), Cluster::directory())->volume;
  caller.peer.epoch = Epoch(2);
  Hello hello{"vol0", "n9", "n1", Incarnation(1), 2u << 20};
  hello.channel = Channel::kBulk;
  caller.peer.send(MessageType::kHello, hello);
  REQUIRE(caller.peer.reject().has_value());
  CHECK(read(c) == RequestError::kShutdown);
}

TEST_CASE("sim_fence: a copy that has failed can be told to be primary no more", "[sim][repl]") {
  Cluster c({.seed = 4, .nodes = 1});
  fail_log(c);
  check_refused(c, give(c, 0, order(Role::kPrimary, 2)), Errc::kIo, "WAL");
  SECTION("and that is recorded") {
    check_taken(c, give(c, 0, order(Role::kReplica, 2)));
    CHECK(read(c) == RequestError::kShutdown);
    CHECK(c.status(0).role == "replica");
    c.kill(0);
    c.sim(0).disk().clear_faults();
    c.start(0);
    CHECK(c.status(0).role == "replica");
    CHECK(c.status(0).epoch == 2);
    check_refused(c, give(c, 0, order(Role::kPrimary, 3, core::Authority::kPromoted)), Errc::kNotPermitted, "may be stale");
  }
  SECTION("not if it cannot be") {
    c.sim(0).disk().add_fault({.match = {.kind = {}, .path = "/superblock"}, .forever = true});
    check_refused(c, give(c, 0, order(Role::kReplica, 2)), Errc::kIo, "");
    check_refused(c, give(c, 0, order(Role::kReplica, 2)), Errc::kIo, "");
  }
}

TEST_CASE("sim_fence: a connect that a new term could not cancel any more keeps no replica out", "[sim][repl]") {
  Cluster c({.seed = 5});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).session || c.replica_status(0, 1).session->phase == "failed"; }, 5 * kSecond));
  c.start(1);
  // The next attempt is on its way.
  c.world.net().partition("n1", "n2");
  c.run_for(300 * kMillisecond);
  c.world.net().set_cancels_late(true);
  check_taken(c, give(c, 0, order(Role::kPrimary, 2)));
  REQUIRE(c.status(0).epoch == 2);
  c.world.net().heal_all();
  REQUIRE(c.wait_in_sync(0, 1));
}

TEST_CASE("sim_fence: an order whose epoch another node takes meanwhile is refused, not called a success", "[sim][repl]") {
  for (const uint64_t called : {uint64_t{2}, uint64_t{3}}) {
    for_seeds(1, 8, [called](uint64_t seed) {
      Cluster c({.seed = seed, .nodes = 1});
      c.assignment(0).role = Role::kPrimary;
      c.start(0);
      REQUIRE(c.wait_serving(0));
      Caller caller(c);
      const uint64_t hold = c.sim(0).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
      const auto answer = give(c, 0, order(Role::kPrimary, 2));
      c.run_for(static_cast<io::Nanos>(c.world.random().below(2 * kMillisecond)));
      caller.call(0, called);
      REQUIRE(c.run_until([&] { return c.status(0).role == "replica"; }, 5 * kSecond));
      c.sim(0).disk().release(hold);
      check_refused(c, answer, called == 2 ? Errc::kNotPermitted : Errc::kStaleEpoch, called == 2 ? "needs a higher one" : "epoch 2 is over");
      check_taken(c, give(c, 0, order(Role::kPrimary, 4)));
      REQUIRE(c.wait_serving(0));
    });
  }
}

TEST_CASE("sim_fence: a copy stops although its superblock fails before what it waits for is recorded", "[sim][repl]") {
  FakePrimary f(6);
  const auto hold = [&] { return f.c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"}); };
  uint64_t held = 0;
  SECTION("a session's history") {
    f.hello();
    CHECK(f.facts().durable == Lsn{});
    held = hold();
    f.start(Lsn{}, f.one);
  }
  SECTION("a promise") {
    held = hold();
    f.hello();
  }
  REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(held) > 0; }, 5 * kSecond));
  std::optional<Status> stopped;
  f.c.volume(1).stop([&](const Status& status) { stopped = status; });
  f.c.run_for(3 * kSecond);
  CHECK_FALSE(stopped.has_value());
  f.c.sim(1).disk().add_fault({.match = {.kind = {}, .path = "/superblock"}, .forever = true});
  f.c.sim(1).disk().release(held);
  REQUIRE(f.c.run_until([&] { return stopped.has_value(); }, 5 * kSecond));
  CHECK_FALSE(stopped->has_value());
}

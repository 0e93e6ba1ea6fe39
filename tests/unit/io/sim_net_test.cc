// The simulated network between nodes: partitions, cuts, crashes.
#include <catch2/catch.hpp>
#include <cerrno>

#include "io/sim_io.h"
#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

/// Two hosts, b listens.
struct Hosts {
  explicit Hosts(uint64_t seed)
      : world({.seed = seed}),
        a(world.add_node("a")),
        b(world.add_node("b")),
        io_a(a.create_io()),
        io_b(b.create_io()) {
    auto result = io_b->listen("10.0.0.2:7000");
    REQUIRE(result.has_value());
    listener = result.value();
  }
  void connect() {
    Awaited accepted;
    Awaited connected;
    io_b->accept(listener, accepted);
    io_a->connect("10.0.0.2:7000", connected);
    REQUIRE(world.run_until([&] { return accepted.done && connected.done; }, kSecond));
    at_a.fd = connected.result;
    at_b.fd = accepted.result;
    REQUIRE(at_a.is_open());
    REQUIRE(at_b.is_open());
  }
  int32_t finish(Awaited& op, Nanos limit = 10 * kSecond) {
    if (!world.run_until([&] { return op.done; }, limit)) return -ETIME;
    op.done = false;
    return op.result;
  }
  int32_t send(SimIo& io, Socket socket, std::string text) {
    iovec part{text.data(), text.size()};
    Awaited op;
    io.send(socket, {&part, 1}, op);
    return finish(op);
  }
  SimWorld world;
  SimNode& a;
  SimNode& b;
  std::unique_ptr<SimIo> io_a;
  std::unique_ptr<SimIo> io_b;
  Socket listener;
  Socket at_a;
  Socket at_b;
};

}  // namespace

TEST_CASE("sim_net: a partition holds data and lets it pass when healed", "[sim]") {
  Hosts hosts(GENERATE(range(1, 10)));
  hosts.connect();
  std::string got(5, '?');
  Awaited receive;
  hosts.io_b->receive(hosts.at_b, got.data(), 5, true, receive);
  hosts.world.net().partition("a", "b");
  CHECK(hosts.send(*hosts.io_a, hosts.at_a, "hello") == 5);  // into the sender's kernel
  hosts.world.run_for(100 * kSecond);
  CHECK_FALSE(receive.done);
  hosts.world.net().heal("a", "b");
  CHECK(hosts.finish(receive) == 5);
  CHECK(got == "hello");
}

TEST_CASE("sim_net: a one-way partition lets the other way pass", "[sim]") {
  Hosts hosts(2);
  hosts.connect();
  std::string got(1, '?');
  Awaited to_a;
  Awaited to_b;
  hosts.world.net().partition_one_way("a", "b");
  hosts.io_a->receive(hosts.at_a, got.data(), 1, true, to_a);
  hosts.io_b->receive(hosts.at_b, got.data(), 1, true, to_b);
  CHECK(hosts.send(*hosts.io_a, hosts.at_a, "x") == 1);
  CHECK(hosts.send(*hosts.io_b, hosts.at_b, "y") == 1);
  CHECK(hosts.finish(to_a) == 1);
  hosts.world.run_for(kSecond);
  CHECK_FALSE(to_b.done);
  hosts.world.net().heal_all();
  CHECK(hosts.finish(to_b) == 1);
}

TEST_CASE("sim_net: a connect through a partition hangs until healed, timed out or cancelled",
          "[sim]") {
  Hosts hosts(3);
  hosts.world.net().partition("a", "b");
  Awaited connect;
  hosts.io_a->connect("10.0.0.2:7000", connect);
  hosts.world.run_for(60 * kSecond);
  CHECK_FALSE(connect.done);
  SECTION("healed") {
    hosts.world.net().heal_all();
    CHECK(hosts.finish(connect) >= 0);
  }
  SECTION("timed out") { CHECK(hosts.finish(connect, 100 * kSecond) == -ETIMEDOUT); }
  SECTION("cancelled") {
    hosts.io_a->cancel(connect);
    CHECK(hosts.finish(connect) == -ECANCELED);
    hosts.world.net().heal_all();
    hosts.world.run_for(200 * kSecond);
    CHECK(connect.calls == 1);
    CHECK(hosts.world.net().connections() == 0);
  }
}

TEST_CASE("sim_net: a cut after some bytes resets both ends", "[sim]") {
  Hosts hosts(4);
  hosts.connect();
  hosts.world.net().cut("10.0.0.2:7000", 3);
  std::string got(10, '?');
  Awaited at_b;
  Awaited at_a;
  hosts.io_b->receive(hosts.at_b, got.data(), 10, true, at_b);
  std::string other(1, '?');
  hosts.io_a->receive(hosts.at_a, other.data(), 1, true, at_a);
  hosts.send(*hosts.io_a, hosts.at_a, "0123456789");
  CHECK(hosts.finish(at_b) == -ECONNRESET);
  CHECK(hosts.finish(at_a) == -ECONNRESET);
  CHECK(got.substr(0, 4) == std::string("012\xa5"));
  CHECK(hosts.send(*hosts.io_a, hosts.at_a, "x") == -ECONNRESET);
}

TEST_CASE("sim_net: a peer that does not receive stops the sender at the buffer's bound", "[sim]") {
  Hosts hosts(5);
  hosts.connect();
  hosts.world.options().socket_buffer_bytes = 10000;
  std::string large = pattern(25000);
  iovec part{large.data(), large.size()};
  Awaited send;
  hosts.io_a->send(hosts.at_a, {&part, 1}, send);
  hosts.world.run_for(kSecond);
  CHECK_FALSE(send.done);
  std::string got(25000, '?');
  Awaited receive;
  hosts.io_b->receive(hosts.at_b, got.data(), 10000, true, receive);
  CHECK(hosts.finish(receive) == 10000);
  hosts.world.run_for(kSecond);
  CHECK_FALSE(send.done);
  hosts.io_b->receive(hosts.at_b, got.data() + 10000, 15000, true, receive);
  CHECK(hosts.finish(receive) == 15000);
  CHECK(hosts.finish(send) == 25000);
  CHECK((got == large));
}

TEST_CASE("sim_net: plain receives split a stream at random places", "[sim]") {
  int split = 0;
  for (uint64_t seed = 1; seed < 20; ++seed) {
    Hosts hosts(seed);
    hosts.connect();
    CHECK(hosts.send(*hosts.io_a, hosts.at_a, pattern(1000)) == 1000);
    std::string got;
    while (got.size() < 1000) {
      std::string piece(1000, '?');
      Awaited receive;
      hosts.io_b->receive(hosts.at_b, piece.data(), 1000, false, receive);
      const int32_t result = hosts.finish(receive);
      REQUIRE(result >= 1);
      got += piece.substr(0, static_cast<size_t>(result));
      if (result < 1000) ++split;
    }
    CHECK((got == pattern(1000)));
  }
  CHECK(split > 5);
}

TEST_CASE("sim_net: a crash ends its connections at the peer, and its listeners", "[sim]") {
  Hosts hosts(GENERATE(range(1, 20)));
  hosts.connect();
  std::string got(1, '?');
  Awaited receive;
  hosts.io_a->receive(hosts.at_a, got.data(), 1, true, receive);
  hosts.b.crash();
  const int32_t result = hosts.finish(receive);
  CHECK((result == 0 || result == -ECONNRESET));
  Awaited connect;
  hosts.io_a->connect("10.0.0.2:7000", connect);
  CHECK(hosts.finish(connect) == -ECONNREFUSED);
  hosts.io_b.reset();
  hosts.io_b = hosts.b.create_io();
  CHECK(hosts.io_b->listen("10.0.0.2:7000").has_value());
  hosts.io_a->connect("10.0.0.2:7000", connect);
  CHECK(hosts.finish(connect) >= 0);
}

TEST_CASE("sim_net: after a power loss peers learn nothing until the host is back", "[sim]") {
  Hosts hosts(GENERATE(range(1, 20)));
  hosts.connect();
  std::string got(1, '?');
  Awaited receive;
  hosts.io_a->receive(hosts.at_a, got.data(), 1, true, receive);
  hosts.b.power_loss(SimPowerLoss::kDropAll);
  hosts.io_b.reset();
  CHECK(hosts.send(*hosts.io_a, hosts.at_a, "x") == 1);
  hosts.world.run_for(50 * kSecond);
  CHECK_FALSE(receive.done);
  Awaited connect;
  hosts.io_a->connect("10.0.0.2:7000", connect);
  hosts.world.run_for(10 * kSecond);
  CHECK_FALSE(connect.done);
  hosts.io_b = hosts.b.create_io();  // what was sent to the dead connection is refused now
  CHECK(hosts.finish(receive) == -ECONNRESET);
  CHECK(hosts.finish(connect) == -ECONNREFUSED);
}

TEST_CASE("sim_net: unix sockets are the node's own", "[sim]") {
  Hosts hosts(1);
  REQUIRE(hosts.io_b->listen("unix:/run/x").has_value());
  REQUIRE(hosts.io_a->listen("unix:/run/x").has_value());
  CHECK(hosts.io_b->listen("unix:/run/x").error().code == Errc::kBusy);
  CHECK(hosts.io_a->listen("10.0.0.2:7000").error().code == Errc::kBusy);  // global
}

TEST_CASE("sim_net: a socket may move to another shard of its node", "[sim]") {
  Hosts hosts(1);
  const auto other = hosts.b.create_io();
  hosts.connect();
  std::string got(2, '?');
  Awaited receive;
  other->receive(hosts.at_b, got.data(), 2, true, receive);
  CHECK(hosts.send(*hosts.io_a, hosts.at_a, "ok") == 2);
  CHECK(hosts.finish(receive) == 2);
  CHECK(got == "ok");
}

TEST_CASE("sim_net: a connection can be cut at a send, before it, in it or after it", "[sim]") {
  const uint64_t arriving = GENERATE(0, 50, 100);
  Hosts hosts(1);
  hosts.connect();
  REQUIRE(hosts.send(*hosts.io_a, hosts.at_a, std::string(100, 'x')) == 100);
  const uint64_t before = hosts.world.net().sends("a");
  hosts.world.net().after_sends("a", 2, [&](uint64_t connection, uint64_t bytes) {
    CHECK(bytes == 100);
    hosts.world.net().cut_connection(connection, arriving);
  });
  REQUIRE(hosts.send(*hosts.io_a, hosts.at_a, std::string(100, 'y')) == 100);
  std::string got(200, 0);
  Awaited all;
  hosts.io_b->receive(hosts.at_b, got.data(), 200, true, all);
  REQUIRE(hosts.finish(all) == 200);
  static_cast<void>(hosts.send(*hosts.io_a, hosts.at_a, std::string(100, 'z')));
  CHECK(hosts.world.net().sends("a") == before + 2);
  std::string rest(100, 0);
  Awaited last;
  hosts.io_b->receive(hosts.at_b, rest.data(), 100, false, last);
  const int32_t result = hosts.finish(last);
  // What arrived before a reset may be taken or lost with it, but nothing behind the cut arrives.
  CHECK(result <= static_cast<int32_t>(arriving));
  CHECK(hosts.world.net().connections() == 1);  // until both have closed it
}

// The simulated world: determinism, messages, memory waiters, death.
#include <catch2/catch.hpp>

#include "io/sim_io.h"
#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

struct Noted : Message {
  Noted(std::vector<int>& log, int number) : order(log), id(number) {}
  void run() override {
    order.push_back(id);
    delete this;
  }
  void discard() override {
    order.push_back(-id);
    delete this;
  }
  std::vector<int>& order;
  int id;
};

/// A little of everything: files, streams, a partition, a crash and a power loss.
uint64_t run_story(uint64_t seed) {
  SimWorld world({.seed = seed});
  SimNode& a = world.add_node("a");
  SimNode& b = world.add_node("b");
  auto io_a = a.create_io();
  auto io_b = b.create_io();
  const File file = io_a->open_file("/f", {.create = true, .resize_bytes = 1 << 20}).value().file;
  const Socket listener = io_b->listen("b:1").value();
  std::vector<std::unique_ptr<Awaited>> ops;
  const auto op = [&]() -> Awaited& {
    ops.push_back(std::make_unique<Awaited>());
    return *ops.back();
  };
  Block block(kBlockBytes, 1);
  Awaited& accepted = op();
  Awaited& connected = op();
  io_b->accept(listener, accepted);
  io_a->connect("b:1", connected);
  for (uint64_t i = 0; i < 20; ++i)
    io_a->write(file, block.data(), kBlockBytes, i * kBlockBytes, op());
  io_a->flush(file, op());
  world.run_until([&] { return accepted.done && connected.done; }, kSecond);
  std::string text = pattern(100000);
  iovec part{text.data(), text.size()};
  std::string got(100000, '?');
  io_a->send({connected.result}, {&part, 1}, op());
  io_b->receive({accepted.result}, got.data(), 100000, true, op());
  world.net().partition("a", "b");
  world.run_for(kMillisecond);
  world.net().heal_all();
  world.run_for(kMillisecond / 4);
  a.crash();
  world.run_for(kSecond);
  b.power_loss(SimPowerLoss::kRandom);
  world.run_for(10 * kSecond);
  return world.trace_hash();
}

}  // namespace

TEST_CASE("sim_world: the same seed gives the same run, another one another", "[sim]") {
  std::vector<uint64_t> hashes;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    hashes.push_back(run_story(seed));
    CHECK(run_story(seed) == hashes.back());
  }
  std::sort(hashes.begin(), hashes.end());
  CHECK(std::unique(hashes.begin(), hashes.end()) == hashes.end());
}

TEST_CASE("sim_world: messages are run in order, or discarded by a crash", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& node = world.add_node("n");
  const auto io = node.create_io();
  std::vector<int> order;
  io->post(new Noted(order, 1));
  io->post(new Noted(order, 2));
  CHECK(order.empty());
  world.run_for(kSecond);
  CHECK(order == std::vector<int>{1, 2});
  io->post(new Noted(order, 3));
  node.crash();
  io->post(new Noted(order, 4));
  world.run_for(kSecond);
  CHECK(order == std::vector<int>{1, 2, -3, -4});
}

TEST_CASE("sim_world: memory released between steps wakes the waiters", "[sim]") {
  SimWorld world({.seed = 1});
  const auto io = world.add_node("n").create_io();
  BufferPool pool(1);
  io->attach_pool(&pool);
  struct Noticing : PoolWaiter {
    Noticing() : PoolWaiter([](PoolWaiter& self) { static_cast<Noticing&>(self).woken = true; }) {}
    bool woken = false;
  } waiter;
  const Buffer buffer = pool.allocate(1);
  pool.wait(waiter);
  world.run_for(kSecond);
  CHECK_FALSE(waiter.woken);
  pool.release(buffer);
  world.run_for(kSecond);
  CHECK(waiter.woken);
}

TEST_CASE("sim_world: a dead Io does nothing and its timers and deferred work are gone", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& node = world.add_node("n");
  const auto io = node.create_io();
  struct Owner {
    void on_call() { ++calls; }
    int calls = 0;
    TimerOf<&Owner::on_call> timer{*this};
    DeferredOf<&Owner::on_call> deferred{*this};
  } owner;
  io->arm(owner.timer, kMillisecond);
  io->defer(owner.deferred);
  node.crash();
  CHECK_FALSE(owner.timer.armed());
  CHECK_FALSE(owner.deferred.queued());
  io->arm(owner.timer, 0);
  io->defer(owner.deferred);
  Awaited op;
  io->connect("x:1", op);
  CHECK_FALSE(op.pending());
  CHECK_FALSE(io->open_file("/f", {.create = true}).has_value());
  io->disarm(owner.timer);
  io->undefer(owner.deferred);
  world.run_for(kSecond);
  CHECK(owner.calls == 0);
}

TEST_CASE("sim_world: a crash from inside a callback ends the turn", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& node = world.add_node("n");
  const auto io = node.create_io();
  struct Owner {
    explicit Owner(SimNode& victim) : node(victim) {}
    void on_crash() { node.crash(); }
    void on_never() { ++calls; }
    SimNode& node;
    int calls = 0;
    TimerOf<&Owner::on_crash> first{*this};
    TimerOf<&Owner::on_never> second{*this};
    DeferredOf<&Owner::on_never> deferred{*this};
  } owner(node);
  io->arm(owner.first, kMillisecond);
  io->arm(owner.second, kMillisecond);
  world.run_for(kSecond);
  CHECK(owner.calls == 0);
  CHECK(io->dead());
}

TEST_CASE("sim_world: the last Io's destruction is the process's exit", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& node = world.add_node("n");
  auto first = node.create_io();
  auto second = node.create_io();
  REQUIRE(first->open_file("/f", {.create = true}).has_value());
  first.reset();
  CHECK(second->open_file("/f", {}).error().code == Errc::kBusy);  // the process lives on
  second.reset();
  CHECK_FALSE(node.running());
  const auto third = node.create_io();
  CHECK(third->open_file("/f", {}).has_value());
}

namespace {

struct Alarm {
  void ring() { rung_at = io.now(); }
  Io& io;
  Nanos rung_at = 0;
  TimerOf<&Alarm::ring> timer{*this};
};

}  // namespace

TEST_CASE("sim_world: a node's clock can jump, and its timers are due then", "[sim]") {
  SimWorld world({.seed = 1});
  SimNode& a = world.add_node("a");
  SimNode& b = world.add_node("b");
  auto io_a = a.create_io();
  auto io_b = b.create_io();
  Alarm alarm_a{*io_a}, alarm_b{*io_b};
  const Nanos begun = io_a->now();
  io_a->arm(alarm_a.timer, 10 * kSecond);
  io_b->arm(alarm_b.timer, 10 * kSecond);
  world.run_for(kSecond);
  a.jump_clock(20 * kSecond);
  world.run_for(kSecond);
  CHECK(alarm_a.rung_at >= begun + 21 * kSecond);
  CHECK(alarm_b.rung_at == 0);
  CHECK(io_a->now() == io_b->now() + 20 * kSecond);
  world.run_for(9 * kSecond);
  CHECK(alarm_b.rung_at >= begun + 10 * kSecond);
}

TEST_CASE("sim_world: who wants to hears what happens in words, and it is the same run", "[sim]") {
  const auto run = [](bool narrate, std::vector<std::string>& lines) {
    SimWorld world({.seed = 3});
    if (narrate) world.set_narrator([&lines](const std::string& line) { lines.push_back(line); });
    SimNode& a = world.add_node("a");
    auto io = a.create_io();
    const File file = io->open_file("/f", {.create = true, .resize_bytes = 1 << 20}).value().file;
    Block block(kBlockBytes, 1);
    Awaited write;
    io->write(file, block.data(), kBlockBytes, kBlockBytes, write);
    world.run_until([&] { return write.done; }, kSecond);
    a.crash();
    return world.trace_hash();
  };
  std::vector<std::string> none, lines;
  CHECK(run(false, none) == run(true, lines));
  CHECK(none.empty());
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "a: a process starts");
  CHECK(lines[1].starts_with("a: write /f at 4096, 4096 bytes"));
  CHECK(lines[2].ends_with("done"));
  CHECK(lines[3] == "a: the process is gone");
}

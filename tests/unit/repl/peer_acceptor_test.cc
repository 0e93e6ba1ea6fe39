// Callers before their hello is complete: garbage, silence, crowds, deadlines, stopping.
#include "repl/peer_acceptor.h"

#include <catch2/catch.hpp>

#include "io/sim_io.h"
#include "log/log.h"
#include "ringbolt/crc32c.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using io::kMillisecond;
using io::kSecond;

namespace {

struct Quiet {
  Quiet() { log::set_level(log::Level::kError); }
  ~Quiet() { log::set_level(log::Level::kInfo); }
};

struct Router final : CallRouter {
  explicit Router(io::Io& on) : io(on) {}
  ~Router() override {
    for (const PeerCall& call : calls) io.close_socket(call.socket);
  }
  void route(PeerCall call) override { calls.push_back(std::move(call)); }
  io::Io& io;
  std::vector<PeerCall> calls;
};

struct Caller {
  explicit Caller(io::SimIo& on) : io(on) {}
  ~Caller() {
    if (fd >= 0 && !receive.pending() && !send.pending()) io.close_socket(io::Socket{fd});
  }
  void on_connected(int32_t result) {
    fd = result;
    if (fd >= 0) io.receive(io::Socket{fd}, &byte, 1, false, receive);
  }
  void on_received(int32_t) { ended = true; }
  void on_sent(int32_t) { sent = true; }
  void say(const std::vector<std::byte>& bytes) {
    data = bytes;
    iov = iovec{data.data(), data.size()};
    sent = false;
    io.send(io::Socket{fd}, {&iov, 1}, send);
  }
  io::SimIo& io;
  int32_t fd = -1;
  char byte = 0;
  bool ended = false, sent = false;
  std::vector<std::byte> data;
  iovec iov{};
  io::Op<&Caller::on_connected> connect{*this};
  io::Op<&Caller::on_received> receive{*this};
  io::Op<&Caller::on_sent> send{*this};
};

struct Fixture {
  explicit Fixture(uint64_t seed)
      : world({.seed = seed}),
        server(world.add_node("s")),
        client(world.add_node("c")),
        server_io(server.create_io()),
        client_io(client.create_io()),
        router(*server_io),
        acceptor(std::make_unique<PeerAcceptor>(*server_io, router)) {
    REQUIRE(acceptor->listen("s:7").has_value());
  }
  ~Fixture() {
    // Callers may still wait for an answer.
    client.crash();
    server.crash();
  }
  Caller& call() {
    callers.push_back(std::make_unique<Caller>(*client_io));
    Caller& caller = *callers.back();
    client_io->connect("s:7", caller.connect);
    REQUIRE(run([&] { return caller.fd >= 0; }));
    return caller;
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 30 * kSecond); }
  void stop() {
    bool stopped = false;
    acceptor->stop([&stopped] { stopped = true; });
    REQUIRE(run([&] { return stopped; }));
  }
  Quiet quiet;
  io::SimWorld world;
  io::SimNode& server;
  io::SimNode& client;
  std::unique_ptr<io::SimIo> server_io, client_io;
  Router router;
  std::unique_ptr<PeerAcceptor> acceptor;
  std::vector<std::unique_ptr<Caller>> callers;
};

std::vector<std::byte> hello_bytes(MessageType type = MessageType::kHello, uint64_t sequence = 1) {
  std::vector<std::byte> payload;
  encode(Hello{"vol0", "n1", "n2", Incarnation(3), 4096}, payload);
  MessageHeader header;
  header.type = type;
  header.epoch = Epoch(5);
  header.sequence = sequence;
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_crc = crc32c(payload.data(), payload.size());
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_header(header, bytes.data());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

}  // namespace

TEST_CASE("peer_acceptor: a hello in any pieces is routed, what follows stays in the socket",
          "[repl]") {
  const std::vector<std::byte> hello = hello_bytes();
  for (size_t cut = 1; cut < hello.size(); cut += 7) {
    Fixture f(cut);
    Caller& caller = f.call();
    caller.say({hello.begin(), hello.begin() + static_cast<ptrdiff_t>(cut)});
    REQUIRE(f.run([&] { return caller.sent; }));
    f.world.run_for(10 * kMillisecond);
    CHECK(f.router.calls.empty());
    std::vector<std::byte> rest(hello.begin() + static_cast<ptrdiff_t>(cut), hello.end());
    rest.push_back(std::byte{'!'});
    caller.say(rest);
    REQUIRE(f.run([&] { return f.router.calls.size() == 1; }));
    const PeerCall& call = f.router.calls[0];
    CHECK(call.hello.volume_name == "vol0");
    CHECK(call.hello.node_id == "n1");
    CHECK(call.header.epoch == Epoch(5));
    char next = 0;
    struct Read {
      void on_read(int32_t r) { result = r; }
      int32_t result = -1;
      io::Op<&Read::on_read> op{*this};
    } read;
    f.server_io->receive(call.socket, &next, 1, false, read.op);
    REQUIRE(f.run([&] { return read.result == 1; }));
    CHECK(next == '!');
    // The deadline of a routed call is over.
    f.world.run_for(20 * kSecond);
    CHECK_FALSE(caller.ended);
    f.stop();
  }
}

TEST_CASE("peer_acceptor: what is not a hello ends the connection", "[repl]") {
  const auto refused = [](const std::vector<std::byte>& bytes) {
    Fixture f(3);
    Caller& caller = f.call();
    caller.say(bytes);
    REQUIRE(f.run([&] { return caller.ended; }));
    CHECK(f.world.now() < 5 * kSecond);  // at once, not by the deadline
    CHECK(f.router.calls.empty());
    Caller& next = f.call();  // others are still served
    next.say(hello_bytes());
    CHECK(f.run([&] { return f.router.calls.size() == 1; }));
    f.stop();
  };
  refused(std::vector<std::byte>(64, std::byte{'G'}));
  refused(hello_bytes(MessageType::kSync));
  refused(hello_bytes(MessageType::kHello, 2));
  std::vector<std::byte> damaged = hello_bytes();
  damaged.back() ^= std::byte{1};
  refused(damaged);
  damaged = hello_bytes();
  damaged[50] ^= std::byte{1};
  refused(damaged);
  MessageHeader empty;
  empty.sequence = 1;
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_header(empty, bytes.data());
  refused(bytes);
}

TEST_CASE("peer_acceptor: silence, before or in the middle of a hello, ends at the deadline",
          "[repl]") {
  const std::vector<std::byte> hello = hello_bytes();
  for (const size_t length : {size_t{0}, size_t{30}, kHeaderBytes, hello.size() - 1}) {
    Fixture f(4);
    Caller& caller = f.call();
    if (length > 0) caller.say({hello.begin(), hello.begin() + static_cast<ptrdiff_t>(length)});
    f.world.run_for(3 * kSecond);
    CHECK_FALSE(caller.ended);
    REQUIRE(f.run([&] { return caller.ended; }));
    CHECK(f.router.calls.empty());
    f.stop();
  }
}

TEST_CASE("peer_acceptor: a crowd of silent callers is bounded and passes", "[repl]") {
  Fixture f(5);
  Caller& oldest = f.call();
  for (int i = 1; i < 256; ++i) static_cast<void>(f.call());
  f.world.run_for(100 * kMillisecond);
  // Silent callers must not keep a primary out: the newest is heard, the oldest goes.
  Caller& late = f.call();
  REQUIRE(f.run([&] { return oldest.ended; }));
  CHECK(f.world.now() < 5 * kSecond);
  late.say(hello_bytes());
  CHECK(f.run([&] { return f.router.calls.size() == 1; }));
  const auto all_ended = [&] {
    return std::all_of(f.callers.begin(), f.callers.end(), [&](const auto& c) { return c->ended || c.get() == &late; });
  };
  REQUIRE(f.run(all_ended));
  Caller& next = f.call();
  next.say(hello_bytes());
  CHECK(f.run([&] { return f.router.calls.size() == 2; }));
  f.stop();
}

TEST_CASE("peer_acceptor: stopping ends callers and answers once, at any moment", "[repl]") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Fixture f(seed);
    for (int i = 0; i < 3; ++i) static_cast<void>(f.call());
    f.callers[0]->say(hello_bytes());
    f.callers[1]->say(std::vector<std::byte>(40));
    f.world.run_for(static_cast<io::Nanos>(f.world.random().below(kMillisecond)));
    f.stop();
    f.world.run_for(kSecond);
    CHECK(f.callers[1]->ended);
    CHECK(f.callers[2]->ended);
    CHECK(f.server_io->pending_operations() == 0);
  }
}

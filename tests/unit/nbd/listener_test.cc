// Accepting, the handshake's deadline and bounds, hand-over, stopping.
#include <catch2/catch.hpp>
#include <algorithm>
#include <cerrno>

#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {
namespace {

using namespace nbd;

/// The client has closed its socket; soon the server has, too, whatever it was used for.
bool both_ends_closed(Fixture& fixture) {
  return fixture.world.run_until([&] { return fixture.world.net().connections() == 0 && fixture.server.set.count() == 0; }, io::kSecond);
}

/// The simulated Io, except that the next accepts fail.
class AcceptFails final : public io::Io {
 public:
  AcceptFails(io::SimWorld& world, io::SimIo& below) : world_(world), below_(below) {}
  std::vector<int32_t> errors;
  size_t accepts = 0;

  [[nodiscard]] io::Nanos now() const override { return below_.now(); }
  [[nodiscard]] uint64_t random() override { return below_.random(); }
  void arm(io::Timer& timer, io::Nanos delay) override { below_.arm(timer, delay); }
  void disarm(io::Timer& timer) override { below_.disarm(timer); }
  void defer(io::Deferred& deferred) override { below_.defer(deferred); }
  void undefer(io::Deferred& deferred) override { below_.undefer(deferred); }
  Result<io::FileInfo> open_file(const std::string& path, const io::OpenOptions& options) override {
    return below_.open_file(path, options);
  }
  Status make_directory(const std::string& path) override { return below_.make_directory(path); }
  void close_file(io::File file) override { below_.close_file(file); }
  void read(io::File file, void* data, uint32_t length, uint64_t offset,
            io::Completion& done) override {
    below_.read(file, data, length, offset, done);
  }
  void write(io::File file, const void* data, uint32_t length, uint64_t offset,
             io::Completion& done) override {
    below_.write(file, data, length, offset, done);
  }
  void flush(io::File file, io::Completion& done) override { below_.flush(file, done); }
  void zero(io::File file, uint64_t offset, uint64_t bytes, io::Completion& done) override {
    below_.zero(file, offset, bytes, done);
  }
  Result<io::Socket> listen(const std::string& address) override { return below_.listen(address); }
  Status set_congestion_control(io::Socket listener, const std::string& name) override { return below_.set_congestion_control(listener, name); }
  std::string local_address(io::Socket listener) override { return below_.local_address(listener); }
  std::string peer_address(io::Socket socket) override { return below_.peer_address(socket); }
  void accept(io::Socket listener, io::Completion& done) override {
    ++accepts;
    if (errors.empty()) return below_.accept(listener, done);
    const int32_t error = errors.front();
    errors.erase(errors.begin());
    done.state().pending = true;
    world_.after(0, [&done, error] { done.complete(error); });
  }
  void connect(const std::string& address, io::Completion& done) override {
    below_.connect(address, done);
  }
  void receive(io::Socket socket, void* data, uint32_t length, bool exactly,
               io::Completion& done) override {
    below_.receive(socket, data, length, exactly, done);
  }
  void send(io::Socket socket, std::span<iovec> iov, io::Completion& done) override {
    below_.send(socket, iov, done);
  }
  void shutdown(io::Socket socket) override { below_.shutdown(socket); }
  void close_socket(io::Socket socket) override { below_.close_socket(socket); }
  void cancel(io::Completion& pending) override { below_.cancel(pending); }

 private:
  io::SimWorld& world_;
  io::SimIo& below_;
};

ServerOptions limits(uint32_t connections_max, uint32_t handshakes_max) {
  ServerOptions options;
  options.connections_max = connections_max;
  options.listener.handshakes_max = handshakes_max;
  return options;
}

TEST_CASE("nbd listener: a client that is silent or slow in its handshake is closed in time",
          "[nbd]") {
  const std::string said = GENERATE(std::string(), client_flags(),
                                    client_flags() + option(kOptGo, go_data("vol0")).substr(0, 21));
  Fixture fixture;
  RawClient client(fixture.world, *fixture.client_io);
  client.connect();
  const io::Nanos begin = fixture.world.now();
  client.send(said);
  for (int i = 0; i < 9; ++i) fixture.world.run_for(io::kSecond);
  CHECK_FALSE(client.closed);
  CHECK(client.wait_closed());
  CHECK(fixture.world.now() - begin < 11 * io::kSecond);
  client.hang_up();
  CHECK(both_ends_closed(fixture));
  fixture.finish();
}

TEST_CASE("nbd listener: a finished handshake has no deadline any more", "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  fixture.world.run_for(60 * io::kSecond);
  CHECK(client.do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd listener: a cut at any byte of the handshake leaves nothing behind", "[nbd]") {
  const bool reset = GENERATE(false, true);
  const std::string talk = client_flags() + option(kOptList) + option(0x99, "data") +
                           option(kOptStructuredReply) + option(kOptGo, go_data("vol0", {3}));
  for (size_t cut = 0; cut <= talk.size(); ++cut) {
    Fixture fixture(sized(1u << 20, 8u << 20), cut);
    RawClient client(fixture.world, *fixture.client_io);
    client.connect();
    client.send(std::string_view(talk).substr(0, cut));
    fixture.world.run_for(static_cast<io::Nanos>(cut % 5) * 300 * io::kMicrosecond);
    if (reset) fixture.world.net().cut("server:10809");
    client.hang_up();
    const bool gone = both_ends_closed(fixture);
    if (!gone) FAIL("still there after a cut at byte " << cut);
    fixture.finish();
  }
  SUCCEED();
}

TEST_CASE("nbd listener: the limit of clients changes while they are there, and those stay", "[nbd][reload]") {
  ConnectionLimit limit(2);
  ConnectionPermit first(limit), second(limit);
  CHECK((first && second && !ConnectionPermit(limit)));
  limit.set_max(1);
  CHECK((first && second && !ConnectionPermit(limit)));
  first = ConnectionPermit();
  CHECK(!ConnectionPermit(limit));  // one is there
  second = ConnectionPermit();
  CHECK(ConnectionPermit(limit));
  limit.set_max(3);
  ConnectionPermit a(limit), b(limit), c(limit);
  CHECK((a && b && c && !ConnectionPermit(limit)));
}

TEST_CASE("nbd listener: clients beyond the limit are closed, others are served", "[nbd]") {
  Fixture fixture(limits(3, 16));
  std::vector<std::unique_ptr<NbdClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<NbdClient>(fixture.world, *fixture.client_io));
    clients.back()->attach();
  }
  RawClient fourth(fixture.world, *fixture.client_io);
  fourth.connect();
  CHECK(fourth.wait_closed(io::kSecond));
  CHECK_THAT(fixture.server.lines.at(0), Catch::Contains("limit of connections"));
  clients.pop_back();
  fixture.world.run_for(io::kSecond);
  NbdClient next(fixture.world, *fixture.client_io);
  next.attach();
  CHECK(next.do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  CHECK(clients[0]->do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  next.hang_up();
  fourth.hang_up();
  clients.clear();
  fixture.finish();
}

TEST_CASE("nbd listener: silent clients make room for those that speak", "[nbd]") {
  Fixture fixture(limits(1000, 8));
  std::vector<std::unique_ptr<RawClient>> silent;
  for (int i = 0; i < 50; ++i) {
    silent.push_back(std::make_unique<RawClient>(fixture.world, *fixture.client_io));
    silent.back()->connect();
  }
  fixture.world.run_for(io::kSecond);
  CHECK(std::count_if(silent.begin(), silent.end(), [](const auto& one) { return !one->closed; }) == 8);
  CHECK(silent.front()->closed);
  CHECK_FALSE(silent.back()->closed);
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  CHECK(client.do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  client.hang_up();
  silent.clear();
  fixture.finish();
}

TEST_CASE("nbd listener: a client that does not read the handshake's replies is bounded", "[nbd]") {
  Fixture fixture;
  for (int i = 0; i < 3000; ++i) fixture.server.directory.add("export" + std::to_string(i), 4096);
  RawClient client(fixture.world, *fixture.client_io);
  client.connect();
  client.reading = false;
  std::string bytes = client_flags();
  for (int i = 0; i < 200; ++i) bytes += option(kOptList);
  client.send(bytes);
  fixture.world.run_for(12 * io::kSecond);
  CHECK_THAT(fixture.server.lines.at(0), Catch::Contains("took too long"));
  client.hang_up();
  CHECK(both_ends_closed(fixture));
  fixture.finish();
}

TEST_CASE("nbd listener: an ABORT is answered and closed", "[nbd]") {
  Fixture fixture;
  RawClient client(fixture.world, *fixture.client_io);
  client.connect();
  client.send(client_flags() + option(kOptAbort));
  CHECK(client.wait_closed(io::kSecond));
  CHECK(client.received.size() == kGreetingBytes + kOptionReplyHeaderBytes);
  CHECK(fixture.server.lines.empty());
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd listener: failing accepts are retried, after a pause when resources are short",
          "[nbd]") {
  io::SimWorld world;
  const auto server_io = world.add_node("server").create_io();
  const auto client_io = world.add_node("client").create_io();
  struct Log final : ClientLog {
    std::vector<std::string> lines;
    void client_line(const ClientLine& line) override { lines.emplace_back(line.words); }
  } sink;
  struct Nobody final : HandOver {
    void attach(Client) override { FAIL("no client gets this far"); }
  } nobody;
  AcceptFails io(world, *server_io);
  io.errors = {-ECONNABORTED, -EMFILE, -ENFILE, -ENOBUFS};
  LimitedClientLog log(io, sink);
  FakeDirectory directory;
  ConnectionLimit limit(10);
  Listener listener({io, directory, nobody, log, limit}, {});
  REQUIRE(listener.listen("server:10809").has_value());
  RawClient client(world, *client_io);
  client.connect();
  world.run_for(50 * io::kMillisecond);
  CHECK(io.accepts == 2);
  CHECK(client.received.empty());
  CHECK(client.wait_bytes(kGreetingBytes, io::kSecond));
  CHECK(sink.lines.size() == 3);
  CHECK(io.accepts == 6);
  client.hang_up();
  bool stopped = false;
  listener.stop([&] { stopped = true; });
  CHECK(world.run_until([&] { return stopped; }, io::kSecond));
}

TEST_CASE("nbd listener: stopping ends handshakes and the address is free again", "[nbd]") {
  Fixture fixture;
  CHECK(fixture.server.listener.local_address() == "server:10809");
  RawClient client(fixture.world, *fixture.client_io);
  client.connect();
  fixture.finish();
  CHECK(client.wait_closed(io::kSecond));
  const auto again = fixture.server.io->listen("server:10809");
  REQUIRE(again.has_value());
  fixture.server.io->close_socket(again.value());
  client.hang_up();
}

TEST_CASE("nbd listener: an address that is taken is an error", "[nbd]") {
  Fixture fixture;
  Listener second({*fixture.server.io, fixture.server.directory, fixture.server.hand_over(),
                   fixture.server.log, fixture.server.limit},
                  {});
  CHECK_FALSE(second.listen("server:10809").has_value());
  fixture.finish();
}

}  // namespace
}  // namespace ringbolt::test

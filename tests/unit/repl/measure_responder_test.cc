// Callers that measure the way to a node: answered message by message, bounded in number, memory and time.
#include "repl/measure_responder.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "io/sim_io.h"
#include "log/log.h"
#include "repl/peer_acceptor.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::repl {
namespace {

using io::kMillisecond;
using io::kSecond;

struct NoRouter final : CallRouter {
  explicit NoRouter(io::Io& on) : io(on) {}
  void route(PeerCall call) override {
    ++calls;
    io.close_socket(call.socket);
  }
  io::Io& io;
  int calls = 0;
};

/// Sends bytes, and collects what comes back until it is told to stop reading.
struct Measurer {
  explicit Measurer(io::SimIo& on) : io(on) {}
  void on_connected(int32_t result) {
    fd = result;
    if (fd >= 0 && reads) receive_more();
  }
  void receive_more() { io.receive(io::Socket{fd}, chunk.data(), static_cast<uint32_t>(chunk.size()), false, receive); }
  void on_received(int32_t result) {
    if (result <= 0) {
      ended = true;
      return;
    }
    received.insert(received.end(), chunk.begin(), chunk.begin() + result);
    receive_more();
  }
  void on_sent(int32_t result) {
    sent = true;
    if (result < 0) ended = true;
  }
  void say(std::vector<std::byte> bytes) {
    data = std::move(bytes);
    iov = iovec{data.data(), data.size()};
    sent = false;
    io.send(io::Socket{fd}, {&iov, 1}, send);
  }
  /// The sequences of the answers that are there; the test fails if they are anything else.
  [[nodiscard]] std::vector<uint64_t> answers() const {
    std::vector<uint64_t> sequences;
    REQUIRE(received.size() % kHeaderBytes == 0);
    for (size_t at = 0; at < received.size(); at += kHeaderBytes) {
      const auto header = decode_header({received.data() + at, kHeaderBytes});
      REQUIRE(header.has_value());
      CHECK(header.value().type == MessageType::kMeasureAck);
      CHECK(header.value().payload_bytes == 0);
      sequences.push_back(header.value().sequence);
    }
    return sequences;
  }
  io::SimIo& io;
  int32_t fd = -1;
  bool reads = true, ended = false, sent = false;
  std::vector<std::byte> chunk = std::vector<std::byte>(4096);
  std::vector<std::byte> data, received;
  iovec iov{};
  io::Op<&Measurer::on_connected> connect{*this};
  io::Op<&Measurer::on_received> receive{*this};
  io::Op<&Measurer::on_sent> send{*this};
};

struct MeasureBed {
  explicit MeasureBed(uint64_t seed)
      : world({.seed = seed}), server(world.add_node("s")), client(world.add_node("c")), server_io(server.create_io()), client_io(client.create_io()),
        router(*server_io), acceptor(std::make_unique<PeerAcceptor>(*server_io, router)) {
    log::set_level(log::Level::kError);
    REQUIRE(acceptor->listen("s:7").has_value());
  }
  ~MeasureBed() {
    log::set_level(log::Level::kInfo);
    client.crash();
    server.crash();
  }
  Measurer& call(bool reads = true) {
    callers.push_back(std::make_unique<Measurer>(*client_io));
    Measurer& caller = *callers.back();
    caller.reads = reads;
    client_io->connect("s:7", caller.connect);
    REQUIRE(run([&] { return caller.fd >= 0; }));
    return caller;
  }
  bool run(const std::function<bool()>& done, io::Nanos limit = 30 * kSecond) { return world.run_until(done, limit); }
  void stop() {
    int stopped = 0;
    acceptor->stop([&stopped] { ++stopped; });
    REQUIRE(run([&] { return stopped == 1; }));
    world.run_for(kSecond);
    CHECK(stopped == 1);
    CHECK(server_io->pending_operations() == 0);
  }
  io::SimWorld world;
  io::SimNode& server;
  io::SimNode& client;
  std::unique_ptr<io::SimIo> server_io, client_io;
  NoRouter router;
  std::unique_ptr<PeerAcceptor> acceptor;
  std::vector<std::unique_ptr<Measurer>> callers;
};

std::vector<std::byte> measure(uint64_t sequence, size_t bytes, MessageType type = MessageType::kMeasure) {
  std::vector<std::byte> message(kHeaderBytes + bytes);
  for (size_t i = kHeaderBytes; i < message.size(); ++i) message[i] = static_cast<std::byte>(i * 31 + sequence);
  MessageHeader header;
  header.type = type;
  header.epoch = Epoch(1);
  header.session = SessionId(1);
  header.sequence = sequence;
  header.payload_bytes = static_cast<uint32_t>(bytes);
  header.payload_crc = crc32c(message.data() + kHeaderBytes, bytes);
  encode_header(header, message.data());
  return message;
}

std::vector<std::byte> joined(const std::vector<std::vector<std::byte>>& messages) {
  std::vector<std::byte> all;
  for (const auto& message : messages) all.insert(all.end(), message.begin(), message.end());
  return all;
}

TEST_CASE("measure_responder: messages of all sizes, one behind the other, are answered in order", "[repl]") {
  MeasureBed bed(1);
  Measurer& caller = bed.call();
  std::vector<std::vector<std::byte>> messages;
  std::vector<uint64_t> expected;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{0}, size_t{4096}, (size_t{64} << 10) - kHeaderBytes, size_t{64} << 10, (size_t{64} << 10) + 1,
                             size_t{kMeasureBytesMax}, size_t{7}}) {
    expected.push_back(messages.size() + 1);
    messages.push_back(measure(messages.size() + 1, bytes));
  }
  caller.say(joined(messages));
  REQUIRE(bed.run([&] { return caller.received.size() >= expected.size() * kHeaderBytes; }));
  CHECK(caller.answers() == expected);
  // And when it has answered all, the next one.
  caller.say(measure(expected.size() + 1, 100));
  REQUIRE(bed.run([&] { return caller.received.size() == (expected.size() + 1) * kHeaderBytes; }));
  CHECK(caller.answers().back() == expected.size() + 1);
  CHECK(bed.router.calls == 0);
  bed.stop();
  CHECK(caller.ended);
}

TEST_CASE("measure_responder: the stream may be cut into pieces anywhere", "[repl]") {
  const std::vector<std::byte> stream = joined({measure(1, 70), measure(2, 0), measure(3, 130)});
  for (size_t cut = 1; cut < stream.size(); cut += 5) {
    MeasureBed bed(cut);
    Measurer& caller = bed.call();
    caller.say({stream.begin(), stream.begin() + static_cast<ptrdiff_t>(cut)});
    REQUIRE(bed.run([&] { return caller.sent; }));
    bed.world.run_for(10 * kMillisecond);
    caller.say({stream.begin() + static_cast<ptrdiff_t>(cut), stream.end()});
    REQUIRE(bed.run([&] { return caller.received.size() == 3 * kHeaderBytes; }));
    CHECK(caller.answers() == std::vector<uint64_t>{1, 2, 3});
    bed.stop();
  }
}

TEST_CASE("measure_responder: what is not the next whole message ends the call at once, and only that", "[repl]") {
  std::vector<std::byte> damaged = measure(2, 100);
  damaged.back() ^= std::byte{1};
  std::vector<std::byte> torn_header = measure(2, 100);
  torn_header[40] ^= std::byte{1};
  const std::vector<std::vector<std::byte>> bad{damaged,
                                                torn_header,
                                                measure(1, 100),
                                                measure(3, 100),
                                                measure(2, kMeasureBytesMax + 1),
                                                measure(2, 100, MessageType::kHello),
                                                measure(2, 0, MessageType::kMeasureAck),
                                                std::vector<std::byte>(200, std::byte{'G'})};
  for (const auto& bytes : bad) {
    MeasureBed bed(3);
    Measurer& good = bed.call();
    Measurer& caller = bed.call();
    caller.say(joined({measure(1, 100), bytes}));
    REQUIRE(bed.run([&] { return caller.ended; }));
    CHECK(bed.world.now() < 2 * kSecond);
    CHECK(caller.received.size() <= kHeaderBytes);  // a reset may take the answer to the good one with it
    good.say(measure(1, 100));
    REQUIRE(bed.run([&] { return good.received.size() == kHeaderBytes; }));
    bed.stop();
  }
  // The first message has the right number, too.
  MeasureBed bed(4);
  Measurer& late = bed.call();
  late.say(measure(2, 0));
  REQUIRE(bed.run([&] { return late.ended; }));
  CHECK(bed.world.now() < 2 * kSecond);
  bed.stop();
}

TEST_CASE("measure_responder: silence, and a call without end, end by the clock", "[repl]") {
  for (const size_t length : {size_t{kHeaderBytes}, size_t{kHeaderBytes} + 50, size_t{kHeaderBytes} + 100, size_t{kHeaderBytes} * 2}) {
    MeasureBed bed(5);
    Measurer& caller = bed.call();
    std::vector<std::byte> stream = joined({measure(1, 100), measure(2, 100)});
    stream.resize(length);
    caller.say(std::move(stream));
    bed.world.run_for(MeasureResponder::kMessageTime - kSecond);
    CHECK_FALSE(caller.ended);
    CHECK(bed.run([&] { return caller.ended; }, 2 * kSecond));
    bed.stop();
  }
  MeasureBed bed(6);
  Measurer& caller = bed.call();
  for (uint64_t sequence = 1; !caller.ended; ++sequence) {
    REQUIRE(bed.world.now() < MeasureResponder::kCallTime + 2 * kSecond);
    caller.say(measure(sequence, 10));
    bed.world.run_for(kSecond);
  }
  CHECK(bed.world.now() > MeasureResponder::kCallTime - 2 * kSecond);
  bed.stop();
}

TEST_CASE("measure_responder: a caller that takes no answers is not read from, and ends", "[repl]") {
  MeasureBed bed(7);
  Measurer& caller = bed.call(false);
  std::vector<std::vector<std::byte>> messages;
  for (uint64_t sequence = 1; sequence <= 60'000; ++sequence) messages.push_back(measure(sequence, 0));
  caller.say(joined(messages));
  CHECK(bed.run([&] { return caller.sent; }, 2 * MeasureResponder::kMessageTime));
  CHECK(caller.ended);  // not all of it was taken
  bed.stop();
}

TEST_CASE("measure_responder: one caller too many is cut off, and its place is free again when one has gone", "[repl]") {
  MeasureBed bed(8);
  const auto answered = [&](Measurer& caller) {
    caller.say(measure(1, 10));
    REQUIRE(bed.run([&] { return caller.ended || caller.received.size() == kHeaderBytes; }));
    return !caller.ended;
  };
  for (size_t i = 0; i < MeasureResponder::kCallersMax; ++i) CHECK(answered(bed.call()));
  CHECK_FALSE(answered(bed.call()));
  bed.client_io->shutdown(io::Socket{bed.callers[0]->fd});
  REQUIRE(bed.run([&] { return bed.callers[0]->ended; }));
  bed.world.run_for(100 * kMillisecond);
  CHECK(answered(bed.call()));
  bed.stop();
}

TEST_CASE("measure_responder: stopping ends callers and answers once, at any moment", "[repl]") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    MeasureBed bed(seed);
    for (int i = 0; i < 3; ++i) static_cast<void>(bed.call());
    bed.callers[0]->say(joined({measure(1, 100), measure(2, 200'000), measure(3, 10)}));
    bed.callers[1]->say({std::vector<std::byte>(40)});
    bed.world.run_for(static_cast<io::Nanos>(bed.world.random().below(2 * kMillisecond)));
    bed.stop();
    for (const auto& caller : bed.callers) CHECK(caller->ended);
  }
}

}  // namespace
}  // namespace ringbolt::repl

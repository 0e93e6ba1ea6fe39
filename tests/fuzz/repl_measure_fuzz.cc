// Fuzz target: a caller of the replication port that measures. The input is cut into messages (a type, a length, bytes) whose
// headers and checksums are made right, so that the bytes reach what is behind them; some inputs stay as they are. Whatever comes,
// each whole measure message is answered once, in order, none after one that is wrong, and nothing is left when the caller has gone.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "io/sim_io.h"
#include "log/log.h"
#include "repl/peer_acceptor.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::repl;

struct MeasureFuzzRouter final : CallRouter {
  explicit MeasureFuzzRouter(io::Io& on) : io(on) {}
  void route(PeerCall call) override { io.close_socket(call.socket); }
  io::Io& io;
};

/// `whole`: how many measure messages it begins with that are right; `right`: nothing else follows.
std::vector<std::byte> make_measure_stream(const uint8_t* data, size_t size, uint64_t& whole, bool& right) {
  std::vector<std::byte> stream;
  right = true;
  for (size_t at = 0; at + 3 <= size;) {
    const uint8_t kind = data[at];
    const size_t length = std::min<size_t>(data[at + 1] * 64u + data[at + 2], size - at - 3);
    const auto bytes = std::as_bytes(std::span(data + at + 3, length));
    at += 3 + length;
    if (kind % 8 == 0) {
      right = right && length == 0;
      stream.insert(stream.end(), bytes.begin(), bytes.end());
      continue;
    }
    MessageHeader header;
    header.type = kind % 8 == 1 ? static_cast<MessageType>(kind / 16) : MessageType::kMeasure;
    header.epoch = Epoch(1);
    header.session = SessionId(1);
    header.sequence = whole + (kind % 8 == 2 ? 2 : 1);
    header.payload_bytes = static_cast<uint32_t>(length);
    header.payload_crc = crc32c(bytes.data(), length) + (kind % 8 == 3 ? 1 : 0);
    right = right && header.type == MessageType::kMeasure && kind % 8 != 2 && kind % 8 != 3;
    if (right) ++whole;
    std::byte head[kHeaderBytes];
    encode_header(header, head);
    stream.insert(stream.end(), head, head + kHeaderBytes);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  return stream;
}

struct FuzzMeasurer {
  explicit FuzzMeasurer(io::SimIo& on) : io(on) {}
  void on_connected(int32_t result) {
    fd = result;
    if (fd >= 0) io.receive(io::Socket{fd}, answer.data(), static_cast<uint32_t>(answer.size()), true, receive);
  }
  void on_received(int32_t result) {
    if (result < static_cast<int32_t>(answer.size())) {
      ended = true;
      return;
    }
    const auto header = decode_header(answer);
    // Of a hello, which may come first, too, there is no answer here: it was routed.
    RINGBOLT_ASSERT(header.has_value() && header.value().type == MessageType::kMeasureAck && header.value().sequence == answers + 1);
    ++answers;
    io.receive(io::Socket{fd}, answer.data(), static_cast<uint32_t>(answer.size()), true, receive);
  }
  void on_sent(int32_t) {}
  io::SimIo& io;
  int32_t fd = -1;
  uint64_t answers = 0;
  bool ended = false;
  std::array<std::byte, kHeaderBytes> answer{};
  io::Op<&FuzzMeasurer::on_connected> connect{*this};
  io::Op<&FuzzMeasurer::on_received> receive{*this};
  io::Op<&FuzzMeasurer::on_sent> send{*this};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  log::set_level(log::Level::kError);
  uint64_t whole = 0;
  bool right = true;
  std::vector<std::byte> stream = make_measure_stream(data, size, whole, right);
  if (stream.empty()) return 0;
  io::SimWorld world({.seed = 1 + size});
  io::SimNode& server = world.add_node("s");
  io::SimNode& client = world.add_node("c");
  auto server_io = server.create_io();
  auto client_io = client.create_io();
  MeasureFuzzRouter router(*server_io);
  auto acceptor = std::make_unique<PeerAcceptor>(*server_io, router);
  RINGBOLT_ASSERT(acceptor->listen("s:1").has_value());
  FuzzMeasurer caller(*client_io);
  client_io->connect("s:1", caller.connect);
  RINGBOLT_ASSERT(world.run_until([&] { return caller.fd >= 0; }, io::kSecond));
  iovec iov{stream.data(), stream.size()};
  client_io->send(io::Socket{caller.fd}, {&iov, 1}, caller.send);
  world.run_for(io::kSecond);
  // The end of a call that went wrong may take answers with it that were on their way.
  RINGBOLT_ASSERT(right ? caller.answers == whole : caller.answers <= whole);
  world.run_for(2 * MeasureResponder::kMessageTime);
  RINGBOLT_ASSERT(caller.ended && !caller.send.pending());
  bool stopped = false;
  acceptor->stop([&stopped] { stopped = true; });
  RINGBOLT_ASSERT(world.run_until([&] { return stopped; }, io::kSecond));
  RINGBOLT_ASSERT(server_io->pending_operations() == 0);
  client_io->close_socket(io::Socket{caller.fd});
  acceptor.reset();
  return 0;
}

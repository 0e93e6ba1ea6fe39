// Fuzz target: the stream of a replication connection. The input is cut into messages (a type, a
// length, bytes) whose headers and checksums are made right, so that the bytes reach what is behind
// them; some inputs stay as they are. The receiving Link must not crash, must offer only whole
// frames, must end once, and must give all its memory back. Built twice: for a log connection, and (REPL_BULK) for
// the bulk connection of a rebuild, where chunks come instead of frames.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "io/sim_io.h"
#include "repl/link.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::repl;

#ifdef REPL_BULK
constexpr bool kBulk = true;
#else
constexpr bool kBulk = false;
#endif

struct Listener final : LinkListener {
  explicit Listener(io::BufferPool& memory) : pool(memory) {}
  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override {
    RINGBOLT_ASSERT(payload.size() == header.payload_bytes && payload.size() <= kControlBytesMax);
  }
  void on_positions(const MessageHeader&, const WalDataFields&) override { RINGBOLT_ASSERT(!kBulk); }
  bool on_frame(const MessageHeader&, const WalDataFields& fields, io::Buffer& frame) override {
    RINGBOLT_ASSERT(!kBulk);
    RINGBOLT_ASSERT(frame.bytes >= kBlockBytes + fields.data_bytes);
    const FrameHeader header(frame.data);
    if (header.check(Uuid{}, 1000) == nullptr &&
        header.payload_blocks() * kBlockBytes <= fields.data_bytes) {
      static_cast<void>(header.check_payload(frame.data + kBlockBytes));
    }
    pool.release(frame);
    frame = {};
    return true;
  }
  bool on_chunk(const MessageHeader& header, const SessionDataFields& chunk, io::Buffer& data) override {
    RINGBOLT_ASSERT(kBulk && header.payload_bytes == SessionDataFields::kBytes + chunk.data_bytes());
    RINGBOLT_ASSERT(chunk.chunk > 0 && chunk.blocks > 0 && static_cast<bool>(data) == !chunk.zeros);
    // Every third one is taken only when it is offered again.
    if (++offers % 3 == 0) return false;
    if (data) {
      RINGBOLT_ASSERT(data.bytes >= chunk.data_bytes());
      static_cast<void>(crc32c(data.data, chunk.data_bytes()));
      pool.release(data);
    }
    data = {};
    return true;
  }
  void on_send_ready(FrameGather&) override {}
  void on_sent() override {}
  void on_link_closed(const std::string&) override { ++closed; }
  io::BufferPool& pool;
  int closed = 0;
  uint32_t offers = 0;
};

std::vector<std::byte> make_stream(const uint8_t* data, size_t size) {
  std::vector<std::byte> stream;
  uint64_t sequence = 0;
  size_t at = 0;
  while (at + 3 <= size) {
    const uint8_t type = data[at];
    const size_t length = std::min<size_t>(data[at + 1] * 64u + data[at + 2], size - at - 3);
    at += 3;
    const auto bytes = std::as_bytes(std::span(data + at, length));
    at += length;
    if (type == 0) {
      stream.insert(stream.end(), bytes.begin(), bytes.end());
      continue;
    }
    MessageHeader header;
    header.type = static_cast<MessageType>(type % 16);
    // Some types are never of epoch 0 or outside a session.
    header.epoch = Epoch(1);
    header.session = SessionId(1);
    header.sequence = ++sequence;
    header.payload_bytes = static_cast<uint32_t>(length);
    size_t covered = length;
    if (header.type == MessageType::kWalData && length >= WalDataFields::kBytes) {
      uint32_t frame_header = 0;
      std::memcpy(&frame_header, bytes.data() + 32, sizeof frame_header);
      covered = std::min<size_t>(length, WalDataFields::kBytes + size_t{frame_header});
    }
    if (header.type == MessageType::kSessionData) covered = std::min<size_t>(length, SessionDataFields::kBytes);
    header.payload_crc = crc32c(bytes.data(), covered);
    std::byte head[kHeaderBytes];
    encode_header(header, head);
    stream.insert(stream.end(), head, head + kHeaderBytes);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  return stream;
}

struct Sender {
  void on_connected(int32_t result) { fd = result; }
  void on_accepted(int32_t result) { accepted = result; }
  void on_sent(int32_t) {}
  int32_t fd = -1, accepted = -1;
  io::Op<&Sender::on_connected> connect{*this};
  io::Op<&Sender::on_accepted> accept{*this};
  io::Op<&Sender::on_sent> send{*this};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> stream = make_stream(data, size);
  if (stream.empty()) return 0;
  io::SimWorld world({.seed = 1 + size});
  auto io = world.add_node("n").create_io();
  io::BufferPool pool(8u << 20);
  io->attach_pool(&pool);
  Sender sender;
  const auto listener = io->listen("n:1");
  RINGBOLT_ASSERT(listener.has_value());
  io->accept(listener.value(), sender.accept);
  io->connect("n:1", sender.connect);
  RINGBOLT_ASSERT(
      world.run_until([&] { return sender.fd >= 0 && sender.accepted >= 0; }, io::kSecond));
  Listener heard(pool);
  auto link = std::make_unique<Link>(*io, pool, io::Socket{sender.accepted}, heard);
  if (kBulk) link->take_chunks();
  link->start();
  iovec iov{stream.data(), stream.size()};
  io->send(io::Socket{sender.fd}, {&iov, 1}, sender.send);
  world.run_for(io::kSecond);
  for (int i = 0; i < 64; ++i) link->resume();
  world.run_for(io::kSecond);
  link->close("over");
  world.run_for(io::kSecond);
  RINGBOLT_ASSERT(heard.closed == 1);
  link.reset();
  RINGBOLT_ASSERT(pool.used_bytes() == 0);
  io->attach_pool(nullptr);
  return 0;
}

// One replication connection: the stream cut at every place, sequence, frames of all sizes,
// pausing, a full pool, and ends in every state.
#include "repl/link.h"

#include <catch2/catch.hpp>
#include <deque>

#include "io/sim_io.h"
#include "log/log.h"
#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using io::kMillisecond;
using io::kSecond;

namespace {

/// What the frame's payload begins with, per frame.
struct OwnFrame {
  std::vector<std::byte> bytes;  // header block, payload
  uint32_t header_bytes = 0;
  [[nodiscard]] uint32_t data_bytes() const {
    return static_cast<uint32_t>(bytes.size() - kBlockBytes);
  }
};

OwnFrame make_frame(Lsn first, uint32_t blocks) {
  OwnFrame frame;
  frame.bytes.resize((1 + blocks) * size_t{kBlockBytes});
  FrameHeader header(frame.bytes.data());
  header.begin(Uuid{}, Term{Epoch(1), Incarnation(1)}, first);
  std::vector<uint32_t> crcs;
  for (size_t i = kBlockBytes; i < frame.bytes.size(); ++i) {
    frame.bytes[i] = static_cast<std::byte>(i * 7 + first.value());
  }
  for (uint32_t i = 0; i < blocks; ++i) {
    crcs.push_back(crc32c(frame.bytes.data() + (1 + i) * size_t{kBlockBytes}, kBlockBytes));
  }
  header.add_record(blocks == 0 ? RecordKind::kTrim : RecordKind::kWrite, Lba(0),
                    std::max(blocks, 1u));
  header.place_block_crcs(crcs);
  header.seal(0, Lsn{});
  frame.header_bytes = header.used_bytes();
  return frame;
}

struct End final : LinkListener {
  End(io::SimWorld& world, io::SimNode& node, uint64_t pool_bytes)
      : io(node.create_io()), pool(pool_bytes) {
    static_cast<void>(world);
    io->attach_pool(&pool);
  }
  ~End() override {
    link.reset();
    for (const io::Buffer& buffer : taken) pool.release(buffer);
    for (const io::Buffer& buffer : hog) pool.release(buffer);
    CHECK(pool.used_bytes() == 0);
    io->attach_pool(nullptr);
  }
  void open(int32_t fd) { link = std::make_unique<Link>(*io, pool, io::Socket{fd}, *this); }

  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override {
    messages.emplace_back(header, std::vector<std::byte>(payload.begin(), payload.end()));
    if (close_on_message) link->close("told to");
  }
  void on_positions(const MessageHeader&, const WalDataFields& fields) override {
    positions.push_back(fields);
  }
  bool on_frame(const MessageHeader&, const WalDataFields& fields, io::Buffer& frame) override {
    ++offers;
    if (paused) return false;
    REQUIRE(fields.data_bytes + kBlockBytes <= frame.bytes);
    const FrameHeader header(frame.data);
    frames_ok = frames_ok && header.check(Uuid{}, 1000) == nullptr &&
                !header.check_payload(frame.data + kBlockBytes);
    firsts.push_back(header.first_lsn());
    taken.push_back(frame);
    frame = {};
    if (!keep) {
      pool.release(taken.back());
      taken.pop_back();
    }
    return true;
  }
  void on_send_ready(FrameGather& gather) override {
    while (gather.has_room() && next_frame < frames.size()) {
      WalDataFields f;
      f.head = Lsn(next_frame + 1);
      f.frame_header_bytes = frames[next_frame].header_bytes;
      f.data_bytes = frames[next_frame].data_bytes();
      gather.add(f, frames[next_frame].bytes.data(), frames[next_frame].bytes.data() + kBlockBytes);
      ++next_frame;
      ++unsent;
    }
  }
  void on_sent() override {
    ++sends;
    unsent = 0;
  }
  void on_link_closed(const std::string& reason) override {
    ++closed;
    close_reason = reason;
  }

  std::unique_ptr<io::SimIo> io;
  io::BufferPool pool;
  std::unique_ptr<Link> link;
  std::deque<std::pair<MessageHeader, std::vector<std::byte>>> messages;
  std::vector<WalDataFields> positions;
  std::vector<OwnFrame> frames;
  size_t next_frame = 0;
  int unsent = 0, sends = 0, closed = 0, offers = 0;
  std::vector<Lsn> firsts;
  std::vector<io::Buffer> taken, hog;
  bool keep = false, paused = false, frames_ok = true, close_on_message = false;
  std::string close_reason;
};

/// Two ends on two nodes.
struct Pair {
  explicit Pair(uint64_t seed, uint64_t pool_bytes = 8u << 20)
      : world({.seed = seed}),
        node_a(world.add_node("a")),
        node_b(world.add_node("b")),
        a(std::make_unique<End>(world, node_a, pool_bytes)),
        b(std::make_unique<End>(world, node_b, pool_bytes)) {
    const io::Socket listener = b->io->listen("b:1").value();
    b->io->accept(listener, accept);
    a->io->connect("b:1", connect);
    REQUIRE(world.run_until([&] { return accepted >= 0 && connected >= 0; }, kSecond));
  }
  void open() {
    a->open(connected);
    b->open(accepted);
    a->link->start();
    b->link->start();
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 20 * kSecond); }
  void on_accepted(int32_t result) { accepted = result; }
  void on_connected(int32_t result) { connected = result; }

  io::SimWorld world;
  io::SimNode& node_a;
  io::SimNode& node_b;
  std::unique_ptr<End> a, b;
  int32_t accepted = -1, connected = -1;
  io::Op<&Pair::on_accepted> accept{*this};
  io::Op<&Pair::on_connected> connect{*this};
};

/// Sends raw bytes from `a`'s socket in given pieces.
struct RawSender {
  RawSender(io::SimIo& on, int32_t fd) : io(on), socket{fd} {}
  void send(const std::vector<std::byte>& bytes) {
    data = bytes;
    iov = iovec{data.data(), data.size()};
    io.send(socket, {&iov, 1}, op);
  }
  void on_sent(int32_t) { done = true; }
  io::SimIo& io;
  io::Socket socket;
  std::vector<std::byte> data;
  iovec iov{};
  bool done = false;
  io::Op<&RawSender::on_sent> op{*this};
};

/// A stream with a control message, positions, a frame, and a control message.
std::vector<std::byte> sample_stream() {
  std::vector<std::byte> stream;
  uint64_t sequence = 0;
  const auto message = [&](MessageType type, const std::vector<std::byte>& payload,
                           size_t covered) {
    MessageHeader header;
    header.type = type;
    header.sequence = ++sequence;
    header.payload_bytes = static_cast<uint32_t>(payload.size());
    header.payload_crc = crc32c(payload.data(), covered);
    const size_t at = stream.size();
    stream.resize(at + kHeaderBytes);
    encode_header(header, stream.data() + at);
    stream.insert(stream.end(), payload.begin(), payload.end());
  };
  std::vector<std::byte> ack;
  encode(WalAck{Lsn(3), Lsn(2), Lsn(1)}, ack);
  message(MessageType::kWalAck, ack, ack.size());
  std::vector<std::byte> positions(WalDataFields::kBytes);
  encode_fields(WalDataFields{}, positions.data());
  message(MessageType::kWalData, positions, positions.size());
  const OwnFrame frame = make_frame(Lsn(1), 1);
  WalDataFields f;
  f.frame_header_bytes = frame.header_bytes;
  f.data_bytes = kBlockBytes;
  encode_fields(f, positions.data());
  const size_t covered = WalDataFields::kBytes + frame.header_bytes;
  positions.insert(positions.end(), frame.bytes.begin(), frame.bytes.begin() + frame.header_bytes);
  positions.insert(positions.end(), frame.bytes.begin() + kBlockBytes, frame.bytes.end());
  message(MessageType::kWalData, positions, covered);
  message(MessageType::kWalAck, ack, ack.size());
  return stream;
}

}  // namespace

TEST_CASE("link: messages, positions and frames of all sizes arrive whole and in order", "[repl]") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Pair p(seed);
    p.open();
    for (uint64_t i = 0; i < 60; ++i) {
      const uint32_t blocks = i % 7 == 0 ? 127 : static_cast<uint32_t>(i % 5);
      p.a->frames.push_back(make_frame(Lsn(i + 1), blocks));
    }
    p.a->link->request_send();
    for (uint64_t i = 0; i < 30; ++i) {
      p.a->link->send(MessageType::kWalAck, WalAck{Lsn(i + 9), Lsn(i), Lsn{}});
      p.a->link->send_positions({});
      p.b->link->send(MessageType::kWalAck, WalAck{Lsn(i + 9), Lsn(i), Lsn{}});
    }
    REQUIRE(p.run([&] {
      return p.b->firsts.size() == 60 && p.b->messages.size() == 30 && p.a->messages.size() == 30;
    }));
    CHECK(p.b->frames_ok);
    CHECK(p.b->positions.size() == 30);
    for (uint64_t i = 0; i < 60; ++i) CHECK(p.b->firsts[i] == Lsn(i + 1));
    for (uint64_t i = 0; i < 30; ++i) {
      CHECK(decode_wal_ack(p.b->messages[i].second).value().durable == Lsn(i));
    }
    REQUIRE(p.run([&] { return p.a->unsent == 0; }));
    p.a->link->close("over");
    REQUIRE(p.run([&] { return p.a->closed == 1 && p.b->closed == 1; }));
    CHECK(p.b->close_reason == "the peer closed the connection");
  }
}

TEST_CASE("link: the stream may be cut into pieces anywhere", "[repl]") {
  const std::vector<std::byte> stream = sample_stream();
  io::SimRandom random(1);
  std::vector<size_t> cuts;
  for (size_t cut = 1; cut < 700; ++cut) cuts.push_back(cut);
  for (int i = 0; i < 40; ++i) cuts.push_back(1 + random.below(stream.size() - 1));
  Pair p(3);
  for (const size_t cut : cuts) {
    // A fresh connection per cut would be slow: the sequence starts over with a fresh link.
    Pair q(cut);
    q.b->open(q.accepted);
    q.b->link->start();
    RawSender sender(*q.a->io, q.connected);
    sender.send({stream.begin(), stream.begin() + static_cast<ptrdiff_t>(cut)});
    REQUIRE(q.run([&] { return sender.done; }));
    q.world.run_for(2 * kMillisecond);
    sender.done = false;
    sender.send({stream.begin() + static_cast<ptrdiff_t>(cut), stream.end()});
    REQUIRE(q.run([&] { return q.b->messages.size() == 2; }));
    CHECK(q.b->positions.size() == 1);
    CHECK(q.b->firsts.size() == 1);
    CHECK(q.b->frames_ok);
    q.b->link->close("");
    REQUIRE(q.run([&] { return q.b->closed == 1; }));
  }
}

TEST_CASE("link: any damaged byte before the frame's data ends the connection, once", "[repl]") {
  const std::vector<std::byte> stream = sample_stream();
  for (size_t at = 0; at < stream.size(); at += at < 500 ? 3 : 211) {
    Pair p(at);
    p.b->open(p.accepted);
    p.b->link->start();
    std::vector<std::byte> damaged = stream;
    damaged[at] ^= std::byte{0x10};
    RawSender sender(*p.a->io, p.connected);
    sender.send(damaged);
    REQUIRE(p.run([&] { return p.b->closed == 1 || p.b->messages.size() == 2; }));
    // The data is covered by the block CRCs that the listener checks.
    if (p.b->closed == 0) CHECK_FALSE(p.b->frames_ok);
    p.b->link->close("");
    REQUIRE(p.run([&] { return p.b->closed == 1; }));
    if (sender.op.pending()) REQUIRE(p.run([&] { return sender.done; }));
  }
}

TEST_CASE("link: a repeated, skipped or oversized message ends the connection", "[repl]") {
  const std::vector<std::byte> stream = sample_stream();
  std::vector<std::byte> payload;
  encode(WalAck{Lsn(3), Lsn(2), Lsn(1)}, payload);
  const size_t first = kHeaderBytes + payload.size();
  std::vector<std::byte> bad;
  SECTION("repeated") {
    bad.insert(bad.end(), stream.begin(), stream.begin() + static_cast<ptrdiff_t>(first));
    bad.insert(bad.end(), stream.begin(), stream.end());
  }
  SECTION("skipped") { bad.assign(stream.begin() + static_cast<ptrdiff_t>(first), stream.end()); }
  Pair p(5);
  p.b->open(p.accepted);
  p.b->link->start();
  RawSender sender(*p.a->io, p.connected);
  sender.send(bad);
  REQUIRE(p.run([&] { return p.b->closed == 1 && sender.done; }));
  CHECK(p.b->close_reason.find("was due") != std::string::npos);
  CHECK(p.b->messages.size() <= 1);
}

TEST_CASE("link: session_data, longer than what is staged, ends the log connection", "[repl]") {
  Pair p(6);
  p.b->open(p.accepted);
  p.b->link->start();
  MessageHeader header;
  header.type = MessageType::kSessionData;
  header.epoch = Epoch(1);
  header.session = SessionId(1);
  header.sequence = 1;
  header.payload_bytes = SessionDataFields::kBytes + kFramePayloadBytesMax;
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_header(header, bytes.data());
  bytes.resize(kHeaderBytes + header.payload_bytes);
  RawSender sender(*p.a->io, p.connected);
  sender.send(bytes);
  REQUIRE(p.run([&] { return p.b->closed == 1 && sender.done; }));
  CHECK(p.b->close_reason == "session_data on the log connection");
  CHECK(p.b->messages.empty());
}

TEST_CASE("link: measure, longer than what is staged, ends a replication connection", "[repl]") {
  Pair p(8);
  p.b->open(p.accepted);
  p.b->link->start();
  MessageHeader header;
  header.type = MessageType::kMeasure;
  header.sequence = 1;
  header.payload_bytes = kMeasureBytesMax;
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_header(header, bytes.data());
  bytes.resize(kHeaderBytes + header.payload_bytes);
  RawSender sender(*p.a->io, p.connected);
  sender.send(bytes);
  REQUIRE(p.run([&] { return p.b->closed == 1 && sender.done; }));
  CHECK(p.b->close_reason == "measure within a replication connection");
  CHECK(p.b->messages.empty());
}

TEST_CASE("link: a listener that pauses gets the same frame again and nothing overtakes it",
          "[repl]") {
  Pair p(6);
  p.open();
  p.b->paused = true;
  for (uint64_t i = 0; i < 20; ++i) p.a->frames.push_back(make_frame(Lsn(i + 1), 4));
  p.a->link->request_send();
  p.a->link->send_positions({});
  REQUIRE(p.run([&] { return p.b->offers > 0; }));
  p.world.run_for(50 * kMillisecond);
  CHECK(p.b->firsts.empty());
  CHECK(p.b->offers == 1);
  CHECK(p.b->pool.used_bytes() <= 64u << 10);
  p.b->link->resume();  // still not
  CHECK(p.b->offers == 2);
  p.b->paused = false;
  p.b->link->resume();
  REQUIRE(p.run([&] { return p.b->firsts.size() == 20; }));
  CHECK(p.b->frames_ok);
  p.a->link->close("");
  REQUIRE(p.run([&] { return p.a->closed == 1 && p.b->closed == 1; }));
}

TEST_CASE("link: a full pool holds the stream up until memory comes back", "[repl]") {
  Pair p(7);
  p.open();
  while (const io::Buffer buffer = p.b->pool.allocate(kFrameBytesMax)) p.b->hog.push_back(buffer);
  for (uint64_t i = 0; i < 6; ++i) p.a->frames.push_back(make_frame(Lsn(i + 1), 100));
  p.a->link->request_send();
  p.world.run_for(100 * kMillisecond);
  CHECK(p.b->firsts.empty());
  SECTION("goes on") {
    p.b->pool.release(p.b->hog.back());
    p.b->hog.pop_back();
    REQUIRE(p.run([&] { return p.b->firsts.size() == 6; }));
    CHECK(p.b->frames_ok);
  }
  SECTION("is closed meanwhile") {
    p.b->link->close("enough");
    REQUIRE(p.run([&] { return p.b->closed == 1; }));
    p.b->pool.release(p.b->hog.back());
    p.b->hog.pop_back();
    p.world.run_for(10 * kMillisecond);
    CHECK(p.b->firsts.empty());
  }
  p.a->link->close("");
  REQUIRE(p.run([&] { return p.a->closed == 1 && p.b->closed == 1; }));
}

TEST_CASE("link: closing at any moment ends both ends once and leaks nothing", "[repl]") {
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    Pair p(seed);
    p.open();
    for (uint64_t i = 0; i < 30; ++i) p.a->frames.push_back(make_frame(Lsn(i + 1), 60));
    p.b->keep = false;
    p.b->close_on_message = seed % 5 == 0;
    p.a->link->request_send();
    for (int i = 0; i < 5; ++i) p.b->link->send(MessageType::kWalAck, WalAck{});
    p.world.run_for(static_cast<io::Nanos>(p.world.random().below(4 * kMillisecond)));
    switch (seed % 4) {
      case 0:
        p.a->link->close("a ends");
        break;
      case 1:
        p.b->link->close("b ends");
        break;
      case 2:
        p.world.net().cut("b:1", p.world.random().below(200000));
        break;
      case 3:
        p.a->link->send(MessageType::kReject, Reject{Reason::kCancelled, Epoch(1), "bye"});
        p.a->link->close_after_sending("a ends");
        break;
    }
    REQUIRE(p.run([&] { return p.a->closed == 1 && p.b->closed == 1; }));
    CHECK(p.a->unsent == 0);
    if (seed % 4 == 3 && !p.b->messages.empty()) {
      CHECK(p.b->messages.back().first.type == MessageType::kReject);
    }
    p.world.run_for(kSecond);
    CHECK(p.a->closed == 1);
    CHECK(p.b->closed == 1);
  }
}

TEST_CASE("link: a peer that takes no control messages is given up", "[repl]") {
  Pair p(9);
  p.open();
  p.world.net().partition("a", "b");
  for (int i = 0; i < 20000 && p.a->closed == 0; ++i) {
    p.a->link->send(MessageType::kWalAck, WalAck{});
    if (i % 100 == 0) p.world.run_for(kMillisecond);
  }
  p.world.run_for(kSecond);
  CHECK(p.a->link->closing());
  CHECK(p.a->close_reason ==
        (p.a->closed == 1 ? "the peer does not take its control messages" : ""));
  p.world.net().heal_all();
  REQUIRE(p.run([&] { return p.a->closed == 1 && p.b->closed == 1; }));
}

// Chunks of a base image on a link: whole or not at all, in place, with room or later, and only on a bulk connection.
#include <catch2/catch.hpp>
#include <deque>

#include "io/sim_io.h"
#include "repl/link.h"
#include "ringbolt/crc32c.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using io::kSecond;

namespace {

struct OwnChunk {
  SessionDataFields fields;
  std::vector<std::byte> data;
};

OwnChunk make_chunk(uint64_t number, uint32_t blocks, bool zeros = false) {
  OwnChunk chunk;
  chunk.fields.chunk = number;
  chunk.fields.first = Lba(number * 100);
  chunk.fields.blocks = blocks;
  chunk.fields.read = Lsn(number + 7);
  chunk.fields.zeros = zeros;
  if (zeros) return chunk;
  chunk.data.resize(size_t{blocks} * kBlockBytes);
  for (size_t i = 0; i < chunk.data.size(); ++i) chunk.data[i] = static_cast<std::byte>(i * 13 + number);
  chunk.fields.data_crc = crc32c(chunk.data.data(), chunk.data.size());
  return chunk;
}

/// Named apart from link_test.cc's: g++ merges io::Op of equally named classes, anonymous namespaces or not.
struct BulkEnd final : LinkListener {
  BulkEnd(io::SimNode& node, uint64_t pool_bytes) : io(node.create_io()), pool(pool_bytes) { io->attach_pool(&pool); }
  ~BulkEnd() override {
    link.reset();
    CHECK(pool.used_bytes() == 0);
    io->attach_pool(nullptr);
  }
  void open(int32_t fd) {
    LinkListener& listener = *this;
    link = std::make_unique<Link>(*io, pool, io::Socket{fd}, listener);
  }
  void on_message(const MessageHeader&, std::span<const std::byte>) override { ++messages; }
  void on_positions(const MessageHeader&, const WalDataFields&) override { ++positions; }
  bool on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) override {
    FAIL("a frame");
    return false;
  }
  bool on_chunk(const MessageHeader& header, const SessionDataFields& fields, io::Buffer& data) override {
    ++offers;
    CHECK(header.type == MessageType::kSessionData);
    CHECK(header.session == SessionId(5));
    CHECK(static_cast<bool>(data) == !fields.zeros);
    if (paused) return false;
    got.push_back({fields, {}});
    if (!fields.zeros) {
      CHECK(data.bytes >= fields.data_bytes());
      got.back().data.assign(data.data, data.data + fields.data_bytes());
      pool.release(data);
    }
    data = {};
    return true;
  }
  void on_send_ready(FrameGather& gather) override {
    while (gather.has_room() && next < chunks.size()) {
      const OwnChunk& chunk = chunks[next++];
      gather.add_chunk(chunk.fields, chunk.fields.zeros ? nullptr : chunk.data.data());
      ++unsent;
    }
  }
  void on_sent() override { unsent = 0; }
  void on_link_closed(const std::string& reason) override {
    ++closed;
    close_reason = reason;
  }

  std::unique_ptr<io::SimIo> io;
  io::BufferPool pool;
  std::unique_ptr<Link> link;
  std::vector<OwnChunk> chunks;
  std::deque<OwnChunk> got;
  size_t next = 0, unsent = 0;
  int offers = 0, messages = 0, positions = 0, closed = 0;
  bool paused = false;
  std::string close_reason;
};

/// `a` sends, `b` receives.
struct BulkPair {
  explicit BulkPair(uint64_t seed, uint64_t pool_bytes = 8u << 20) : world({.seed = seed}), a(world.add_node("a"), 8u << 20), b(world.add_node("b"), pool_bytes) {
    const auto listener = b.io->listen("b:1");
    b.io->accept(listener.value(), accept);
    a.io->connect("b:1", connect);
    REQUIRE(run([&] { return accepted >= 0 && connected >= 0; }));
    a.open(connected);
    b.open(accepted);
    a.link->set_identity(Uuid{}, Epoch(1));
    a.link->set_session(SessionId(5));
  }
  ~BulkPair() {
    a.link->close("over");
    b.link->close("over");
    static_cast<void>(run([&] { return a.closed > 0 && b.closed > 0; }));
    CHECK(a.closed == 1);
    CHECK(b.closed == 1);
  }
  void start(bool bulk = true) {
    if (bulk) b.link->take_chunks();
    a.link->start();
    b.link->start();
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 10 * kSecond); }
  void on_accepted(int32_t fd) { accepted = fd; }
  void on_connected(int32_t fd) { connected = fd; }

  io::SimWorld world;
  BulkEnd a, b;
  int32_t accepted = -1, connected = -1;
  io::Op<&BulkPair::on_accepted> accept{*this};
  io::Op<&BulkPair::on_connected> connect{*this};
};

void expect_all(BulkPair& p) {
  p.a.link->request_send();
  REQUIRE(p.run([&] { return p.b.got.size() == p.a.chunks.size(); }));
  for (size_t i = 0; i < p.a.chunks.size(); ++i) {
    CHECK(p.b.got[i].fields == p.a.chunks[i].fields);
    CHECK(p.b.got[i].data == p.a.chunks[i].data);
  }
}

}  // namespace

TEST_CASE("bulk_link: chunks of all sizes arrive whole and in order", "[repl][rebuild]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{9}));
  BulkPair p(seed);
  p.start();
  for (uint64_t i = 1; i <= 40; ++i) p.a.chunks.push_back(make_chunk(i, static_cast<uint32_t>(1 + (i * 37 * seed) % 64), i % 5 == 0));
  p.a.chunks.push_back(make_chunk(41, kZeroChunkBlocksMax, true));
  expect_all(p);
}

TEST_CASE("bulk_link: a listener that pauses gets the same chunk again, zeros, too", "[repl][rebuild]") {
  const bool zeros = GENERATE(false, true);
  BulkPair p(3);
  p.start();
  p.b.paused = true;
  for (uint64_t i = 1; i <= 6; ++i) p.a.chunks.push_back(make_chunk(i, 8, zeros));
  p.a.link->request_send();
  REQUIRE(p.run([&] { return p.b.offers == 1; }));
  p.world.run_for(kSecond);
  CHECK(p.b.offers == 1);
  p.b.link->resume();
  CHECK(p.b.offers == 2);
  p.b.paused = false;
  p.b.link->resume();
  expect_all(p);
}

TEST_CASE("bulk_link: waits for memory, and goes on when there is some", "[repl][rebuild]") {
  BulkPair p(4);
  p.start();
  std::vector<io::Buffer> hog;
  for (uint32_t bytes = kFrameBytesMax; bytes >= kBlockBytes; bytes /= 2) {
    while (const io::Buffer buffer = p.b.pool.allocate(bytes)) hog.push_back(buffer);
  }
  p.a.chunks = {make_chunk(1, 64), make_chunk(2, 4)};
  p.a.link->request_send();
  p.world.run_for(kSecond);
  CHECK(p.b.offers == 0);
  for (const io::Buffer& buffer : hog) p.b.pool.release(buffer);
  expect_all(p);
}

TEST_CASE("bulk_link: chunks are for bulk connections only, and records for the others", "[repl][rebuild]") {
  BulkPair p(5);
  std::string reason;
  SECTION("a chunk on a log connection") {
    p.start(false);
    p.a.chunks = {make_chunk(1, 4)};
    p.a.link->request_send();
    reason = "session_data on the log connection";
  }
  SECTION("zeros on a log connection") {
    p.start(false);
    p.a.chunks = {make_chunk(1, 4, true)};
    p.a.link->request_send();
    reason = "session_data on the log connection";
  }
  SECTION("positions on a bulk connection") {
    p.start(true);
    p.a.link->send_positions({});
    reason = "wal_data on the bulk connection";
  }
  REQUIRE(p.run([&] { return p.b.closed == 1; }));
  CHECK(p.b.close_reason == reason);
  CHECK(p.b.offers == 0);
  CHECK(p.b.positions == 0);
}

TEST_CASE("bulk_link: an end in the middle of a chunk offers nothing of it", "[repl][rebuild]") {
  const uint64_t bytes = GENERATE(1, 63, 64, 80, 100, 4000, 70'000, 200'000);
  INFO("bytes " << bytes);
  BulkPair p(6);
  p.start();
  p.world.net().cut("b:1", bytes);
  p.a.chunks = {make_chunk(1, 64)};
  p.a.link->request_send();
  REQUIRE(p.run([&] { return p.b.closed == 1; }));
  CHECK(p.b.offers == 0);
  CHECK(p.b.got.empty());
  REQUIRE(p.run([&] { return p.a.closed == 1; }));
  CHECK(p.a.unsent == 0);  // told that its memory is free
}

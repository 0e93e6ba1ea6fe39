// Clients that misbehave, and ends of every kind: nobody else is harmed, nothing leaks.
#include <catch2/catch.hpp>
#include <string>
#include <tuple>

#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {
namespace {

using Answer = FakeService::Answer;
using Payload = FakeService::Payload;
using namespace nbd;

/// Reads, writes and reads back: is this client served?
bool served(NbdClient& client, uint64_t offset = 7u << 20) {
  const std::string data = pattern(9000, offset);
  return client.do_write(offset, data) == kErrorNone && client.do_read(offset, 9000).data == data &&
         client.do_plain(kCommandFlush, 0, 0).error == kErrorNone;
}

struct Crowd {
  Crowd(Fixture& fixture, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<NbdClient>(fixture.world, *fixture.client_io));
      clients.back()->attach();
    }
  }
  std::vector<std::unique_ptr<NbdClient>> clients;
};

TEST_CASE("nbd: a disconnect at any byte with requests in flight leaves nothing behind", "[nbd]") {
  const auto answer = GENERATE(Answer::kLater, Answer::kHeld);
  const bool reset = GENERATE(false, true);
  const std::string large = pattern(20000, 1);
  const std::string talk = request(kCommandRead, 1, 0, 700000) +
                           request(kCommandWrite, 2, 5, 100, 0, std::string(100, 'a')) +
                           request(kCommandFlush, 3, 0, 0) +
                           request(kCommandWrite, 4, 8192, 20000, 0, large) +
                           request(kCommandWrite, 5, UINT64_MAX, 64, 0, std::string(64, 'b')) +
                           request(kCommandTrim, 6, 0, 4096) + request(kCommandRead, 7, 1, 1);
  const size_t large_begin = talk.find(large);
  for (size_t cut = 0; cut <= talk.size(); ++cut) {
    // Within the large payload every 997th byte will do.
    if (cut > large_begin + 30 && cut + 30 < large_begin + large.size() && cut % 997 != 0) continue;
    Fixture fixture(sized(1u << 20, 8u << 20), cut);
    fixture.server.service.answer = answer;
    fixture.server.service.payload =
        cut / 2 % 2 == 0 ? Payload::kNeedUntilDone : Payload::kKeepBuffer;
    NbdClient client(fixture.world, *fixture.client_io);
    client.attach(cut % 2 == 0);
    client.send(std::string_view(talk).substr(0, cut));
    fixture.world.run_for(static_cast<io::Nanos>(cut % 7) * 100 * io::kMicrosecond);
    if (reset) fixture.world.net().cut("server:10809");
    client.hang_up();
    fixture.world.run_for(io::kMillisecond);
    fixture.server.service.release_held(cut % 3 == 0);
    const bool gone =
        fixture.world.run_until([&] { return fixture.server.set.count() == 0; }, io::kSecond);
    if (!gone) FAIL("still there after a cut at byte " << cut);
    fixture.finish();
  }
  SUCCEED();
}

TEST_CASE("nbd: a payload that never completes is not written", "[nbd]") {
  const size_t bytes = GENERATE(1, 100, 4096, 16383, 40000, 65535);
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  std::string cut = request(kCommandWrite, 5, 65536, 65536, 0, std::string(bytes, '3'));
  client.send(cut);
  fixture.world.run_for(10 * io::kMillisecond);
  client.hang_up();
  fixture.world.run_for(io::kSecond);
  CHECK(fixture.server.service.seen.empty());
  fixture.finish();
}

TEST_CASE("nbd: a bad magic closes the connection and is logged once", "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(std::string(1000, 'x'));
  CHECK(client.wait_closed(io::kSecond));
  REQUIRE(fixture.server.lines.size() == 1);
  CHECK_THAT(fixture.server.lines[0], Catch::Contains("of vol0 at client:") && Catch::Contains("bad magic"));
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: clients cannot flood the log", "[nbd]") {
  Fixture fixture;
  for (int i = 0; i < 200; ++i) {
    NbdClient client(fixture.world, *fixture.client_io);
    client.attach();
    client.send(std::string(100, 'x'));
    REQUIRE(client.wait_closed(io::kSecond));
  }
  const auto seconds = static_cast<size_t>(fixture.world.now() / io::kSecond);
  CHECK(fixture.server.lines.size() <= LimitedClientLog::kBurstLines + seconds);
  CHECK(fixture.server.lines.size() >= LimitedClientLog::kBurstLines);
  // What was left out is counted in the next line.
  fixture.world.run_for(2 * io::kSecond);
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(std::string(100, 'x'));
  REQUIRE(client.wait_closed(io::kSecond));
  CHECK(fixture.server.lines.size() + fixture.server.lines_left_out == 201);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: clients that queue reads, read nothing and reset harm nobody", "[nbd]") {
  Fixture fixture(sized(8u << 20, 32u << 20));
  NbdClient canary(fixture.world, *fixture.client_io);
  canary.attach();
  Crowd crowd(fixture, 4);
  for (auto& client : crowd.clients) {
    client->reading = false;
    for (uint64_t i = 0; i < 300; ++i) client->send(request(kCommandRead, i, 0, 1u << 20));
  }
  fixture.world.run_for(10 * io::kMillisecond);
  const uint64_t bound = 4 * (Connection::kReadPinnedBytesMax + kFrameBytesMax);
  CHECK(fixture.server.pool.used_bytes() <= bound);
  CHECK(fixture.server.pool.used_bytes() > 0);
  for (int i = 0; i < 20; ++i) CHECK(served(canary));
  CHECK(fixture.server.set.count() == 5);
  fixture.world.net().cut("server:10809");
  for (auto& client : crowd.clients) client->hang_up();
  canary.hang_up();
  CHECK(fixture.world.run_until([&] { return fixture.server.set.count() == 0; }, io::kSecond));
  fixture.finish();
}

TEST_CASE("nbd: half a request, then silence: closed after the stall timeout, not before",
          "[nbd]") {
  const std::string half =
      GENERATE(request(kCommandRead, 1, 0, 4096).substr(0, 14),
               request(kCommandWrite, 1, 0, 4096, 0, std::string(1000, 'x')),
               request(kCommandWrite, 1, 0, 65536, 0, std::string(1000, 'x')),
               request(kCommandWrite, 1, 0, 65536, 0, std::string(65535, 'x')),
               request(kCommandWrite, 1, UINT64_MAX, 65536, 0, std::string(1000, 'x')));
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(request(kCommandFlush, 0, 0, 0) + half);
  fixture.world.run_for(29 * io::kSecond);
  CHECK_FALSE(client.closed);
  fixture.world.run_for(2 * io::kSecond);
  CHECK(client.closed);
  CHECK(fixture.server.set.count() == 0);
  REQUIRE(fixture.server.lines.size() == 1);
  CHECK_THAT(fixture.server.lines[0], Catch::Contains("does not send the rest"));
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: time in which the server did not run is not held against a client", "[nbd]") {
  Fixture fixture;
  NbdClient writer(fixture.world, *fixture.client_io), reader(fixture.world, *fixture.client_io);
  writer.attach();
  reader.attach();
  // One is within a request, the other has a reply to take, when the server is stopped.
  const std::string data = pattern(1u << 20, 1);
  const std::string whole = request(kCommandWrite, 1, 0, 1u << 20, 0, data);
  writer.send(std::string_view(whole).substr(0, 100'000));
  reader.reading = false;
  reader.read(1, 0, 8u << 20);
  fixture.world.run_for(io::kSecond);
  fixture.server.node.pause();
  fixture.world.run_for(100 * io::kSecond);
  fixture.server.node.resume();
  // Nobody had a reason to go on meanwhile, and what did go on might not be seen before the sweep.
  fixture.world.run_for(5 * io::kSecond);
  writer.send(std::string_view(whole).substr(100'000));
  reader.read_on();
  CHECK(writer.wait(1).error == kErrorNone);
  CHECK(reader.wait(1).error == kErrorNone);
  CHECK(fixture.server.lines.empty());
  // The patience begins anew: who says nothing afterwards is closed as ever.
  writer.send(std::string_view(whole).substr(0, 100'000));
  fixture.world.run_for(29 * io::kSecond);
  CHECK_FALSE(writer.closed);
  fixture.world.run_for(2 * io::kSecond);
  CHECK(writer.closed);
  writer.hang_up();
  reader.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a byte now and then does not make half a request last longer", "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(request(kCommandWrite, 1, 0, 4096));
  for (int i = 0; i < 32 && !client.closed; ++i) {
    client.send("x");
    fixture.world.run_for(io::kSecond);
  }
  CHECK(client.closed);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a client that does not read its replies is closed after the stall timeout",
          "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.reading = false;
  client.send(request(kCommandRead, 1, 0, 8u << 20));
  fixture.world.run_for(29 * io::kSecond);
  CHECK(fixture.server.set.count() == 1);
  fixture.world.run_for(2 * io::kSecond);
  CHECK(fixture.server.set.count() == 0);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a thousand idle clients are kept, and no timer runs for them", "[nbd]") {
  Fixture fixture(sized(8u << 20, 16u << 20));
  Crowd crowd(fixture, 1000);
  // The world has events of its own for this long, e.g. for connects that might time out.
  fixture.world.run_for(200 * io::kSecond);
  const uint64_t events = fixture.world.events_run();
  fixture.world.run_for(3600 * io::kSecond);
  CHECK(fixture.world.events_run() == events);
  CHECK(fixture.server.set.count() == 1000);
  CHECK(fixture.server.service.clients == 1000);
  CHECK(fixture.server.pool.used_bytes() == 0);
  for (size_t i = 0; i < crowd.clients.size(); i += 50) CHECK(served(*crowd.clients[i]));
  for (auto& client : crowd.clients) client->hang_up();
  fixture.finish();
}

TEST_CASE("nbd: stalled writers that hold all the payload memory lose it after a second", "[nbd]") {
  Fixture fixture(sized(16u << 20, 8u << 20));
  Crowd crowd(fixture, 16);  // 16 buffers of 512 KiB would be the pool
  for (auto& client : crowd.clients) {
    client->send(request(kCommandWrite, 1, 0, 500000, 0, std::string(1000, 'x')));
  }
  fixture.world.run_for(10 * io::kMillisecond);
  io::MemoryShare& share = fixture.server.service.payload_memory();
  REQUIRE(share.held() > 0);
  REQUIRE(share.held() + kFrameBytesMax > share.limit());
  CHECK(fixture.server.pool.used_bytes() == share.held());
  // Readers notice nothing, and a writer goes on in small pieces.
  NbdClient canary(fixture.world, *fixture.client_io);
  canary.attach();
  const io::Nanos begin = fixture.world.now();
  CHECK(canary.do_read(0, 4096).error == kErrorNone);
  CHECK(served(canary));
  CHECK(fixture.world.now() - begin < io::kSecond);
  CHECK(fixture.server.set.count() == 17);
  // One that has more to write than that waits, and then the stalled ones must go.
  const std::string large = pattern(5'000'000, 1);
  fixture.server.service.delay = {50 * io::kMillisecond, 100 * io::kMillisecond};
  CHECK(canary.do_write(0, large) == kErrorNone);
  CHECK(canary.do_read(0, 5'000'000).data == large);
  CHECK(fixture.server.set.count() < 17);
  for (auto& client : crowd.clients) client->hang_up();
  canary.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: stalled readers leave memory to others, and lose what they hold when it is needed",
          "[nbd]") {
  Fixture fixture(sized(16u << 20, 8u << 20));
  Crowd crowd(fixture, 5);
  for (auto& client : crowd.clients) {
    client->reading = false;
    for (uint64_t i = 0; i < 9; ++i) client->send(request(kCommandRead, i, 0, 1u << 20));
  }
  NbdClient canary(fixture.world, *fixture.client_io);
  canary.attach();
  fixture.world.run_for(10 * io::kMillisecond);
  for (int i = 0; i < 10; ++i) {
    const io::Nanos begin = fixture.world.now();
    REQUIRE(served(canary, 15u << 20));
    CHECK(fixture.world.now() - begin < io::kSecond);
  }
  CHECK(fixture.server.set.count() == 6);
  // With very many of them the halves become too small.
  Crowd more(fixture, 60);
  for (auto& client : more.clients) {
    client->reading = false;
    for (uint64_t i = 0; i < 9; ++i) client->send(request(kCommandRead, i, 0, 1u << 20));
  }
  fixture.world.run_for(10 * io::kMillisecond);
  const io::Nanos begin = fixture.world.now();
  REQUIRE(served(canary, 15u << 20));
  CHECK(fixture.world.now() - begin < 2 * io::kSecond);
  for (auto& client : more.clients) client->hang_up();
  for (auto& client : crowd.clients) client->hang_up();
  canary.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: without pool memory a small write keeps its place in the staging buffer", "[nbd]") {
  Fixture fixture(sized(8u << 20, 8u << 20));
  FakeService& service = fixture.server.service;
  service.payload = Payload::kNeedUntilDone;
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  std::vector<io::Buffer> all;
  while (const io::Buffer buffer = fixture.server.pool.allocate(kFrameBytesMax)) {
    all.push_back(buffer);
  }
  REQUIRE(all.size() == 16);
  client.write(1, 0, std::string(5000, 'a'));
  client.write(2, 5000, std::string(5000, 'b'));
  client.write(3, 10000, std::string(100000, 'c'));
  fixture.world.run_for(io::kMillisecond * 100);
  CHECK(service.held.size() == 1);
  service.release_held();
  fixture.world.run_for(io::kMillisecond * 100);
  CHECK(service.held.size() == 1);
  service.release_held();
  CHECK(client.wait(2).error == kErrorNone);
  // A large one goes on the same way, in pieces that fit there.
  fixture.world.run_for(io::kMillisecond * 100);
  REQUIRE(service.held.size() == 1);
  CHECK(service.held[0]->offset == 10000);
  CHECK(service.held[0]->length <= Connection::kStagingBytes);
  CHECK_FALSE(service.held[0]->buffer);
  service.release_held();
  fixture.world.run_for(io::kMillisecond * 100);
  REQUIRE(service.held.size() == 1);
  service.release_held();
  for (const io::Buffer& buffer : all) fixture.server.pool.release(buffer);
  fixture.world.run_for(io::kMillisecond * 100);
  service.release_held();
  CHECK(client.wait(1).error == kErrorNone);
  CHECK(client.wait(3).error == kErrorNone);
  service.answer = Answer::kLater;
  CHECK(client.do_read(0, 110000).data ==
        std::string(5000, 'a') + std::string(5000, 'b') + std::string(100000, 'c'));
  client.hang_up();
  fixture.finish();
}

/// Takes all memory that comes free, before anybody who began to wait later.
struct Thief : io::PoolWaiter {
  explicit Thief(io::BufferPool& pool_)
      : PoolWaiter([](io::PoolWaiter& self) { static_cast<Thief&>(self).steal(); }), pool(pool_) {
    steal();
  }
  void steal() {
    for (uint32_t bytes = kFrameBytesMax; bytes >= kBlockBytes; bytes /= 2) {
      while (const io::Buffer buffer = pool.allocate(bytes)) stolen.push_back(buffer);
    }
    pool.wait(*this);
  }
  void stop() {
    pool.cancel_wait(*this);
    for (const io::Buffer& buffer : std::exchange(stolen, {})) pool.release(buffer);
  }
  io::BufferPool& pool;
  std::vector<io::Buffer> stolen;
};

TEST_CASE("nbd: a large reply that has begun is completed although others take all the memory",
          "[nbd]") {
  Fixture fixture(sized(8u << 20, 8u << 20));
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  // A small read that the volume answers only behind the large one's first pieces: its reply is
  // held.
  service.answer = Answer::kHeld;
  client.read(1, 0, 4096);
  fixture.world.run_for(10 * io::kMillisecond);
  REQUIRE(service.held.size() == 1);
  std::vector<Request*> small = std::exchange(service.held, {});
  service.answer = Answer::kLater;
  client.read(2, 0, 8u << 20);
  REQUIRE(client.wait_bytes(100000, io::kSecond));
  Thief thief(fixture.server.pool);
  service.held = small;
  service.release_held();
  REQUIRE(client.wait_bytes(kSimpleReplyBytes + (8u << 20), 5 * io::kSecond));
  CHECK_FALSE(thief.stolen.empty());
  CHECK(client.wait(2).error == kErrorNone);
  CHECK(client.wait(1).error == kErrorNone);
  thief.stop();
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: time that the server made a client wait is not held against it", "[nbd]") {
  Fixture fixture(sized(8u << 20, 8u << 20));
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  Thief thief(fixture.server.pool);
  // The client sends the first request, then the two behind it together: they arrive together.
  client.send(request(kCommandFlush, 0, 0, 0));
  client.read(1, 0, 4096);
  const std::string flush = request(kCommandFlush, 2, 0, 0);
  client.send(flush.substr(0, 14));
  fixture.world.run_for(60 * io::kSecond);
  CHECK_FALSE(client.closed);
  thief.stop();
  CHECK(client.wait(1).error == kErrorNone);
  fixture.world.run_for(5 * io::kSecond);
  CHECK_FALSE(client.closed);
  client.send(flush.substr(14));
  CHECK(client.wait(2).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: memory that a receive still fills is not given back before", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(request(kCommandFlush, 1, 0, 0));
  client.send(request(kCommandWrite, 2, 0, 100000, 0, std::string(5000, 'x')));
  fixture.world.run_for(io::kSecond);
  service.tell_gone("gone");
  fixture.world.run_for(io::kSecond);
  CHECK(fixture.server.pool.used_bytes() != 0);
  client.send(std::string(95000, 'x'));
  fixture.world.run_for(io::kSecond);
  CHECK(fixture.server.pool.used_bytes() == 0);
  service.release_held();
  CHECK(client.wait(1).error == kErrorNone);
  CHECK(client.wait_closed(io::kSecond));
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: many clients on a small pool all make progress with the right bytes", "[nbd]") {
  const uint64_t seed = GENERATE(range(1, 7));
  const uint32_t clients = 24;
  const uint64_t region = 2u << 20;
  Fixture fixture(sized(clients * region, 8u << 20), seed);
  FakeService& service = fixture.server.service;
  io::SimRandom random(seed * 77);
  service.payload = static_cast<Payload>(seed % 3);
  service.answer = seed == 6 ? Answer::kInside : Answer::kLater;
  struct Busy {
    std::unique_ptr<NbdClient> client;
    std::string model;
    std::map<uint64_t, std::string> expected;
  };
  std::vector<Busy> crowd;
  for (uint32_t i = 0; i < clients; ++i) {
    crowd.push_back({std::make_unique<NbdClient>(fixture.world, *fixture.client_io),
                     std::string(region, '\0'),
                     {}});
    crowd.back().client->attach(i % 2 == 0);
  }
  // Rounds of writes, then of overlapping reads, pipelined on all clients at once.
  for (uint64_t round = 0; round < 2; ++round) {
    for (uint32_t i = 0; i < clients; ++i) {
      Busy& busy = crowd[i];
      for (uint64_t cookie = 0; cookie < 6; ++cookie) {
        const uint64_t length = 1 + random.below(random.chance(1, 3) ? region / 6 - 1 : 9000);
        const uint64_t offset = cookie * (region / 6) + random.below(region / 6 - length);
        const std::string data = pattern(length, random.next());
        busy.model.replace(offset, length, data);
        busy.client->write(cookie, i * region + offset, data);
      }
    }
    for (Busy& busy : crowd) {
      for (uint64_t cookie = 0; cookie < 6; ++cookie) {
        REQUIRE(busy.client->wait(cookie).error == kErrorNone);
      }
    }
    for (uint32_t i = 0; i < clients; ++i) {
      Busy& busy = crowd[i];
      for (uint64_t cookie = 100; cookie < 112; ++cookie) {
        const uint64_t length = 1 + random.below(random.chance(1, 3) ? region - 1 : 9000);
        const uint64_t offset = random.below(region - length);
        busy.expected[cookie] = busy.model.substr(offset, length);
        busy.client->read(cookie, i * region + offset, static_cast<uint32_t>(length));
      }
    }
    for (Busy& busy : crowd) {
      for (const auto& [cookie, data] : std::exchange(busy.expected, {})) {
        const Reply reply = busy.client->wait(cookie);
        REQUIRE(reply.error == kErrorNone);
        REQUIRE(reply.data == data);
      }
    }
  }
  CHECK(fixture.server.lines.empty());
  for (Busy& busy : crowd) busy.client->hang_up();
  fixture.finish();
}

TEST_CASE("nbd: DISC lets what is in flight be answered, then closes", "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  for (uint64_t i = 0; i < 32; ++i) client.write(i, i * 4096, std::string(4096, 'd'));
  client.read(32, 0, 1u << 20);
  client.send(request(kCommandDisconnect, UINT64_MAX, UINT64_MAX, UINT32_MAX, 0xffff) + "junk");
  for (uint64_t i = 0; i <= 32; ++i) CHECK(client.wait(i).error == kErrorNone);
  CHECK(client.wait_closed(io::kSecond));
  client.hang_up();
  CHECK(fixture.server.lines.empty());
  fixture.finish();
}

TEST_CASE("nbd: when the volume goes, what it has done is answered, the rest is not, and clients are closed",
          "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io), idle(fixture.world, *fixture.client_io);
  client.attach(structured);
  idle.attach();
  client.write(1, 0, "data");
  client.read(2, 0, 4096);
  client.send(request(kCommandFlush, 3, 0, 0));
  client.send(request(kCommandWrite, 4, 0, 100000, 0, "unfinished"));
  fixture.world.run_for(io::kMillisecond * 100);
  REQUIRE(service.held.size() == 3);
  service.tell_gone("vol0 has a new primary");
  service.refuse = "vol0 has a new primary";
  CHECK(idle.wait_closed(io::kSecond));
  CHECK_FALSE(client.closed);
  // The write is the last of them: that others end unanswered takes nothing from it.
  service.fault = [](const Request& held) { return held.kind == RequestKind::kWrite ? RequestError::kNone : RequestError::kShutdown; };
  service.release_held(true);
  CHECK(client.wait(1).error == kErrorNone);
  CHECK(client.wait_closed(io::kSecond));
  CHECK(client.received.empty());
  CHECK(client.replies.empty());
  CHECK(fixture.server.set.count() == 0);
  CHECK_THAT(fixture.server.lines.at(0), Catch::Contains("new primary"));
  // The directory has not heard of it yet: the volume's own word counts.
  RawClient late(fixture.world, *fixture.client_io);
  late.connect();
  late.send(client_flags() + option(kOptGo, go_data("vol0")));
  CHECK(late.wait_closed(io::kSecond));
  client.hang_up();
  idle.hang_up();
  late.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a large read that the volume's end interrupts is not answered with too little",
          "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  client.reading = false;
  client.read(1, 0, 8u << 20);
  fixture.world.run_for(100 * io::kMillisecond);
  service.tell_gone("gone");
  client.read_on();
  while (client.parse_one()) {
  }
  CHECK(client.replies.empty());
  CHECK(client.closed);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a request that a volume ends because it is served no more is never answered, whatever it was", "[nbd]") {
  // An error would be final: a client that reconnects asks again only what was left open.
  const bool structured = GENERATE(false, true);
  const auto answer = GENERATE(Answer::kInside, Answer::kLater);
  using Asked = std::tuple<uint16_t, uint64_t, uint32_t>;
  const auto [command, offset, length] = GENERATE(Asked(kCommandRead, 0, 4096), Asked(kCommandRead, 100, 1u << 20), Asked(kCommandWrite, 0, 5),
                                                  Asked(kCommandWrite, 0, 3u << 20), Asked(kCommandFlush, 0, 0), Asked(kCommandTrim, 0, 4096),
                                                  Asked(kCommandWriteZeroes, 0, 2u << 20));
  const uint64_t pieces_done = GENERATE(0, 1);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.answer = answer;
  service.fault = [&](const Request&) { return service.seen.size() <= pieces_done ? RequestError::kNone : RequestError::kShutdown; };
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  if (command == kCommandRead) {
    client.read(1, offset, length);
  } else {
    client.send(request(command, 1, offset, length, command == kCommandWriteZeroes ? kCommandFlagNoHole : 0,
                        std::string(command == kCommandWrite ? length : 0, 'x')));
  }
  client.send(request(kCommandFlush, 2, 0, 0));
  while (client.parse_one()) {
  }
  CHECK(client.closed);
  for (const auto& [cookie, reply] : client.replies) CHECK(reply.error == kErrorNone);
  CHECK_FALSE(client.replies.contains(2));
  CHECK(fixture.server.lines.empty());
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: while the server stops, a client that comes is sent away and others get their answers", "[nbd]") {
  Fixture fixture;
  Server& server = fixture.server;
  server.service.answer = Answer::kHeld;
  NbdClient early(fixture.world, *fixture.client_io);
  early.attach();
  early.write(1, 0, "data");
  REQUIRE(fixture.world.run_until([&] { return server.service.held.size() == 1; }, io::kSecond));
  bool emptied = false;
  server.set.close_all([&] { emptied = true; });
  NbdClient late(fixture.world, *fixture.client_io);
  late.attach();
  CHECK(late.wait_closed());
  CHECK(server.set.count() == 1);
  CHECK(server.service.clients == 1);
  REQUIRE(server.lines.size() == 1);
  CHECK_THAT(server.lines[0], Catch::Contains("of vol0 at client:") && Catch::Contains("stopping"));
  CHECK_FALSE(emptied);
  server.service.release_held();
  CHECK(early.wait(1).error == kErrorNone);
  CHECK(fixture.world.run_until([&] { return emptied; }, io::kSecond));
  early.hang_up();
  late.hang_up();
  bool stopped = false;
  server.listener.stop([&] { stopped = true; });
  CHECK(fixture.world.run_until([&] { return stopped; }, io::kSecond));
}

TEST_CASE("nbd: stopping waits for answers, not for clients that do not read", "[nbd]") {
  Fixture fixture;
  NbdClient reader(fixture.world, *fixture.client_io), deaf(fixture.world, *fixture.client_io);
  reader.attach();
  deaf.attach();
  deaf.reading = false;
  for (uint64_t i = 0; i < 10; ++i) deaf.send(request(kCommandRead, i, 0, 1u << 20));
  for (uint64_t i = 0; i < 50; ++i) reader.write(i, i * 4096, std::string(4096, 'x'));
  REQUIRE(fixture.world.run_until([&] { return fixture.server.service.seen.size() > 50; },
                                  io::kSecond));
  bool emptied = false;
  const io::Nanos begin = fixture.world.now();
  fixture.server.set.close_all([&] { emptied = true; });
  REQUIRE(fixture.world.run_until([&] { return emptied; }, 5 * io::kSecond));
  CHECK(fixture.world.now() - begin < 2 * io::kSecond);
  CHECK(reader.wait_closed(io::kSecond));
  size_t answered = 0;
  while (reader.received.size() >= kSimpleReplyBytes && reader.parse_one()) ++answered;
  CHECK(answered >= 1);
  CHECK(fixture.server.pool.used_bytes() == 0);
  reader.hang_up();
  deaf.hang_up();
}

}  // namespace
}  // namespace ringbolt::test

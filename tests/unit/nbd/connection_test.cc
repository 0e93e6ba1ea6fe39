// Commands of the transmission phase, one client at a time: answers, errors, sizes, offsets.
#include <catch2/catch.hpp>

#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {
namespace {

using Answer = FakeService::Answer;
using Payload = FakeService::Payload;
using namespace nbd;

std::string volume_text(const FakeService& service, uint64_t offset, uint64_t length) {
  return {reinterpret_cast<const char*>(service.bytes.data()) + offset, length};
}

void fill(FakeService& service, uint64_t seed) {
  const std::string text = pattern(service.bytes.size(), seed);
  std::memcpy(service.bytes.data(), text.data(), text.size());
}

TEST_CASE("nbd: reads and writes of any size and alignment reach the volume unchanged", "[nbd]") {
  const auto answer = GENERATE(Answer::kInside, Answer::kLater);
  const auto payload =
      GENERATE(Payload::kConsumeAtOnce, Payload::kNeedUntilDone, Payload::kKeepBuffer);
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  fixture.server.service.answer = answer;
  fixture.server.service.payload = payload;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  const uint32_t block = kBlockBytes, large = kFramePayloadBytesMax;
  const std::vector<std::pair<uint64_t, uint32_t>> ranges = {
      {0, 1},         {4095, 3},     {511, 1000},          {0, block},
      {8192, 8192},   {1, 16383},    {0, 16384},           {5, 16385},
      {4096, 65536},  {100, large},  {4096, large},        {4095, large + 1},
      {0, large + 1}, {0, 1u << 20}, {77, (1u << 20) + 1}, {(8u << 20) - 512, 512},
      {0, 8u << 20},
  };
  std::string model(8u << 20, '\0');
  uint64_t seed = 1;
  for (const auto& [offset, length] : ranges) {
    INFO("offset " << offset << " length " << length);
    const std::string data = pattern(length, ++seed);
    CHECK(client.do_write(offset, data) == kErrorNone);
    model.replace(offset, length, data);
    CHECK(volume_text(fixture.server.service, 0, model.size()) == model);
    const Reply reply = client.do_read(offset, length);
    CHECK(reply.error == kErrorNone);
    CHECK(reply.data == data);
  }
  client.hang_up();
  fixture.finish();
  CHECK(fixture.server.lines.empty());
}

TEST_CASE("nbd: a 32 MiB write and read work in bounded memory", "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture(sized(40u << 20, 8u << 20));
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  const std::string data = pattern(32u << 20, 3);
  CHECK(client.do_write(12345, data) == kErrorNone);
  CHECK(volume_text(fixture.server.service, 12345, data.size()) == data);
  const Reply reply = client.do_read(12345, 32u << 20);
  CHECK(reply.error == kErrorNone);
  CHECK(reply.data == data);
  if (structured) CHECK(reply.chunks > 100);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: answers come in the order in which the volume finishes", "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  fill(service, 9);
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  for (uint64_t i = 0; i < 20; ++i) client.read(i, i * 5000, 4096);
  REQUIRE(fixture.world.run_until([&] { return service.held.size() == 20; }, io::kSecond));
  service.release_held(true);
  REQUIRE(client.parse_one());
  CHECK(client.replies.contains(19));
  for (uint64_t i = 0; i < 20; ++i) {
    const Reply reply = client.wait(i);
    CHECK(reply.data == volume_text(service, i * 5000, 4096));
  }
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: flush, zero, trim and FUA reach the volume with their flags", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  fill(service, 4);
  CHECK(client.do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  CHECK(client.do_plain(kCommandFlush, 0, 0, kCommandFlagFua).error == kErrorNone);
  CHECK(client.do_plain(kCommandTrim, 4096, 8192, kCommandFlagFua).error == kErrorNone);
  CHECK(client
            .do_plain(kCommandWriteZeroes, 100, 5000000,
                      kCommandFlagFastZero | kCommandFlagFua)
            .error == kErrorNone);
  CHECK(client.do_write(7, "data", kCommandFlagFua) == kErrorNone);
  CHECK(client.do_write(4096, std::string(1u << 20, 'x'), kCommandFlagFua) == kErrorNone);
  CHECK(client.do_read(0, 512, kCommandFlagFua).error == kErrorNone);
  const auto& seen = service.seen;
  REQUIRE(seen.size() == 5 + 3 + 1);
  CHECK(seen[0].kind == RequestKind::kFlush);
  CHECK((seen[2].kind == RequestKind::kTrim && seen[2].fua && seen[2].offset == 4096));
  CHECK((seen[3].kind == RequestKind::kZero && seen[3].fua && seen[3].length == 5000000));
  CHECK((seen[4].fua && seen[4].offset == 7 && seen[4].length == 4));
  for (size_t i = 5; i < 8; ++i) CHECK((seen[i].fua && seen[i].offset % kBlockBytes == 0));
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: zeros that must not become a hole are written as data, a few pieces at a time", "[nbd]") {
  const auto answer = GENERATE(Answer::kInside, Answer::kLater);
  Fixture fixture(sized(16u << 20));
  FakeService& service = fixture.server.service;
  service.answer = answer;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  fill(service, 4);
  const std::string before(reinterpret_cast<const char*>(service.bytes.data()), service.bytes.size());
  CHECK(client.do_plain(kCommandWriteZeroes, 100, 9'000'000, kCommandFlagNoHole | kCommandFlagFua).error == kErrorNone);
  CHECK(service.open_max <= 4);
  CHECK(service.seen.size() >= 9'000'000 / kFramePayloadBytesMax);
  uint64_t end = 100;
  for (const auto& seen : service.seen) {
    CHECK((seen.kind == RequestKind::kWrite && seen.fua && seen.offset == end && !seen.has_buffer));
    end += seen.length;
  }
  CHECK(end == 9'000'100);
  std::string expected = before;
  expected.replace(100, 9'000'000, std::string(9'000'000, '\0'));
  CHECK(std::memcmp(expected.data(), service.bytes.data(), expected.size()) == 0);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: zeros without holes fail as a whole, and stop at the first piece that does", "[nbd]") {
  const auto answer = GENERATE(Answer::kInside, Answer::kLater);
  Fixture fixture(sized(16u << 20));
  FakeService& service = fixture.server.service;
  service.answer = answer;
  service.fault = [](const Request& request) {
    return request.offset >= 1u << 20 ? RequestError::kNoSpace : RequestError::kNone;
  };
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  CHECK(client.do_plain(kCommandWriteZeroes, 0, 16u << 20, kCommandFlagNoHole).error == kErrorNoSpace);
  CHECK(service.seen.size() <= 8);
  service.fault = nullptr;
  CHECK(client.do_read(0, 4096).error == kErrorNone);  // the stream is in step
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a client may leave while zeros without holes are being written", "[nbd]") {
  const bool orderly = GENERATE(false, true);
  Fixture fixture(sized(16u << 20));
  FakeService& service = fixture.server.service;
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  client.send(request(kCommandWriteZeroes, 1, 0, 16u << 20, kCommandFlagNoHole));
  REQUIRE(fixture.world.run_until([&] { return service.held.size() == 4; }, io::kSecond));
  if (orderly) {
    client.send(request(kCommandDisconnect, 2, 0, 0));
  } else {
    client.hang_up();
  }
  fixture.world.run_until([] { return false; }, io::kSecond);
  service.answer = Answer::kInside;
  service.release_held();
  if (orderly) {
    CHECK(client.wait(1).error == kErrorNone);  // DISC came behind it: all of it is done first
    CHECK(client.wait_closed());
    client.hang_up();
  }
  fixture.finish();
}

TEST_CASE("nbd: fast zeros are refused where they would cost as much as a write", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  fill(service, 4);
  const auto before = service.bytes;
  const auto fast = [&](uint64_t offset, uint32_t length, uint16_t flags = 0) {
    return client.do_plain(kCommandWriteZeroes, offset, length, static_cast<uint16_t>(kCommandFlagFastZero | flags)).error;
  };
  // No whole block in it.
  for (const auto& [offset, length] : {std::pair<uint64_t, uint32_t>{0, 4095}, {1, 4095}, {1, 8190}, {4095, 4096}, {100, 1}}) {
    INFO(offset << " " << length);
    CHECK(fast(offset, length) == kErrorNotSupported);
  }
  CHECK(fast(0, 1u << 20, kCommandFlagNoHole) == kErrorNotSupported);
  CHECK(service.seen.empty());
  CHECK(service.bytes == before);
  CHECK(fast(0, 8u << 20, kCommandFlagNoHole) == kErrorNotSupported);
  CHECK(fast(4096, 8u << 20) == kErrorNoSpace);  // beyond the end comes first
  for (const auto& [offset, length] : {std::pair<uint64_t, uint32_t>{0, 4096}, {1, 8191}, {4095, 4098}, {0, 8u << 20}, {5, 0}}) {
    INFO(offset << " " << length);
    CHECK(fast(offset, length) == kErrorNone);
  }
  CHECK(service.seen.size() == 4);
  // Never without the flag.
  CHECK(client.do_plain(kCommandWriteZeroes, 100, 1).error == kErrorNone);
  CHECK(client.do_plain(kCommandWriteZeroes, 100, 1, kCommandFlagNoHole).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: pieces end on block boundaries and large ones come with a header's room", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  CHECK(client.do_write(100, std::string((1u << 20) + 3000, 'x')) == kErrorNone);
  REQUIRE(service.seen.size() == 3);
  CHECK(service.seen[0].length == kFramePayloadBytesMax - 100);
  CHECK(service.seen[1].offset == kFramePayloadBytesMax);
  CHECK(service.seen[1].length == kFramePayloadBytesMax);
  CHECK(service.seen[0].has_buffer);
  CHECK(service.seen[1].has_buffer);
  CHECK_FALSE(service.seen[2].has_buffer);  // the rest is small
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: bad requests get the protocol's error and leave the stream in step", "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  const uint64_t size = 8u << 20;
  const std::vector<std::pair<uint64_t, uint32_t>> beyond = {{size, 4096},
                                                             {size - 4096, 8192},
                                                             {uint64_t{1} << 63, 4096},
                                                             {UINT64_MAX, 1},
                                                             {UINT64_MAX - 4095, 8192},
                                                             {size + (uint64_t{1} << 40), 512},
                                                             {0, (8u << 20) + 1},
                                                             {(uint64_t{1} << 63) - 4096, 8192},
                                                             {size + 1, 0}};
  for (const auto& [offset, length] : beyond) {
    INFO("offset " << offset << " length " << length);
    CHECK(client.do_read(offset, length).error == kErrorInvalid);
    CHECK(client.do_write(offset, std::string(length, 'e')) == kErrorNoSpace);
    CHECK(client.do_plain(kCommandTrim, offset, length).error == kErrorInvalid);
    CHECK(client.do_plain(kCommandWriteZeroes, offset, length).error == kErrorNoSpace);
    CHECK(client.do_plain(kCommandCache, offset, length).error == kErrorInvalid);
  }
  CHECK(client.do_read(0, UINT32_MAX).error == kErrorInvalid);
  CHECK(client.do_plain(kCommandTrim, 0, UINT32_MAX).error == kErrorInvalid);
  CHECK(client.do_plain(0x4242, 0, 0).error == kErrorInvalid);
  CHECK(client.do_plain(0xffff, 0, 0, 0xffff).error == kErrorInvalid);
  CHECK(client.do_plain(9, 0, 4096).error == kErrorInvalid);
  CHECK(client.do_read(0, 512, 0x8000).error == kErrorInvalid);
  CHECK(client.do_read(0, 512, kCommandFlagNoHole).error == kErrorInvalid);
  CHECK(client.do_read(0, 512, kCommandFlagFastZero).error == kErrorInvalid);
  CHECK(client.do_write(0, "abc", kCommandFlagDontFragment) == kErrorInvalid);
  CHECK(client.do_write(0, std::string(100000, 'w'), 0x4000) == kErrorInvalid);
  CHECK(client.do_plain(kCommandFlush, 1, 0).error == kErrorInvalid);
  CHECK(client.do_plain(kCommandFlush, 0, 1).error == kErrorInvalid);
  CHECK(client.do_plain(kCommandBlockStatus, 0, 4096).error == kErrorInvalid);
  if (!structured) CHECK(client.do_read(0, 512, kCommandFlagDontFragment).error == kErrorInvalid);
  CHECK(fixture.server.service.seen.empty());
  CHECK(client.do_read(0, 4096).data == std::string(4096, '\0'));
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: requests longer than 32 MiB are refused, their payload is skipped", "[nbd]") {
  Fixture fixture(sized(48u << 20));
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  const uint32_t length = (32u << 20) + 1;
  CHECK(client.do_read(0, length).error == kErrorInvalid);
  CHECK(client.do_write(0, std::string(length, 'x')) == kErrorInvalid);
  CHECK(client.do_plain(kCommandCache, 0, length).error == kErrorNone);
  CHECK(client.do_plain(kCommandWriteZeroes, 0, length).error == kErrorNone);
  CHECK(fixture.server.service.seen.size() == 1);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: length 0 is answered without asking the volume", "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  CHECK(client.do_read(0, 0).error == kErrorNone);
  CHECK(client.do_read(8u << 20, 0).error == kErrorNone);
  CHECK(client.do_write(4096, "") == kErrorNone);
  CHECK(client.do_plain(kCommandTrim, 0, 0).error == kErrorNone);
  CHECK(client.do_plain(kCommandWriteZeroes, 0, 0).error == kErrorNone);
  CHECK(client.do_plain(kCommandCache, 0, 0).error == kErrorNone);
  CHECK(fixture.server.service.seen.empty());
  CHECK(client.do_read(0, 1).data.size() == 1);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: errors of the volume are passed on in the protocol's numbers", "[nbd]") {
  const auto payload = GENERATE(Payload::kConsumeAtOnce, Payload::kKeepBuffer);
  const bool structured = GENERATE(false, true);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.payload = payload;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  const std::vector<std::pair<RequestError, uint32_t>> errors = {{RequestError::kIo, 5},
                                                                 {RequestError::kInvalid, 22},
                                                                 {RequestError::kNoSpace, 28}};
  for (const auto& [error, code] : errors) {
    service.fault = [error = error](const Request&) { return error; };
    CHECK(client.do_read(0, 4096).error == code);
    CHECK(client.do_read(100, 1u << 20).error == code);
    CHECK(client.do_write(0, "small") == code);
    CHECK(client.do_write(0, std::string(3u << 20, 'x')) == code);
    CHECK(client.do_plain(kCommandFlush, 0, 0).error == code);
    CHECK(client.do_plain(kCommandTrim, 0, 4096).error == code);
    service.fault = nullptr;
    CHECK(client.do_read(0, 4096).error == kErrorNone);
  }
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a write fails as a whole if any of its pieces does", "[nbd]") {
  const uint64_t bad_piece = GENERATE(0, 1, 2, 3);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.fault = [=](const Request& request) {
    const bool hit =
        request.kind == RequestKind::kWrite && request.offset == bad_piece * kFramePayloadBytesMax;
    return hit ? RequestError::kNoSpace : RequestError::kNone;
  };
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  CHECK(client.do_write(0, std::string(2u << 20, 'x')) == kErrorNoSpace);
  CHECK(client.do_read(0, 512).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a read that fails late ends the reply with an error chunk, or the connection",
          "[nbd]") {
  const bool structured = GENERATE(false, true);
  const uint32_t bad_block = GENERATE(0u, 1000u, 1500u, 2047u);
  Fixture fixture;
  FakeService& service = fixture.server.service;
  fill(service, 6);
  service.fault = [=](const Request& request) {
    const uint64_t bad = uint64_t{bad_block} * kBlockBytes;
    const bool hit = request.offset <= bad && bad < request.offset + request.length;
    return hit ? RequestError::kIo : RequestError::kNone;
  };
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  client.read(1, 0, 8u << 20);
  if (structured || bad_block == 0) {
    // The first piece decides about a simple reply's header.
    CHECK(client.wait(1).error == kErrorIo);
    CHECK(client.do_read(0, 4096).error == (bad_block == 0 ? kErrorIo : kErrorNone));
  } else {
    while (client.parse_one()) {
    }
    CHECK(client.closed);
    CHECK(client.replies.empty());
    REQUIRE(fixture.server.lines.size() == 1);
    CHECK_THAT(fixture.server.lines[0], Catch::Contains("read error"));
  }
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: other replies do not get between the parts of a large simple reply", "[nbd]") {
  Fixture fixture(sized(16u << 20));
  FakeService& service = fixture.server.service;
  fill(service, 8);
  service.delay = {0, 5 * io::kMillisecond};
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  for (uint64_t i = 0; i < 60; ++i) {
    client.read(i, i * 1000, i % 3 == 0 ? (1u << 20) + 7 : 3000);
  }
  client.write(1000, 15u << 20, std::string(100000, 'w'));
  for (uint64_t i = 0; i < 60; ++i) {
    const Reply reply = client.wait(i);
    CHECK(reply.error == kErrorNone);
    CHECK(reply.data == volume_text(service, i * 1000, reply.data.size()));
  }
  CHECK(client.wait(1000).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: each reply is timed once, from its answer until the socket has taken all of it", "[nbd]") {
  const bool structured = GENERATE(false, true);
  Fixture fixture(sized(16u << 20));
  const DurationHistogram& times = fixture.server.service.reply_times();
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(structured);
  CHECK(times.count() == 0);
  CHECK(client.do_read(0, 4096).error == kErrorNone);
  CHECK(client.do_write(0, std::string(4096, 'w')) == kErrorNone);
  CHECK(client.do_plain(kCommandFlush, 0, 0).error == kErrorNone);
  CHECK(client.do_plain(kCommandTrim, 0, 0).error == kErrorNone);  // is not the volume's business
  CHECK(client.do_read(16u << 20, 512).error == kErrorInvalid);    // nor is this
  CHECK(times.count() == 5);
  // A large write has one reply, a large read as many pieces as it was cut into.
  CHECK(client.do_write(0, std::string(1u << 20, 'w')) == kErrorNone);
  CHECK(times.count() == 6);
  CHECK(client.do_read(0, 1u << 20).error == kErrorNone);
  CHECK(times.count() == 6 + (1u << 20) / (Connection::kReadPieceBlocks * kBlockBytes));
  CHECK(times.sum_ns() < io::kSecond / 10);
  // What the socket does not take is not sent yet.
  const uint64_t count = times.count();
  client.reading = false;
  for (uint64_t i = 0; i < 8; ++i) client.read(i, i << 20, 1u << 20);
  fixture.world.run_for(2 * io::kSecond);
  CHECK(times.count() < count + 32);
  client.read_on();
  for (uint64_t i = 0; i < 8; ++i) CHECK(client.wait(i).error == kErrorNone);
  CHECK(times.count() == count + 32);
  CHECK(times.sum_ns() >= uint64_t{io::kSecond});
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: an unfragmented read is one chunk or an overflow", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  fill(service, 5);
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(true);
  const Reply small = client.do_read(4095, 65536, kCommandFlagDontFragment);
  CHECK(small.chunks == 1);
  CHECK(small.data == volume_text(service, 4095, 65536));
  const Reply most = client.do_read(0, kFramePayloadBytesMax, kCommandFlagDontFragment);
  CHECK(most.chunks == 1);
  CHECK(most.data == volume_text(service, 0, kFramePayloadBytesMax));
  const Reply more = client.do_read(0, kFramePayloadBytesMax + 1, kCommandFlagDontFragment);
  CHECK(more.error == kErrorOverflow);
  CHECK(more.data.empty());
  CHECK(client.do_read(8u << 20, 4096, kCommandFlagDontFragment).error == kErrorInvalid);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: block status answers one allocated extent for any range", "[nbd]") {
  Fixture fixture;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach(true, true);
  const auto extent = [&](uint64_t offset, uint32_t length, uint16_t flags) {
    return client.do_plain(kCommandBlockStatus, offset, length, flags).extents;
  };
  const auto data = [](uint32_t length) {
    return std::vector<std::pair<uint32_t, uint32_t>>{{length, 0}};
  };
  CHECK(extent(0, 8u << 20, 0) == data(8u << 20));
  CHECK(extent(1, 1, kCommandFlagOneExtent) == data(1));
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint32_t>>{
           {0, UINT32_MAX}, {8u << 20, 1}, {UINT64_MAX, 1}, {0, 0}, {(8u << 20) - 512, 513}}) {
    CHECK(client.do_plain(kCommandBlockStatus, offset, length).error == kErrorInvalid);
  }
  CHECK(client.do_read(0, 512).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: requests that came with the handshake are served", "[nbd]") {
  Fixture fixture;
  fill(fixture.server.service, 2);
  NbdClient client(fixture.world, *fixture.client_io);
  client.connect();
  std::string bytes = client_flags() + option(kOptGo, go_data("vol0"));
  for (uint64_t i = 0; i < 120; ++i) bytes += request(kCommandFlush, i, 0, 0);
  client.send(bytes);
  client.take(kGreetingBytes + 3 * kOptionReplyHeaderBytes + 26);
  for (uint64_t i = 0; i < 120; ++i) CHECK(client.wait(i).error == kErrorNone);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: bytes that arrive one at a time make the same requests", "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  const std::string payload = pattern(17000, 12);  // header, staged start, direct rest
  const std::string bytes = request(kCommandWrite, 1, 4000, 300, 0, std::string(300, 'a')) +
                            request(kCommandWrite, 2, 8192, 17000, 0, payload) +
                            request(kCommandFlush, 3, 0, 0);
  for (const char byte : bytes) {
    client.send({&byte, 1});
    fixture.world.run_for(io::kMillisecond);
  }
  CHECK(client.wait(1).error == kErrorNone);
  CHECK(client.wait(2).error == kErrorNone);
  CHECK(client.wait(3).error == kErrorNone);
  CHECK(volume_text(service, 4000, 300) == std::string(300, 'a'));
  CHECK(volume_text(service, 8192, 17000) == payload);
  CHECK(service.seen.size() == 3);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: a client's requests at the volume are bounded, the rest waits in its socket",
          "[nbd]") {
  Fixture fixture;
  FakeService& service = fixture.server.service;
  service.answer = Answer::kHeld;
  NbdClient client(fixture.world, *fixture.client_io);
  client.attach();
  for (uint64_t i = 0; i < 1000; ++i) client.send(request(kCommandTrim, i, i * 512, 512));
  fixture.world.run_for(io::kSecond);
  CHECK(service.held.size() == Connection::kCommandsMax);
  service.answer = Answer::kLater;
  service.release_held();
  for (uint64_t i = 0; i < 1000; ++i) CHECK(client.wait(i).error == kErrorNone);
  CHECK(service.open_max <= Connection::kCommandsMax);
  client.hang_up();
  fixture.finish();
}

TEST_CASE("nbd: the same seed gives the same run", "[nbd]") {
  const auto run = [](uint64_t seed) {
    Fixture fixture(ServerOptions(), seed);
    fill(fixture.server.service, 1);
    NbdClient client(fixture.world, *fixture.client_io);
    client.attach(seed % 2 == 0);
    for (uint64_t i = 0; i < 100; ++i) {
      if (i % 2 == 0) {
        client.write(i, i * 1111, std::string(i * 700 + 1, 'x'));
      } else {
        client.read(i, i * 2222, static_cast<uint32_t>(i * 9000));
      }
    }
    for (uint64_t i = 0; i < 100; ++i) REQUIRE(client.wait(i).error == kErrorNone);
    client.hang_up();
    fixture.finish();
    return fixture.world.trace_hash();
  };
  for (const uint64_t seed : {1, 2, 3}) CHECK(run(seed) == run(seed));
  CHECK(run(1) != run(3));
}

}  // namespace
}  // namespace ringbolt::test

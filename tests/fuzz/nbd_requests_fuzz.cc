// Fuzz target: the transmission phase of a whole simulated server. The first bytes choose the seed,
// how the volume behaves and how the client ends; the rest is what it sends, raw or as nearly valid
// requests, in parts, with time passing between them. The server must not crash or break the
// volume's contract (the fake volume checks it), its replies must be well-formed as far as they can
// be followed, and in the end nothing may be left behind.
#include <algorithm>
#include <cstdint>
#include <string>

#include "tests/unit/nbd/nbd_fixture.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::test;

constexpr size_t kOptionBytes = 4;
constexpr uint64_t kVolumeBytes = 2u << 20;

void set_up(Fixture& fixture, uint8_t option) {
  FakeService& service = fixture.server.service;
  service.payload = static_cast<FakeService::Payload>(option % 3);
  service.answer = (option & 4) != 0 ? FakeService::Answer::kInside : FakeService::Answer::kLater;
  if ((option & 8) != 0) {
    service.fault = [&fixture](const Request&) {
      return fixture.world.random().chance(1, 8) ? RequestError::kIo : RequestError::kNone;
    };
  }
}

/// Nearly valid requests from 8 bytes each: the fuzzer reaches deeper than with raw bytes.
std::string expand(std::string_view bytes) {
  constexpr size_t kSentBytesMax = 1u << 20;
  std::string out;
  for (; bytes.size() >= 8 && out.size() < kSentBytesMax; bytes.remove_prefix(8)) {
    const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
    const auto command = static_cast<uint16_t>(at(0) % 9);
    const auto flags = static_cast<uint16_t>(at(0) >= 128 ? at(1) : 0);
    uint64_t offset = at(2) * 8192 + at(3) * 31;
    if (at(4) == 255) offset = UINT64_MAX - at(3);
    uint32_t length = at(5) * 4096 + at(6) * 17 + at(7);
    if (at(4) == 254) length = UINT32_MAX - at(7);
    out += request(command, at(1), offset, length, flags);
    if (command == nbd::kCommandWrite) out.append(std::min<size_t>(length, kSentBytesMax), 'p');
  }
  return out;
}

/// With structured replies the stream can be followed without knowing the requests.
void check_replies(std::string_view replies) {
  const auto* at = reinterpret_cast<const std::byte*>(replies.data());
  size_t left = replies.size();
  while (left >= nbd::kChunkHeaderBytes) {
    size_t bytes = nbd::kSimpleReplyBytes;
    if (nbd::load<uint32_t>(at) == nbd::kChunkMagic) {
      RINGBOLT_ASSERT(nbd::load<uint32_t>(at + 16) <= kRequestBytesMax);
      bytes = nbd::kChunkHeaderBytes + nbd::load<uint32_t>(at + 16);
    } else {
      RINGBOLT_ASSERT(nbd::load<uint32_t>(at) == nbd::kSimpleReplyMagic);
    }
    if (bytes > left) return;  // cut off by the end of the connection
    at += bytes;
    left -= bytes;
  }
}

void talk(Fixture& fixture, std::string_view bytes, uint8_t option, uint8_t step) {
  const bool structured = (option & 16) != 0;
  RawClient client(fixture.world, *fixture.client_io);
  client.connect();
  std::string hello = client_flags();
  size_t hello_reply_bytes =
      nbd::kGreetingBytes + 3 * nbd::kOptionReplyHeaderBytes + (2 + 8 + 2) + (2 + 3 * 4);
  if (structured) {
    hello += test::option(nbd::kOptStructuredReply) +
             test::option(nbd::kOptSetMetaContext, meta_data("vol0", {"base:allocation"}));
    hello_reply_bytes += 3 * nbd::kOptionReplyHeaderBytes + 4 + nbd::kBaseAllocation.size();
  }
  hello += test::option(nbd::kOptGo, go_data("vol0"));
  client.send(hello);
  client.take(hello_reply_bytes);
  client.reading = (option & 32) == 0;
  const size_t part_bytes = step == 0 ? bytes.size() : size_t{step} * 3;
  while (!bytes.empty() && !client.closed) {
    client.send(bytes.substr(0, part_bytes));
    bytes.remove_prefix(std::min(part_bytes, bytes.size()));
    fixture.world.run_for(20 * io::kMicrosecond);
  }
  fixture.world.run_for(2 * io::kMillisecond);
  if ((option & 64) != 0) fixture.server.service.tell_gone("the fuzzer says so");
  if ((option & 128) != 0) fixture.world.net().cut("server:10809");
  fixture.world.run_for(5 * io::kMillisecond);
  client.hang_up();
  if (structured) check_replies(client.received);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kOptionBytes) return 0;
  Fixture fixture(sized(kVolumeBytes, 8u << 20), data[0]);
  set_up(fixture, data[1]);
  const std::string_view rest(reinterpret_cast<const char*>(data) + kOptionBytes,
                              size - kOptionBytes);
  const bool raw = (data[1] & 128) != 0;
  talk(fixture, raw ? rest : expand(rest), data[2], data[3]);
  fixture.finish();
  return 0;
}

// The handshake's state machine, without any I/O.
#include "nbd/handshake.h"

#include <catch2/catch.hpp>

#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {
namespace {

using nbd::Handshake;

struct OptionReply {
  uint32_t option, type;
  std::string payload;
};

/// A handshake and its client, in memory.
struct Talk {
  FakeDirectory directory;
  Handshake handshake{directory};
  std::string output, leftover;

  Talk() {
    directory.add("vol0", 1u << 20);
    directory.add("other", 2u << 20);
    directory.refuse("replica", "replica is a replica here");
    collect();
  }
  void collect() {
    const auto& bytes = handshake.output();
    output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    handshake.output().clear();
  }
  Talk& say(std::string_view bytes, size_t step = SIZE_MAX) {
    while (!bytes.empty() && handshake.state() == Handshake::State::kTalking) {
      const std::string_view part = bytes.substr(0, step);
      const size_t taken =
          handshake.consume({reinterpret_cast<const std::byte*>(part.data()), part.size()});
      const bool answered = !handshake.output().empty();
      collect();
      REQUIRE((taken != 0 || answered));
      bytes.remove_prefix(taken);
    }
    leftover = bytes;
    return *this;
  }
  /// Behind the greeting.
  std::vector<OptionReply> replies(size_t skip = nbd::kGreetingBytes) const {
    std::vector<OptionReply> found;
    const auto* at = reinterpret_cast<const std::byte*>(output.data());
    for (size_t i = skip; i < output.size();) {
      REQUIRE(output.size() - i >= nbd::kOptionReplyHeaderBytes);
      REQUIRE(nbd::load<uint64_t>(at + i) == nbd::kOptionReplyMagic);
      const auto bytes = nbd::load<uint32_t>(at + i + 16);
      REQUIRE(output.size() - i - nbd::kOptionReplyHeaderBytes >= bytes);
      found.push_back({nbd::load<uint32_t>(at + i + 8), nbd::load<uint32_t>(at + i + 12),
                       output.substr(i + nbd::kOptionReplyHeaderBytes, bytes)});
      i += nbd::kOptionReplyHeaderBytes + bytes;
    }
    return found;
  }
};

std::string export_info(uint64_t size, uint16_t flags) {
  return Wire().number(nbd::kInfoExport).number(size).number(flags).str();
}

TEST_CASE("nbd handshake: the greeting offers fixed newstyle and no zeroes", "[nbd]") {
  Talk talk;
  CHECK(talk.output == Wire().text("NBDMAGICIHAVEOPT").number(uint16_t{3}).str());
}

TEST_CASE("nbd handshake: GO attaches with size, flags and block sizes", "[nbd]") {
  Talk talk;
  talk.say(client_flags() + option(nbd::kOptGo, go_data("vol0", {3})) + "first requests");
  REQUIRE(talk.handshake.state() == Handshake::State::kAttach);
  CHECK(talk.leftover == "first requests");
  const auto replies = talk.replies();
  REQUIRE(replies.size() == 3);
  CHECK(replies[0].type == nbd::kRepInfo);
  CHECK(replies[0].payload == export_info(1u << 20, 0xd6d));
  CHECK(replies[1].payload == Wire()
                                  .number(nbd::kInfoBlockSize)
                                  .number(uint32_t{1})
                                  .number(uint32_t{4096})
                                  .number(uint32_t{32u << 20})
                                  .str());
  CHECK(replies[2].type == nbd::kRepAck);
  CHECK(replies[2].option == nbd::kOptGo);
  CHECK(talk.handshake.negotiated().export_name == "vol0");
  CHECK_FALSE(talk.handshake.negotiated().structured_replies);
}

TEST_CASE("nbd handshake: structured replies add the flag for unfragmented reads", "[nbd]") {
  Talk talk;
  talk.say(client_flags() + option(nbd::kOptStructuredReply) + option(nbd::kOptStructuredReply) +
           option(nbd::kOptInfo, go_data("vol0", {1, 2, 2, 1, 77})) +
           option(nbd::kOptGo, go_data("other")));
  REQUIRE(talk.handshake.state() == Handshake::State::kAttach);
  const auto replies = talk.replies();
  REQUIRE(replies.size() == 2 + 5 + 3);
  CHECK(replies[2].payload == export_info(1u << 20, 0xd6d | 0x80));
  CHECK(replies[3].payload == Wire().number(nbd::kInfoName).text("vol0").str());
  CHECK(replies[4].payload == Wire().number(nbd::kInfoDescription).text("a test volume").str());
  CHECK(replies[6].type == nbd::kRepAck);
  CHECK(talk.handshake.negotiated().structured_replies);
  CHECK(talk.handshake.negotiated().export_name == "other");
}

TEST_CASE("nbd handshake: EXPORT_NAME answers with and without the 124 zeroes", "[nbd]") {
  for (const uint32_t flags : {0u, 1u, 2u, 3u}) {
    Talk talk;
    talk.say(client_flags(flags) + option(nbd::kOptExportName, "vol0"));
    REQUIRE(talk.handshake.state() == Handshake::State::kAttach);
    Wire expected;
    expected.number(uint64_t{1u << 20}).number(uint16_t{0xd6d});
    if ((flags & 2) == 0) expected.text(std::string(124, '\0'));
    CHECK(talk.output.substr(nbd::kGreetingBytes) == expected.str());
  }
}

TEST_CASE("nbd handshake: every delivery of the same bytes gives the same answer", "[nbd]") {
  const std::string bytes =
      client_flags() + option(nbd::kOptList) + option(0x7777, std::string(300, 'x')) +
      option(nbd::kOptStructuredReply) +
      option(nbd::kOptSetMetaContext, meta_data("vol0", {"base:allocation"})) +
      option(nbd::kOptGo, std::string(20000, 'y')) + option(nbd::kOptGo, go_data("vol0")) + "tail";
  Talk whole;
  whole.say(bytes);
  REQUIRE(whole.handshake.state() == Handshake::State::kAttach);
  CHECK(whole.leftover == "tail");
  CHECK(whole.handshake.negotiated().base_allocation);
  for (const size_t step : {1u, 2u, 7u, 15u, 16u, 17u, 100u}) {
    Talk talk;
    talk.say(bytes, step);
    CHECK(talk.output == whole.output);
    CHECK(talk.handshake.state() == Handshake::State::kAttach);
    CHECK(talk.leftover == "tail");
  }
}

TEST_CASE("nbd handshake: what breaks the protocol closes with a reason", "[nbd]") {
  const std::string flags = client_flags();
  const auto lengthy = [](uint32_t number, uint32_t length) {
    return Wire().number(nbd::kOptionMagic).number(number).number(length).str();
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {client_flags(0xffffffff), "unknown client flags"},
      {client_flags(4), "unknown client flags"},
      {"GET / HTTP/1.1\r\n", "unknown client flags"},
      {flags + "IHAVEOPS" + std::string(8, '\0'), "bad magic"},
      {std::string(300, '\0'), "bad magic"},
      {client_flags(0) + option(nbd::kOptList), "without fixed newstyle"},
      {flags + lengthy(nbd::kOptGo, 0xffffffff), "4294967295 bytes"},
      {flags + lengthy(nbd::kOptExportName, 0x80000000), "2147483648 bytes"},
      {flags + lengthy(0x7777, 0xffffffff), "4294967295 bytes"},
      {flags + option(nbd::kOptExportName, std::string(64u << 10, 'n')), "export name of 65536"},
      {flags + option(nbd::kOptExportName, std::string(4097, 'n')), "export name of 4097"},
      {flags + option(nbd::kOptExportName, "nope\n\x1b[2J"), "no export \"nope??[2J\""},
      {flags + option(nbd::kOptExportName, "replica"), "replica is a replica here"},
  };
  for (const auto& [bytes, reason] : cases) {
    Talk talk;
    talk.say(bytes);
    INFO(reason);
    CHECK(talk.handshake.state() == Handshake::State::kClose);
    CHECK_THAT(talk.handshake.close_reason(), Catch::Contains(reason));
    CHECK(talk.replies().empty());
  }
}

TEST_CASE("nbd handshake: ABORT is acknowledged, then closed without a complaint", "[nbd]") {
  Talk talk;
  talk.say(client_flags() + option(nbd::kOptAbort));
  CHECK(talk.handshake.state() == Handshake::State::kClose);
  CHECK(talk.handshake.close_reason().empty());
  REQUIRE(talk.replies().size() == 1);
  CHECK(talk.replies()[0].type == nbd::kRepAck);
}

TEST_CASE("nbd handshake: a bad option gets an error and the client can go on", "[nbd]") {
  using namespace nbd;
  const auto go = [](uint32_t name_bytes, std::string_view rest) {
    return Wire().number(name_bytes).text(rest).str();
  };
  const auto meta = [](std::string_view rest) {
    return Wire().number(uint32_t{4}).text("vol0").text(rest).str();
  };
  const std::string four(4, '\xff');
  struct Case {
    uint32_t number;
    std::string data;
    uint32_t error;
  };
  std::vector<Case> cases = {
      {4, "", kRepErrUnsupported},
      {0, "", kRepErrUnsupported},
      {11, "", kRepErrUnsupported},
      {0x12345678, std::string(1000, 'q'), kRepErrUnsupported},
      {0x12345678, std::string(100000, 'q'), kRepErrUnsupported},
      {kOptStartTls, "", kRepErrUnsupported},
      {kOptStartTls, "hello", kRepErrInvalid},
      {kOptList, "12345", kRepErrInvalid},
      {kOptStructuredReply, "x", kRepErrInvalid},
      {kOptGo, go(0xffffffff, std::string(2, '\0')), kRepErrInvalid},
      {kOptInfo, go(0xfffffffe, std::string(2, '\0')), kRepErrInvalid},
      {kOptInfo, go(0, std::string(4096, 'B')), kRepErrInvalid},
      {kOptGo, go(100, "abc" + std::string(2, '\0')), kRepErrInvalid},
      {kOptGo, go(4, "vol0\xff\xff"), kRepErrInvalid},
      {kOptGo, go_data(std::string(4096, 'a')), kRepErrUnknown},
      {kOptGo, go_data(std::string(4097, 'a')), kRepErrInvalid},
      {kOptGo, go_data(std::string(65535, 'a')), kRepErrTooBig},
      {kOptGo, go_data("a\0b"), kRepErrUnknown},
      {kOptGo, go_data("vol0") + "x", kRepErrInvalid},
      {kOptInfo, go_data("vol0", {kInfoName}) + std::string(2, '\0'), kRepErrInvalid},
      {kOptGo, go_data(""), kRepErrUnknown},
      {kOptGo, go_data("replica"), kRepErrPolicy},
      {kOptListMetaContext, meta_data("nope", {}), kRepErrUnknown},
      {kOptSetMetaContext, meta(four), kRepErrInvalid},
      {kOptSetMetaContext, meta(Wire().number(1u).text(four).str()), kRepErrInvalid},
      {kOptSetMetaContext, four + std::string(4, '\0'), kRepErrInvalid},
      {kOptSetMetaContext, meta(std::string(2, '\0')), kRepErrInvalid},
      {kOptSetMetaContext, meta_data("vol0", {}) + "xxxx", kRepErrInvalid},
  };
  for (size_t bytes = 0; bytes < 6; ++bytes) {
    cases.push_back({kOptGo, std::string(bytes, '\0'), kRepErrInvalid});
  }
  for (const Case& bad : cases) {
    Talk talk;
    INFO("option " << bad.number << ", " << bad.data.size() << " bytes");
    talk.say(client_flags() + option(kOptStructuredReply) + option(bad.number, bad.data) +
             option(kOptGo, go_data("vol0")));
    CHECK(talk.handshake.state() == Handshake::State::kAttach);
    const auto replies = talk.replies();
    REQUIRE(replies.size() == 5);
    CHECK(replies[1].option == bad.number);
    CHECK(replies[1].type == bad.error);
    CHECK(replies[1].payload.size() <= kStringBytesMax);
    CHECK(replies[4].type == kRepAck);
  }
}

TEST_CASE("nbd handshake: a refused export is refused with the reason", "[nbd]") {
  Talk talk;
  talk.say(client_flags() + option(nbd::kOptGo, go_data("replica")));
  REQUIRE(talk.replies().size() == 1);
  CHECK(talk.replies()[0].payload == "replica is a replica here");
}

TEST_CASE("nbd handshake: LIST names every export", "[nbd]") {
  Talk talk;
  talk.say(client_flags() + option(nbd::kOptList));
  const auto replies = talk.replies();
  REQUIRE(replies.size() == 4);
  CHECK(replies[0].payload == Wire().number(uint32_t{5}).text("other").str());
  CHECK(replies[3].type == nbd::kRepAck);
}

TEST_CASE("nbd handshake: metadata contexts are listed, selected and bound to their export",
          "[nbd]") {
  using namespace nbd;
  const std::string structured = option(kOptStructuredReply);
  const std::string set = option(kOptSetMetaContext, meta_data("vol0", {"base:allocation"}));
  const auto negotiated = [&](const std::string& options, std::string_view name) {
    Talk talk;
    talk.say(client_flags() + options + option(kOptGo, go_data(name)));
    REQUIRE(talk.handshake.state() == Handshake::State::kAttach);
    return talk.handshake.negotiated().base_allocation;
  };
  CHECK(negotiated(structured + set, "vol0"));
  CHECK_FALSE(negotiated(structured + set, "other"));
  CHECK_FALSE(negotiated(set, "vol0"));
  CHECK_FALSE(
      negotiated(structured + option(kOptSetMetaContext, meta_data("vol0", {"base:"})), "vol0"));
  // A later selection replaces the earlier one, whether it selects nothing, fails or is too big.
  CHECK_FALSE(
      negotiated(structured + set + option(kOptSetMetaContext, meta_data("vol0", {})), "vol0"));
  CHECK_FALSE(negotiated(structured + set + option(kOptSetMetaContext, "bad"), "vol0"));
  CHECK_FALSE(
      negotiated(structured + set + option(kOptSetMetaContext, std::string(20000, 'x')), "vol0"));

  for (const auto& [queries, contexts] : std::vector<std::pair<std::vector<std::string>, size_t>>{
           {{}, 1}, {{"base:"}, 1}, {{"base:allocation", "base:"}, 1}, {{"qemu:"}, 0}}) {
    Talk talk;
    talk.say(client_flags() + structured + option(kOptListMetaContext, meta_data("vol0", queries)));
    const auto replies = talk.replies();
    REQUIRE(replies.size() == 2 + contexts);
    CHECK(replies.back().type == kRepAck);
    if (contexts == 1) {
      CHECK(replies[1].payload == Wire().number(uint32_t{0}).text("base:allocation").str());
    }
  }
}

TEST_CASE("nbd handshake: the number of options is bounded", "[nbd]") {
  Talk talk;
  std::string bytes = client_flags();
  for (uint32_t i = 0; i <= Handshake::kOptionsMax; ++i) bytes += option(0x1234);
  talk.say(bytes);
  CHECK(talk.handshake.state() == Handshake::State::kClose);
  CHECK(talk.replies().size() == Handshake::kOptionsMax);
}

TEST_CASE("nbd handshake: waiting output stops the next option", "[nbd]") {
  Talk talk;
  for (int i = 0; i < 2000; ++i) talk.directory.add("export" + std::to_string(i), 4096);
  const std::string bytes = client_flags() + option(nbd::kOptList) + option(nbd::kOptList);
  const size_t taken =
      talk.handshake.consume({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  CHECK(taken == bytes.size() - nbd::kOptionHeaderBytes);
  CHECK(talk.handshake.output().size() > Handshake::kOutputBytesPause);
}

}  // namespace
}  // namespace ringbolt::test

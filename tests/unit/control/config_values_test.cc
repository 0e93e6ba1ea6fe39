// Sizes, times, names and addresses as they stand in configuration values.
#include "control/config_values.h"

#include <array>
#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

TEST_CASE("config: sizes take B, KiB, MiB, GiB, TiB and plain bytes", "[config]") {
  CHECK(parse_size("0").value() == 0);
  CHECK(parse_size("4096").value() == 4096);
  CHECK(parse_size("512B").value() == 512);
  CHECK(parse_size("4KiB").value() == 4096);
  CHECK(parse_size("256MiB").value() == uint64_t{256} << 20);
  CHECK(parse_size("3GiB").value() == uint64_t{3} << 30);
  CHECK(parse_size("2TiB").value() == uint64_t{2} << 40);
  CHECK(parse_size("18446744073709551615").value() == UINT64_MAX);
}

TEST_CASE("config: a malformed or too large size is refused", "[config]") {
  const char* text = GENERATE("", "MiB", "1M", "1MB", "1 MiB", " 1MiB", "1mib", "-1", "+1", "1.5GiB",
                              "0x10", "1KiBx", "18446744073709551616", "16777216TiB");
  CAPTURE(text);
  const Result<uint64_t> size = parse_size(text);
  REQUIRE(size.has_error());
  CHECK(size.error().code == Errc::kInvalid);
  CHECK(!size.error().message.empty());
}

TEST_CASE("config: times take us, ms and s", "[config]") {
  CHECK(parse_duration("0").value() == 0);
  CHECK(parse_duration("20us").value() == 20'000);
  CHECK(parse_duration("100ms").value() == 100'000'000);
  CHECK(parse_duration("3s").value() == 3'000'000'000);
  const char* text = GENERATE("", "20", "20ns", "1m", "-1s", "1.5s", "9223372037s", "s");
  CAPTURE(text);
  CHECK(parse_duration(text).has_error());
}

TEST_CASE("config: formatted sizes and times read back as the same value", "[config]") {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{4096}, uint64_t{4097},
                               uint64_t{256} << 20, uint64_t{1} << 40, UINT64_MAX}) {
    CHECK(parse_size(format_size(bytes)).value() == bytes);
  }
  for (const int64_t ns : {int64_t{0}, int64_t{1'000}, int64_t{20'000}, int64_t{3'000'000'000}}) {
    CHECK(parse_duration(format_duration(ns)).value() == ns);
  }
  CHECK(format_size(uint64_t{256} << 20) == "256MiB");
  CHECK(format_duration(20'000) == "20us");
}

TEST_CASE("config: shares are whole percents", "[config]") {
  CHECK(parse_percent("0%").value() == 0);
  CHECK(parse_percent("50%").value() == 50);
  CHECK(parse_percent("100%").value() == 100);
  const char* text = GENERATE("", "%", "50", "101%", "-1%", "+1%", "0.5%", "50 %", " 50%", "50%%",
                              "4294967297%", "half");
  CAPTURE(text);
  CHECK(parse_percent(text).has_error());
}

TEST_CASE("config: names are letters, digits, dot, underscore and dash", "[config]") {
  CHECK(check_volume_name("vol0").has_value());
  CHECK(check_volume_name("A-b_c.9").has_value());
  CHECK(check_volume_name(std::string(200, 'x')).has_value());
  CHECK(check_volume_name(std::string(201, 'x')).has_error());
  CHECK(check_node_id(std::string(63, 'x')).has_value());
  CHECK(check_node_id(std::string(64, 'x')).has_error());
  const std::string name =
      GENERATE(as<std::string>(), "", ".", "..", "a/b", "a b", "ä", "a\n", "a%", "../x");
  CAPTURE(name);
  CHECK(check_volume_name(name).has_error());
  CHECK(check_node_id(name).has_error());
}

TEST_CASE("config: addresses are HOST:PORT or [V6]:PORT", "[config]") {
  const io::Address v4 = parse_host_port("127.0.0.1:10809").value();
  CHECK(v4.host == "127.0.0.1");
  CHECK(v4.port == 10809);
  const io::Address v6 = parse_host_port("[::1]:1").value();
  CHECK(v6.host == "::1");
  CHECK(v6.port == 1);
  CHECK(v6.to_string() == "[::1]:1");
  CHECK(v4.to_string() == "127.0.0.1:10809");
  CHECK(parse_host_port("storage-1.example:65535").value().host == "storage-1.example");
  const char* text =
      GENERATE("", ":", "127.0.0.1", "127.0.0.1:", ":10809", "127.0.0.1:65536", "127.0.0.1:-1",
               "127.0.0.1:1x", "300.0.0.1:1", "1.2:1", "::1:1", "[::1]", "[]:1", "[x]:1", "a b:1",
               "[::1:1", "unix:/x");
  CAPTURE(text);
  CHECK(parse_host_port(text).has_error());
}

TEST_CASE("config: listening takes port 0 and, where allowed, unix sockets", "[config]") {
  CHECK(check_listen_address("127.0.0.1:0", false).has_value());
  CHECK(check_listen_address("unix:/run/x.sock", true).has_value());
  CHECK(check_listen_address("unix:/run/x.sock", false).has_error());
  CHECK(check_listen_address("unix:x.sock", true).has_error());
  CHECK(check_listen_address("unix:/" + std::string(106, 'x'), true).has_value());
  CHECK(check_listen_address("unix:/" + std::string(107, 'x'), true).has_error());
  CHECK(check_peer_address("10.0.0.2:10810").has_value());
  CHECK(check_peer_address("10.0.0.2:0").has_error());
  CHECK(check_peer_address(std::string(kPeerAddressBytesMax - 2, 'h') + ":1").has_value());
  CHECK(check_peer_address(std::string(kPeerAddressBytesMax - 1, 'h') + ":1").has_error());
}

TEST_CASE("config: the nearest word counts swaps as one mistake", "[config]") {
  constexpr std::array<std::string_view, 4> kWords{"size", "wal_size", "path", "wal_path"};
  CHECK(nearest_word("siez", kWords) == "size");
  CHECK(nearest_word("walsize", kWords) == "wal_size");
  CHECK(nearest_word("pat", kWords) == "path");
  CHECK(nearest_word("wal-path", kWords) == "wal_path");
  CHECK(!nearest_word(std::string(100'000, 'q'), kWords).empty());
}

}  // namespace
}  // namespace ringbolt

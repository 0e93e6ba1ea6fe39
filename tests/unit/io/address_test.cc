// Addresses: what is accepted, what is refused and why.
#include "io/address.h"

#include <sys/un.h>

#include <catch2/catch.hpp>

using namespace ringbolt;
using namespace ringbolt::io;

TEST_CASE("address: written forms survive parsing and printing", "[address]") {
  for (const char* text : {"127.0.0.1:10809", "localhost:0", "[::1]:65535", "[fe80::1]:1",
                           "storage-1.example.org:443", "unix:/run/ringbolt/nbd.sock"}) {
    const auto address = parse_address(text);
    REQUIRE(address.has_value());
    CHECK(address.value().to_string() == text);
  }
  CHECK(parse_address("[::1]:80").value().host == "::1");
  CHECK(parse_address("h:80").value().port == 80);
  CHECK(parse_address("unix:/a:b").value().path == "/a:b");
}

TEST_CASE("address: nonsense is refused with a reason that quotes it", "[address]") {
  const std::string nul("a\0b:1", 5);
  for (const std::string& text : {std::string(),
                                  std::string("host"),
                                  std::string(":80"),
                                  std::string("host:"),
                                  std::string("host:65536"),
                                  std::string("host:-1"),
                                  std::string("host:+1"),
                                  std::string("host: 1"),
                                  std::string("host:1x"),
                                  std::string("::1:80"),
                                  std::string("[::1]80"),
                                  std::string("[]:80"),
                                  std::string("[host]:80"),
                                  std::string("[::1:80"),
                                  std::string("a b:80"),
                                  std::string("unix:"),
                                  std::string("unix:relative"),
                                  std::string("host:99999999999999999999"),
                                  nul,
                                  "unix:/" + std::string(200, 'x')}) {
    const auto address = parse_address(text);
    INFO(text);
    REQUIRE_FALSE(address.has_value());
    CHECK(address.error().code == Errc::kInvalid);
    CHECK(address.error().message.find("\"" + text + "\"") != std::string::npos);
  }
}

TEST_CASE("address: numeric hosts resolve to themselves", "[address]") {
  for (const char* text : {"127.0.0.1:80", "[::1]:80", "unix:/tmp/x"}) {
    const auto found = resolve(parse_address(text).value());
    REQUIRE(found.has_value());
    REQUIRE(found.value().size() >= 1);
    CHECK(to_text(found.value()[0]) == text);
  }
  const auto none = resolve(parse_address("no-such-host.invalid:1").value());
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == Errc::kNotFound);
}

TEST_CASE("address: a unix path of the greatest length fits", "[address]") {
  const std::string path = "/" + std::string(sizeof(sockaddr_un::sun_path) - 2, 'x');
  const auto address = parse_address("unix:" + path);
  REQUIRE(address.has_value());
  CHECK(to_text(resolve(address.value()).value()[0]) == "unix:" + path);
  CHECK_FALSE(parse_address("unix:" + path + "x").has_value());
}

// Paths of HTTP requests.
#include "control/http_target.h"

#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

using Path = std::vector<std::string>;

TEST_CASE("http: a target becomes its path segments", "[http]") {
  CHECK(parse_target("/").value() == Path{""});
  CHECK(parse_target("/v1/volumes").value() == Path{"v1", "volumes"});
  CHECK(parse_target("/v1/volumes/").value() == Path{"v1", "volumes", ""});
  CHECK(parse_target("/v1/volumes/a%2db?x=/y").value() == Path{"v1", "volumes", "a-b"});
  CHECK(parse_target("/a%2Fb").value() == Path{"a/b"});
  CHECK(parse_target("http://host:1/v1/node").value() == Path{"v1", "node"});
  CHECK(parse_target("http://host").value() == Path{""});
}

TEST_CASE("http: what is no path is an error", "[http]") {
  const char* target = GENERATE("", "*", "v1", "host:1", "https://x/", "/%", "/%1", "/%zz", "/a%2");
  CAPTURE(target);
  CHECK(parse_target(target).has_error());
}

TEST_CASE("http: an escaped segment reads back as itself", "[http]") {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  std::string target = "/";
  target += escape_segment(all);
  CHECK(parse_target(target).value() == Path{all});
  CHECK(escape_segment("vol-0_a.b") == "vol-0_a.b");
}

}  // namespace
}  // namespace ringbolt

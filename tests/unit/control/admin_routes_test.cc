// Which path is which resource.
#include "control/admin_routes.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

using Path = std::vector<std::string>;

void check(const Path& path, AdminResource resource, const std::string& volume, const std::string& methods) {
  const std::optional<AdminRoute> route = find_route(path);
  REQUIRE(route);
  CHECK(route->resource == resource);
  CHECK(route->volume == volume);
  CHECK(route->methods == methods);
}

TEST_CASE("routes: each resource has its path and methods", "[admin]") {
  check({""}, AdminResource::kPage, "", "GET, HEAD");
  check({"openapi.json"}, AdminResource::kOpenApi, "", "GET, HEAD");
  check({"v1", "events"}, AdminResource::kEvents, "", "GET");
  check({"metrics"}, AdminResource::kMetrics, "", "GET, HEAD");
  check({"healthz"}, AdminResource::kHealth, "", "GET, HEAD");
  check({"v1", "node"}, AdminResource::kNode, "", "GET, HEAD");
  check({"v1", "node", "reload"}, AdminResource::kReload, "", "POST");
  check({"v1", "volumes"}, AdminResource::kVolumes, "", "GET, HEAD, POST");
  check({"v1", "volumes", "a"}, AdminResource::kVolume, "a", "GET, HEAD, DELETE");
  check({"v1", "volumes", "a", "why"}, AdminResource::kWhy, "a", "GET, HEAD");
  check({"v1", "volumes", "a", "assignment"}, AdminResource::kAssignment, "a", "POST");
  check({"v1", "volumes", "a", "rebuild"}, AdminResource::kRebuild, "a", "POST");
  check({"v1", "volumes", "a", "rebuild", "n2"}, AdminResource::kRebuildOf, "a", "DELETE");
  check({"v1", "volumes", "a", "verify"}, AdminResource::kVerify, "a", "GET, HEAD, POST");
  check({"v1", "volumes", "a", "resize"}, AdminResource::kResize, "a", "POST");
  CHECK(find_route({"v1", "volumes", "a", "rebuild", "n2"})->replica == "n2");
  CHECK(find_route({"v1", "volumes", "rebuild", "rebuild", "rebuild"})->replica == "rebuild");
  CHECK(find_route({"v1", "volumes", "a", "rebuild"})->replica.empty());
  // Names that look like parts of paths are names.
  check({"v1", "volumes", "assignment", "why"}, AdminResource::kWhy, "assignment", "GET, HEAD");
  check({"v1", "volumes", "*"}, AdminResource::kVolume, "*", "GET, HEAD, DELETE");
  check({"v1", "volumes", "a/b"}, AdminResource::kVolume, "a/b", "GET, HEAD, DELETE");
}

TEST_CASE("routes: anything else is nothing", "[admin]") {
  const Path path = GENERATE(Path{}, Path{"", ""}, Path{"v1"}, Path{"v1", ""}, Path{"v1", "volumes", ""}, Path{"v1", "volumes", "", "why"},
                             Path{"v1", "volumes", "a", ""}, Path{"v1", "volumes", "a", "rebuild", ""}, Path{"v1", "volumes", "a", "resize", "n2"},
                             Path{"v1", "volumes", "", "rebuild", "n2"}, Path{"v1", "volumes", "a", "rebuild", "n2", "x"}, Path{"v1", "volumes", "a", "Why"}, Path{"v1", "volumes", "a", "why", ""},
                             Path{"v1", "volumes", "a", "why", "why"}, Path{"healthz", ""}, Path{"healthz/"}, Path{"v1/node"});
  CHECK(!find_route(path));
}

TEST_CASE("routes: all paths, as they are described", "[admin]") {
  const std::vector<AdminPath> paths = admin_paths();
  const auto has = [&](const std::string& path, std::string_view methods) {
    return std::any_of(paths.begin(), paths.end(), [&](const AdminPath& one) { return one.path == path && one.methods == methods; });
  };
  CHECK(has("/", "GET, HEAD"));
  CHECK(has("/v1/volumes/{name}/verify", "GET, HEAD, POST"));
  CHECK(has("/v1/volumes/{name}/rebuild/{replica}", "DELETE"));
}

TEST_CASE("routes: a method is taken as a whole word", "[admin]") {
  const AdminRoute route = *find_route({"healthz"});
  CHECK(route.takes("GET"));
  CHECK(route.takes("HEAD"));
  for (const char* method : {"", "GE", "GET,", "GET, HEAD", "HEA", "get", "POST"}) CHECK(!route.takes(method));
}

}  // namespace
}  // namespace ringbolt

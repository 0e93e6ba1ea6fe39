// Orders for rebuilds over the admin API: passed on exactly, answered with what became of them.
#include <catch2/catch.hpp>

#include "control/json.h"
#include "control/rebuild_request.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;

const std::string kRebuildTarget = "/v1/volumes/vol0/rebuild";
const std::string kRebuildBody = R"({"replica": "n2"})";

std::string revoke(const std::string& address, const std::string& target, const std::string& headers = {}) {
  RawHttpClient client(address);
  client.send("DELETE " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n");
  return client.read_all();
}

TEST_CASE("admin: a rebuild is ordered with 202 and cancelled with 200, and answered with the volume", "[admin]") {
  AdminFixture admin;
  VolumeStatus after = volume_status("vol0");
  const std::string ordered = post(admin.address(), kRebuildTarget, kRebuildBody);
  CHECK(status_of(ordered) == "202");
  after.replicas[0].rebuild_order = RebuildOrderStatus::kOrdered;
  CHECK(body_of(ordered) == to_json(after));
  CHECK_THAT(ordered, Contains(R"("rebuild_order":"ordered")"));
  const std::string cancelled = revoke(admin.address(), "/v1/volumes/vol0/rebuild/n2");
  CHECK(status_of(cancelled) == "200");
  after.replicas[0].rebuild_order = RebuildOrderStatus::kCancelled;
  CHECK(body_of(cancelled) == to_json(after));
  CHECK_THAT(cancelled, Contains(R"("rebuild_order":"cancelled")"));
  const auto orders = admin.daemon().rebuilds();
  REQUIRE(orders.size() == 2);
  CHECK(orders[0] == std::pair(std::string("vol0"), RebuildOrder{"n2", true}));
  CHECK(orders[1] == std::pair(std::string("vol0"), RebuildOrder{"n2", false}));
}

TEST_CASE("admin: a rebuild of what is not there is 404 and names it", "[admin]") {
  AdminFixture admin;
  CHECK_THAT(post(admin.address(), "/v1/volumes/none/rebuild", kRebuildBody), Contains("404") && Contains(R"(there is no volume \"none\")"));
  CHECK_THAT(post(admin.address(), kRebuildTarget, R"({"replica": "n9"})"), Contains("404") && Contains(R"(vol0 has no replica \"n9\")"));
  CHECK_THAT(revoke(admin.address(), "/v1/volumes/none/rebuild/n2"), Contains("404") && Contains(R"(there is no volume \"none\")"));
  CHECK_THAT(revoke(admin.address(), "/v1/volumes/vol0/rebuild/n9"), Contains("404") && Contains(R"(vol0 has no replica \"n9\")"));
  CHECK(admin.daemon().rebuilds().size() == 4);
  // What nothing can be called does not get as far, and is not repeated.
  CHECK(code_of(post(admin.address(), "/v1/volumes/a%2fb/rebuild", kRebuildBody)) == "404 not_found");
  const std::string reply = revoke(admin.address(), "/v1/volumes/vol0/rebuild/a%1bb");
  CHECK(code_of(reply) == "404 not_found");
  CHECK(reply.find('\x1b') == std::string::npos);
  CHECK(admin.daemon().rebuilds().size() == 4);
}

TEST_CASE("admin: an order for a rebuild that cannot be meant is 400 and is not passed on", "[admin]") {
  AdminFixture admin;
  const auto [body, words] = GENERATE(table<std::string, std::string>({
      {"", "the body is empty; an object with \\\"replica\\\" is expected"},
      {"{}", "no \\\"replica\\\""},
      {"x", "not JSON"},
      {"[]", "expected an object"},
      {R"({"replica": 2})", "replica: expected a string"},
      {R"({"replica": ""})", "replica: "},
      {R"({"replica": "a/b"})", "replica: "},
      {R"({"replicas": "n2"})", "the nearest known one is \\\"replica\\\""},
      {R"({"replica": "n2", "replica": "n3"})", "is given twice"},
      {R"({"replica": "n2"} {})", "more than one JSON document"},
  }));
  CAPTURE(body);
  const std::string reply = post(admin.address(), kRebuildTarget, body);
  CHECK(code_of(reply) == "400 invalid");
  CHECK_THAT(reply, Contains(words));
  CHECK(admin.daemon().rebuilds().empty());
}

TEST_CASE("admin: what the daemon says of an order for a rebuild becomes the status", "[admin]") {
  AdminFixture admin;
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "volume vol0 is replica here"));
  CHECK(code_of(post(admin.address(), kRebuildTarget, kRebuildBody)) == "409 refused");
  CHECK(code_of(revoke(admin.address(), kRebuildTarget + "/n2")) == "409 refused");
  admin.daemon().refuse_orders(make_error(Errc::kBusy, "volume vol0 is not open"));
  CHECK(code_of(post(admin.address(), kRebuildTarget, kRebuildBody)) == "503 busy");
}

TEST_CASE("admin: rebuilds take one method each, from no web page, and not before the daemon's time", "[admin]") {
  AdminFixture admin;
  CHECK_THAT(get(admin.address(), kRebuildTarget), Contains("405") && Contains("Allow: POST\r\n"));
  CHECK_THAT(revoke(admin.address(), kRebuildTarget), Contains("405") && Contains("Allow: POST\r\n"));
  CHECK_THAT(get(admin.address(), kRebuildTarget + "/n2"), Contains("405") && Contains("Allow: DELETE\r\n"));
  CHECK_THAT(post(admin.address(), kRebuildTarget + "/n2", kRebuildBody), Contains("405") && Contains("Allow: DELETE\r\n"));
  CHECK(code_of(post(admin.address(), kRebuildTarget, kRebuildBody, "Origin: http://example.com\r\n")) == "403 forbidden");
  CHECK(code_of(revoke(admin.address(), kRebuildTarget + "/n2", "Origin: null\r\n")) == "403 forbidden");
  CHECK(admin.daemon().rebuilds().empty());
  AdminFixture starting({}, false);
  CHECK(code_of(post(starting.address(), kRebuildTarget, kRebuildBody)) == "503 starting");
}

TEST_CASE("admin: orders of both kinds are bounded together", "[admin]") {
  AdminLimits limits;
  limits.order_time = std::chrono::milliseconds(20);
  limits.orders_per_volume = 2;
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  CHECK_THAT(post(admin.address(), kRebuildTarget, kRebuildBody), Contains("503") && Contains("the rebuild of volume"));
  CHECK(code_of(post(admin.address(), "/v1/volumes/vol0/assignment", R"({"role":"replica","epoch":4})")) == "503 unfinished");
  CHECK(code_of(revoke(admin.address(), kRebuildTarget + "/n2")) == "503 busy");
  CHECK(admin.daemon().rebuilds().size() == 1);
}

}  // namespace
}  // namespace ringbolt::test

// A reload over the admin API: carried out once for each order, answered with what it changes.
#include <catch2/catch.hpp>

#include "control/json.h"
#include "control/reload_request.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;

const std::string kReloadTarget = "/v1/node/reload";

ReloadReport some_changes() {
  return {"/etc/ringbolt.toml",
          {{"rebuild.rate_max", "", "", "\"0\"", "\"20MiB\"", Effect::kAtReload},
           {"volume.replica.address", "vol0", "n2", "\"h:1\"", "\"h:2\"", Effect::kAtReload}},
          {{{"volume.name", "", "", "", "\"vol7\"", Effect::kAtStart}, "needs a restart"}}};
}

const std::string kReloadJson =
    R"({"file":"/etc/ringbolt.toml","applied":[{"key":"rebuild.rate_max","volume":null,"replica":null,"from":"\"0\"","to":"\"20MiB\""},)"
    R"({"key":"volume.replica.address","volume":"vol0","replica":"n2","from":"\"h:1\"","to":"\"h:2\""}],)"
    R"("pending":[{"key":"volume.name","volume":null,"replica":null,"from":null,"to":"\"vol7\"","why":"needs a restart"}]})";

}  // namespace

TEST_CASE("admin: a reload is answered with what it changes and what waits", "[admin][reload]") {
  AdminFixture admin;
  admin.reloader().set_answer(some_changes());
  for (const char* const body : {"", "{}", " { } "}) {
    const std::string reply = post(admin.address(), kReloadTarget, body);
    CHECK(status_of(reply) == "200");
    CHECK(body_of(reply) == kReloadJson);
  }
  CHECK(admin.reloader().asked() == 3);
}

TEST_CASE("admin: a reload of an invalid file is 409 with the place and the words", "[admin][reload]") {
  AdminFixture admin;
  admin.reloader().set_answer(make_error(Errc::kInvalid, "/etc/ringbolt.toml:7: unknown key \"x\""));
  const std::string reply = post(admin.address(), kReloadTarget, "");
  CHECK(code_of(reply) == "409 invalid_config");
  CHECK_THAT(reply, Contains(R"("message":"/etc/ringbolt.toml:7: unknown key \"x\"")"));
}

TEST_CASE("admin: who orders a reload while one goes on has one of its own, all of them together", "[admin][reload]") {
  AdminFixture admin;
  admin.reloader().hold(true);
  RawHttpClient first(admin.address()), second(admin.address()), third(admin.address());
  const std::string request = "POST " + kReloadTarget + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  REQUIRE(first.send(request));
  while (admin.reloader().asked() == 0) get(admin.address(), "/v1/node");  // it is under way
  REQUIRE(second.send(request));
  REQUIRE(third.send(request));
  // What is sent later is answered later only if they have arrived.
  CHECK(status_of(get(admin.address(), "/v1/node")) == "200");
  CHECK(admin.reloader().asked() == 1);
  admin.on_control_thread([&] { admin.reloader().hold(false); });
  for (RawHttpClient* const client : {&first, &second, &third}) CHECK(status_of(client->read_reply()) == "200");
  CHECK(admin.reloader().asked() <= 3);
  CHECK(admin.reloader().asked() >= 2);
}

TEST_CASE("admin: a reload is no order for web pages, has no options, and needs a daemon", "[admin][reload]") {
  AdminFixture admin;
  CHECK(code_of(post(admin.address(), kReloadTarget, "{}", "Origin: http://elsewhere\r\n")) == "403 forbidden");
  CHECK(code_of(get(admin.address(), kReloadTarget)) == "405 method_not_allowed");
  for (const char* const body : {"[]", "{", "null", "{\"force\":true}", "{}{}", "{\"a\":1,\"a\":1}"}) {
    CAPTURE(body);
    CHECK(code_of(post(admin.address(), kReloadTarget, body)) == "400 invalid");
    CHECK(check_reload(body).has_error());
  }
  CHECK_THAT(check_reload("{\"force\":true}").error().message, Contains("unknown key \"force\""));
  CHECK(admin.reloader().asked() == 0);
  admin.on_control_thread([&] { admin.server().unserve(); });
  CHECK(code_of(post(admin.address(), kReloadTarget, "")) == "503 stopping");
  AdminFixture starting({}, false);
  CHECK(code_of(post(starting.address(), kReloadTarget, "")) == "503 starting");
}

TEST_CASE("admin: a reload that takes too long is told so and goes on", "[admin][reload]") {
  AdminLimits limits;
  limits.order_time = std::chrono::milliseconds(50);
  AdminFixture admin(limits);
  admin.reloader().hold(true);
  CHECK(code_of(post(admin.address(), kReloadTarget, "")) == "503 unfinished");
  admin.on_control_thread([&] { admin.reloader().hold(false); });
  CHECK(status_of(post(admin.address(), kReloadTarget, "")) == "200");
}

}  // namespace ringbolt::test

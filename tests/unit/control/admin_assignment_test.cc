// Orders over the admin API: passed on exactly and once, answered with what became of them.
#include <catch2/catch.hpp>

#include "control/json.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;
using core::Authority;
using core::ReplicaAddress;
using std::chrono::milliseconds;

const std::string kTarget = "/v1/volumes/vol0/assignment";
const std::string kBody = R"({"role":"replica","epoch":4})";

std::string request(const std::string& body, const std::string& headers = {}) {
  return "POST " + kTarget + " HTTP/1.1\r\nHost: x\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST_CASE("admin: an assignment is passed on exactly and answered with the volume", "[admin]") {
  AdminFixture admin;
  const std::string reply = post(admin.address(), "/v1/volumes/vol1/assignment",
                                 R"({"role": "primary", "epoch": 9, "replicas": [{"id": "n2", "address": "127.0.0.1:20810"},
                                     {"id": "n3", "address": "10.0.0.3:1"}], "durability": "best_effort", "promote": true})");
  CHECK(status_of(reply) == "200");
  VolumeStatus after = volume_status("vol1");
  after.role = "primary";
  after.epoch = 9;
  CHECK(body_of(reply) == to_json(after));
  CHECK(status_of(post(admin.address(), kTarget, kBody)) == "200");
  const auto orders = admin.daemon().orders();
  REQUIRE(orders.size() == 2);
  CHECK(orders[0].first == "vol1");
  CHECK(orders[0].second ==
        AssignmentOrder{Role::kPrimary, Epoch(9), Durability::kBestEffort,
                        std::vector<ReplicaAddress>{{"n2", "127.0.0.1:20810"}, {"n3", "10.0.0.3:1"}}, Authority::kPromoted});
  CHECK(orders[1].first == "vol0");
  CHECK(orders[1].second == AssignmentOrder{Role::kReplica, Epoch(4), std::nullopt, std::nullopt, Authority::kAssigned});
}

TEST_CASE("admin: an assignment that cannot be meant is 400 and is not passed on", "[admin]") {
  AdminFixture admin;
  const std::string body =
      GENERATE(as<std::string>(), "", "{}", "x", R"({"role":"replica","epoch":4)", R"({"role":"replica","epoch":0})",
               R"({"role":"replica","epoch":4,"force":true})", R"({"role":"replica","epoch":4,"epoch":5})");
  CAPTURE(body);
  const std::string reply = post(admin.address(), kTarget, body);
  CHECK(code_of(reply) == "400 invalid");
  CHECK(admin.daemon().orders().empty());
}

TEST_CASE("admin: an assignment without a body is 400", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  client.send("POST " + kTarget + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK_THAT(client.read_all(), Contains("400") && Contains("the body is empty"));
}

TEST_CASE("admin: what the daemon says of an assignment becomes the status", "[admin]") {
  AdminFixture admin;
  const auto [errc, expected] = GENERATE(table<Errc, std::string>({{Errc::kInvalid, "400 invalid"},
                                                                   {Errc::kNotFound, "404 not_found"},
                                                                   {Errc::kStaleEpoch, "409 stale_epoch"},
                                                                   {Errc::kSuperseded, "409 superseded"},
                                                                   {Errc::kNotPermitted, "409 refused"},
                                                                   {Errc::kExists, "409 exists"},
                                                                   {Errc::kIo, "500 failed"},
                                                                   {Errc::kNoSpace, "500 failed"},
                                                                   {Errc::kCorrupt, "500 failed"},
                                                                   {Errc::kUnsupported, "501 unsupported"},
                                                                   {Errc::kBusy, "503 busy"}}));
  CAPTURE(expected);
  admin.daemon().refuse_orders(make_error(errc, "epoch 4 is over, the current one is 7"));
  const std::string reply = post(admin.address(), kTarget, kBody);
  CHECK(code_of(reply) == expected);
  CHECK_THAT(body_of(reply), Contains(R"("message":"epoch 4 is over, the current one is 7")"));
}

TEST_CASE("admin: an assignment of a volume that is not there is 404", "[admin]") {
  AdminFixture admin;
  const std::string reply = post(admin.address(), "/v1/volumes/none/assignment", kBody);
  CHECK(code_of(reply) == "404 not_found");
  CHECK_THAT(reply, Contains(R"(there is no volume \"none\" on this node)"));
  CHECK(admin.daemon().orders().size() == 1);
  // What no volume can be called does not get as far.
  CHECK(code_of(post(admin.address(), "/v1/volumes/a%2fb/assignment", kBody)) == "404 not_found");
  CHECK(code_of(post(admin.address(), "/v1/volumes//assignment", kBody)) == "404 not_found");
  CHECK(admin.daemon().orders().size() == 1);
}

TEST_CASE("admin: an assignment is a POST, and nothing else is", "[admin]") {
  AdminFixture admin;
  const std::string method = GENERATE(as<std::string>(), "GET", "PUT", "PATCH", "DELETE", "post");
  CAPTURE(method);
  RawHttpClient client(admin.address());
  client.send(method + " " + kTarget + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(kBody.size()) + "\r\n\r\n" + kBody);
  const std::string reply = client.read_reply();
  CHECK(code_of(reply) == "405 method_not_allowed");
  CHECK_THAT(reply, Contains("Allow: POST\r\n"));
  CHECK_THAT(post(admin.address(), "/v1/volumes/vol0/why", kBody), Contains("405") && Contains("Allow: GET, HEAD\r\n"));
  CHECK(code_of(post(admin.address(), "/v1/node", kBody)) == "405 method_not_allowed");
  CHECK(admin.daemon().orders().empty());
}

TEST_CASE("admin: a web page gives no orders", "[admin]") {
  AdminFixture admin;
  CHECK(code_of(post(admin.address(), kTarget, kBody, "Origin: http://example.com\r\nContent-Type: text/plain\r\n")) == "403 forbidden");
  CHECK(code_of(post(admin.address(), kTarget, kBody, "origin: null\r\n")) == "403 forbidden");
  CHECK(admin.daemon().orders().empty());
}

TEST_CASE("admin: an assignment of more bytes than a body may have is 413 and is not passed on", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  client.send(request(kBody + std::string(70'000, ' ')));
  CHECK(code_of(client.read_all()) == "413 body_too_large");
  CHECK(admin.daemon().orders().empty());
}

TEST_CASE("admin: a body of another length than announced is 400 and is not passed on", "[admin]") {
  AdminFixture admin;
  const auto announced = [&](const std::string& length) {
    RawHttpClient client(admin.address());
    client.send("POST " + kTarget + " HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + kBody);
    client.end();
    return client.read_all();
  };
  CHECK(code_of(announced("Content-Length: 1000\r\n")) == "400 bad_request");
  CHECK(code_of(announced("Content-Length: 10\r\n")).starts_with("400 invalid"));
  CHECK(code_of(announced("Content-Length: -1\r\n")) == "400 bad_request");
  CHECK(code_of(announced("Content-Length: 28x\r\n")) == "400 bad_request");
  CHECK(code_of(announced("Content-Length: 28\r\nContent-Length: 5\r\n")) == "400 bad_request");
  CHECK(code_of(announced("Content-Length: 28\r\nTransfer-Encoding: chunked\r\n")) == "400 bad_request");
  CHECK(code_of(announced("Transfer-Encoding: chunked\r\n")) == "400 bad_request");
  CHECK(admin.daemon().orders().empty());
  CHECK(status_of(announced("Content-Length: 28\r\n")) == "200");
  REQUIRE(kBody.size() == 28);
}

TEST_CASE("admin: a client that leaves within its order has not given it, one that leaves after it has", "[admin]") {
  AdminFixture admin;
  {
    RawHttpClient within(admin.address());
    const std::string bytes = request(kBody);
    within.send(bytes.substr(0, bytes.size() - 1));
  }
  admin.daemon().hold(true);
  {
    RawHttpClient after(admin.address());
    after.send(request(R"({"role":"none","epoch":8})"));
    while (admin.daemon().orders().empty()) std::this_thread::yield();
  }
  admin.daemon().hold(false);
  // It was carried out, once, and the other one never.
  std::string volume;
  do {
    volume = body_of(get(admin.address(), "/v1/volumes/vol0"));
  } while (volume.find("\"epoch\":8") == std::string::npos);
  REQUIRE(admin.daemon().orders().size() == 1);
  CHECK(admin.daemon().orders()[0].second.epoch == Epoch(8));
}

TEST_CASE("admin: an order that takes too long is 503, goes on, and is not given twice", "[admin]") {
  AdminLimits limits;
  limits.order_time = milliseconds(50);
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  CHECK(code_of(post(admin.address(), kTarget, kBody)) == "503 unfinished");
  CHECK(admin.daemon().orders().size() == 1);
  admin.daemon().hold(false);
  // The late answer finds nobody; the next order is one of its own.
  std::string reply;
  do {
    reply = post(admin.address(), kTarget, kBody);
  } while (status_of(reply) == "503");
  CHECK(status_of(reply) == "200");
}

TEST_CASE("admin: the late answer to an order is not taken for that of the next request", "[admin]") {
  AdminLimits limits;
  limits.order_time = milliseconds(50);
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  RawHttpClient client(admin.address());
  client.send(request(kBody));
  CHECK(code_of(client.read_reply()) == "503 unfinished");
  admin.daemon().hold(false);
  // Answered after the order: its answer has been thrown away by then.
  client.send("GET /v1/volumes/vol1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(body_of(client.read_all()) == to_json(volume_status("vol1")));
}

TEST_CASE("admin: an order has more time than a question", "[admin]") {
  AdminLimits limits;
  limits.answer_time = milliseconds(20);
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  RawHttpClient client(admin.address());
  client.send(request(kBody));
  while (admin.daemon().orders().empty()) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) CHECK(code_of(get(admin.address(), "/v1/volumes")) == "503 unavailable");
  admin.daemon().hold(false);
  CHECK(status_of(client.read_reply()) == "200");
}

TEST_CASE("admin: orders that the daemon has not answered are bounded, per volume and in all", "[admin]") {
  AdminLimits limits;
  limits.order_time = milliseconds(20);
  limits.orders_per_volume = 2;
  limits.orders = 3;
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  const std::string other = "/v1/volumes/vol1/assignment";
  for (int i = 0; i < 2; ++i) CHECK(code_of(post(admin.address(), kTarget, kBody)) == "503 unfinished");
  CHECK(code_of(post(admin.address(), kTarget, kBody)) == "503 busy");
  CHECK(code_of(post(admin.address(), other, kBody)) == "503 unfinished");
  CHECK(code_of(post(admin.address(), other, kBody)) == "503 busy");
  CHECK(admin.daemon().orders().size() == 3);
  admin.daemon().hold(false);
  std::string reply;
  do {
    reply = post(admin.address(), kTarget, kBody);
  } while (status_of(reply) == "503");
  CHECK(status_of(reply) == "200");
}

TEST_CASE("admin: orders on one connection are carried out one after another", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  std::string bytes;
  for (int epoch = 4; epoch < 14; ++epoch) bytes += request(R"({"role":"replica","epoch":)" + std::to_string(epoch) + "}");
  client.send(bytes);
  for (int epoch = 4; epoch < 14; ++epoch) CHECK_THAT(client.read_reply(), Contains("\"epoch\":" + std::to_string(epoch) + ","));
  const auto orders = admin.daemon().orders();
  REQUIRE(orders.size() == 10);
  for (size_t i = 0; i < orders.size(); ++i) CHECK(orders[i].second.epoch == Epoch(4 + i));
}

TEST_CASE("admin: no order is taken before and after the daemon's time", "[admin]") {
  AdminFixture admin({}, false);
  CHECK(code_of(post(admin.address(), kTarget, kBody)) == "503 starting");
  admin.on_control_thread([&] { admin.serve(); });
  CHECK(status_of(post(admin.address(), kTarget, kBody)) == "200");
  admin.on_control_thread([&] { admin.server().unserve(); });
  CHECK(code_of(post(admin.address(), kTarget, kBody)) == "503 stopping");
  CHECK(admin.daemon().orders().size() == 1);
}

TEST_CASE("admin: it can end while an order is being carried out", "[admin]") {
  auto admin = std::make_unique<AdminFixture>();
  admin->daemon().hold(true);
  RawHttpClient client(admin->address());
  client.send(request(kBody));
  while (admin->daemon().orders().empty()) std::this_thread::yield();
  admin.reset();
  CHECK(client.read_all().empty());
}

TEST_CASE("admin: why is the chain of facts behind the mode", "[admin]") {
  AdminFixture admin;
  CHECK(body_of(get(admin.address(), "/v1/volumes/vol0/why")) ==
        R"({"name":"vol0","role":"primary","epoch":3,"mode":"publish_healthy","reason":"","healthy":true,)"
        R"("facts":["assigned primary at epoch 3","replica n2 is in keepup and in the in-sync set"]})");
  CHECK(code_of(get(admin.address(), "/v1/volumes/none/why")) == "404 not_found");
}

}  // namespace
}  // namespace ringbolt::test

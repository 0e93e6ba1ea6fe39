// The admin server over real loopback sockets, with a daemon that is a fake.
#include "control/admin_server.h"

#include <catch2/catch.hpp>
#include <random>

#include "control/json.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

AdminLimits with(milliseconds AdminLimits::*field, milliseconds time) {
  AdminLimits limits;
  limits.*field = time;
  return limits;
}

TEST_CASE("admin: resources are served as JSON", "[admin]") {
  AdminFixture admin;
  const std::string reply = get(admin.address(), "/v1/volumes");
  CHECK(status_of(reply) == "200");
  CHECK_THAT(reply, Contains("Content-Type: application/json"));
  CHECK(body_of(reply) == to_json(std::vector{volume_status("vol0"), volume_status("vol1")}));
  CHECK(body_of(get(admin.address(), "/v1/volumes/vol1")) == to_json(volume_status("vol1")));
  CHECK(body_of(get(admin.address(), "/v1/volumes/vol%31")) == to_json(volume_status("vol1")));
  CHECK_THAT(body_of(get(admin.address(), "/v1/node")), Contains("\"id\":\"n1\""));
  CHECK(body_of(get(admin.address(), "/healthz")) == "{\"status\":\"ok\"}");
}

TEST_CASE("admin: what does not exist is 404 with an error object", "[admin]") {
  AdminFixture admin;
  const std::string target =
      GENERATE(as<std::string>(), "/index.html", "/v1", "/v2/volumes", "/v1/volumes/none", "/v1/volumes/",
               "/v1/volumes/vol0/x", "/healthz/x", "/v1/volumes/%ff%00", "/v1/nod");
  CAPTURE(target);
  const std::string reply = get(admin.address(), target);
  CHECK(status_of(reply) == "404");
  CHECK_THAT(body_of(reply), Catch::Matchers::StartsWith(
                                 R"({"error":{"code":"not_found","message":")"));
}

TEST_CASE("admin: another method is 405 and names the possible ones", "[admin]") {
  AdminFixture admin;
  const std::string method = GENERATE(as<std::string>(), "POST", "PUT", "PATCH", "BREW");
  CAPTURE(method);
  RawHttpClient client(admin.address());
  client.send(method + " /v1/volumes/vol0 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  const std::string reply = client.read_reply();
  CHECK(status_of(reply) == "405");
  CHECK_THAT(reply, Contains("Allow: GET, HEAD, DELETE\r\n"));
  CHECK_THAT(body_of(reply), Contains("\"method_not_allowed\""));
  client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(status_of(client.read_reply()) == "200");
}

TEST_CASE("admin: HEAD has the header of GET and no body", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  client.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string reply = client.read_all();
  CHECK(status_of(reply) == "200");
  CHECK_THAT(reply, Contains("Content-Length: 16\r\n"));
  CHECK(body_of(reply).empty());
}

TEST_CASE("admin: bytes that are no request are 400 and end the connection", "[admin]") {
  AdminFixture admin;
  const std::string bytes = GENERATE(
      as<std::string>(), "\x16\x03\x01\x02\x01\x01garbage\r\n\r\n", "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n", "GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n",
      "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "NBDMAGICIHAVEOPT\r\n\r\n");
  CAPTURE(bytes);
  RawHttpClient client(admin.address());
  client.send(bytes);
  const std::string reply = client.read_all();
  CHECK(status_of(reply) == "400");
  CHECK_THAT(body_of(reply), Contains("\"bad_request\""));
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
}

TEST_CASE("admin: a request without Host or with a bad path is 400", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  client.send("GET /healthz HTTP/1.1\r\n\r\n");
  CHECK(status_of(client.read_reply()) == "400");
  client.send("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(status_of(client.read_reply()) == "400");
  client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(status_of(client.read_reply()) == "400");
  client.send("GET /healthz HTTP/1.0\r\n\r\n");
  CHECK(status_of(client.read_all()) == "200");
}

TEST_CASE("admin: a header or body over the limit is refused, with a reply", "[admin]") {
  AdminFixture admin;
  RawHttpClient large_header(admin.address());
  large_header.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + std::string(300'000, 'a') +
                    "\r\n\r\n");
  CHECK(status_of(large_header.read_all()) == "431");
  RawHttpClient large_body(admin.address());
  large_body.send("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" +
                  std::string(300'000, 'a'));
  CHECK(status_of(large_body.read_all()) == "413");
  RawHttpClient chunked(admin.address());
  chunked.send("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    if (!chunked.send("2000\r\n" + std::string(0x2000, 'a') + "\r\n")) break;
  }
  CHECK(status_of(chunked.read_all()) == "413");
}

TEST_CASE("admin: requests on one connection are answered in order", "[admin]") {
  AdminFixture admin;
  RawHttpClient client(admin.address());
  client.send(
      "GET /v1/volumes/vol0 HTTP/1.1\r\nHost: x\r\n\r\n"
      "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
      "GET /v1/volumes/vol1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(body_of(client.read_reply()) == to_json(volume_status("vol0")));
  CHECK(status_of(client.read_reply()) == "404");
  CHECK(body_of(client.read_all()) == to_json(volume_status("vol1")));
}

TEST_CASE("admin: a client that sends half a request is closed", "[admin]") {
  AdminFixture admin(with(&AdminLimits::request_time, milliseconds(50)));
  RawHttpClient silent(admin.address());
  RawHttpClient half(admin.address());
  half.send("GET /healthz HTTP/1.1\r\nHos");
  CHECK(silent.read_all().empty());
  CHECK(half.read_all().empty());
}

TEST_CASE("admin: a client that does not read its reply is closed", "[admin]") {
  AdminFixture admin(with(&AdminLimits::reply_time, milliseconds(50)));
  std::vector<VolumeStatus> many(20'000, volume_status("vol0"));  // more than sockets buffer
  admin.daemon().set_answer(many);
  RawHttpClient client(admin.address());
  client.send("GET /v1/volumes HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
  // Ends when the connection is closed; if it never is, the send times out and fails.
  while (client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")) {
  }
  SUCCEED("the server closed the connection");
}

TEST_CASE("admin: a daemon that does not answer is 503, and one question is open at most",
          "[admin]") {
  AdminFixture admin(with(&AdminLimits::answer_time, milliseconds(50)));
  admin.daemon().hold(true);
  for (int i = 0; i < 5; ++i) {
    const std::string reply = get(admin.address(), "/v1/volumes");
    CHECK(status_of(reply) == "503");
    CHECK_THAT(body_of(reply), Contains("\"unavailable\""));
  }
  CHECK(status_of(get(admin.address(), "/healthz")) == "503");
  CHECK(admin.daemon().volumes_asked() == 1);
  admin.daemon().hold(false);
  // The late answer of the first question may still be on its way; the next ones are answered.
  std::string reply;
  do {
    reply = get(admin.address(), "/v1/volumes");
  } while (status_of(reply) == "503");
  CHECK(status_of(reply) == "200");
}

TEST_CASE("admin: who asks while a question is open gets an answer to a later one", "[admin]") {
  AdminFixture admin;
  const std::string request = "GET /v1/volumes/vol0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  VolumeStatus after = volume_status("vol0");
  after.clients = 99;
  admin.daemon().hold(true);
  RawHttpClient early(admin.address());
  early.send(request);
  while (admin.daemon().volumes_asked() == 0) std::this_thread::yield();
  admin.daemon().set_answer({after});
  std::vector<std::unique_ptr<RawHttpClient>> late;
  for (int i = 0; i < 20; ++i) {
    late.push_back(std::make_unique<RawHttpClient>(admin.address()));
    late.back()->send(request);
  }
  // Answered without the daemon and accepted after the others: they have been read by now.
  CHECK(status_of(get(admin.address(), "/nothing")) == "404");
  CHECK(admin.daemon().volumes_asked() == 1);
  admin.daemon().hold(false);
  CHECK(body_of(early.read_all()) == to_json(volume_status("vol0")));
  for (const auto& client : late) CHECK(body_of(client->read_all()) == to_json(after));
}

TEST_CASE("admin: before and after the daemon's time it says so", "[admin]") {
  AdminFixture admin({}, false);
  CHECK_THAT(get(admin.address(), "/healthz"), Contains("503") && Contains("\"starting\""));
  CHECK(status_of(get(admin.address(), "/nothing")) == "404");
  admin.on_control_thread([&] { admin.serve(); });
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
  admin.on_control_thread([&] { admin.server().unserve(); });
  CHECK_THAT(get(admin.address(), "/healthz"), Contains("503") && Contains("\"stopping\""));
}

TEST_CASE("admin: waiting connections make room for a new one", "[admin]") {
  AdminLimits limits;
  limits.connections = 4;
  AdminFixture admin(limits);
  std::vector<std::unique_ptr<RawHttpClient>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(std::make_unique<RawHttpClient>(admin.address()));
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
  CHECK(silent.front()->read_all().empty());
}

TEST_CASE("admin: connections at work are not given up for new ones", "[admin]") {
  AdminLimits limits;
  limits.connections = 2;
  AdminFixture admin(limits);
  admin.daemon().hold(true);
  RawHttpClient first(admin.address());
  RawHttpClient second(admin.address());
  first.send("GET /v1/node HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  second.send("GET /v1/volumes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  while (admin.daemon().node_asked() == 0) std::this_thread::yield();
  while (admin.daemon().volumes_asked() == 0) std::this_thread::yield();
  RawHttpClient third(admin.address());
  CHECK(third.read_all().empty());
  admin.daemon().hold(false);
  CHECK(status_of(first.read_all()) == "200");
  CHECK(status_of(second.read_all()) == "200");
}

TEST_CASE("admin: random bytes leave the server serving", "[admin]") {
  AdminFixture admin;
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = i % 2 == 0 ? "" : "GET /v1/volumes/vol0 HTTP/1.1\r\nHost: x\r\n\r\n";
    const size_t length = random() % 200;
    for (size_t n = 0; n < length; ++n) {
      const auto byte = static_cast<char>(random());
      if (bytes.empty() || random() % 2 == 0) {
        bytes += byte;
      } else {
        bytes[random() % bytes.size()] = byte;
      }
    }
    RawHttpClient client(admin.address());
    client.send(bytes);
    client.end();
    client.read_all();
  }
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
}

TEST_CASE("admin: an address in use is an error that names it", "[admin]") {
  AdminFixture admin;
  boost::asio::io_context io;
  AdminServer second(io);
  const Status status = second.listen(admin.address());
  REQUIRE(status.has_error());
  CHECK(status.error().code == Errc::kBusy);
  CHECK(status.error().message ==
        "admin: cannot listen on " + admin.address() + ": Address already in use");
  AdminServer third(io);
  CHECK_THAT(third.listen("192.0.2.1:1").error().message, Contains("192.0.2.1:1"));
}

TEST_CASE("admin: it can end while an answer is still to come", "[admin]") {
  auto admin = std::make_unique<AdminFixture>();
  admin->daemon().hold(true);
  RawHttpClient client(admin->address());
  client.send("GET /v1/volumes HTTP/1.1\r\nHost: x\r\n\r\n");
  while (admin->daemon().volumes_asked() == 0) std::this_thread::yield();
  admin.reset();
  CHECK(client.read_all().empty());
}

}  // namespace
}  // namespace ringbolt::test

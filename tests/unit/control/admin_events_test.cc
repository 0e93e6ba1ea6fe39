// GET /v1/events over real loopback sockets, with a daemon that is a fake.
#include <catch2/catch.hpp>
#include <memory>

#include "control/json.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;
using std::chrono::milliseconds;

AdminLimits quick() {
  AdminLimits limits;
  limits.look_interval = milliseconds(1);
  return limits;
}

const std::string kListen = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";

/// Ids of all events in a piece of a stream, in order.
std::vector<uint64_t> ids(const std::string& stream) {
  std::vector<uint64_t> found;
  for (size_t at = 0; (at = stream.find("id: ", at)) != std::string::npos; ++at) found.push_back(std::stoull(stream.substr(at + 4)));
  return found;
}

bool grows(const std::vector<uint64_t>& numbers) {
  return std::adjacent_find(numbers.begin(), numbers.end(), [](uint64_t a, uint64_t b) { return a >= b; }) == numbers.end();
}

TEST_CASE("events: a stream begins with the node, then everything as it is", "[admin][events]") {
  AdminFixture admin(quick());
  RawHttpClient client(admin.address());
  client.send(kListen);
  std::string begin = client.read_until("event: why\ndata: {\"name\":\"vol1\"");
  CHECK(status_of(begin) == "200");
  CHECK_THAT(begin, Contains("Content-Type: text/event-stream\r\n") && Contains("Transfer-Encoding: chunked\r\n") && Contains("Cache-Control: no-store\r\n"));
  const std::vector<std::string> parts = {"retry: 1000\n\n", "event: node\ndata: {\"id\":\"n1\"", "event: volume\ndata: {\"name\":\"vol0\"",
                                          "event: why\ndata: {\"name\":\"vol0\"", "event: volume\ndata: {\"name\":\"vol1\""};
  size_t at = 0;
  for (const std::string& part : parts) {
    CAPTURE(part);
    const size_t found = begin.find(part, at);
    REQUIRE(found != std::string::npos);
    at = found;
  }
  CHECK(ids(begin).size() == 5);
  CHECK(grows(ids(begin)));
}

TEST_CASE("events: what changes is told to everybody, with ids that grow", "[admin][events]") {
  AdminFixture admin(quick());
  RawHttpClient early(admin.address()), late(admin.address());
  early.send(kListen);
  std::string seen = early.read_until("\"vol1\"");
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "degraded";
  volume.reason = "x";
  volume.replicas[0].connected = false;
  admin.daemon().set_answer({volume, volume_status("vol1")});
  seen += early.read_until("\"mode\":\"degraded\",\"reason\":\"x\",\"healthy\":true,\"role\":\"primary\",\"epoch\":3,\"volume\":\"vol0\"");
  CHECK_THAT(seen, Contains("event: projection\n"));
  seen += early.read_until("event: session\ndata: {\"connected\":false");
  late.send(kListen);
  CHECK_THAT(late.read_until("\"vol1\""), Contains("\"mode\":\"degraded\"") && !Contains("event: projection"));
  admin.daemon().set_answer({volume_status("vol0"), volume_status("vol1")});
  seen += early.read_until("event: projection");
  CHECK_THAT(late.read_until("event: session\ndata: {\"connected\":true"), Contains("event: projection"));
  seen += early.read_until("event: session\ndata: {\"connected\":true");
  CHECK(grows(ids(seen)));
}

TEST_CASE("events: what a volume recorded between two looks is told", "[admin][events]") {
  AdminFixture admin(quick());
  RawHttpClient client(admin.address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  VolumeStatus volume = volume_status("vol0");
  auto moments = std::make_shared<VolumeMoments>();
  for (const char* mode : {"degraded", "publish_healthy"}) {
    auto moment = std::make_shared<VolumeMoment>();
    moment->number = moments->size() + 1;
    moment->unix_time_ms = 1234;
    moment->volume = volume;
    moment->volume.mode = mode;
    moments->push_back(std::move(moment));
  }
  volume.moments = moments;
  admin.daemon().set_answer({volume, volume_status("vol1")});
  client.read_until("event: projection\ndata: {\"mode\":\"degraded\"");
  CHECK_THAT(client.read_until("event: projection\ndata: {\"mode\":\"publish_healthy\""), Contains("\"time_ms\":1234}"));
}

TEST_CASE("events: HTTP/1.0 has the stream without chunks", "[admin][events]") {
  AdminFixture admin(quick());
  RawHttpClient client(admin.address());
  client.send("GET /v1/events HTTP/1.0\r\n\r\n");
  const std::string begin = client.read_until("\"vol1\"");
  CHECK(status_of(begin) == "200");
  CHECK_THAT(begin, !Contains("chunked") && Contains("\r\n\r\nretry: 1000\n\nid: "));
}

TEST_CASE("events: only GET", "[admin][events]") {
  AdminFixture admin(quick());
  for (const char* method : {"HEAD", "POST", "DELETE"}) {
    RawHttpClient client(admin.address());
    client.send(std::string(method) + " /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string reply = client.read_all();
    CHECK(status_of(reply) == "405");
    CHECK_THAT(reply, Contains("Allow: GET\r\n"));
  }
}

TEST_CASE("events: there are so many streams and no more; one that ends makes room", "[admin][events]") {
  AdminLimits limits = quick();
  limits.streams = 2;
  AdminFixture admin(limits);
  auto first = std::make_unique<RawHttpClient>(admin.address());
  RawHttpClient second(admin.address());
  for (RawHttpClient* client : {first.get(), &second}) {
    client->send(kListen);
    client->read_until("\"vol1\"");
  }
  const std::string refused = get(admin.address(), "/v1/events");
  CHECK(status_of(refused) == "503");
  CHECK(body_of(refused) == error_json(ErrorCode::kBusy, "2 event streams are open, as many as there may be"));
  first.reset();
  // That it has gone is seen some time later.
  while (true) {
    RawHttpClient third(admin.address());
    third.send(kListen);
    const std::string status = third.read_until("\r\n\r\n");
    if (status_of(status) == "200") break;
    REQUIRE(status_of(status) == "503");
  }
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
}

TEST_CASE("events: a reader that does not read is cut off, and the others notice nothing", "[admin][events]") {
  AdminLimits limits = quick();
  limits.reply_time = milliseconds(100);
  limits.streams = 2;
  AdminFixture admin(limits);
  std::vector<VolumeStatus> many;  // more than sockets buffer
  for (int i = 0; i < 5000; ++i) many.push_back(volume_status("vol" + std::to_string(i)));
  admin.daemon().set_answer(many);
  RawHttpClient deaf(admin.address());
  deaf.send(kListen);
  deaf.read_until("event: node");
  admin.daemon().set_answer({volume_status("vol0"), volume_status("vol1")});
  RawHttpClient reader(admin.address());
  reader.send(kListen);
  reader.read_until("event: node");
  // The only place is free again when the deaf one has been closed.
  while (true) {
    RawHttpClient third(admin.address());
    third.send(kListen);
    if (status_of(third.read_until("\r\n\r\n")) == "200") break;
  }
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "degraded";
  admin.daemon().set_answer({volume, volume_status("vol1")});
  reader.read_until("event: projection\ndata: {\"mode\":\"degraded\"");
  deaf.read_all();  // what was under way, and then the end
}

TEST_CASE("events: a reader that falls behind with changes is cut off", "[admin][events]") {
  AdminLimits limits = quick();
  limits.stream_bytes = 4096;
  AdminFixture admin(limits);
  RawHttpClient client(admin.address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  // More at once than may wait, however fast the reader is.
  VolumeStatus volume = volume_status("vol0");
  for (int i = 0; i < 100; ++i) volume.alarms.push_back({Alarm::kReplicaOutOfSync, "n" + std::to_string(i), "some words"});
  admin.daemon().set_answer({volume, volume_status("vol1")});
  CHECK_THAT(client.read_all(), !Contains("\"n99\""));
  CHECK(status_of(get(admin.address(), "/healthz")) == "200");
}

TEST_CASE("events: the stop of the daemon ends streams in order", "[admin][events]") {
  AdminFixture admin(quick());
  RawHttpClient client(admin.address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  admin.on_control_thread([&] { admin.server().unserve(); });
  CHECK_THAT(client.read_all(), Contains("event: end\ndata: {\"reason\":\"stopping\"}\n\n") && Catch::Matchers::EndsWith("0\r\n\r\n"));
  CHECK_THAT(get(admin.address(), "/v1/events"), Contains("503") && Contains("\"stopping\""));
}

TEST_CASE("events: they go on when the daemon is served again", "[admin][events]") {
  AdminFixture admin(quick(), false);
  CHECK_THAT(get(admin.address(), "/v1/events"), Contains("503") && Contains("\"starting\""));
  for (int round = 0; round < 2; ++round) {
    admin.on_control_thread([&] { admin.serve(); });
    RawHttpClient client(admin.address());
    client.send(kListen);
    client.read_until("\"vol1\"");
    admin.on_control_thread([&] { admin.server().unserve(); });
    CHECK_THAT(client.read_all(), Contains("event: end"));
  }
}

TEST_CASE("events: a silent stream shows that it is alive", "[admin][events]") {
  AdminLimits limits = quick();
  limits.heartbeat = milliseconds(5);
  AdminFixture admin(limits);
  RawHttpClient client(admin.address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  for (int i = 0; i < 3; ++i) client.read_until("\n:\n\n");
}

TEST_CASE("events: shards that do not answer are an alarm, while they do not", "[admin][events]") {
  AdminLimits limits = quick();
  limits.answer_time = milliseconds(50);
  AdminFixture admin(limits);
  RawHttpClient client(admin.address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  admin.daemon().hold(true);
  CHECK_THAT(client.read_until("\"active\":true"), Contains("\"code\":\"not_answering\"") && Contains("\"volume\":null"));
  const int asked = admin.daemon().volumes_asked();
  admin.daemon().hold(false);
  CHECK_THAT(client.read_until("\"active\":false"), Contains("\"code\":\"not_answering\""));
  CHECK(asked >= 1);
}

TEST_CASE("events: what a reader says is dropped, and its leaving is noticed while nothing is sent", "[admin][events]") {
  AdminLimits limits = quick();
  limits.streams = 1;
  AdminFixture admin(limits);
  auto client = std::make_unique<RawHttpClient>(admin.address());
  client->send(kListen);
  client->read_until("\"vol1\"");
  client->send(std::string(100'000, 'x') + kListen);
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "degraded";
  admin.daemon().set_answer({volume, volume_status("vol1")});
  client->read_until("event: projection");
  client.reset();
  while (true) {
    RawHttpClient next(admin.address());
    next.send(kListen);
    if (status_of(next.read_until("\r\n\r\n")) == "200") break;
  }
}

TEST_CASE("events: the server can end while streams are open", "[admin][events]") {
  auto admin = std::make_unique<AdminFixture>(quick());
  RawHttpClient client(admin->address());
  client.send(kListen);
  client.read_until("\"vol1\"");
  admin->daemon().hold(true);
  admin.reset();
  client.read_all();
}

}  // namespace
}  // namespace ringbolt::test

// Orders to create and delete volumes, over the admin API and from ringboltctl: passed on exactly, answered with what became of them.
#include <catch2/catch.hpp>

#include "control/json.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;
using ctl::call;

std::string delete_volume(const std::string& address, const std::string& name, const std::string& body = {}) {
  RawHttpClient client(address);
  client.send("DELETE /v1/volumes/" + name + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  return client.read_all();
}

TEST_CASE("admin: a volume is created with 201 and deleted with 200", "[admin]") {
  AdminFixture admin;
  const std::string created = post(admin.address(), "/v1/volumes", R"({"name": "new", "size": "1MiB", "path": "/dev/sdb"})");
  CHECK(status_of(created) == "201");
  CHECK_THAT(created, Contains(R"("name":"new")") && Contains(R"("size":1048576)") && Contains(R"("role":"none")"));
  REQUIRE(admin.daemon().created().size() == 1);
  CHECK(admin.daemon().created()[0].path == "/dev/sdb");
  const std::string deleted = delete_volume(admin.address(), "new");
  CHECK(status_of(deleted) == "200");
  CHECK(body_of(deleted) == R"({"name":"new","kept":["/dev/kept"]})");
  CHECK(admin.daemon().removed() == std::vector<std::string>{"new"});
}

TEST_CASE("admin: a deletion is forced only if its body says so, and nothing else", "[admin]") {
  AdminFixture admin;
  for (const char* const bad : {"[]", "{", " ", "true", R"({"force": 1})", R"({"force": true, "force": true})", R"({"forced": true})"}) {
    CAPTURE(bad);
    CHECK(code_of(delete_volume(admin.address(), "vol0", bad)) == "400 invalid");
  }
  CHECK(admin.daemon().removed().empty());
  CHECK(status_of(delete_volume(admin.address(), "vol0", R"({"force": true})")) == "200");
  static_cast<void>(delete_volume(admin.address(), "vol0", R"({"force": false})"));
  static_cast<void>(delete_volume(admin.address(), "vol0", "{}"));
  CHECK(admin.daemon().removed() == std::vector<std::string>{"vol0 by force", "vol0", "vol0"});
}

TEST_CASE("admin: an order for a volume that cannot be meant is not passed on", "[admin]") {
  AdminFixture admin;
  const std::string bad = post(admin.address(), "/v1/volumes", R"({"name": "new"})");
  CHECK(code_of(bad) == "400 invalid");
  CHECK_THAT(bad, Contains(R"(no \"size\")"));
  CHECK(code_of(post(admin.address(), "/v1/volumes", R"({"name": "new", "size": 4096})", "Origin: http://example.com\r\n")) == "403 forbidden");
  CHECK(code_of(delete_volume(admin.address(), "a%2fb")) == "404 not_found");
  CHECK(admin.daemon().created().empty());
  CHECK(admin.daemon().removed().empty());
  CHECK(code_of(delete_volume(admin.address(), "none")) == "404 not_found");
}

TEST_CASE("admin: what the daemon says of such an order becomes the status", "[admin]") {
  AdminFixture admin;
  admin.daemon().refuse_orders(make_error(Errc::kExists, "there is a volume \"vol0\" already"));
  CHECK(code_of(post(admin.address(), "/v1/volumes", R"({"name": "vol0", "size": 4096})")) == "409 exists");
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "it has the role primary"));
  CHECK(code_of(delete_volume(admin.address(), "vol0")) == "409 refused");
}

TEST_CASE("ctl: volume create sends what it was told, and shows the volume", "[ctl]") {
  AdminFixture admin;
  const ctl::Outcome outcome = call(admin.address(), {"volume", "create", "new", "--size", "64MiB", "--wal-size", "16MiB", "--path", "/a", "--wal-path", "/b"});
  CHECK(outcome.err.empty());
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("new"));
  REQUIRE(admin.daemon().created().size() == 1);
  const VolumeConfig sent = admin.daemon().created()[0];
  CHECK(sent.size_bytes == 64u << 20);
  CHECK(sent.wal_bytes == 16u << 20);
  CHECK(sent.path == "/a");
  CHECK(sent.wal_path == "/b");
  admin.daemon().refuse_orders(make_error(Errc::kExists, "there is a volume \"new\" already"));
  const ctl::Outcome again = call(admin.address(), {"volume", "create", "new", "--size", "64MiB"});
  CHECK(again.code == 1);
  CHECK_THAT(again.err, Contains("already") && Contains("next: ringboltctl status"));
}

TEST_CASE("ctl: volume create refuses what cannot be meant without asking anybody", "[ctl]") {
  const std::vector<std::string> arguments = GENERATE(std::vector<std::string>{"volume", "create", "new"},
                                                      std::vector<std::string>{"volume", "create", "--size", "1MiB"},
                                                      std::vector<std::string>{"volume", "create", "new", "--size", "many"},
                                                      std::vector<std::string>{"volume", "create", "a/b", "--size", "1MiB"},
                                                      std::vector<std::string>{"volume", "create", "new", "--size", "1MiB", "--wal-size", "x"},
                                                      std::vector<std::string>{"volume", "delete", "new"},
                                                      std::vector<std::string>{"volume", "delete", "--yes"});
  const ctl::Outcome outcome = call("127.0.0.1:1", arguments);
  CHECK(outcome.code == 2);
  CHECK(!outcome.err.empty());
}

TEST_CASE("ctl: volume delete wants a yes, and says what stays", "[ctl]") {
  AdminFixture admin;
  CHECK_THAT(call(admin.address(), {"volume", "delete", "vol1"}).err, Contains("--yes"));
  CHECK(admin.daemon().removed().empty());
  const ctl::Outcome outcome = call(admin.address(), {"volume", "delete", "vol1", "--yes"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "volume vol1 is deleted\n/dev/kept stays as it is: it was there before the volume\n");
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "volume vol0 is not deleted: it has 1 clients"));
  const ctl::Outcome refused = call(admin.address(), {"volume", "delete", "vol0", "--yes"});
  CHECK(refused.code == 1);
  CHECK(refused.err == "ringboltctl: volume vol0 is not deleted: it has 1 clients\n");
  CHECK(admin.daemon().removed() == std::vector<std::string>{"vol1", "vol0"});
}

TEST_CASE("ctl: volume delete forces what it is told to, and says that what stays may be another's", "[ctl]") {
  AdminFixture admin;
  CHECK_THAT(call(admin.address(), {"volume", "delete", "vol1", "--force"}).err, Contains("--yes"));
  const ctl::Outcome outcome = call(admin.address(), {"volume", "delete", "vol1", "--yes", "--force"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("/dev/kept stays as it is: see whether it is another's"));
  CHECK(admin.daemon().removed() == std::vector<std::string>{"vol1 by force"});
}

TEST_CASE("admin: a volume gets the size that was ordered, and the answer shows it", "[admin][resize]") {
  AdminFixture admin;
  const std::string answer = post(admin.address(), "/v1/volumes/vol0/resize", R"({"size": "8TiB"})");
  CHECK(status_of(answer) == "200");
  CHECK_THAT(answer, Contains(R"("name":"vol0")") && Contains(R"("size":8796093022208)"));
  CHECK(admin.daemon().resized() == std::vector<std::pair<std::string, uint64_t>>{{"vol0", uint64_t{8} << 40}});
}

TEST_CASE("admin: a size that cannot be meant is not passed on, and what the daemon says becomes the status", "[admin][resize]") {
  AdminFixture admin;
  const auto refused = [&](const std::string& body, const std::string& words) {
    const std::string answer = post(admin.address(), "/v1/volumes/vol0/resize", body);
    CAPTURE(body);
    CHECK(code_of(answer) == "400 invalid");
    CHECK_THAT(answer, Contains(words));
  };
  refused("{}", R"(no \"size\")");
  refused(R"({"size": 1048577})", "size: 1048577 bytes are not whole blocks");
  refused(R"({"size": "32TiB"})", "size: 32TiB is out of range");
  refused(R"({"size": 4096, "name": "vol0"})", R"(unknown key \"name\")");
  refused(R"([4096])", "expected an object, got an array");
  const char* const order = R"({"size": 4096})";
  CHECK(code_of(post(admin.address(), "/v1/volumes/vol0/resize", order, "Origin: http://example.com\r\n")) == "403 forbidden");
  CHECK(admin.daemon().resized().empty());
  CHECK(code_of(post(admin.address(), "/v1/volumes/none/resize", order)) == "404 not_found");
  const auto [error, code] = GENERATE(table<Errc, std::string>(
      {{Errc::kInvalid, "400 invalid"}, {Errc::kNotPermitted, "409 refused"}, {Errc::kBusy, "503 busy"}, {Errc::kNoSpace, "500 failed"}, {Errc::kIo, "500 failed"}}));
  admin.daemon().refuse_orders(make_error(error, "volume vol0 stays at 4096 bytes"));
  const std::string answer = post(admin.address(), "/v1/volumes/vol0/resize", order);
  CHECK(code_of(answer) == code);
  CHECK_THAT(answer, Contains("volume vol0 stays at 4096 bytes"));
}

TEST_CASE("ctl: volume resize sends the size, shows the volume, and says what to do next", "[ctl][resize]") {
  AdminFixture admin;
  const ctl::Outcome outcome = call(admin.address(), {"volume", "resize", "vol0", "64GiB"});
  CHECK(outcome.err.empty());
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("vol0") && Contains("68719476736 bytes"));
  CHECK(admin.daemon().resized() == std::vector<std::pair<std::string, uint64_t>>{{"vol0", uint64_t{64} << 30}});
  const ctl::Outcome unknown = call(admin.address(), {"volume", "resize", "none", "64GiB"});
  CHECK(unknown.code == 1);
  CHECK_THAT(unknown.err, Contains("none") && Contains("next: ringboltctl status"));
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "volume vol0 is replica here; its primary makes it larger"));
  const ctl::Outcome refused = call(admin.address(), {"volume", "resize", "vol0", "64GiB"});
  CHECK(refused.code == 1);
  CHECK_THAT(refused.err, Contains("its primary makes it larger") && Contains("next: ringboltctl volume show vol0"));
}

TEST_CASE("ctl: volume resize refuses what cannot be meant without asking anybody", "[ctl][resize]") {
  const std::vector<std::string> arguments = GENERATE(std::vector<std::string>{"volume", "resize", "vol0"}, std::vector<std::string>{"volume", "resize"},
                                                      std::vector<std::string>{"volume", "resize", "vol0", "much"},
                                                      std::vector<std::string>{"volume", "resize", "vol0", "1GiB", "2GiB"});
  const ctl::Outcome outcome = call("127.0.0.1:1", arguments);
  CHECK(outcome.code == 2);
  CHECK(!outcome.err.empty());
}

}  // namespace
}  // namespace ringbolt::test

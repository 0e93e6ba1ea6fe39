// Comparisons of copies over the admin API: passed on exactly, and answered with how far they are.
#include <catch2/catch.hpp>

#include "control/json.h"
#include "control/rebuild_request.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

using Catch::Matchers::Contains;

const std::string kVerifyTarget = "/v1/volumes/vol0/verify";

VolumeStatus compared() {
  VolumeStatus volume = volume_status("vol0");
  VerifyStatus done;
  done.replica = "n2";
  done.state = "completed";
  done.bytes_total = 65536;
  done.bytes_compared = 61440;
  done.bytes_in_log = 4096;
  done.bytes_differing = 12288;
  done.differing = {{4096, 8192}, {32768, 4096}};
  done.seconds_since_begin = 9;
  done.seconds_since_end = 4;
  done.first_lsn = 10;
  done.last_lsn = 20;
  volume.verifications.push_back(done);
  VerifyStatus running;
  running.replica = "n3";
  running.state = "running";
  running.bytes_total = 65536;
  running.first_lsn = 11;
  volume.verifications.push_back(running);
  return volume;
}

const std::string kJson =
    R"({"name":"vol0","replicas":[{"id":"n2","state":"completed","bytes_total":65536,"bytes_compared":61440,"bytes_in_log":4096,)"
    R"("bytes_differing":12288,"differing":[{"offset":4096,"length":8192},{"offset":32768,"length":4096}],"problem":"",)"
    R"("seconds_since_begin":9,"seconds_since_end":4,"first_lsn":10,"last_lsn":20},)"
    R"({"id":"n3","state":"running","bytes_total":65536,"bytes_compared":0,"bytes_in_log":0,"bytes_differing":0,"differing":[],)"
    R"("problem":"","seconds_since_begin":0,"seconds_since_end":null,"first_lsn":11,"last_lsn":null}]})";

}  // namespace

TEST_CASE("admin: a comparison is begun with 202, looked at with 200, and is no part of the volume itself", "[admin]") {
  AdminFixture admin;
  admin.daemon().set_answer({compared()});
  const std::string begun = post(admin.address(), kVerifyTarget, R"({"replica": "n2"})");
  CHECK(status_of(begun) == "202");
  CHECK(body_of(begun) == kJson);
  CHECK(status_of(post(admin.address(), kVerifyTarget, "{}")) == "202");
  const auto orders = admin.daemon().verifies();
  REQUIRE(orders.size() == 2);
  CHECK(orders[0] == std::pair(std::string("vol0"), std::optional<std::string>("n2")));
  CHECK(orders[1] == std::pair(std::string("vol0"), std::optional<std::string>()));
  const std::string seen = get(admin.address(), kVerifyTarget);
  CHECK(status_of(seen) == "200");
  CHECK(body_of(seen) == kJson);
  CHECK(admin.daemon().verifies().size() == 2);
  CHECK_THAT(get(admin.address(), "/v1/volumes/vol0"), !Contains("bytes_compared"));
}

TEST_CASE("admin: a volume that was never compared has an empty list", "[admin]") {
  AdminFixture admin;
  CHECK(body_of(get(admin.address(), kVerifyTarget)) == R"({"name":"vol0","replicas":[]})");
  CHECK_THAT(get(admin.address(), "/v1/volumes/none/verify"), Contains("404") && Contains("not_found"));
}

TEST_CASE("admin: a comparison that cannot be meant is 400, one that cannot be is what the daemon says", "[admin]") {
  AdminFixture admin;
  const auto [body, words] = GENERATE(table<std::string, std::string>({
      {"", "the body is empty; an object, with or without \\\"replica\\\", is expected"},
      {"[]", "expected an object"},
      {R"({"replica": null})", "replica: expected a string"},
      {R"({"replica": "a/b"})", "replica: "},
      {R"({"replicas": "n2"})", "the nearest known one is \\\"replica\\\""},
      {R"({"replica": "n2", "replica": "n3"})", "is given twice"},
  }));
  CAPTURE(body);
  CHECK_THAT(post(admin.address(), kVerifyTarget, body), Contains("400") && Contains("invalid") && Contains(words));
  CHECK(admin.daemon().verifies().empty());
  CHECK_THAT(post(admin.address(), kVerifyTarget, R"({"replica": "n9"})"), Contains("404") && Contains(R"(no replica \"n9\")"));
  CHECK_THAT(post(admin.address(), "/v1/volumes/none/verify", "{}"), Contains("404") && Contains("not_found"));
  admin.daemon().refuse_orders(make_error(Errc::kBusy, "replica n2 of volume vol0 is being compared already"));
  CHECK_THAT(post(admin.address(), kVerifyTarget, "{}"), Contains("503") && Contains("busy") && Contains("compared already"));
}

TEST_CASE("admin: comparisons are looked at from web pages, too, but not begun; and take no other method", "[admin]") {
  AdminFixture admin;
  CHECK_THAT(post(admin.address(), kVerifyTarget, "{}", "Origin: http://example.com\r\n"), Contains("403") && Contains("forbidden"));
  RawHttpClient client(admin.address());
  client.send("DELETE " + kVerifyTarget + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK_THAT(client.read_all(), Contains("405") && Contains("Allow: GET, HEAD, POST\r\n"));
  CHECK(admin.daemon().verifies().empty());
  RawHttpClient page(admin.address());
  page.send("GET " + kVerifyTarget + " HTTP/1.1\r\nHost: x\r\nOrigin: http://example.com\r\nConnection: close\r\n\r\n");
  CHECK_THAT(page.read_all(), Contains(" 200 "));
}

}  // namespace ringbolt::test

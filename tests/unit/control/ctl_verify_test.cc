// ringboltctl verify: what the daemon is sent, what is shown, how it ends.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <sstream>

#include "control/json.h"
#include "ctl/commands.h"
#include "ctl/verify_view.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

using Catch::Matchers::Contains;
using test::AdminFixture;

VerifyStatus equal(const std::string& replica = "n2") {
  VerifyStatus one;
  one.replica = replica;
  one.state = "completed";
  one.bytes_total = one.bytes_compared = uint64_t{1} << 30;
  one.seconds_since_end = 1;
  return one;
}

VerifyStatus different() {
  VerifyStatus one = equal();
  one.bytes_differing = 12288;
  one.differing = {{4096, 8192}, {32768, 4096}};
  return one;
}

VerifyStatus running(uint64_t compared) {
  VerifyStatus one = equal();
  one.state = "running";
  one.bytes_compared = compared;
  one.seconds_since_begin = 10;
  one.seconds_since_end.reset();
  return one;
}

VolumeStatus volume(std::vector<VerifyStatus> verifications) {
  VolumeStatus status = test::volume_status("vol0");
  status.verifications = std::move(verifications);
  return status;
}

VerifyLook look(const VerifyStatus& one) { return look_at_verify(json::parse(verify_json(volume({one}))), "n2"); }

}  // namespace

TEST_CASE("ctl: verify sends what it was told, and equal is exit code 0", "[ctl]") {
  AdminFixture admin;
  admin.daemon().set_answer({volume({equal(), equal("n3")})});
  const Outcome all = call(admin.address(), {"verify", "vol0"});
  CHECK(all.code == 0);
  CHECK(all.err.empty());
  CHECK(all.out == "n2: equal: 1.0 GiB compared\nn3: equal: 1.0 GiB compared\n");
  const Outcome one = call(admin.address(), {"verify", "vol0", "--replica", "n2"});
  CHECK(one.code == 0);
  CHECK(one.out == "n2: equal: 1.0 GiB compared\n");
  CHECK(call(admin.address(), {"verify", "vol0", "--json"}).out == verify_json(volume({equal(), equal("n3")})) + "\n");
  const auto orders = admin.daemon().verifies();
  REQUIRE(orders.size() == 3);
  CHECK(orders[0].second == std::nullopt);
  CHECK(orders[1].second == "n2");
}

TEST_CASE("ctl: copies that differ are exit code 1, with every range and what to do", "[ctl]") {
  AdminFixture admin;
  admin.daemon().set_answer({volume({different(), equal("n3")})});
  const Outcome outcome = call(admin.address(), {"verify", "vol0"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out ==
        "n2: DIFFERENT in 12.0 KiB: 1.0 GiB compared\nn3: equal: 1.0 GiB compared\n"
        "n2 differs from the primary's copy:\n  from byte 4096: 8192 bytes\n  from byte 32768: 4096 bytes\n");
  CHECK(outcome.err == "ringboltctl: not equal to the primary's copy: n2\nnext: ringboltctl rebuild vol0 n2 copies it anew from the primary\n");
  const Outcome as_json = call(admin.address(), {"verify", "vol0", "--json"});
  CHECK(as_json.code == 1);
  CHECK(as_json.out == verify_json(volume({different(), equal("n3")})) + "\n");
}

TEST_CASE("ctl: a comparison that ended early is exit code 1, and is not called equal", "[ctl]") {
  AdminFixture admin;
  VerifyStatus failed = equal();
  failed.state = "failed";
  failed.problem = "the session ended";
  failed.bytes_compared = uint64_t{512} << 20;
  admin.daemon().set_answer({volume({failed})});
  const Outcome outcome = call(admin.address(), {"verify", "vol0"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out == "n2: not known: 512.0 MiB compared; it ended early: the session ended\n");
  CHECK_THAT(outcome.err, Contains("not compared to the end: n2") && Contains("next: "));
  // What it found until then stands.
  VerifyStatus found = different();
  found.state = "failed";
  found.problem = "the session ended";
  CHECK(look(found).end == VerifyEnd::kDifferent);
  admin.daemon().set_answer({volume({})});
  CHECK(call(admin.address(), {"verify", "vol0", "--replica", "n2"}).code == 1);
}

TEST_CASE("ctl: a comparison that is refused, misused or unanswered", "[ctl]") {
  AdminFixture admin;
  const Outcome unknown = call(admin.address(), {"verify", "vol0", "--replica", "n9"});
  CHECK(unknown.code == 1);
  CHECK(unknown.err == "ringboltctl: volume vol0 has no replica \"n9\"\nnext: ringboltctl volume show vol0 lists its replicas\n");
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "replica n2 of volume vol0 is not in step"));
  CHECK_THAT(call(admin.address(), {"verify", "vol0"}).err, Contains("not in step") && Contains("next: ringboltctl status"));
  const size_t sent = admin.daemon().verifies().size();
  CHECK(call(admin.address(), {"verify"}).code == 2);
  CHECK(call(admin.address(), {"verify", "vol0", "--replica", "a/b"}).code == 2);
  CHECK(call(admin.address(), {"verify", "vol0", "n2"}).code == 2);
  CHECK(admin.daemon().verifies().size() == sent);
  CHECK(call("127.0.0.1:1", {"verify", "vol0"}).code == 3);
}

TEST_CASE("ctl: a comparison that runs tells how far it is and what it has found", "[ctl]") {
  VerifyStatus one = running(uint64_t{256} << 20);
  CHECK(look(one).end == VerifyEnd::kRunning);
  CHECK(look(one).percent == 25u);
  CHECK(look(one).words == "256.0 MiB of 1.0 GiB, 31 s left");
  one.bytes_in_log = uint64_t{256} << 20;
  one.bytes_differing = 4096;
  CHECK(look(one).percent == 50u);
  CHECK(look(one).words == "512.0 MiB of 1.0 GiB, 4.0 KiB differ so far, 11 s left");
  CHECK(look(running(0)).words == "0 B of 1.0 GiB");
}

TEST_CASE("ctl: ranges beyond those that are listed are said to be there", "[ctl]") {
  VerifyStatus one = different();
  one.bytes_differing += 40960;
  const auto lines = look(one).ranges;
  REQUIRE(lines.size() == 3);
  CHECK(lines[2] == "  and 40.0 KiB more in further ranges");
}

}  // namespace ringbolt::ctl

// ringboltctl reload: what it shows, how it ends.
#include "ctl/reload_command.h"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "control/json.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl {
namespace {

using Catch::Matchers::Contains;
using test::AdminFixture;

ReloadReport report() {
  return {"/etc/ringbolt.toml",
          {{"rebuild.rate_max", "", "", "\"0\"", "\"20MiB\"", Effect::kAtReload}},
          {{{"node.shards", "", "", "1", "2", Effect::kAtStart}, "needs a restart"},
           {{"volume.replica.address", "vol0", "n2", "\"h:1\"", "\"h:2\"", Effect::kAtReload}, "the assignment given at run time is in force"}}};
}

}  // namespace

TEST_CASE("ctl: reload shows what is in force now and what waits, and is exit code 0", "[ctl][reload]") {
  AdminFixture admin;
  admin.reloader().set_answer(report());
  const Outcome shown = call(admin.address(), {"reload"});
  CHECK(shown.code == 0);
  CHECK(shown.err.empty());
  CHECK(shown.out ==
        "KEY                     OF        BEFORE  NOW      STATE\n"
        "rebuild.rate_max        -         \"0\"     \"20MiB\"  applied\n"
        "node.shards             -         1       2        needs a restart\n"
        "volume.replica.address  vol0, n2  \"h:1\"   \"h:2\"    not in force\n"
        "  why         the assignment given at run time is in force\n");
  CHECK(call(admin.address(), {"--json", "reload"}).out == to_json(report()) + "\n");
}

TEST_CASE("ctl: reload of a file with nothing new says so", "[ctl][reload]") {
  AdminFixture admin;
  const Outcome shown = call(admin.address(), {"reload"});
  CHECK(shown.code == 0);
  CHECK(shown.out == "/etc/ringbolt/ringbolt.toml has nothing new\n");
}

TEST_CASE("ctl: reload of an invalid file is exit code 1 with the place and what to do", "[ctl][reload]") {
  AdminFixture admin;
  admin.reloader().set_answer(make_error(Errc::kInvalid, "/etc/ringbolt.toml:7: unknown key \"x\""));
  const Outcome shown = call(admin.address(), {"reload"});
  CHECK(shown.code == 1);
  CHECK(shown.out.empty());
  CHECK(shown.err == "ringboltctl: /etc/ringbolt.toml:7: unknown key \"x\"\nnext: correct the file and reload again; the daemon goes on with what it had\n");
}

TEST_CASE("ctl: reload takes no arguments, and shows what another daemon says as far as it goes", "[ctl][reload]") {
  CHECK(call({"reload", "vol0"}).code == 2);
  CHECK(render_reload(boost::json::parse(R"({"applied":[{"key":"a.b"}]})")) == "KEY  OF    BEFORE  NOW  STATE\na.b  ?, ?  ?       ?    applied\n");
  CHECK(render_reload(boost::json::parse("7")) == "? has nothing new\n");
}

}  // namespace ringbolt::ctl

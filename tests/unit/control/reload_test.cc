// What a reload does with each change: applied, or pending with a reason.
#include "control/reload.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace ringbolt {
namespace {

Config two_volumes() {
  Config config;
  config.node_id = "n1";
  config.data_dir = "/data";
  config.file = "/etc/f.toml";
  for (const char* const name : {"vol0", "vol1"}) {
    VolumeConfig volume;
    volume.name = name;
    volume.size_bytes = 1u << 30;
    volume.role = Role::kPrimary;
    volume.replicas = {{"n2", "h:2"}, {"n3", "h:3"}};
    config.volumes.push_back(volume);
  }
  return config;
}

std::vector<std::string> names(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> result;
  for (const ConfigChange& change : changes) result.push_back(name_of(change));
  return result;
}

using Names = std::vector<std::string>;

TEST_CASE("reload: a file that says the same changes nothing", "[reload]") {
  const Config config = two_volumes();
  const ReloadPlan plan = plan_reload(config, config, config, {});
  CHECK(plan.report.file == "/etc/f.toml");
  CHECK(plan.report.applied.empty());
  CHECK(plan.report.pending.empty());
  CHECK(plan.moves.empty());
  CHECK(config_changes(config, plan.next).empty());
}

TEST_CASE("reload: what can change is in force, and what cannot stays and is named", "[reload]") {
  const Config before = two_volumes();
  Config file = before;
  file.shards = 7;
  file.spin_ns = 1000;
  file.rebuild_parallel = 9;
  file.log_level = log::Level::kDebug;
  file.log_format = log::Format::kJson;
  file.volumes[1].size_bytes *= 2;
  file.volumes[1].replicas[1].address = "h:9";
  const ReloadPlan plan = plan_reload(before, before, file, {});
  CHECK(names(plan.report.applied) == Names{"node.spin", "rebuild.parallel", "log.level", "volume.replica.address (vol1, n3)"});
  CHECK(restart_words(plan.report) == "node.shards, log.format, volume.size (vol1)");
  CHECK(plan.moves == std::vector<ReplicaMove>{{"vol1", "n3", "h:9"}});
  CHECK(plan.next.shards == 0);
  CHECK(plan.next.spin_ns == 1000);
  CHECK(plan.next.rebuild_parallel == 9);
  CHECK(plan.next.log_level == log::Level::kDebug);
  CHECK(plan.next.log_format == log::Format::kText);
  CHECK(plan.next.volumes[1].size_bytes == before.volumes[1].size_bytes);
  CHECK(plan.next.volumes[1].replicas[1].address == "h:9");
  // The next reload finds the rest again, and just that.
  const ReloadPlan again = plan_reload(plan.next, file, file, {});
  CHECK(again.report.applied.empty());
  CHECK(restart_words(again.report) == "node.shards, log.format, volume.size (vol1)");
  // And taken back in the file there is nothing to wait for.
  file.shards = 0;
  file.log_format = log::Format::kText;
  file.volumes[1].size_bytes = before.volumes[1].size_bytes;
  CHECK(plan_reload(plan.next, file, file, {}).report.pending.empty());
}

TEST_CASE("reload: a replica whose address was not taken is pending, and stays where it was", "[reload]") {
  const Config before = two_volumes();
  Config file = before;
  file.volumes[0].replicas[0].address = "h:8";
  file.volumes[0].replicas[1].address = "h:9";
  file.volumes[1].replicas[0].address = "h:7";
  file.spin_ns = 5;
  ReloadPlan plan = plan_reload(before, before, file, {});
  REQUIRE(plan.moves.size() == 3);
  take_back_moves(plan, before, {"", "another assignment is in force", ""});
  CHECK(names(plan.report.applied) == Names{"node.spin", "volume.replica.address (vol0, n2)", "volume.replica.address (vol1, n2)"});
  REQUIRE(plan.report.pending.size() == 1);
  CHECK(name_of(plan.report.pending[0].change) == "volume.replica.address (vol0, n3)");
  CHECK(plan.report.pending[0].why == "another assignment is in force");
  CHECK(restart_words(plan.report).empty());
  CHECK(plan.next.volumes[0].replicas[0].address == "h:8");
  CHECK(plan.next.volumes[0].replicas[1].address == "h:3");
  CHECK(plan.next.volumes[1].replicas[0].address == "h:7");
}

TEST_CASE("reload: a replica's address in an assignment that is not in force waits with it", "[reload]") {
  const Config before = two_volumes();
  Config file = before;
  file.volumes[0].epoch = 2;
  file.volumes[0].replicas[0].address = "h:8";
  const ReloadPlan plan = plan_reload(before, before, file, {});
  CHECK(plan.report.applied.empty());
  CHECK(plan.moves.empty());
  CHECK(restart_words(plan.report) == "volume.epoch (vol0), volume.replica.address (vol0, n2)");
}

TEST_CASE("reload: the command line's log options win over the file, which is told when it changes", "[reload]") {
  Config in_force = two_volumes();
  in_force.log_level = log::Level::kError;
  in_force.log_format = log::Format::kJson;
  const LogOptions options{log::Level::kError, log::Format::kJson};
  const Config before = two_volumes();  // info, text: overridden from the start
  const ReloadPlan same = plan_reload(in_force, before, before, options);
  CHECK(same.report.applied.empty());
  CHECK(same.report.pending.empty());
  Config file = before;
  file.log_level = log::Level::kDebug;
  const ReloadPlan plan = plan_reload(in_force, before, file, options);
  CHECK(plan.report.applied.empty());
  REQUIRE(plan.report.pending.size() == 1);
  CHECK(plan.report.pending[0].change.key == "log.level");
  CHECK(plan.report.pending[0].why == "--log-level of the command line wins");
  CHECK(!plan.report.pending[0].needs_restart());
  CHECK(plan.next.log_level == log::Level::kError);
  // Each by itself.
  const ReloadPlan format_only = plan_reload(in_force, before, file, {std::nullopt, log::Format::kJson});
  CHECK(names(format_only.report.applied) == Names{"log.level"});
}

}  // namespace
}  // namespace ringbolt

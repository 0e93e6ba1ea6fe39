#include "exhaustive.h"

namespace ringbolt::sim {

namespace {

using io::kMillisecond;

Plan base() {
  Plan plan;
  plan.profile = "exhaustive";
  plan.nodes = 2;
  plan.volume_bytes = uint64_t{2} * kBlockBytes;
  plan.connections = 1;
  plan.depth = 2;
  plan.cells_max = 8;
  plan.aligned_percent = 50;
  plan.fua_percent = 30;
  plan.pause_max = 4 * kMillisecond;
  plan.requests_max = 6;
  plan.replica_timeout = 100 * kMillisecond;
  plan.duration = 60 * kMillisecond;
  plan.whole_first = true;
  return plan;
}

Story story(std::string name, std::string what, std::vector<Event> events, io::Nanos duration = 60 * kMillisecond) {
  Story made{std::move(name), std::move(what), base()};
  made.plan.events = std::move(events);
  made.plan.duration = duration;
  return made;
}

}  // namespace

std::vector<Story> stories() {
  std::vector<Story> all;
  all.push_back(story("create", "a new volume on two nodes", {}));
  all.back().plan.whole_first = false;
  all.push_back(story("keepup", "six requests", {}));
  all.push_back(story("catch-up", "a replica that was away", {{.at = 2 * kMillisecond, .act = Act::kKill, .node = 1, .lasting = 150 * kMillisecond}}, 400 * kMillisecond));
  all.push_back(story("rebuild", "an ordered rebuild", {{.at = 5 * kMillisecond, .act = Act::kRebuild, .node = 1}}, 150 * kMillisecond));
  all.push_back(story("new-disk", "a replica that comes back empty", {{.at = 2 * kMillisecond, .act = Act::kNewDisk, .node = 1, .lasting = 10 * kMillisecond}},
                      300 * kMillisecond));
  all.push_back(story("hand-over", "the role moves, and nobody fails", {{.at = 5 * kMillisecond, .act = Act::kHandOver, .node = 1}}, 200 * kMillisecond));
  all.push_back(story("fail-over", "the primary dies, its replica is promoted, it rejoins",
                      {{.at = 5 * kMillisecond, .act = Act::kFailOver, .node = 0}}, 300 * kMillisecond));
  all.push_back(story("restart", "the primary is stopped and started", {{.at = 5 * kMillisecond, .act = Act::kRestart, .node = 0, .lasting = 5 * kMillisecond}},
                      200 * kMillisecond));
  all.push_back(story("raise", "the epoch is raised in place", {{.at = 5 * kMillisecond, .act = Act::kRaiseEpoch, .node = 0}}, 100 * kMillisecond));
  return all;
}

std::vector<Plan> with_each_fault(const Story& story, uint64_t part, uint64_t parts) {
  std::vector<Plan> all;
  const Outcome calm = run_in_child(story.plan);
  if (calm.broken) return {story.plan};
  uint64_t number = 0;
  const auto add = [&](Act act, uint32_t node, uint64_t operation, uint64_t how, io::Nanos lasting) {
    if (number++ % parts != part) return;
    Plan plan = story.plan;
    plan.events.insert(plan.events.begin(), Event{.at = 0, .act = act, .node = node, .amount = operation * 4 + how, .lasting = lasting});
    all.push_back(std::move(plan));
  };
  for (uint32_t node = 0; node < story.plan.nodes; ++node) {
    for (uint64_t operation = 1; operation <= calm.disk_operations[node]; ++operation) {
      for (const uint64_t how : {0, 1}) add(Act::kKillAtIo, node, operation, how, 5 * kMillisecond);
      for (const uint64_t how : {0, 1, 2}) add(Act::kPowerLossAtIo, node, operation, how, 5 * kMillisecond);
      for (const uint64_t how : {0, 1, 2}) add(Act::kFailIo, node, operation, how, 20 * kMillisecond);
    }
    for (uint64_t send = 1; send <= calm.sends[node]; ++send) {
      for (const uint64_t how : {0, 1, 2}) add(Act::kCutAtSend, node, send, how, 0);
    }
  }
  return all;
}

}  // namespace ringbolt::sim

#include "control/reload.h"

#include <cstdlib>
#include <utility>

#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

constexpr const char* kNeedsRestart = "needs a restart";
constexpr const char* kReplicaAddress = "volume.replica.address";

const std::string& address_of(const Config& config, const ConfigChange& change) {
  for (const VolumeConfig& volume : config.volumes) {
    if (volume.name != change.volume) continue;
    for (const ReplicaConfig& replica : volume.replicas) {
      if (replica.id == change.replica) return replica.address;
    }
  }
  RINGBOLT_ASSERT(false);  // the change is of one that both files have
  std::abort();
}

}  // namespace

bool PendingChange::needs_restart() const { return why == kNeedsRestart; }

ReloadPlan plan_reload(const Config& in_force, const Config& before, const Config& now, const LogOptions& options) {
  ReloadPlan plan;
  plan.next = in_force;
  plan.report.file = now.file;
  for (const ConfigChange& change : config_changes(in_force, now)) {
    const bool level = change.key == "log.level" && options.level;
    const bool format = change.key == "log.format" && options.format;
    if (level || format) {
      // Told when it is new: else every reload of a daemon with the option would tell it.
      const bool is_new = level ? before.log_level != now.log_level : before.log_format != now.log_format;
      if (is_new) plan.report.pending.push_back({change, level ? "--log-level of the command line wins" : "--log-format of the command line wins"});
    } else if (change.effect == Effect::kAtStart) {
      plan.report.pending.push_back({change, kNeedsRestart});
    } else {
      take_change(plan.next, now, change);
      if (change.key == kReplicaAddress) plan.moves.push_back({change.volume, change.replica, address_of(now, change)});
      plan.report.applied.push_back(change);
    }
  }
  return plan;
}

void take_back_moves(ReloadPlan& plan, const Config& in_force, const std::vector<std::string>& problems) {
  RINGBOLT_ASSERT(problems.size() == plan.moves.size());
  size_t move = 0;
  std::vector<ConfigChange> applied;
  for (ConfigChange& change : plan.report.applied) {
    const std::string problem = change.key == kReplicaAddress ? problems[move++] : std::string();
    if (problem.empty()) {
      applied.push_back(std::move(change));
      continue;
    }
    take_change(plan.next, in_force, change);
    plan.report.pending.push_back({std::move(change), problem});
  }
  plan.report.applied = std::move(applied);
}

std::string restart_words(const ReloadReport& report) {
  std::string words;
  for (const PendingChange& pending : report.pending) {
    if (!pending.needs_restart()) continue;
    if (!words.empty()) words += ", ";
    words += name_of(pending.change);
  }
  return words;
}

}  // namespace ringbolt

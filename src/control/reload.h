// Reading the configuration file again while the daemon runs: what of it takes effect, what waits, and why. Pure, but
// for the interface at the end.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "control/config.h"
#include "control/config_changes.h"
#include "control/daemon.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// Of the command line, which wins over the file for as long as the daemon runs.
struct LogOptions {
  std::optional<log::Level> level;
  std::optional<log::Format> format;
};

/// A change that is in the file and not in force.
struct PendingChange {
  ConfigChange change;
  std::string why;  ///< for people: "needs a restart"
  [[nodiscard]] bool needs_restart() const;
  bool operator==(const PendingChange&) const = default;
};

struct ReloadReport {
  std::string file;
  std::vector<ConfigChange> applied;
  std::vector<PendingChange> pending;
};

/// What a reload is to do.
struct ReloadPlan {
  Config next;                     ///< to be in force: what was, with what changes now
  ReloadReport report;
  std::vector<ReplicaMove> moves;  ///< of `report.applied`, in its order
};

/// `in_force`: what the daemon runs with. `before`, `now`: the file as it was read last, and as it is.
ReloadPlan plan_reload(const Config& in_force, const Config& before, const Config& now, const LogOptions& options);

/// Some of the plan's moves were not made: for each move why not, empty if it was. They become pending, and `next` is as before.
void take_back_moves(ReloadPlan& plan, const Config& in_force, const std::vector<std::string>& problems);

/// "node.shards, volume.size (vol0)": what is pending for want of a restart alone. Empty: nothing.
std::string restart_words(const ReloadReport& report);

/// Who carries a reload out.
class Reloader {
 public:
  virtual ~Reloader() = default;
  /// `done` is called once, later, on the control thread. Errors, and nothing has changed then: kInvalid, kNotFound, kIo, the
  /// file cannot be read or is not valid; the message says where and what.
  virtual void reload(std::function<void(const Result<ReloadReport>&)> done) = 0;
};

}  // namespace ringbolt

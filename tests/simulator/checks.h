// What must hold, whatever happens (src/ARCHITECTURE.md, "What must hold"). Each rule has a name, which a failure tells.
#pragma once

#include <string>
#include <vector>

#include "cluster.h"

namespace ringbolt::sim {

struct Broken {
  std::string rule;
  std::string text;
};

class Checks {
 public:
  explicit Checks(Cluster& cluster) : c_(cluster), seen_(cluster.size()), settled_(cluster.size()) {}

  /// Cheap: after every step. Empty: all is well.
  [[nodiscard]] std::optional<Broken> after_step();
  /// Looks at every process and disk: after some steps.
  [[nodiscard]] std::optional<Broken> now_and_then();
  /// All that clients have seen so far: takes its time.
  [[nodiscard]] std::optional<Broken> history();
  /// Reads one copy's log and base image off its disk.
  [[nodiscard]] std::optional<Broken> disk(size_t index) const;
  /// Requires: everybody has everything, nothing is under way.
  [[nodiscard]] std::optional<Broken> at_rest();
  /// Requires: likewise, and that all processes have been stopped.
  [[nodiscard]] std::optional<Broken> after_stop();

 private:
  /// The positions of a process when it was looked at last.
  struct Seen {
    uint64_t boot = 0;
    std::string role;
    uint64_t epoch = 0;
    uint64_t head = 0, written = 0, durable = 0, checkpoint = 0, committed = 0;
  };
  [[nodiscard]] std::optional<Broken> positions(size_t index);
  [[nodiscard]] std::optional<Broken> unusable(size_t index) const;
  [[nodiscard]] std::optional<Broken> replicas();
  [[nodiscard]] std::optional<Broken> replica(const VolumeStatus& primary, const ReplicaStatus& seen, const std::vector<std::string>& recorded) const;
  [[nodiscard]] std::optional<Broken> majority(const VolumeStatus& primary);
  [[nodiscard]] std::optional<Broken> base_limits(const VolumeStatus& primary, const std::vector<std::string>& recorded);
  [[nodiscard]] std::optional<Broken> recorded_term(const VolumeStatus& primary) const;
  [[nodiscard]] bool has_all_it_had(size_t index) const;
  [[nodiscard]] std::optional<Broken> one_heir() const;
  [[nodiscard]] std::optional<Broken> verification(const VolumeStatus& status) const;

  Cluster& c_;
  std::vector<Seen> seen_;
  /// What was committed when a majority was seen not to have it, and which logs the copies had then.
  std::optional<uint64_t> alone_with_;
  std::vector<std::pair<uint64_t, bool>> alone_logs_;
  std::vector<uint64_t> settled_;  ///< the key of a copy's log since all in its base image has been stable once
  Lsn committed_;
};

}  // namespace ringbolt::sim

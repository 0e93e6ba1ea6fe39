// What is known of the coordinator and of the nodes in it, as values for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coord/node_record.h"

namespace ringbolt::coord {

struct CoordinatorStatus {
  std::string cluster;
  std::vector<std::string> endpoints;
  std::string endpoint;                       ///< the one that answered last; empty: none yet
  bool answering = false;                     ///< the last call was answered
  std::optional<double> last_answer_seconds;  ///< ago
  std::string last_error;                     ///< empty: there was none
  std::string registration;                   ///< unregistered | registered | refused
  std::string reason;                         ///< why it is not registered
  std::string lease_id;                       ///< empty: none
  int64_t lease_seconds = 0;
  bool lease_valid = false;                   ///< surely
  std::optional<double> lease_seconds_left;   ///< for which it is surely valid
  bool nodes_current = false;                 ///< `nodes` is being watched; else it is as it was
  NodeRecord this_node;
  std::vector<NodeRecord> nodes;              ///< by id
};

/// Thread: the control thread.
class CoordinatorView {
 public:
  virtual ~CoordinatorView() = default;
  [[nodiscard]] virtual CoordinatorStatus status() const = 0;
};

}  // namespace ringbolt::coord

// What this node has been told to be for a volume, by a configuration file, an operator or a
// coordinator, and the rule by which a copy takes it or refuses it. Pure values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/term_history.h"
#include "ringbolt/types.h"

namespace ringbolt::core {

struct ReplicaAddress {
  std::string id;       ///< the node's id, at most 63 bytes
  std::string address;  ///< HOST:PORT of its replication listener, at most 127 bytes
  bool operator==(const ReplicaAddress&) const = default;
};

/// Ordered by (epoch, version). Within an epoch only the replicas and the durability change, each
/// time with a higher version; a new role needs a higher epoch.
struct Assignment {
  Epoch epoch;
  uint64_t version = 0;
  Role role = Role::kNone;
  Durability durability = Durability::kSyncAll;
  std::vector<ReplicaAddress> replicas;  ///< primary: its replicas, at most kReplicasMax
  bool operator==(const Assignment&) const = default;
  /// Says the same, whatever its version: delivering it again changes nothing.
  [[nodiscard]] bool same_content(const Assignment& other) const {
    return epoch == other.epoch && role == other.role && durability == other.durability && replicas == other.replicas;
  }
};

/// How an assignment came.
enum class Authority : uint8_t {
  kAssigned,  ///< by a configuration file or a coordinator: it knows which copy is fit
  kPromoted,  ///< by an operator. A copy that becomes primary must not be a stale one
  kForced,    ///< likewise, and the operator takes the loss if it is
};

/// What a copy knows of itself when it is given an assignment.
struct CopyFacts {
  Epoch promised;             ///< the highest epoch that it has promised to; Epoch 0: none
  Incarnation incarnation;    ///< of its own last opening for writing in that epoch; 0: another node's epoch
  std::optional<TermStart> last_term;
  bool base_usable = true;
  bool blank = false;         ///< nothing logged, no volume told yet
  bool handed_over = false;   ///< the last primary left it everything, and to nobody else
  std::optional<Assignment> current;
};

enum class Verdict : uint8_t {
  kTake,
  kNothingNew,   ///< delivered again
  kStaleEpoch,   ///< the reason names the current one
  kRefused,
};

struct Judgement {
  Verdict verdict = Verdict::kTake;
  std::string reason;  ///< for people
};

/// Whether the copy takes `next`. `next.version` is not looked at: the caller numbers what is taken.
Judgement judge(const Assignment& next, Authority authority, const CopyFacts& copy);

}  // namespace ringbolt::core

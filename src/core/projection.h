// What a volume's state is called: derived from facts for people and APIs, never an input to a
// decision. Pure.
#pragma once

#include <span>
#include <string>

#include "ringbolt/types.h"

namespace ringbolt::core {

struct ReplicaView {
  std::string id;
  bool connected = false;
  bool in_session = false;
  bool in_sync = false;
  bool needs_rebuild = false;
  std::string reason;
  bool recovering = false;  ///< its session has not proven yet that it has everything
};

struct VolumeView {
  Role role = Role::kNone;
  bool role_applied = true;
  std::string fenced;          ///< a primary that had to give way: to whom; else empty
  bool failed = false;
  std::string failure;
  bool base_usable = true;
  std::string damage;  ///< why not, if it is not the rebuild mark
  bool base_full = false;
  bool receiver_ready = true;      ///< replica
  bool has_session = false;        ///< replica: a primary ships to it
  bool shipper_configured = true;  ///< primary
  bool serving = false;            ///< primary: the term record is committed
  std::span<const ReplicaView> replicas;
};

struct Projection {
  std::string mode;
  std::string reason;
  bool healthy = false;
  bool operator==(const Projection&) const = default;
};

Projection project(const VolumeView& volume);

}  // namespace ringbolt::core

// The daemon as the control thread sees it: what the admin server may ask. Implemented in
// src/shard/ (threads and volumes); used by src/control/admin_server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/config.h"
#include "control/status.h"
#include "ringbolt/result.h"

namespace ringbolt {

class Daemon {
 public:
  virtual ~Daemon() = default;
  /// Asks each volume's shard and calls `done` once with all answers, in configuration order. `done`
  /// runs on some shard's thread: the caller posts to its own. Never blocks.
  virtual void volumes(std::function<void(std::vector<VolumeStatus>)> done) = 0;
  virtual void node(std::function<void(NodeStatus)> done) = 0;
  /// Clean stop: no new clients, drain, checkpoint, mark, close. `done` runs on some shard's thread.
  virtual void stop(std::function<void()> done) = 0;

  /// Called on any thread if the daemon cannot go on (a shard's ring failed): `reason` for people.
  /// Does not return.
  using Fatal = std::function<void(std::string reason)>;

  /// Starts shards, opens or creates every volume and listens. Blocks until clients can connect.
  static Result<std::unique_ptr<Daemon>> start(const Config& config, Fatal fatal);
};

}  // namespace ringbolt

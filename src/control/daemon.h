// The daemon as the control thread sees it: what the admin server may ask. Implemented in
// src/shard/ (threads and volumes); used by src/control/admin_server.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/config.h"
#include "control/node_metrics.h"
#include "control/status.h"
#include "core/assignment.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// An assignment as it is asked for: what it does not mention stays.
struct AssignmentOrder {
  Role role = Role::kNone;
  Epoch epoch;
  std::optional<Durability> durability;
  /// Absent: as they are if the role stays, else none. At most kReplicasMax, ids and addresses unique.
  std::optional<std::vector<core::ReplicaAddress>> replicas;
  core::Authority authority = core::Authority::kAssigned;
  bool operator==(const AssignmentOrder&) const = default;
};

/// What an operator wants of a replica: a full rebuild, or (not `wanted`) that none goes on or begins until one is wanted.
struct RebuildOrder {
  std::string replica;
  bool wanted = false;
  bool operator==(const RebuildOrder&) const = default;
};

/// What became of a volume's files.
struct RemovedVolume {
  std::string name;
  std::vector<std::string> kept;  ///< files and devices that stay as they are: they were there before it, or (by force) may be others'
  bool operator==(const RemovedVolume&) const = default;
};

/// A replica of `volume` is found at another address from now on.
struct ReplicaMove {
  std::string volume, replica, address;
  bool operator==(const ReplicaMove&) const = default;
};

class Daemon {
 public:
  virtual ~Daemon() = default;
  /// Asks each volume's shard and calls `done` once with all answers, in configuration order. `done`
  /// runs on some shard's thread: the caller posts to its own. Never blocks.
  virtual void volumes(std::function<void(std::vector<VolumeStatus>)> done) = 0;
  virtual void node(std::function<void(NodeStatus)> done) = 0;
  /// Likewise: what every shard and every volume has counted so far.
  virtual void metrics(std::function<void(NodeMetrics)> done) = 0;
  /// Gives `volume` an assignment; `done` is called once, on some shard's thread, when it is in force
  /// and durable (a role change drains first, and what was acknowledged before is as safe as the order says), or refused with
  /// nothing changed. Orders for one volume are carried out one after another, but none waits for one that lacks nothing but
  /// that proof. Never blocks. Errors: kNotFound, there is no such volume; kStaleEpoch, the message names the current epoch;
  /// kSuperseded, another order took its place, which may have been in effect but never proven; kInvalid, it cannot be meant (a replica that is
  /// this node); kNotPermitted, this copy must not take it (it may be stale, its base image is
  /// unusable, the role needs a higher epoch); kIo, it failed.
  virtual void assign(const std::string& volume, const AssignmentOrder& order,
                      std::function<void(Result<VolumeStatus>)> done) = 0;
  /// Gives `volume` an order for a rebuild; `done` is called once, on some shard's thread, when it is taken: the rebuild
  /// itself begins later. Never blocks. Errors: kNotFound, no such volume or replica; kNotPermitted, this node is not its
  /// primary; kBusy, kIo.
  virtual void rebuild(const std::string& volume, const RebuildOrder& order, std::function<void(Result<VolumeStatus>)> done) = 0;
  /// Begins to compare the copy of `replica`, or (nullopt) of every replica, with `volume`'s here; `done` is called once, on some
  /// shard's thread, when that has begun: the volume's verifications tell how it goes on. Never blocks. Errors: kNotFound, no
  /// such volume or replica; kNotPermitted, this node is not its primary or the replica is not in step; kBusy, it is being
  /// compared already; kIo.
  virtual void verify(const std::string& volume, const std::optional<std::string>& replica, std::function<void(Result<VolumeStatus>)> done) = 0;
  /// Makes a volume, without a role; `done` is called once, on some thread of the daemon, when it is there for good, also
  /// after a crash, or not at all. Such orders, and those to remove one, are carried out one after another. Never blocks. Of
  /// `volume` only name, sizes and paths matter. Errors: kExists, there is one of that name, or one of its files is another one's;
  /// kInvalid, it cannot be meant (a path that is not possible, a base image that holds data); kNotPermitted, there is no room
  /// for it in the daemon's memory, or too many; kBusy, the daemon stops, or all memory is in use just now; kNoSpace, kIo.
  virtual void create(const VolumeConfig& volume, std::function<void(Result<VolumeStatus>)> done) = 0;
  /// Removes a volume that was created at run time, and its files; likewise. `force`: also one that could not be opened; files at
  /// paths that were given with it stay then, as nobody could look whether they are still its own. Errors, with nothing changed:
  /// kNotFound; kNotPermitted, it has a role or clients, could not be opened, or is of the configuration file; kBusy, the daemon
  /// stops; kIo, which may also mean that it is gone but not all of its files: the message says so, and whether the next start goes on.
  virtual void remove(const std::string& volume, bool force, std::function<void(Result<RemovedVolume>)> done) = 0;
  /// Makes a volume larger, with all its copies, while clients go on; likewise, when that is so. Errors, with the volume as it was:
  /// kNotFound; kInvalid, it would be smaller; kNotPermitted, this node is not its primary, or a replica that has to follow does not;
  /// kBusy; kNoSpace; kIo.
  virtual void resize(const std::string& volume, uint64_t bytes, std::function<void(Result<VolumeStatus>)> done) = 0;
  /// Any thread.
  [[nodiscard]] virtual size_t volume_count() const = 0;
  /// Puts into force what of `config` can change while the daemon runs (config_table.h), but for replicas' addresses, of which
  /// just `moves` change: an address in the file counts only as long as no assignment given at run time has taken the file's
  /// place. `done` is called once, on some shard's thread, with a word on each move: empty, or why it was not made. Never blocks.
  /// Thread: the control thread.
  virtual void change(const Config& config, const std::vector<ReplicaMove>& moves, std::function<void(std::vector<std::string>)> done) = 0;
  /// Clean stop: no new clients, drain, checkpoint, mark, close. `done` runs on some shard's thread.
  virtual void stop(std::function<void()> done) = 0;

  /// Called on any thread if the daemon cannot go on (a shard's ring failed): `reason` for people.
  /// Does not return.
  using Fatal = std::function<void(std::string reason)>;

  /// Starts shards, opens or creates every volume and listens. Blocks until clients can connect.
  static Result<std::unique_ptr<Daemon>> start(const Config& config, Fatal fatal);
};

}  // namespace ringbolt

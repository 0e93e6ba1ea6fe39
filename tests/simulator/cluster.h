// The state that the parts of one run share: the world, the hosts, who is primary, what may be relied on. Faults change the hosts,
// the operator assigns roles, checks look.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../sim/log_reader.h"
#include "clients.h"
#include "node.h"
#include "plan.h"

namespace ringbolt::sim {

struct Host {
  std::unique_ptr<Node> node;
  // What its configuration file says: read at its next start.
  Role role = Role::kReplica;
  Epoch epoch{1};
  bool member = true;         ///< one of the volume's copies
  io::Nanos start_at = 0;     ///< while its process is down: not before
  bool held = false;          ///< not before that is over either: it must not come up as what it was
  /// It lost power, or records that were not flushed, since it was last known to have everything: of what was acknowledged and not
  /// flushed it may lack some.
  bool lost_unflushed = false;
  /// Its data is gone, or may be: nothing may be destroyed elsewhere before it has everything again. The number is of the
  /// process that did not know yet.
  std::optional<uint64_t> destroyed_at;

  [[nodiscard]] bool destroyed() const { return destroyed_at.has_value(); }
  bool log_rotted = false;  ///< that is how, and it was the primary's
  [[nodiscard]] bool up() const { return node->up(); }
};

class Cluster {
 public:
  explicit Cluster(const Plan& plan);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] size_t size() const { return hosts.size(); }
  [[nodiscard]] const std::string& id(size_t index) const { return hosts[index].node->id(); }
  [[nodiscard]] size_t index_of(const std::string& id) const;
  /// The other members, as a primary's assignment names them.
  [[nodiscard]] std::vector<core::ReplicaAddress> replicas_of(size_t index) const;
  [[nodiscard]] size_t members() const;

  // --- processes; clients that are there leave first -----------------------------------------------
  void boot(size_t index);
  void kill(size_t index);
  void power_loss(size_t index, io::SimPowerLoss mode);
  void begin_stop(size_t index);

  // --- looking -------------------------------------------------------------------------------------
  /// Requires: up.
  [[nodiscard]] VolumeStatus status(size_t index) const { return hosts[index].node->volume().status(); }
  [[nodiscard]] bool is_failed(size_t index) const;
  /// It has to be rebuilt.
  [[nodiscard]] bool is_damaged(size_t index) const;
  /// Up, and takes clients' requests.
  [[nodiscard]] bool admits(size_t index) const;
  /// Up, and answers clients.
  [[nodiscard]] bool serves(size_t index) const;
  [[nodiscard]] std::optional<Superblock> superblock(size_t index) const { return read_superblock(hosts[index].node->host(), Node::directory()); }
  /// As the primary sees it, which must be up.
  [[nodiscard]] bool in_step(size_t replica) const;
  /// The primary of the present epoch has answered clients that are still there.
  [[nodiscard]] bool established() const { return clients.connected() && clients.node() == hosts[primary].node.get() && clients.answered(); }
  /// Who has everything that was acknowledged. Of a primary that may acknowledge more this is so at this moment only.
  [[nodiscard]] std::vector<size_t> fit_now() const;
  /// Everybody is up and has everything, and clients are served.
  [[nodiscard]] bool whole() const;

  const Plan& plan;
  io::SimWorld world;
  std::vector<Host> hosts;
  Clients clients;
  size_t primary = 0;  ///< who is to be; while a role moves, who was
  Epoch epoch{1};      ///< the highest that was given to anybody
  /// Who had everything that was acknowledged when the primary became one. Until it acknowledges something they still have.
  std::vector<size_t> fit;
  bool given_up = false;  ///< acknowledged data was, on purpose (best_effort), since clients came last
};

}  // namespace ringbolt::sim

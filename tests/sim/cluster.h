// A whole cluster in one deterministic simulation: nodes with the real volume, replication and
// acceptor code on simulated disks, network and clock, clients, and what must always hold.
//
//   Cluster c({.seed = 3});
//   c.configure_pair();           // n1 primary of epoch 1, n2 its replica
//   c.start_all();
//   c.begin_load(0);
//   c.run_for(kSecond);
//   c.kill(0); c.start(0); ...
//   c.finish();                   // stops the load, checks the history of every cell
//
// Assertions are Catch2's; a scenario runs under INFO("seed ...") so that a failure names its seed.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cell_model.h"
#include "io/sim_io.h"
#include "log_reader.h"
#include "repl/peer_acceptor.h"
#include "repl/volume.h"
#include "workload.h"

namespace ringbolt::sim {

struct ClusterOptions {
  uint64_t seed = 1;
  size_t nodes = 2;
  Durability durability = Durability::kSyncAll;
  uint64_t volume_bytes = 2u << 20;
  uint64_t wal_bytes = 8u << 20;
  uint64_t pool_bytes = 24u << 20;
  io::Nanos replica_timeout = 400 * io::kMillisecond;
};

/// What the configuration file of a node would say about the volume.
struct Assignment {
  Role role = Role::kReplica;
  Epoch epoch{1};
  std::vector<size_t> replicas;
  uint64_t wal_bytes = 0;  ///< 0: the cluster's
};

class Cluster {
 public:
  explicit Cluster(const ClusterOptions& options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// Node 0 primary of epoch 1, all others its replicas.
  void configure_pair();
  /// Takes effect at the node's next start.
  Assignment& assignment(size_t node) { return nodes_[node]->assignment; }

  // --- starting and ending nodes (0-based; names are n1, n2, ...) -------------------------------
  void start(size_t node);
  void start_all();
  /// The start fails; returns why.
  Error start_failing(size_t node);
  void kill(size_t node);
  void power_loss(size_t node, io::SimPowerLoss mode);
  /// Clean stop; the load must not be attached to it.
  void stop(size_t node);
  /// Begins a clean stop; stop_done() says when it is over, then call reap().
  void begin_stop(size_t node);
  [[nodiscard]] bool stop_done(size_t node) const { return nodes_[node]->stopped; }
  void reap(size_t node);
  [[nodiscard]] bool up(size_t node) const { return nodes_[node]->boot != nullptr; }

  // --- time; the invariants are checked along the way -------------------------------------------
  [[nodiscard]] bool run_until(const std::function<bool()>& done, io::Nanos limit);
  void run_for(io::Nanos duration);
  /// Runs until the node answers requests as primary.
  [[nodiscard]] bool wait_serving(size_t node, io::Nanos limit = 10 * io::kSecond);
  /// Until the primary `node` has `replica` in its in-sync set, in keepup.
  [[nodiscard]] bool wait_in_sync(size_t node, size_t replica, io::Nanos limit = 20 * io::kSecond);

  // --- clients ----------------------------------------------------------------------------------
  void begin_load(size_t node);
  /// The volume has so many bytes now: clients use them, and they are compared.
  void note_size(uint64_t bytes);
  /// No new requests; waits for the open ones.
  void end_load();
  /// Whatever was open has an unknown outcome (done by kill() and power_loss() of its node).
  void abandon_load();
  /// Reads the whole volume at `node` into the model.
  void read_back(size_t node);
  /// The same after power was lost: what was not flushed may be gone, what was must be there.
  void read_recovered(size_t node);
  /// The model's verdict so far.
  void check_history();
  /// One request outside the load; runs until it is answered or `limit` passes.
  std::optional<RequestError> request(size_t node, RequestKind kind, uint64_t offset,
                                      uint64_t length, uint64_t value, bool fua = false,
                                      io::Nanos limit = 10 * io::kSecond);
  /// The cell's value as a read at `node` gives it.
  std::optional<uint64_t> read_cell(size_t node, uint64_t cell);

  // --- looking ----------------------------------------------------------------------------------
  [[nodiscard]] VolumeStatus status(size_t node) const;
  [[nodiscard]] ReplicaStatus replica_status(size_t node, size_t replica) const;
  [[nodiscard]] std::string session_kind(size_t node, size_t replica) const;
  [[nodiscard]] CopyOnDisk copy(size_t node) const;
  [[nodiscard]] std::vector<std::string> in_sync_on_disk(size_t node) const;
  [[nodiscard]] std::vector<std::byte> image(size_t node) const;
  /// Logs agree; needs that nothing is being written.
  void check_logs();
  void check_images_equal(size_t a, size_t b);
  void check_base_committed(size_t node);
  io::SimNode& sim(size_t node) { return *nodes_[node]->sim; }
  repl::Volume& volume(size_t node);
  io::BufferPool& pool(size_t node);
  [[nodiscard]] std::string name(size_t node) const { return nodes_[node]->id; }
  [[nodiscard]] std::string address(size_t node) const { return nodes_[node]->id + ":7000"; }
  static std::string directory() { return "/data/vol0"; }
  /// Where a volume id other than the cluster's or a size is wanted.
  repl::VolumeOptions volume_options(size_t node) const;
  std::function<void(repl::VolumeOptions&)> adjust_options;

  io::SimWorld world;
  CellModel model;
  Workload load;

 private:
  struct Boot;
  struct Node {
    std::string id;
    io::SimNode* sim = nullptr;
    Assignment assignment;
    std::unique_ptr<Boot> boot;
    bool stopped = false;
  };
  std::optional<Error> try_start(size_t node);
  void ended(size_t node);
  void check_invariants();

  ClusterOptions options_;
  uint64_t size_bytes_;  // what the volume has, also beyond what it was made with
  std::vector<std::unique_ptr<Node>> nodes_;
  std::optional<size_t> load_at_;
  Lsn committed_seen_;
  uint64_t steps_ = 0;
};

/// Runs `story` for seeds `first` .. `last`, under AddressSanitizer for fewer (seed_stride.h); a failing seed is named.
/// RINGBOLT_SIM_SEEDS=n runs n of them instead, RINGBOLT_SIM_SEED=n just that one. Returns whether all were run: only then
/// does it say something if what a test is about has not happened.
bool for_seeds(uint64_t first, uint64_t last, const std::function<void(uint64_t seed)>& story);

}  // namespace ringbolt::sim

// One shard: a thread with its ring, its buffers, the volumes that it owns and their clients.
// Everything a request touches lives here and on this thread; other threads only post messages.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "control/config.h"
#include "control/node_metrics.h"
#include "control/status.h"
#include "io/buffer_pool.h"
#include "io/ring_io.h"
#include "nbd/connection_set.h"
#include "nbd/listener.h"
#include "repl/peer_acceptor.h"
#include "repl/volume.h"
#include "shard/reserve_claim.h"

namespace ringbolt {

/// What of the configuration changes while a shard runs.
struct ShardLimits {
  io::Nanos spin = 0;
  io::Nanos client_stall_timeout = 0;
  // Of each volume:
  io::Nanos replica_timeout = 5 * io::kSecond;
  bool wait_for_lost_replicas = false;
  uint32_t wal_retain_percent = 50;
};

struct ShardOptions {
  uint32_t index = 0;
  uint64_t memory_bytes = 0;
  bool pin = false;  ///< to the core of its index
  ShardLimits limits;
  std::string tcp_congestion{};  ///< of connections to replicas; empty: the host's
};

class Shard : private nbd::ClientLog {
 public:
  /// Does not return.
  using Fatal = std::function<void(std::string)>;

  Shard(const ShardOptions& options, Fatal fatal);
  /// Stops the loop and joins the thread. The volumes must have been stopped.
  ~Shard() override;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  /// Starts the thread and its ring. Blocks until it runs or has failed.
  Status start();

  /// Runs `action` on the shard's thread. Any thread. Not for the data path: it allocates.
  void run(std::function<void()> action);

  // --- the shard's thread only ---------------------------------------------------------------------
  io::Io& io() { return *ring_; }
  io::BufferPool& pool() { return *pool_; }
  nbd::LimitedClientLog& client_log() { return *client_log_; }
  /// Opens the volume, with the shard's limits, and keeps it. `done` is called on this thread. Requires: the pool serves no
  /// clients yet.
  void open_volume(const repl::VolumeOptions& options, std::function<void(Status)> done);
  /// The same, at any time: waits for the volume's own memory first. An error is also what open_volume() takes for a failed
  /// volume; close_volume() is needed then, too. One at a time.
  void add_volume(const repl::VolumeOptions& options, std::function<void(Status)> done);
  /// Closes the volume, if there is one of that name, and forgets it. Requires: it has no role and no clients.
  void close_volume(const std::string& name, std::function<void()> done);
  void change(const ShardLimits& limits);
  [[nodiscard]] repl::Volume* find_volume(const std::string& name);
  [[nodiscard]] const std::vector<std::unique_ptr<repl::Volume>>& volumes() const { return volumes_; }
  /// Takes a client over; closes it if the volume is not here or refuses.
  void add_client(nbd::Client client);
  void take_call(const repl::PeerCall& call);
  /// Lets clients finish, for a bounded time; stops the volumes cleanly, and what clients still wait for then stays
  /// unanswered; then calls `done` on this thread.
  void stop_volumes(std::function<void()> done);
  [[nodiscard]] size_t clients() const { return clients_->count(); }
  [[nodiscard]] ShardMetrics metrics() const;

 private:
  void client_line(const nbd::ClientLine& line) override;
  void main(std::promise<Status>& started);
  void make_parts();
  void note_growth();
  void begin_stop();
  void part_stopped();

  ShardOptions options_;
  Fatal fatal_;
  std::thread thread_;
  std::unique_ptr<io::PagePopulator> populator_;  ///< until the pool has it
  std::unique_ptr<io::RingIo> ring_;
  std::unique_ptr<io::BufferPool> pool_;
  std::unique_ptr<CheckpointMemory> checkpoint_memory_;
  std::unique_ptr<nbd::LimitedClientLog> client_log_;
  std::unique_ptr<nbd::ConnectionSet> clients_;
  std::unique_ptr<repl::Refusals> refusals_;
  std::vector<std::unique_ptr<repl::Volume>> volumes_;
  std::unique_ptr<ReserveClaim> claim_;  ///< of a volume that is being added
  bool registration_told_ = false;
  bool populating_told_ = false;
  size_t parts_stopping_ = 0;
  bool stop_begun_ = false;
  std::function<void()> stopped_;
  io::TimerOf<&Shard::begin_stop> stop_patience_{*this};
  /// Whoever stops the ring still uses it when the shard's thread has seen that already.
  std::binary_semaphore ring_left_{0};
};

}  // namespace ringbolt

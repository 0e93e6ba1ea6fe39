// The whole daemon: its shards, which volume is on which, and the listeners (on shard 0), which hand
// clients and calling primaries to the shard that owns their volume.
//
//   node_daemon.cc          starting, stopping, listeners, questions and orders
//   node_daemon_volumes.cc  volumes that come and go at run time
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/daemon.h"
#include "io/durable_files.h"
#include "shard/shard.h"
#include "shard/volume_catalog.h"
#include "shard/volume_table.h"
#include "shard/worker.h"

namespace ringbolt {

class NodeDaemon final : public Daemon, private nbd::ExportDirectory, private nbd::HandOver, private repl::CallRouter {
 public:
  NodeDaemon(const Config& config, Fatal fatal);
  ~NodeDaemon() override;

  /// Blocks. On error everything that was started has been stopped.
  Status start_all();

  void volumes(std::function<void(std::vector<VolumeStatus>)> done) override;
  void node(std::function<void(NodeStatus)> done) override;
  void metrics(std::function<void(NodeMetrics)> done) override;
  void assign(const std::string& volume, const AssignmentOrder& order,
              std::function<void(Result<VolumeStatus>)> done) override;
  void rebuild(const std::string& volume, const RebuildOrder& order,
               std::function<void(Result<VolumeStatus>)> done) override;
  void verify(const std::string& volume, const std::optional<std::string>& replica,
              std::function<void(Result<VolumeStatus>)> done) override;
  void create(const VolumeConfig& volume, std::function<void(Result<VolumeStatus>)> done) override;
  void remove(const std::string& volume, bool force, std::function<void(Result<RemovedVolume>)> done) override;
  void resize(const std::string& volume, uint64_t bytes, std::function<void(Result<VolumeStatus>)> done) override;
  [[nodiscard]] size_t volume_count() const override { return table_.size(); }
  void change(const Config& config, const std::vector<ReplicaMove>& moves, std::function<void(std::vector<std::string>)> done) override;
  void stop(std::function<void()> done) override;

 private:
  using Entry = VolumeTable::Entry;
  using OrderDone = std::function<void(Result<VolumeStatus>)>;
  using GiveOrder = std::function<void(repl::Volume& volume, std::function<void(Status)> done)>;

  Status start_shards();
  Status open_volumes();
  Status start_listeners();
  void stop_listeners(std::function<void()> done);
  void stop_shards(std::function<void()> done);
  [[nodiscard]] repl::VolumeOptions options_of(const Entry& entry) const;
  /// What of `config` all shards share.
  void set_limits(const Config& config);
  /// The volume has said that something about it is different now.
  void on_change(VolumeEntry& entry, const std::string& refusal) const;
  [[nodiscard]] uint32_t shard_count() const;
  [[nodiscard]] uint64_t shard_memory(size_t shards) const;
  /// Runs `give` on the shard that owns `volume`; what became of it goes to `done`, with the volume as it is then.
  void give_order(const std::string& volume, GiveOrder give, OrderDone done);

  // node_daemon_volumes.cc; the first on the thread that starts, the others on that of orders
  Status find_volumes();
  Status lock_data_dir();
  Result<VolumeStatus> create_now(const VolumeConfig& volume);
  Result<uint32_t> find_room(const VolumeConfig& volume) const;
  Status open_created(const Entry& entry);
  void close_created(const Entry& entry);
  Result<RemovedVolume> remove_now(const std::string& volume, bool force);
  Status begin_removal(const Entry& entry, bool force);

  void list(std::vector<std::string>& names) override;
  nbd::ExportLookup find(std::string_view name) override;
  void attach(nbd::Client client) override;
  void route(repl::PeerCall call) override;

  const Config config_;  ///< of the start
  Fatal fatal_;
  const io::Nanos started_at_;
  nbd::ConnectionLimit connection_limit_;
  const std::shared_ptr<repl::RebuildLimits> rebuild_ = std::make_shared<repl::RebuildLimits>();
  io::DurableFiles files_;
  std::optional<io::DirectoryLock> data_dir_lock_;
  VolumeCatalog catalog_;
  VolumeTable table_;
  std::vector<std::unique_ptr<Shard>> shards_;
  // On shard 0's thread:
  std::vector<std::unique_ptr<nbd::Listener>> listeners_;
  std::unique_ptr<repl::PeerAcceptor> acceptor_;
  bool stopping_ = false;  // on the thread of orders
  Worker orders_;          // last: what it is doing uses all of the above
};

}  // namespace ringbolt

// The whole daemon: its shards, which volume is on which, and the listeners (on shard 0), which hand
// clients and calling primaries to the shard that owns their volume.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control/daemon.h"
#include "shard/shard.h"
#include "shard/volume_report.h"

namespace ringbolt {

class NodeDaemon final : public Daemon, private nbd::ExportDirectory, private nbd::HandOver, private repl::CallRouter {
 public:
  NodeDaemon(const Config& config, Fatal fatal);
  ~NodeDaemon() override;

  /// Blocks. On error everything that was started has been stopped.
  Status start_all();

  void volumes(std::function<void(std::vector<VolumeStatus>)> done) override;
  void node(std::function<void(NodeStatus)> done) override;
  void assign(const std::string& volume, const AssignmentOrder& order,
              std::function<void(Result<VolumeStatus>)> done) override;
  void rebuild(const std::string& volume, const RebuildOrder& order,
               std::function<void(Result<VolumeStatus>)> done) override;
  void verify(const std::string& volume, const std::optional<std::string>& replica,
              std::function<void(Result<VolumeStatus>)> done) override;
  void change(const Config& config, const std::vector<ReplicaMove>& moves, std::function<void(std::vector<std::string>)> done) override;
  void stop(std::function<void()> done) override;

 private:
  /// What the listeners' shard knows of a volume. `refusal` is written by the owner and read by the
  /// listeners, at handshakes and changes of role only.
  struct Export {
    std::string name;
    uint64_t size_bytes = 0;
    uint32_t shard = 0;
    std::mutex mutex;
    std::string refusal;
    VolumeReport report;  ///< on the owner's thread only
  };

  using OrderDone = std::function<void(Result<VolumeStatus>)>;
  using GiveOrder = std::function<void(repl::Volume& volume, std::function<void(Status)> done)>;

  Status start_shards();
  Status open_volumes();
  Status start_listeners();
  void stop_listeners(std::function<void()> done);
  void stop_shards(std::function<void()> done);
  [[nodiscard]] repl::VolumeOptions options_of(const VolumeConfig& volume, Export& entry) const;
  /// What of `config` all shards share.
  void set_limits(const Config& config);
  /// The volume has said that something about it is different now.
  void on_change(Export& entry, const std::string& refusal) const;
  [[nodiscard]] uint32_t shard_count() const;
  /// Runs `give` on the shard that owns `volume`; what became of it goes to `done`, with the volume as it is then.
  void give_order(const std::string& volume, GiveOrder give, OrderDone done);

  void list(std::vector<std::string>& names) override;
  nbd::ExportLookup find(std::string_view name) override;
  void attach(nbd::Client client) override;
  void route(repl::PeerCall call) override;

  const Config config_;  ///< of the start
  Fatal fatal_;
  const io::Nanos started_at_;
  nbd::ConnectionLimit connection_limit_;
  mutable std::mutex limits_mutex_;
  ShardLimits limits_;  ///< of volumes that are opened from now on
  const std::shared_ptr<repl::RebuildLimits> rebuild_ = std::make_shared<repl::RebuildLimits>();
  std::vector<std::unique_ptr<Export>> exports_;  // in configuration order
  std::vector<std::unique_ptr<Shard>> shards_;
  // On shard 0's thread:
  std::vector<std::unique_ptr<nbd::Listener>> listeners_;
  std::unique_ptr<repl::PeerAcceptor> acceptor_;
};

}  // namespace ringbolt

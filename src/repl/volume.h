// A volume on this node: its store, and the role it plays. Tells clients whether they may come,
// routes a primary's call to the replica role, and gives way to a higher epoch.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/status.h"
#include "repl/primary.h"
#include "repl/refusal.h"
#include "repl/replica.h"
#include "volume/request.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct VolumeOptions {
  StoreConfig store;
  Role role = Role::kNone;
  Durability durability = Durability::kSyncAll;
  Epoch epoch{1};
  std::vector<PeerAddress> replicas;
  io::Nanos replica_timeout = 5 * io::kSecond;
  /// What a volume that is made here is to be called; nil: something random. Simulations set it.
  Uuid new_volume;
  /// Told whenever refusal() changes. May be empty.
  std::function<void(const std::string& refusal)> on_refusal;
};

class Volume final : public BlockService, private StoreListener, private PrimaryListener {
 public:
  Volume(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, const VolumeOptions& options);
  ~Volume() override;
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  /// Opens the store and takes the role. A store whose contents are damaged (kCorrupt, kIo) is an
  /// open volume in failed state, reported and not served; other errors are returned.
  void open(std::function<void(Status)> done);
  /// Leaves the role and closes the store; cleanly, if nothing failed. Clients must be gone.
  void stop(std::function<void(Status)> done);

  /// A primary's call for this volume.
  void take_call(const PeerCall& call);

  [[nodiscard]] VolumeStatus status() const;

  // BlockService
  [[nodiscard]] const std::string& name() const override { return options_.store.name; }
  [[nodiscard]] uint64_t size_bytes() const override { return options_.store.volume_bytes; }
  [[nodiscard]] std::string refusal() const override;
  void attach(ClientObserver& client) override;
  void detach(ClientObserver& client) override;
  void submit(Request& request) override;

 private:
  void on_store_sealed() override;
  void on_store_written() override;
  void on_store_durable() override;
  void on_store_space() override;
  void on_store_failed(const std::string& reason) override;
  void on_primary_fenced(Epoch epoch, const std::string& by) override;

  void take_role();
  void publish_refusal();
  [[nodiscard]] bool epoch_held_by_another() const;
  void become_replica();
  void fence(Epoch epoch, const std::string& by);
  void stop_serving(const std::string& why);
  [[nodiscard]] Incarnation known_incarnation() const;
  void demote();
  void demoted();
  void record_promise();
  void on_epoch_recorded();
  void route_call();
  void send_clients_away(const std::string& reason);
  void close_store();
  void close_if_quiet();
  [[nodiscard]] std::string damage() const;
  void fill_primary(VolumeStatus& status) const;

  io::Io& io_;
  io::BufferPool& pool_;
  VolumeOptions options_;
  Store store_;
  Role role_ = Role::kNone;
  std::string role_reason_;  ///< why the role is not the configured one
  std::unique_ptr<Primary> primary_;
  std::unique_ptr<Replica> replica_;
  Refusals refusals_;
  std::optional<PeerCall> waiting_call_;
  bool opened_ = false;
  bool demoting_ = false;
  bool promise_again_ = false;  ///< something was promised after the wait for epoch_recorded_ began
  std::string epoch_holder_;    ///< who called as primary of the epoch promised to; empty: nobody yet
  Incarnation called_;          ///< the highest incarnation that called in that epoch
  bool stopping_ = false;
  bool refusals_gone_ = false;
  bool role_left_ = false;
  std::string open_failure_;
  uint64_t clients_ = 0;
  ClientObserver* first_client_ = nullptr;
  std::function<void(Status)> done_;
  SuperblockWaiterOf<&Volume::on_epoch_recorded> epoch_recorded_{*this};
  io::DeferredOf<&Volume::demote> demote_{*this};
  io::DeferredOf<&Volume::demoted> demoted_{*this};
  io::DeferredOf<&Volume::close_store> close_store_{*this};
};

}  // namespace ringbolt::repl

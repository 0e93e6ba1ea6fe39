// A volume on this node: its store, the role it plays, and the engine that decides on both. Executes the engine's
// commands and tells it what came of them; tells clients whether they may come; gives way to a higher epoch.
//
//   volume.cc          opening, clients, stopping
//   volume_engine.cc   assignments, the engine's commands and events
//   volume_change.cc   what of the configuration changes while it runs
//   volume_rebuild.cc  an operator's orders for rebuilds
//   volume_verify.cc   an operator's comparisons of copies
//   volume_resize.cc   making it larger
//   volume_calls.cc    primaries that call
//   volume_status.cc   what people see
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/node_metrics.h"
#include "control/status.h"
#include "core/engine.h"
#include "repl/primary.h"
#include "repl/rebuild_limits.h"
#include "repl/refusal.h"
#include "repl/replica.h"
#include "volume/request.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct VolumeOptions {
  StoreConfig store;
  // The assignment of the configuration file; one that was given at run time for the same or a higher epoch wins.
  Role role = Role::kNone;
  Durability durability = Durability::kSyncAll;
  Epoch epoch{1};
  std::vector<core::ReplicaAddress> replicas;
  io::Nanos replica_timeout = 5 * io::kSecond;
  bool wait_for_lost_replicas = false;
  /// Never null. A daemon gives all its volumes the same one.
  std::shared_ptr<RebuildLimits> rebuild = std::make_shared<RebuildLimits>();
  /// What a volume that is made here is to be called; nil: something random. Simulations set it.
  Uuid new_volume;
  /// Whatever keeps it from being opened, it is an open volume in failed state, and open() succeeds.
  bool keep_failed = false;
  /// Told whenever refusal() changes. May be empty.
  std::function<void(const std::string& refusal)> on_refusal;
};

/// An assignment as somebody gives it at run time: what it does not mention stays.
struct AssignmentRequest {
  Role role = Role::kNone;
  Epoch epoch;
  std::optional<Durability> durability;
  std::optional<std::vector<core::ReplicaAddress>> replicas;
  core::Authority authority = core::Authority::kAssigned;
};

class Volume final : public BlockService, private StoreListener, private PrimaryListener, private ReplicaListener {
 public:
  Volume(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, const VolumeOptions& options);
  ~Volume() override;
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  /// Opens the store and takes the role. A store whose contents are damaged (kCorrupt, kIo) is an
  /// open volume in failed state, reported and not served; other errors are returned.
  void open(std::function<void(Status)> done);
  /// Takes an assignment: judged, recorded, in force (a primary: its term is durable, its replicas are configured, and what was acknowledged
  /// before is as safe as its durability says), then `done`. One after another, but none waits for one that lacks nothing but that proof: it
  /// takes its place. Errors: kSuperseded (that has happened to it: it was recorded and has taken effect); kStaleEpoch (the message names the
  /// current one), kNotPermitted, kInvalid (it cannot be stored), kBusy (too many wait, or the volume is being closed), kIo; nothing has changed
  /// then. A copy that has failed takes any role but primary.
  void assign(const AssignmentRequest& request, std::function<void(Status)> done);
  /// An operator wants the replica copied anew whatever its facts say; or (not `wanted`) the rebuild that goes on ended, and
  /// none begun until it is wanted. It holds until the next order or the daemon's end. `done` once the engine knows of it.
  /// Errors: kNotFound (no such replica), kNotPermitted (not primary here), kBusy, kIo.
  void rebuild(const std::string& replica, bool wanted, std::function<void(Status)> done);
  /// Compares the copy of `replica`, or of all of them, with this one while clients go on. `done` when that has begun; what
  /// comes of it is in status(), and kept until the next one. Errors, and nothing has begun then: kNotFound (no such replica,
  /// or none at all), kNotPermitted (not primary here; the replica is not in step), kBusy (one is being compared), kIo.
  void verify(const std::optional<std::string>& replica, const std::function<void(Status)>& done);
  /// Makes the volume larger, all copies, while clients go on: each of them has room and says so durably before this one does, and only
  /// then there are requests for what is new. `done` when that is so; clients that connect from then on see the size. A replica that is
  /// away and does not count follows when it is back. Errors: kInvalid (it would be smaller), kNotPermitted (not primary here, or a
  /// replica that has to be there cannot follow), kBusy, kNoSpace, kIo. The volume is as it was then; copies that were quicker keep the
  /// room, and the new size until they are called again.
  void resize(uint64_t bytes, std::function<void(Status)> done);
  /// Puts other values of these options into force, whatever the role.
  void change(io::Nanos replica_timeout, bool wait_for_lost_replicas, uint32_t wal_retain_percent);
  /// The configuration has a replica at another address now. Errors: kNotPermitted, the assignment in force is not the
  /// configuration's any more; nothing has changed then.
  Status move_replica(const std::string& replica, const std::string& address);
  /// Leaves the role and closes the store; cleanly, if nothing failed. Clients must be gone.
  void stop(std::function<void(Status)> done);

  /// A primary's call for this volume.
  void take_call(const PeerCall& call);

  [[nodiscard]] VolumeStatus status() const;
  /// Why this copy must not be deleted now, for people; empty: nothing uses it, and only an order could change that.
  [[nodiscard]] std::string use() const;
  /// Why open() has left it in failed state; empty: it has not.
  [[nodiscard]] const std::string& open_failure() const { return open_failure_; }
  /// Everything but the status, and whose shard it is.
  [[nodiscard]] VolumeMetrics metrics() const;
  [[nodiscard]] const core::Engine& engine() const { return engine_; }

  // BlockService
  [[nodiscard]] const std::string& name() const override { return options_.store.name; }
  [[nodiscard]] uint64_t size_bytes() const override { return store_.config().volume_bytes; }
  [[nodiscard]] std::string refusal() const override;
  void attach(ClientObserver& client) override;
  void detach(ClientObserver& client) override;
  [[nodiscard]] io::MemoryShare& payload_memory() override { return store_.payload_memory(); }
  [[nodiscard]] io::MemoryShare& reply_memory() override { return reply_memory_; }
  [[nodiscard]] DurationHistogram& reply_times() override { return meter_.reply_times(); }
  void submit(Request& request) override;

 private:
  // volume.cc
  void on_store_sealed() override;
  void on_store_written() override;
  void on_store_durable() override;
  void on_store_space() override;
  void on_store_failed(const std::string& reason) override;
  void publish_refusal();
  void send_clients_away(const std::string& reason);
  void close_store();
  void close_if_quiet();
  [[nodiscard]] std::string damage() const;

  // volume_engine.cc
  void on_primary_opened() override;
  void on_primary_fenced(Epoch epoch, const std::string& why) override;
  void on_primary_serving() override;
  [[nodiscard]] uint64_t next_connection() override { return ++connections_; }
  void on_primary_fact(core::Event event) override { tell(std::move(event)); }
  void on_replica_session() override { observe_copy(); }
  [[nodiscard]] RequestMeter& request_meter() override { return meter_; }
  [[nodiscard]] core::CopyFacts copy_facts() const;
  [[nodiscard]] std::vector<core::ReplicaAddress> located(std::vector<core::ReplicaAddress> replicas) const;
  [[nodiscard]] bool is_configurations(const core::Assignment& assignment) const { return assignment.version == 0; }
  [[nodiscard]] bool may_take(Role role);
  void take_first_assignment();
  [[nodiscard]] bool only_proof_is_missing() const;
  void await_proof(const core::Assignment& current, std::function<void(Status)> done);
  void wait_with(std::function<void(Status)> done);
  void finish_assignment(const Status& status);
  void take_orders();
  void answer_if_in_force();
  void on_assignment_recorded();
  void tell(core::Event event);
  void observe_copy();
  void on_tick();
  void engine_turn();
  void refuse_fenced_order();
  void execute(const core::Command& command);
  void apply_role(const core::ApplyRole& command);
  void change_role();
  void enter_role();
  [[nodiscard]] bool may_open(Epoch epoch) const;
  void give_way(Epoch epoch);
  void role_left();
  void role_applied();
  void configure_shipper(const core::ConfigureShipper& command);
  void on_configure_step(const std::pair<Epoch, uint64_t>& number, ConfigureStep step);
  [[nodiscard]] Shipper* shipper_of(const std::string& replica) const;

  // volume_rebuild.cc
  void answer_rebuild_orders(const Status& status);
  bool may_order_rebuild(const std::string& replica);
  void order_rebuild(core::RebuildOrdered order);
  [[nodiscard]] std::string rebuild_waits_for() const;
  void ask_for_rebuild_places();
  void give_back_places();

  // volume_verify.cc
  struct Verification {
    Shipper* shipper = nullptr;  ///< that carries it out; it tells the end before it is gone
    VerifyResult result;
    io::Nanos began = 0, ended = 0;
    Lsn first, last;
  };
  void begin_verify(Shipper& shipper);
  void verified(const std::string& replica, const VerifyResult& result);
  void fill_verifications(VolumeStatus& status) const;

  // volume_resize.cc
  struct Resize {
    uint64_t bytes = 0;
    uint64_t order = 0;
    size_t waiting = 0;   ///< replicas that have not answered yet
    std::string problem;  ///< of one that has to follow
    std::function<void(Status)> done;
  };
  [[nodiscard]] Status may_resize(uint64_t bytes) const;
  void grow_replicas();
  void on_replica_grown(const std::string& replica, const std::string& problem);
  void on_replicas_grown();
  void on_grown();
  void finish_resize(const Status& status);
  [[nodiscard]] std::string grow_for_primary(uint64_t bytes);

  // volume_calls.cc
  void promise(Epoch epoch, const std::string& holder);
  void record_promise();
  void on_promise_recorded();
  void stop_serving(const std::string& why);
  void route_call();
  [[nodiscard]] Incarnation known_incarnation() const;
  [[nodiscard]] std::optional<Epoch> ordered_primary() const;

  // volume_status.cc
  void fill_primary(VolumeStatus& status) const;

  io::Io& io_;
  io::BufferPool& pool_;
  VolumeOptions options_;
  io::MemoryShare reply_memory_{pool_};
  Store store_;
  Refusals refusals_;
  core::Engine engine_;
  std::deque<core::Event> events_;  // told, not applied yet
  bool base_full_told_ = false;
  uint64_t copy_count_ = 0;
  uint64_t connections_ = 0;
  uint64_t role_count_ = 0;

  // The role in force, and the one that is wanted. A change leaves the old one, records the epoch, enters the new one.
  Role role_ = Role::kNone;
  RequestMeter meter_;
  std::unique_ptr<Primary> primary_;
  std::unique_ptr<Replica> replica_;
  std::optional<core::ApplyRole> wanted_;
  bool leaving_role_ = false;
  bool receiving_ = false;  // replica_ takes calls
  bool promise_for_role_ = false;
  bool serving_stopped_ = false;  // primary_ is fenced, or drains: clients are sent away

  std::optional<core::Assignment> taking_;  // being recorded
  std::optional<std::pair<Epoch, uint64_t>> awaited_;  // of the assignment that `assigned_` waits for
  std::optional<std::pair<Epoch, uint64_t>> unproven_;  // of the newest assignment to be primary that lacked nothing but proof
  std::optional<std::pair<Epoch, uint64_t>> in_force_;  // of the newest one that is proven
  std::function<void(Status)> assigned_;
  Role ordered_role_ = Role::kNone;  // what that makes this copy
  std::deque<std::pair<AssignmentRequest, std::function<void(Status)>>> orders_;  // wait for that

  uint64_t rebuild_orders_ = 0;
  std::vector<std::function<void(Status)>> rebuilds_ordered_;  // told to the engine in this turn
  std::map<std::string, core::RebuildOrdered> rebuilds_waiting_;  // by replica: for a place among those that run on this node

  std::optional<Resize> resize_;
  uint64_t resize_orders_ = 0;
  std::string growth_problem_;  // why this copy is not as large as a primary wants it

  std::map<std::string, Verification> verifications_;  // the last one of each replica

  ClientObserver* first_client_ = nullptr;
  uint64_t clients_ = 0;
  std::optional<PeerCall> waiting_call_;  // until what it rests on is durable and there is a replica role
  Incarnation called_;                    // the newest opening that called, in the promised epoch
  bool promise_again_ = false;
  std::string role_reason_;  // why this node is not what its configuration says, or no primary any more
  std::string open_failure_;
  bool opened_ = false;
  bool stopping_ = false;
  bool refusals_gone_ = false;
  bool role_gone_ = false;
  std::function<void(Status)> done_;

  SuperblockWaiterOf<&Volume::on_promise_recorded> promise_recorded_{*this};
  SuperblockWaiterOf<&Volume::on_assignment_recorded> assignment_recorded_{*this};
  io::DeferredOf<&Volume::engine_turn> engine_turn_{*this};
  io::DeferredOf<&Volume::role_left> role_left_{*this};
  io::DeferredOf<&Volume::change_role> change_role_soon_{*this};
  io::DeferredOf<&Volume::close_store> close_store_{*this};
  io::TimerOf<&Volume::on_tick> tick_{*this};
  io::TimerOf<&Volume::ask_for_rebuild_places> rebuild_places_{*this};
};

}  // namespace ringbolt::repl

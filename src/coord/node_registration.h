// This node in the coordinator: its record, under its lease, for as long as the daemon runs. Knows no socket and no clock:
// whoever has it calls turn() when wake() says so.
//
// Of two daemons with one node id the first keeps it until its lease ends; the second says so and tries again. The same daemon
// started again does not wait: it has the registration id that its data directory keeps, and takes its own record over. Should a
// copy of the data directory be used at the same time, the later start wins, and the earlier one is refused from then on.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "coord/lease_keeper.h"
#include "coord/node_record.h"
#include "coord/store.h"

namespace ringbolt::coord {

/// "/ringbolt/CLUSTER/": all that a cluster has in the coordinator.
std::string cluster_prefix(const std::string& cluster);
/// Of all nodes' records; a node's id follows.
std::string nodes_prefix(const std::string& cluster);

/// Thread: all members on one thread, that of the store.
class NodeRegistration : public std::enable_shared_from_this<NodeRegistration> {
 public:
  enum class State : uint8_t {
    kUnregistered,  ///< not yet, or not any more
    kRegistered,    ///< as far as is known; surely_registered() says whether that is certain
    kRefused,       ///< another daemon has this node's id
  };
  using Clock = std::function<Instant()>;

  /// `woken`: wake() may have changed. Requires: `store` outlives this; it is owned by a shared pointer.
  NodeRegistration(Store& store, const std::string& cluster, NodeRecord record, Span lease, Clock clock, std::function<void()> woken);

  void turn();
  [[nodiscard]] Instant wake() const;
  /// Told with the next proof, if it is worth it: within a third of the lease.
  void change(const NodeRecord& record);
  /// Ends the lease, and the record with it. `done` is called once, soon, whatever became of that.
  void leave(std::function<void()> done);

  [[nodiscard]] State state() const { return state_; }
  /// Why it is not registered, in words; empty if it is.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] bool surely_registered() const { return state_ == State::kRegistered && lease_.surely_valid(clock_()); }
  [[nodiscard]] const LeaseKeeper& lease() const { return lease_; }
  [[nodiscard]] const NodeRecord& record() const { return record_; }

 private:
  void grant();
  void renew();
  void prove();
  [[nodiscard]] Transaction proof() const;
  void on_proof(const TransactionReply& reply);
  void on_other(const TransactionReply& reply);
  void adopt(Revision modified, const Stamp& stamp);
  void on_failure(const Failure& failure);
  void on_lost(const std::string& why);
  void refuse(const std::string& why);
  void look_at_time();
  void note(const Failure* failure);

  Store& store_;
  const std::string key_, nothing_key_;
  NodeRecord record_;
  const Clock clock_;
  const std::function<void()> woken_;
  LeaseKeeper lease_;
  State state_ = State::kUnregistered;
  std::string reason_ = "the coordinator has not answered yet";
  NodeRecord told_, telling_;
  Revision modified_ = 0;                ///< of the record, if it is registered
  std::optional<Revision> replaces_;     ///< the record that is to be taken over
  bool was_registered_ = false;          ///< by this start of the daemon
  bool was_sure_ = false;
  bool troubled_ = false;                ///< the last request failed
  bool leaving_ = false;
};

const char* to_string(NodeRegistration::State state);

}  // namespace ringbolt::coord

// Who assigns roles: starts processes that ended, replaces primaries, changes who is a member. Plays by the rules of
// src/ARCHITECTURE.md and the README: it promotes only who may have everything that was acknowledged, and two primaries never at an epoch.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster.h"

namespace ringbolt::sim {

class Operator {
 public:
  explicit Operator(Cluster& cluster);

  /// Looks at everything and does what is to be done; again and again, a few milliseconds apart.
  void tick();

  // Orders. False: that is not possible now, and nothing was done.
  bool hand_over(size_t to);
  /// `kill`: the old primary's process first. Without a majority's reports it always is.
  bool fail_over(bool kill);
  bool raise_epoch();
  bool remove_replica(size_t index);
  void add_replica(size_t index);
  bool rebuild(size_t replica, bool wanted);
  bool verify();
  bool repeat_order(uint64_t number);
  /// Its data is gone: it is not to be started as primary, and if it was primary another one is found.
  void replace(size_t index);
  /// A role is being moved.
  [[nodiscard]] bool busy() const { return task_ != Task::kNone; }
  /// Nothing is under way, and the primary has been told all that it is to know.
  [[nodiscard]] bool settled() const;
  /// The primary has said that a majority of the members has all that was acknowledged, also by what was no member any more.
  [[nodiscard]] bool members_in_force() const { return !members_change_; }
  /// Not empty: what a node did that nothing can justify.
  [[nodiscard]] const std::string& broken() const { return broken_; }

 private:
  enum class Task : uint8_t {
    kNone,
    kStepDown,  ///< the primary was told to be a replica
    kHeir,      ///< it is one, and somebody has been left everything
    kReports,   ///< a majority promises to a new epoch, and says how far it is
    kPromote,   ///< one of the candidates is to be primary
  };
  using Position = std::pair<Term, uint64_t>;  // of the end of a log: its last term, and the Lsn
  struct Order {
    size_t node = 0;
    uint64_t boot = 0;
    std::shared_ptr<std::optional<Status>> answer;
    std::optional<Position> reported;  // with a promise
    /// Nobody will answer any more.
    [[nodiscard]] bool lost(const Cluster& cluster) const { return !answer->has_value() && cluster.hosts[node].node->boots() != boot; }
  };

  Order give(size_t node, Role role, Epoch epoch, core::Authority authority);
  Order send(size_t node, const repl::AssignmentRequest& request);
  void keep_processes_running();
  void look_after_failed(size_t index);
  void start_again(size_t index);
  void look_after_clients();
  void look_after_primary();
  void add_replicas();
  void step();
  void step_down();
  void find_heir();
  void collect_reports();
  void promote();
  void begin_promoting(std::vector<size_t> candidates);
  void promoted(size_t index, bool proven);
  [[nodiscard]] bool waits_for_majority(size_t index) const;
  void give_up();
  [[nodiscard]] bool may_be_candidate(size_t index) const;
  [[nodiscard]] std::optional<std::vector<size_t>> reporters() const;
  [[nodiscard]] Position position_of(size_t index) const;

  Cluster& c_;
  Task task_ = Task::kNone;
  io::Nanos deadline_ = 0;        ///< of the task
  io::Nanos order_deadline_ = 0;  ///< of an order to be primary
  std::vector<Order> orders_;        // of the task, not answered yet
  std::vector<size_t> candidates_;   // for the role, or who reports
  size_t next_candidate_ = 0;
  io::Nanos not_before_ = 0;         // the next try
  io::Nanos not_serving_since_ = 0;
  io::Nanos configured_at_ = 0;
  std::optional<Order> last_;
  std::vector<size_t> to_add_;   // members again, once the primary serves
  bool members_change_ = false;  // the order that says who is a member has not been answered
  std::vector<std::pair<size_t, repl::AssignmentRequest>> given_;  // all assignments so far
  std::string broken_;
};

}  // namespace ringbolt::sim

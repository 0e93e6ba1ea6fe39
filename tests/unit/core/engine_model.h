// A model of everything around an engine: the adapters of one node that carry out its commands and tell it what came
// of them, the replicas behind them, another primary, an operator, and faults. Random, from one seed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine_facts.h"

namespace ringbolt::core {

class Model {
 public:
  struct Options {
    uint64_t seed = 1;
    size_t replicas = 2;       ///< that an operator may name, 1 to 3
    bool rebuilds = true;      ///< can begin once faults have stopped
    bool executes_twice = false;
  };
  explicit Model(const Options& options);

  /// Something happens: the adapters' next steps, and while faults go on also a fault or an order.
  void step();
  /// Everything can be reached from now on, nothing fails, nobody gives orders.
  void stop_faults();
  /// The adapters have nothing left to do by themselves.
  [[nodiscard]] bool is_quiet() { return moves().empty(); }
  /// Only replicas that wait for a rebuild are asked again, now and then.
  [[nodiscard]] bool is_obstructed() const;
  void ask_obstructed();

  [[nodiscard]] const Engine& engine() const { return engine_; }
  [[nodiscard]] const std::vector<Event>& told() const { return told_; }
  /// What the engine did wrong, or an outstanding command that nothing here will answer; empty: all is well.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  /// What is wrong with the present mode, if this is where everything came to rest; empty: nothing.
  [[nodiscard]] std::string problem_at_rest() const;

 private:
  using Move = std::function<void()>;
  using Moves = std::vector<Move>;

  /// Another node's copy.
  struct Copy {
    TermHistory history;
    uint64_t position = 0;
    uint64_t checkpoint = 0;
    bool base_usable = true;
    Epoch promised;
    bool reachable = true;
    std::optional<ActiveSession> active;
  };
  /// What the primary's adapter does with one replica.
  struct Shipper {
    enum class Phase { kIdle, kWaiting, kSyncing, kDeciding, kStarting, kShipping, kObstructed };
    Phase phase = Phase::kIdle;
    Term term;  ///< of the connection
    bool connected = false;
    uint64_t sync = 0;
    bool sync_open = false;
    std::optional<uint64_t> cut;  ///< asked for before that sync
    SessionId session;
    SessionKind kind = SessionKind::kKeepup;
    bool completed = false, asked = false;
    std::optional<SessionFailed> last_failure;
  };

  uint64_t pick(uint64_t below) { return random_() % below; }
  bool chance(uint64_t percent) { return pick(100) < percent; }
  void tell(Event event);
  void drain();
  void complain(const std::string& problem);
  void check_engine(const std::vector<Command>& emitted);
  [[nodiscard]] bool will_be_answered(const Command& command) const;

  void execute(const Command& command);
  void execute_task(const StartRecoveryTask& task);
  void start_session(const std::string& id, SessionId session, SessionKind kind, Lsn position, Lsn target);

  [[nodiscard]] Moves moves();
  [[nodiscard]] Moves faults();
  void order_faults(Moves& moves);
  void replica_moves(const std::string& id, Moves& moves);
  void replica_faults(const std::string& id, Moves& moves);
  void session_faults(const std::string& id, Moves& moves);

  void apply_role();
  void leave_fenced();
  void configure();
  void connect(const std::string& id);
  void ask(Shipper& shipper);
  void answer(const std::string& id);
  void answer_in_session(const std::string& id);
  void begin(const std::string& id);
  void advance(const std::string& id);
  void lose(const std::string& id, Reason reason, const std::string& why);
  void end_session(const std::string& id, Reason reason, const std::string& why);
  void drop_member(const std::string& id, const std::string& why);
  void observe_epoch(Epoch epoch, const std::string& who);
  SyncAckObserved facts_of(const std::string& id) const;
  void order(Role role, bool higher_epoch);
  void order_rebuild(const std::string& id);
  void damage(Copy& copy);
  void diverge(Copy& copy);

  Options options_;
  std::mt19937_64 random_;
  Engine engine_{"vol0"};
  std::deque<Event> queue_;
  std::vector<Event> told_;
  std::string problem_;
  Projection published_;
  bool faults_ = true;

  std::vector<std::string> ids_;
  std::map<std::string, Copy> copies_;
  std::map<std::string, uint64_t> connections_;  // attempts, ever
  // This node.
  Role role_ = Role::kNone;
  std::optional<ApplyRole> role_wanted_;
  std::optional<ConfigureShipper> shippers_wanted_;
  Term term_;
  Epoch promised_;
  TermHistory history_;
  uint64_t head_ = 0, tail_ = 1;
  bool base_seeded_ = false, serving_ = false, receiving_ = false;
  bool fenced_ = false;  ///< it was primary, gave way to an epoch, and has not left yet
  bool copy_failed_ = false;
  std::set<std::string> in_sync_;
  std::map<std::string, Shipper> shippers_;
  uint64_t roles_ = 0, syncs_ = 0, decisions_ = 0, observations_ = 0, version_ = 0, rebuild_orders_ = 0;
  Epoch epoch_;                // the highest that anybody knows
  std::string other_primary_;  // that ships to this node
};

}  // namespace ringbolt::core

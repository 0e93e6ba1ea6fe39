// The clients of the simulated volume: several connections with several requests each, all of them to one node at a time. Each time
// they come to a node they first read everything, so that what was lost is noticed at once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../sim/cell_model.h"
#include "../sim/workload.h"
#include "node.h"
#include "plan.h"

namespace ringbolt::sim {

/// What is there of what was acknowledged, when clients come to a node.
enum class Promise : uint8_t {
  kAll,      ///< everything
  kFlushed,  ///< a copy that counted lost power: what was flushed, and of the rest any part
  kNothing,  ///< acknowledged data was given up on purpose: whole values that were written, no more
};

class Clients {
 public:
  Clients(io::SimWorld& world, const Plan& plan);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  /// Requires: nobody is connected, and the node is up and serves. `epoch` is that of its term.
  void connect(Node& node, Epoch epoch, Promise promise);
  /// Requests that are open are answered, or not: nobody waits for them.
  void leave();
  /// So many requests from now on, then no more; 0: without an end.
  void send_at_most(uint64_t requests);
  /// Sends little from now on.
  void slow_down() { load_.options().pause_max = std::max(load_.options().pause_max, 30 * io::kMillisecond); }
  /// Sends no more, and waits for what is open.
  void pause();
  void read_back();

  [[nodiscard]] bool connected() const { return node_ != nullptr; }
  [[nodiscard]] const Node* node() const { return node_; }
  /// Everything that was there when they came has been read, and requests are sent.
  [[nodiscard]] bool working() const { return working_; }
  /// A read of everything came to nothing: an error, or the process died.
  [[nodiscard]] bool scan_failed() const { return scan_failed_; }
  [[nodiscard]] bool idle() const { return load_.idle() && !scanning_; }
  /// read_back() has ended, and well.
  [[nodiscard]] bool has_read_back() const { return read_back_; }
  /// The volume sent them away: they must leave().
  [[nodiscard]] bool sent_away() const { return sent_away_; }
  /// An answer came after connect(): the primary's term is committed.
  [[nodiscard]] bool answered() const { return load_.answered() > answered_before_ || working_; }
  /// Likewise, to these clients or to earlier ones, since forget_answers().
  [[nodiscard]] bool has_answered() const { return has_answered_ || (connected() && answered()); }
  void forget_answers() { has_answered_ = false; }
  [[nodiscard]] uint64_t requests_answered() const { return load_.answered(); }
  [[nodiscard]] uint64_t requests_failed() const { return load_.failed(); }
  [[nodiscard]] uint64_t writes_answered() const { return load_.writes_answered(); }

  /// What is wrong with what clients were told; empty: nothing. `thorough`: also the whole history.
  [[nodiscard]] std::string broken(bool thorough);
  /// Empty, or which acknowledgements of two primaries there are.
  [[nodiscard]] const std::string& two_primaries() const { return two_primaries_; }

 private:
  struct Connection final : ClientObserver {
    Clients* owner = nullptr;
    void on_volume_gone(const std::string& reason) override;
  };
  void scan();
  void acknowledged(Epoch epoch);

  io::SimWorld& world_;
  const Plan& plan_;
  CellModel model_;
  Workload load_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Node* node_ = nullptr;
  uint64_t boot_ = 0;
  Epoch epoch_;
  Promise promise_ = Promise::kAll;
  bool scanning_ = false, scan_failed_ = false, working_ = false, sent_away_ = false, read_back_ = false;
  uint64_t answered_before_ = 0;
  bool has_answered_ = false;
  Epoch newest_acknowledged_;
  std::string two_primaries_;
};

}  // namespace ringbolt::sim

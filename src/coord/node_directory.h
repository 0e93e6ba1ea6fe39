// The nodes that the coordinator knows: looked up, then watched, and looked up again now and then, as a watch can be silent for
// ever. For people and for choosing where something may go: it can be behind, and a decision that must not rest on that compares
// revisions in a transaction.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "coord/boot_clock.h"
#include "coord/node_record.h"
#include "coord/store.h"

namespace ringbolt::coord {

/// Thread: all members on one thread, that of the store.
class NodeDirectory : public std::enable_shared_from_this<NodeDirectory> {
 public:
  using Clock = std::function<Instant()>;
  static constexpr size_t kNodesMax = 1000;

  /// `pause`: after a failure; `look_again`: after a look. Requires: `store` outlives this; it is owned by a shared pointer.
  NodeDirectory(Store& store, std::string prefix, Span pause, Span look_again, Clock clock, std::function<void()> woken);

  void turn();
  [[nodiscard]] Instant wake() const { return looking_ ? Instant::max() : next_at_; }

  [[nodiscard]] const std::map<std::string, NodeRecord>& nodes() const { return nodes_; }
  /// It is being watched, as far as is known.
  [[nodiscard]] bool current() const { return watch_ != nullptr; }

 private:
  void on_look(const Entries& found);
  void watch(Revision from);
  void on_events(const std::vector<Event>& events);
  void on_end(const WatchEnd& end);
  void take(const Entry& entry);
  void tell_of_others() const;

  Store& store_;
  const std::string prefix_;
  const Span pause_, look_again_;
  const Clock clock_;
  const std::function<void()> woken_;
  bool looking_ = false;
  Instant next_at_{};
  std::map<std::string, NodeRecord> nodes_;  ///< by what their keys call them
  std::unique_ptr<Watch> watch_;
};

}  // namespace ringbolt::coord

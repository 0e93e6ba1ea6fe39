// One of the places for rebuilds of this node, as long as a replica has it.
#pragma once

#include <utility>

#include "repl/rebuild_limits.h"

namespace ringbolt::repl {

/// Taken before anything is given up for a rebuild; given back at the end, whatever that is. Again changes nothing. Thread: the volume's shard.
class RebuildPlace {
 public:
  explicit RebuildPlace(RebuildLimits& limits) : limits_(limits) {}
  ~RebuildPlace() { give_back(); }
  RebuildPlace(const RebuildPlace&) = delete;
  RebuildPlace& operator=(const RebuildPlace&) = delete;

  /// For a rebuild that has been decided on. False: there is none.
  [[nodiscard]] bool take() {
    if (!try_take()) return false;
    ahead_ = false;
    return true;
  }
  /// For one that is about to be ordered: kept until that is decided, through the end of the session that the order ends. A copy that counts
  /// should not stop to only in order to wait.
  [[nodiscard]] bool take_ahead() {
    if (!held_) ahead_ = try_take();
    return held_;
  }
  void give_back() {
    ahead_ = false;
    if (std::exchange(held_, false)) limits_.places.end();
  }
  /// It was taken ahead, and no rebuild has been decided on since.
  [[nodiscard]] bool ahead() const { return ahead_; }
  [[nodiscard]] bool held() const { return held_; }

 private:
  bool try_take() { return held_ = held_ || limits_.places.try_begin(limits_.parallel); }

  RebuildLimits& limits_;
  bool held_ = false;
  bool ahead_ = false;
};

}  // namespace ringbolt::repl

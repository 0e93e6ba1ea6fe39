// What clients ask of all volumes of this node together: a rebuild of one volume looks whether it slows down the others.
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "repl/client_load.h"

namespace ringbolt::repl {

/// Each primary registers its own counters, which only its shard writes. Thread: any. The lock is for who comes, goes and adds up, a
/// few times a second; counting takes none.
class ClientLoads {
 public:
  /// `load` must stay until it is taken out again.
  void add(const ClientLoad& load) {
    const std::lock_guard lock(mutex_);
    loads_.push_back(&load);
  }
  void remove(const ClientLoad& load) {
    const std::lock_guard lock(mutex_);
    std::erase(loads_, &load);
    gone_.latency.add(load.latency);
  }
  /// Counts only grow, also when a volume goes.
  [[nodiscard]] ClientLoad total() const {
    const std::lock_guard lock(mutex_);
    ClientLoad sum = gone_;
    for (const ClientLoad* load : loads_) sum.add(*load);
    return sum;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<const ClientLoad*> loads_;
  ClientLoad gone_;
};

}  // namespace ringbolt::repl

// What every `coord::Store` has to do, as cases that are run against the model and against a real etcd.
#pragma once

#include <functional>
#include <string>

#include "coord/store.h"

namespace ringbolt::coord {

struct StoreUnderTest {
  Store& store;
  std::string prefix;  ///< nothing else is below it
  /// Lets the store work until `is_done`.
  std::function<void(const std::function<bool()>& is_done)> wait;
  /// All up to this revision is forgotten.
  std::function<void(Revision revision)> compact;
};

// Each with checks of Catch2.
void check_entries(StoreUnderTest& under_test);
void check_transactions(StoreUnderTest& under_test);
void check_leases(StoreUnderTest& under_test);
void check_watches(StoreUnderTest& under_test);
void check_compaction(StoreUnderTest& under_test);

}  // namespace ringbolt::coord

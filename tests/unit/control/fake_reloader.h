// A Reloader without a file for tests of the admin server and of ringboltctl: says what the test has set.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "control/reload.h"

namespace ringbolt::test {

class FakeReloader : public Reloader {
 public:
  void reload(std::function<void(const Result<ReloadReport>&)> done) override {
    ++asked_;
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(done));
    if (!held_) answer_all();
  }

  /// For reloads from now on, and those that are held back.
  void set_answer(Result<ReloadReport> answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  /// While held no reload ends. Let go on the control thread.
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    if (!held_) answer_all();
  }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  void answer_all() {
    for (const auto& done : std::exchange(waiting_, {})) done(answer_);
  }

  std::mutex mutex_;
  Result<ReloadReport> answer_ = ReloadReport{"/etc/ringbolt/ringbolt.toml", {}, {}};
  std::vector<std::function<void(const Result<ReloadReport>&)>> waiting_;
  bool held_ = false;
  std::atomic<int> asked_{0};
};

}  // namespace ringbolt::test

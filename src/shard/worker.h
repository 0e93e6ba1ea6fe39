// A thread that does one thing after another, and may block: for orders that touch the file system. Serves nobody.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace ringbolt {

class Worker {
 public:
  using Work = std::function<void()>;

  Worker();
  /// What was given to it is done first.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Any thread. Work is done in the order in which it was given.
  void run(Work work);

 private:
  void main();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> waiting_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ringbolt

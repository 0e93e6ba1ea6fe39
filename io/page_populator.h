// Makes the pages of a range of memory present on a thread of its own. The kernel clears each page when it is touched first: some
// milliseconds per MiB on a virtual machine, in which a shard that touched them itself would serve nobody.
//
// One range at a time, for one owner (a shard's BufferPool), which never waits for it. The simulation has none.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>

#include "ringbolt/result.h"

namespace ringbolt::io {

class PagePopulator {
 public:
  /// Success: the range can be read and written, and its pages are present unless it was given up meanwhile. Called on the
  /// populator's thread; returns soon after `given_up` became true.
  using Work = std::function<Status(std::byte* data, size_t bytes, const std::atomic<bool>& given_up)>;

  /// Takes reserved address space into use, in huge pages where the kernel has them. Contents stay what they are, so that the
  /// owner may use the range already. Errors: what the kernel says; some of the pages may be present then.
  static Status make_present(std::byte* data, size_t bytes, const std::atomic<bool>& given_up);

  /// The thread may run on whatever processors its creator may: not to be called by a thread that is pinned. Throws
  /// std::system_error if there is no thread to be had.
  explicit PagePopulator(Work work = make_present);
  /// Gives up, and waits until the range is no longer touched: for one piece of it at most.
  ~PagePopulator();
  PagePopulator(const PagePopulator&) = delete;
  PagePopulator& operator=(const PagePopulator&) = delete;

  /// Returns at once. Requires: not busy(). The range stays mapped as long as it is.
  void begin(std::byte* data, size_t bytes);
  /// What is not present yet is not needed any more. It remains busy() for a moment.
  void give_up() { given_up_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] bool busy() const { return busy_.load(std::memory_order_acquire); }
  /// Of the last range. Requires: not busy().
  [[nodiscard]] const Status& outcome() const { return outcome_; }

 private:
  struct Range {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };
  void work_on_ranges();

  const Work work_;
  std::atomic<bool> busy_ = false;
  std::atomic<bool> given_up_ = false;
  Status outcome_ = boost::outcome_v2::success();  ///< the thread's while busy
  std::mutex mutex_;  ///< held for a few instructions only, never during the work
  std::condition_variable changed_;
  Range waiting_;  ///< under the mutex, like the next
  bool ending_ = false;
  std::thread thread_;  ///< last: it uses all of the above
};

}  // namespace ringbolt::io

#include "io/page_populator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/posix_files.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

namespace {

// The kernel keeps the process's address space locked for the length of a call: whoever maps memory waits meanwhile, and so
// does whoever waits for this thread to give up.
constexpr size_t kPieceBytes = 512u << 10;

}  // namespace

Status PagePopulator::make_present(std::byte* data, size_t bytes, const std::atomic<bool>& given_up) {
  if (mprotect(data, bytes, PROT_READ | PROT_WRITE) != 0) return errno_error(errno, "mprotect");
  // Few segments for the device, and fewer pages to make present. Merely faster, so a kernel without them is no error.
  static_cast<void>(madvise(data, bytes, MADV_HUGEPAGE));
  for (size_t offset = 0; offset < bytes && !given_up.load(std::memory_order_relaxed);) {
    const size_t piece = std::min(kPieceBytes, bytes - offset);
    if (madvise(data + offset, piece, MADV_POPULATE_WRITE) == 0) {
      offset += piece;
    } else if (errno != EINTR) {
      return errno_error(errno, "madvise(MADV_POPULATE_WRITE)");
    }
  }
  return boost::outcome_v2::success();
}

PagePopulator::PagePopulator(Work work) : work_(std::move(work)), thread_([this] { work_on_ranges(); }) {}

PagePopulator::~PagePopulator() {
  give_up();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void PagePopulator::begin(std::byte* data, size_t bytes) {
  RINGBOLT_ASSERT(!busy() && data != nullptr && bytes > 0);
  given_up_.store(false, std::memory_order_relaxed);
  busy_.store(true, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    waiting_ = {data, bytes};
  }
  changed_.notify_one();
}

void PagePopulator::work_on_ranges() {
  pthread_setname_np(pthread_self(), "memory");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || waiting_.data != nullptr; });
    if (ending_) return;
    const Range range = std::exchange(waiting_, {});
    lock.unlock();
    outcome_ = work_(range.data, range.bytes, given_up_);
    busy_.store(false, std::memory_order_release);
    lock.lock();
  }
}

}  // namespace ringbolt::io

// The one place of ringboltctl that knows libnbd.
#include "ctl/bench/volume_bench.h"

#include <fmt/format.h>
#include <libnbd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

#include "ctl/bench/block_memory.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt::ctl::bench {

namespace {

constexpr uint32_t kNbdOrderedBytes = 128u << 10;
constexpr int kPatienceMs = 10'000;

enum class VolumeKind : uint8_t { kRead, kFlush, kWrite, kDurableWrite };

struct VolumeWorkload : Workload {
  VolumeKind kind = VolumeKind::kRead;
  bool in_order = false;
};

struct CloseHandle {
  void operator()(nbd_handle* handle) const { nbd_close(handle); }
};
using Handle = std::unique_ptr<nbd_handle, CloseHandle>;

Error nbd_failure() {
  const char* const why = nbd_get_error();
  return make_error(Errc::kIo, why == nullptr ? "libnbd failed without saying why" : why);
}

Result<Handle> connect(const std::string& volume, const io::Address& address) {
  Handle handle(nbd_create());
  if (handle == nullptr || nbd_set_export_name(handle.get(), volume.c_str()) != 0) return nbd_failure();
  const int result = address.kind == io::Address::Kind::kUnix ? nbd_connect_unix(handle.get(), address.path.c_str())
                                                              : nbd_connect_tcp(handle.get(), address.host.c_str(), std::to_string(address.port).c_str());
  if (result != 0) return nbd_failure();
  return handle;
}

/// One workload on one connection, until its time is over.
class VolumeRun {
 public:
  VolumeRun(nbd_handle* handle, const VolumeWorkload& work, uint64_t volume_bytes, Clock::duration time)
      : handle_(handle), work_(work), places_(work.bytes == 0 ? 1 : volume_bytes / work.bytes), content_(11), time_(time) {}

  Measured run(const std::string& label) {
    for (uint32_t i = 0; i < work_.depth; ++i) slots_.push_back({this, block_memory(work_.bytes == 0 ? kBlockBytes : work_.bytes, content_)});
    samples_.begin();
    for (Slot& slot : slots_) begin(slot);
    while (active_ > 0 && !lost_) {
      const int result = nbd_poll(handle_, kPatienceMs);
      if (result <= 0) lose(result == 0 ? "no answer within 10 s" : nbd_failure().message);
      for (Slot& slot : slots_) {
        if (!slot.answered) continue;
        slot.answered = false;
        --active_;
        if (problem_.empty() && Clock::now() - samples_.began() < time_) begin(slot);
      }
    }
    Measured measured = samples_.summary(label, work_);
    measured.problem = problem_;
    return measured;
  }

 private:
  struct Slot {
    VolumeRun* owner;
    BlockMemory memory;
    Clock::time_point began = {};
    bool answered = false;
  };

  /// libnbd calls it from within nbd_poll(), and nothing of libnbd may be called here.
  static int on_answer(void* data, int* error) {
    Slot& slot = *static_cast<Slot*>(data);
    slot.answered = true;
    if (*error == 0) {
      slot.owner->samples_.add(Clock::now() - slot.began);
    } else if (slot.owner->problem_.empty()) {
      slot.owner->problem_ = fmt::format("the daemon answered with an error: {}", std::strerror(*error));
    }
    return 1;  // forget the command
  }

  void begin(Slot& slot) {
    const uint64_t offset = (work_.in_order ? issued_ % places_ : content_.below(places_)) * work_.bytes;
    ++issued_;
    slot.began = Clock::now();
    const nbd_completion_callback done{.callback = &VolumeRun::on_answer, .user_data = &slot, .free = nullptr};
    int64_t cookie = -1;
    switch (work_.kind) {
      case VolumeKind::kRead: cookie = nbd_aio_pread(handle_, slot.memory.get(), work_.bytes, offset, done, 0); break;
      case VolumeKind::kFlush: cookie = nbd_aio_flush(handle_, done, 0); break;
      case VolumeKind::kWrite: cookie = nbd_aio_pwrite(handle_, slot.memory.get(), work_.bytes, offset, done, 0); break;
      case VolumeKind::kDurableWrite: cookie = nbd_aio_pwrite(handle_, slot.memory.get(), work_.bytes, offset, done, LIBNBD_CMD_FLAG_FUA); break;
    }
    if (cookie < 0) return lose(nbd_failure().message);
    ++active_;
  }

  void lose(const std::string& why) {
    lost_ = true;
    if (problem_.empty()) problem_ = why;
  }

  nbd_handle* handle_;
  const VolumeWorkload& work_;
  uint64_t places_;
  Sequence content_;
  Clock::duration time_;
  Samples samples_;
  std::deque<Slot> slots_;
  uint64_t issued_ = 0;
  uint32_t active_ = 0;
  bool lost_ = false;
  std::string problem_;
};

}  // namespace

void bench_volume(const std::string& volume, const io::Address& nbd, bool overwrite, Clock::duration time, const MayBench& may,
                  const std::function<void(const Measured&)>& tell) {
  const std::string label = "volume " + volume;
  const VolumeWorkload workloads[] = {
      {{"read", "read 4 KiB anywhere", kBlockBytes, 1}, VolumeKind::kRead, false},
      {{"read_deep", "read 4 KiB anywhere", kBlockBytes, 32}, VolumeKind::kRead, false},
      {{"flush", "flush", 0, 1}, VolumeKind::kFlush, false},
      {{"durable_write", "write 4 KiB, durable (FUA)", kBlockBytes, 1}, VolumeKind::kDurableWrite, false},
      {{"write_deep", "write 4 KiB anywhere", kBlockBytes, 32}, VolumeKind::kWrite, false},
      {{"sequential_write", "write 128 KiB in order", kNbdOrderedBytes, 8}, VolumeKind::kWrite, true},
  };
  Result<Handle> handle = connect(volume, nbd);
  const int64_t bytes = handle.has_value() ? nbd_get_size(handle.value().get()) : -1;
  if (bytes < 0) {
    Measured failed{label, workloads[0]};
    failed.problem = fmt::format("NBD at {}: {}", nbd.to_string(), handle.has_value() ? nbd_failure().message : handle.error().message);
    return tell(failed);
  }
  bool asked = false, asked_to_write = false;
  for (const VolumeWorkload& work : workloads) {
    const bool writes = work.kind == VolumeKind::kWrite || work.kind == VolumeKind::kDurableWrite;
    if ((writes && !overwrite) || static_cast<uint64_t>(bytes) < work.bytes) continue;
    // The connection ends before the memory that its answers go to, whatever is still on its way.
    VolumeRun run(handle.value().get(), work, static_cast<uint64_t>(bytes), time);
    Measured measured{label, work};
    if (writes && !std::exchange(asked_to_write, true)) measured.problem = may(true);
    if (measured.problem.empty()) measured = run.run(label);
    if (measured.problem.empty() && !std::exchange(asked, true)) measured.problem = may(false);
    tell(measured);
    if (measured.problem.empty()) continue;
    handle.value().reset();
    return;
  }
  // As good manners are; all that was asked has been answered.
  static_cast<void>(nbd_shutdown(handle.value().get(), 0));
}

}  // namespace ringbolt::ctl::bench

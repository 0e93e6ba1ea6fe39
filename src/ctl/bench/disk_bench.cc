#include "ctl/bench/disk_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "ctl/bench/block_memory.h"
#include "ringbolt/types.h"

namespace ringbolt::ctl::bench {

namespace {

constexpr uint32_t kOrderedBytes = 256u << 10;

/// One workload on one file, until its time is over.
class DiskRun {
 public:
  DiskRun(io::RingIo& io, io::File file, const DiskWorkload& work, uint64_t area, Clock::duration time)
      : io_(io), file_(file), work_(work), places_(area / work.bytes), content_(static_cast<uint64_t>(Clock::now().time_since_epoch().count())), time_(time) {}

  Measured run(const std::string& label) {
    samples_.begin();
    for (uint32_t i = 0; i < work_.depth; ++i) {
      slots_.emplace_back(*this, block_memory(work_.bytes, content_));
      begin(slots_.back());
    }
    // What was written in order counts when it is durable; each of the others either is or says nothing of that.
    Status status = io_.run({});
    if (status.has_value() && problem_.empty() && work_.kind == DiskKind::kWrite && work_.in_order) {
      io_.flush(file_, last_flush_);
      status = io_.run({});
    }
    Measured measured = samples_.summary(label, work_);
    measured.problem = status.has_value() ? problem_ : status.error().message;
    return measured;
  }
  /// From the beginning, what was written in order.
  [[nodiscard]] uint64_t covered_bytes() const { return std::min(issued_, places_) * work_.bytes; }

 private:
  struct Slot {
    Slot(DiskRun& run, BlockMemory buffer) : owner(&run), memory(std::move(buffer)) {}
    void on_done(int32_t result) { owner->on_done(*this, result); }
    DiskRun* owner;
    BlockMemory memory;
    Clock::time_point began;
    bool flushing = false;
    io::Op<&Slot::on_done> op{*this};
  };

  void begin(Slot& slot) {
    const uint64_t place = work_.in_order ? issued_ % places_ : content_.below(places_);
    ++issued_;
    ++active_;
    slot.began = Clock::now();
    slot.flushing = false;
    const uint64_t offset = place * work_.bytes;
    if (work_.kind == DiskKind::kRead) return io_.read(file_, slot.memory.get(), work_.bytes, offset, slot.op);
    io_.write(file_, slot.memory.get(), work_.bytes, offset, slot.op);
  }

  void on_done(Slot& slot, int32_t result) {
    if (result < 0) {
      problem_ = fmt::format("{}: {}", slot.flushing ? "flush" : work_.kind == DiskKind::kRead ? "read" : "write", std::strerror(-result));
    } else if (work_.kind == DiskKind::kDurableWrite && !slot.flushing) {
      slot.flushing = true;
      return io_.flush(file_, slot.op);
    } else {
      samples_.add(Clock::now() - slot.began);
    }
    --active_;
    if (problem_.empty() && Clock::now() - samples_.began() < time_) return begin(slot);
    if (active_ == 0) io_.stop();
  }

  void on_last_flush(int32_t result) {
    if (result < 0) problem_ = fmt::format("flush: {}", std::strerror(-result));
    io_.stop();
  }

  io::RingIo& io_;
  io::File file_;
  const DiskWorkload& work_;
  uint64_t places_;
  Sequence content_;
  Clock::duration time_;
  Samples samples_;
  std::deque<Slot> slots_;
  uint64_t issued_ = 0;
  uint32_t active_ = 0;
  std::string problem_;
  io::Op<&DiskRun::on_last_flush> last_flush_{*this};
};

}  // namespace

void bench_disk(io::RingIo& io, const std::string& label, const DiskTarget& target, Clock::duration time, const std::function<void(const Measured&)>& tell) {
  // A scratch file is filled first: what follows reads and writes only what is there.
  const DiskWorkload workloads[] = {
      {{"sequential_write", "write 256 KiB in order", kOrderedBytes, 8}, DiskKind::kWrite, true},
      {{"sequential_read", "read 256 KiB in order", kOrderedBytes, 8}, DiskKind::kRead, true},
      {{"durable_write", "write 4 KiB, flush", kBlockBytes, 1}, DiskKind::kDurableWrite, false},
      {{"random_write", "write 4 KiB anywhere", kBlockBytes, 32}, DiskKind::kWrite, false},
      {{"random_read", "read 4 KiB anywhere", kBlockBytes, 32}, DiskKind::kRead, false},
  };
  uint64_t area = target.bytes;
  for (const DiskWorkload& work : workloads) {
    if (work.kind != DiskKind::kRead && !target.may_write) continue;
    DiskRun run(io, target.file, work, area, time);
    const Measured measured = run.run(label);
    tell(measured);
    if (!measured.problem.empty()) return;
    if (target.is_scratch && work.kind == DiskKind::kWrite && work.in_order) area = run.covered_bytes();
  }
}

}  // namespace ringbolt::ctl::bench

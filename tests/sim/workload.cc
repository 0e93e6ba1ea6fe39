// Bodies of Workload.
//
// Zeros are not unique, so a cell that is being zeroed has no other request open: then zeros that
// are read come from the newest zeroing (or trim) of the cell.
#include "workload.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ringbolt/assert.h"

namespace ringbolt::sim {

namespace {
constexpr uint64_t kCellsPerBlock = kBlockBytes / kCellBytes;
constexpr uint32_t kScanBlocks = 64;
}

struct Workload::Op {
  Request request;
  Workload* owner = nullptr;
  uint64_t generation = 0;
  io::BufferPool* pool = nullptr;
  uint64_t cell = 0;   ///< first
  uint64_t cells = 0;  ///< count; 0 for a flush
  uint64_t value = 0;
  uint64_t begun = 0;
  io::Buffer buffer;
  std::vector<std::byte> bytes;
  bool open = false;
  bool due = false;  ///< its next request is on its way
};

struct Workload::Scan {
  Request request;
  Workload* owner = nullptr;
  uint64_t generation = 0;
  io::BufferPool* pool = nullptr;
  io::Buffer buffer;
  uint64_t next_cell = 0;
  uint64_t begun = 0;
  std::function<void(uint64_t, std::optional<uint64_t>)> seen;
  std::function<void(bool)> done;
};

Workload::Workload(io::SimWorld& world, CellModel& model, uint64_t seed)
    : world_(world),
      model_(model),
      random_(seed * 77 + 5),
      shared_(model.cells()),
      exclusive_(model.cells()) {}

Workload::~Workload() = default;

void Workload::start(BlockService& service, io::BufferPool& pool) {
  RINGBOLT_ASSERT(open_ == 0);
  service_ = &service;
  pool_ = &pool;
  running_ = true;
  ++generation_;
  ops_.resize(options_.depth);
  for (auto& op : ops_) {
    op = std::make_unique<Op>();
    op->owner = this;
    op->generation = generation_;
    op->pool = pool_;
    again(*op);
  }
}

void Workload::resume() {
  RINGBOLT_ASSERT(service_ != nullptr);
  running_ = true;
  for (auto& op : ops_) {
    if (!op->open) again(*op);
  }
}

void Workload::lost() {
  running_ = false;
  service_ = nullptr;
  pool_ = nullptr;
  ++generation_;
  open_ = 0;
  // The service may still point to these requests, and answer them.
  if (scan_ != nullptr) scan_graveyard_.push_back(std::move(scan_));
  for (auto& op : ops_) graveyard_.push_back(std::move(op));
  ops_.clear();
  std::fill(shared_.begin(), shared_.end(), 0);
  std::fill(exclusive_.begin(), exclusive_.end(), false);
}

void Workload::again(Op& op) {
  if (std::exchange(op.due, true)) return;
  const io::Nanos pause = random_.between({0, options_.pause_max});
  world_.after(pause, [this, &op, generation = generation_] {
    op.due = false;
    if (generation == generation_ && running_) issue(op);
  });
}

bool Workload::lock(const Op& op, bool exclusive) {
  for (uint64_t c = op.cell; c < op.cell + op.cells; ++c) {
    if (exclusive_[c] || (exclusive && shared_[c] > 0)) return false;
  }
  for (uint64_t c = op.cell; c < op.cell + op.cells; ++c) {
    exclusive_[c] = exclusive;
    ++shared_[c];
  }
  return true;
}

void Workload::unlock(const Op& op) {
  for (uint64_t c = op.cell; c < op.cell + op.cells; ++c) {
    exclusive_[c] = false;
    --shared_[c];
  }
}

/// A random kind, range and flags.
bool Workload::choose(Op& op) {
  const LoadOptions& o = options_;
  Request& r = op.request;
  r = Request{};
  r.owner = &op;
  r.done = [](Request& request, RequestError error) {
    Op& answered = *static_cast<Op*>(request.owner);
    answered.owner->answered(answered, error);
  };
  uint64_t pick = random_.below(o.reads + o.writes + o.zeros + o.trims + o.flushes);
  const auto chosen = [&pick](uint32_t weight) {
    if (pick < weight) return true;
    pick -= weight;
    return false;
  };
  if (chosen(o.reads)) {
    r.kind = RequestKind::kRead;
  } else if (chosen(o.writes)) {
    r.kind = RequestKind::kWrite;
  } else if (chosen(o.zeros)) {
    r.kind = RequestKind::kZero;
  } else if (chosen(o.trims)) {
    r.kind = RequestKind::kTrim;
  } else {
    r.kind = RequestKind::kFlush;
    op.cell = op.cells = 0;
    return true;
  }
  const uint64_t count = o.cells == 0 ? model_.cells() - o.first_cell : o.cells;
  op.cell = o.first_cell + random_.below(count);
  op.cells = 1 + random_.below(o.cells_max);
  // A partial trim leaves the edges alone: only whole blocks say something.
  if (r.kind == RequestKind::kTrim || random_.below(100) < o.aligned_percent) {
    op.cell -= op.cell % kCellsPerBlock;
    op.cells += (kCellsPerBlock - op.cells % kCellsPerBlock) % kCellsPerBlock;
  }
  op.cells = std::min(op.cells, model_.cells() - op.cell);
  r.offset = op.cell * kCellBytes;
  r.length = op.cells * kCellBytes;
  r.fua = r.kind != RequestKind::kRead && random_.below(100) < o.fua_percent;
  const bool zeroing = r.kind == RequestKind::kZero || r.kind == RequestKind::kTrim;
  return lock(op, zeroing);
}

/// Memory for the request, its data and its values.
bool Workload::prepare(Op& op) {
  Request& r = op.request;
  op.buffer = {};
  if (r.kind == RequestKind::kRead) {
    const uint64_t blocks = (r.offset + r.length - 1) / kBlockBytes - r.offset / kBlockBytes + 1;
    op.buffer = pool_->allocate(static_cast<uint32_t>(blocks * kBlockBytes));
    if (!op.buffer) return false;
    r.buffer = op.buffer;
    return true;
  }
  op.value = model_.new_value();
  if (r.kind != RequestKind::kWrite) return true;
  std::byte* data = nullptr;
  if (random_.chance(1, 2))
    op.buffer = pool_->allocate(static_cast<uint32_t>(2 * kBlockBytes + r.length));
  if (op.buffer) {
    r.buffer = op.buffer;
    // Mostly as it would lie in a frame.
    data = op.buffer.data + kBlockBytes;
    if (random_.chance(3, 4)) data += r.offset % kBlockBytes;
  } else {
    op.bytes.resize(r.length);
    data = op.bytes.data();
  }
  for (uint64_t i = 0; i < op.cells; ++i) fill_cell(data + i * kCellBytes, op.value);
  r.payload = data;
  return true;
}

void Workload::issue(Op& op) {
  if (options_.requests_left == 0) return;
  if (!choose(op)) return again(op);
  if (!prepare(op)) {
    unlock(op);
    return again(op);
  }
  op.begun = model_.tick();
  const RequestKind kind = op.request.kind;
  if (kind != RequestKind::kRead && kind != RequestKind::kFlush) {
    const bool zeros = kind != RequestKind::kWrite;
    for (uint64_t c = op.cell; c < op.cell + op.cells; ++c) {
      model_.write_begun(c, op.value, zeros, op.begun);
    }
  }
  op.open = true;
  ++open_;
  if (options_.requests_left != UINT64_MAX) --options_.requests_left;
  service_->submit(op.request);
}

void Workload::enter(Op& op) {
  const uint64_t ended = model_.tick();
  const Request& r = op.request;
  if (r.kind == RequestKind::kFlush) return model_.flush_acknowledged(op.begun);
  for (uint64_t i = 0; i < op.cells; ++i) {
    if (r.kind == RequestKind::kRead) {
      const std::byte* first = op.buffer.data + r.offset % kBlockBytes;
      model_.read(op.cell + i, cell_value(first + i * kCellBytes), op.begun, ended);
    } else {
      model_.write_acknowledged(op.cell + i, op.value, ended, r.fua);
    }
  }
}

void Workload::answered(Op& op, RequestError error) {
  RINGBOLT_ASSERT(op.open);
  op.open = false;
  if (op.generation != generation_) return answered_late(op, error);
  --open_;
  if (error == RequestError::kNone) {
    enter(op);
    ++answered_;
  } else if (error == RequestError::kShutdown) {
    ++refused_;
  } else {
    ++failed_;
  }
  const bool wrote = op.request.kind != RequestKind::kRead;
  unlock(op);
  // A write's buffer is the volume's if it took it.
  if (op.buffer && op.request.buffer) pool_->release(op.buffer);
  op.buffer = {};
  if (error != RequestError::kShutdown) again(op);
  if (error != RequestError::kNone || !wrote) return;
  ++writes_answered_;
  if (on_write_answered) on_write_answered();
}

void Workload::answered_late(Op& op, RequestError error) {
  const RequestKind kind = op.request.kind;
  if (error == RequestError::kNone && kind != RequestKind::kRead) {
    enter(op);
  }
  if (op.buffer && op.request.buffer) op.pool->release(op.buffer);
  op.buffer = {};
}

void Workload::read_all(std::function<void(uint64_t, std::optional<uint64_t>)> seen,
                        std::function<void(bool)> done) {
  RINGBOLT_ASSERT(open_ == 0 && scan_ == nullptr);
  scan_ = std::make_unique<Scan>();
  scan_->owner = this;
  scan_->generation = generation_;
  scan_->pool = pool_;
  scan_->seen = std::move(seen);
  scan_->done = std::move(done);
  scan_->request.owner = scan_.get();
  scan_->request.kind = RequestKind::kRead;
  scan_->request.done = [](Request& request, RequestError error) {
    Scan& scan = *static_cast<Scan*>(request.owner);
    scan.owner->scanned(scan, error);
  };
  scan_on();
}

/// Asks for the next part.
void Workload::scan_on() {
  if (!scan_->buffer) scan_->buffer = pool_->allocate(kScanBlocks * kBlockBytes);
  if (!scan_->buffer) {
    world_.after(io::kMillisecond, [this, generation = generation_] {
      if (generation == generation_ && scan_ != nullptr) scan_on();
    });
    return;
  }
  Request& r = scan_->request;
  r.offset = scan_->next_cell * kCellBytes;
  r.length = std::min<uint64_t>(kScanBlocks * kBlockBytes, (model_.cells() - scan_->next_cell) * kCellBytes);
  r.buffer = scan_->buffer;
  scan_->begun = model_.tick();
  service_->submit(r);
}

void Workload::scanned(Scan& scan, RequestError error) {
  if (scan.generation != generation_) {
    scan.pool->release(scan.buffer);
    return;
  }
  const uint64_t cells = scan.request.length / kCellBytes;
  for (uint64_t i = 0; error == RequestError::kNone && i < cells; ++i) {
    const auto value = cell_value(scan.buffer.data + i * kCellBytes);
    if (scan.seen) {
      scan.seen(scan.next_cell + i, value);
    } else {
      model_.read(scan.next_cell + i, value, scan.begun, model_.tick());
    }
  }
  scan.next_cell += cells;
  const bool over = error != RequestError::kNone || scan.next_cell == model_.cells();
  // Not from inside the answer.
  world_.after(0, [this, over, ok = error == RequestError::kNone, generation = generation_] {
    if (generation != generation_ || scan_ == nullptr) return;
    if (!over) return scan_on();
    pool_->release(scan_->buffer);
    const auto done_now = std::move(scan_->done);
    scan_.reset();
    done_now(ok);
  });
}

}  // namespace ringbolt::sim

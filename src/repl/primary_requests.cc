// A request's way through the primary: wait for its turn, read the edge blocks if it is not
// block-aligned, append, wait for commit or stability, answer.
//
// Order per block: a request that is not block-aligned reads the blocks at its edges, merges and
// appends whole blocks. Between its read and its append no other record may touch these blocks, so
// later requests that overlap it wait (overlaps_unappended).

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "repl/primary.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

namespace {

uint64_t first_block(const Request& r) { return r.offset / kBlockBytes; }
uint64_t last_block(const Request& r) { return (r.offset + r.length - 1) / kBlockBytes; }
bool head_is_partial(const Request& r) {
  return r.offset % kBlockBytes != 0 || (first_block(r) == last_block(r) && r.length % kBlockBytes != 0);
}
bool tail_is_partial(const Request& r) {
  return first_block(r) != last_block(r) && (r.offset + r.length) % kBlockBytes != 0;
}
/// Whether its buffer can become a frame: the payload is where it would be in one. (Small payloads come
/// otherwise: they are better copied into the open frame, many to a frame.)
bool is_frame(const Request& r, uint32_t blocks) {
  return r.buffer && r.payload == r.buffer.data + kBlockBytes + r.offset % kBlockBytes &&
         r.buffer.bytes >= (1 + blocks) * kBlockBytes;
}

/// Steps of a zero or trim request: its first partial block, whole blocks, its last partial block.
enum ZeroStep : uint8_t { kHead, kMiddle, kTail };

}  // namespace

void Primary::submit(Request& request) {
  load_.begin();
  request.submitted_at = io_.now();
  request.progress = 0;
  request.step = kHead;
  request.error = RequestError::kNone;
  request.reads_pending = 0;
  request.sealed = false;
  request.payload_consumed = false;
  if (stopping_ || fenced_) return answer(request, RequestError::kShutdown);
  if (store_.failed() && (!serving_ || request.kind != RequestKind::kRead)) return answer(request, RequestError::kIo);
  if (request.kind == RequestKind::kCache) return answer(request, RequestError::kNone);
  const bool may_read = serving_ || defect(Defect::kReadsBeforeTerm);
  if (may_read && request.kind == RequestKind::kRead) return submit_read(request);
  queue_.push(request);
  pump();
}

// --- reads ----------------------------------------------------------------------------------------------

Primary::ReadTask* Primary::take_task() {
  if (free_tasks_.empty()) {
    tasks_.push_back(std::make_unique<ReadTask>());
    tasks_.back()->primary = this;
    tasks_.back()->job.owner = tasks_.back().get();
    free_tasks_.reserve(tasks_.capacity());
    free_tasks_.push_back(tasks_.back().get());
  }
  ReadTask* task = free_tasks_.back();
  free_tasks_.pop_back();
  return task;
}

void Primary::give_task(ReadTask* task) {
  if (task->buffer && task->charged) {
    store_.payload_memory().release(task->buffer);
  } else if (task->buffer) {
    pool_.release(task->buffer);
  }
  task->buffer = {};
  task->request = nullptr;
  free_tasks_.push_back(task);
}

void Primary::submit_read(Request& request) {
  ReadTask* task = take_task();
  task->request = &request;
  task->edge = false;
  task->job.first = Lba(first_block(request));
  task->job.blocks = static_cast<uint32_t>(last_block(request) - first_block(request) + 1);
  task->job.data = request.buffer.data;
  task->job.done = [](ReadJob& job, int error) { static_cast<ReadTask*>(job.owner)->primary->read_done(job, error); };
  ++reads_in_flight_;
  store_.read(task->job);
}

void Primary::read_done(ReadJob& job, int error) {
  auto* task = static_cast<ReadTask*>(job.owner);
  Request& request = *task->request;
  give_task(task);
  --reads_in_flight_;
  if (stopping_ || fenced_) {
    answer(request, RequestError::kShutdown);
    if (stopping_) continue_stop();
    return;
  }
  if (error != 0) return answer(request, RequestError::kIo);
  if (job.newest <= committed_ || defect(Defect::kReadsUncommitted)) return answer(request, RequestError::kNone);
  if (!serving_ && defect(Defect::kReadsBeforeTerm)) return answer(request, RequestError::kNone);
  mark(Mark::kReadWaited);
  // What it saw is not committed yet. Answered now, a crash could take back what the client has seen.
  if (store_.failed()) return answer(request, RequestError::kIo);
  request.wait_lsn = job.newest;
  waiting_reads_.push(request);
}

// --- admission --------------------------------------------------------------------------------------------

/// Appends what can be appended. Runs after every event that may have made room.
void Primary::pump() {
  if (pumping_ || !serving_ || fenced_ || (stopping_ && !draining_)) return;
  pumping_ = true;
  while (true) {
    if (Request* ready = edges_ready_.front()) {
      if (!admit(*ready)) break;
      edges_ready_.remove(*ready);
      admitted(*ready);
      continue;
    }
    Request* request = queue_.front();
    if (request == nullptr) break;
    if (request->kind == RequestKind::kRead) {
      queue_.remove(*request);
      submit_read(*request);
      continue;
    }
    if (is_logged(request->kind) && overlaps_unappended(*request)) break;
    if (needs_edges(*request)) {
      if (!read_edges(*request)) break;
      continue;
    }
    if (!admit(*request)) break;
    queue_.remove(*request);
    admitted(*request);
  }
  pumping_ = false;
  if (draining_) continue_stop();
}

/// True when the request is fully appended (or has failed); false: it waits for room, and goes on
/// where it stopped.
bool Primary::admit(Request& request) {
  if (store_.failed()) {
    request.error = RequestError::kIo;
    return true;
  }
  switch (request.kind) {
    case RequestKind::kWrite: return admit_write(request);
    case RequestKind::kZero:
    case RequestKind::kTrim: return admit_zero(request);
    case RequestKind::kFlush:
      request.wait_lsn = store_.wal().head();
      return true;
    case RequestKind::kRead:
    case RequestKind::kCache: return true;
  }
  return true;
}

/// All of it is in the log: give back what it held and let it wait for its reply.
void Primary::admitted(Request& request) {
  release_edges(request);
  request.logged_at = io_.now();
  if (request.wait_lsn <= store_.wal().sealed()) {
    request.sealed = true;
    request.sealed_at = request.logged_at;
  }
  if (request.error != RequestError::kNone) return answer(request, request.error);
  const bool stable = (request.fua || request.kind == RequestKind::kFlush) && !defect(Defect::kFlushNotAwaited);
  if (request.wait_lsn <= (stable ? stable_ : committed_)) return answer(request, RequestError::kNone);
  if (stable) {
    mark(Mark::kDurableWait);
    want_flush(request.wait_lsn);
    waiting_stable_.push(request);
  } else {
    waiting_commit_.push(request);
  }
}

bool Primary::may_append(uint32_t blocks) {
  const uint64_t limit = window_limit();
  if (window_.blocks() > limit / 2) want_flush(store_.wal().head());
  const bool fits = window_.blocks() == 0 || window_.blocks() + blocks <= limit;
  if (!fits) mark(Mark::kWindowFull);
  return fits;
}

void Primary::appended(Request& request, Lsn lsn, uint32_t blocks) {
  request.wait_lsn = lsn;
  window_.add(lsn, blocks);
  io_.defer(seal_);
}

/// What a refused append means: wait (for memory explicitly; space is announced), or fail.
bool Primary::refused(Request& request, Wal::Admission admission) {
  if (admission == Wal::Admission::kNoMemory) {
    mark(Mark::kNoMemory);
    pool_.wait(memory_);
  }
  if (admission == Wal::Admission::kNoSpace && store_.base_full() && !store_.wal().failed()) {
    // The WAL cannot be emptied because the base image's device is full.
    request.error = RequestError::kNoSpace;
    return true;
  }
  return false;
}

/// Completes the blocks at the edges of a payload that becomes a frame as it is. Only the bytes around the
/// payload are written, so it does no harm when it is done again.
void Primary::merge_edges(const Request& request) const {
  std::byte* const blocks = request.buffer.data + kBlockBytes;
  const uint64_t begin = request.offset % kBlockBytes, end = begin + request.length;
  for (const ReadTask* edge : edges_) {
    if (edge->request != &request) continue;
    mark(Mark::kEdgesMerged);
    const uint64_t at = (edge->edge_block - first_block(request)) * kBlockBytes;
    if (at < begin) std::memcpy(blocks + at, edge->buffer.data, begin - at);
    if (at + kBlockBytes > end) std::memcpy(blocks + end, edge->buffer.data + (end - at), at + kBlockBytes - end);
  }
}

bool Primary::admit_write(Request& request) {
  const Lba lba(first_block(request));
  const auto blocks = static_cast<uint32_t>(last_block(request) - lba.value() + 1);
  if (!may_append(blocks + 1)) return false;
  Lsn lsn;
  if (is_frame(request, blocks)) {
    merge_edges(request);
    const uint32_t buffer_bytes = request.buffer.bytes;
    const Wal::Admission admission = store_.append_buffer(request.buffer, lba, blocks, &lsn);
    if (admission != Wal::Admission::kOk) return refused(request, admission);
    request.buffer = {};
    if (request.share != nullptr) request.share->forgo(buffer_bytes);
  } else {
    const Wal::Admission admission = store_.prepare(RecordKind::kWrite, blocks);
    if (admission != Wal::Admission::kOk) return refused(request, admission);
    std::byte* const space = store_.payload_space();
    for (const ReadTask* edge : edges_) {
      if (edge->request != &request) continue;
      std::memcpy(space + (edge->edge_block - lba.value()) * kBlockBytes, edge->buffer.data, kBlockBytes);
    }
    std::memcpy(space + request.offset % kBlockBytes, request.payload, request.length);
    lsn = store_.append(RecordKind::kWrite, lba, blocks);
    // Not when it is answered: until then it would be memory that helps nobody.
    request.release_buffer(pool_);
  }
  request.payload_consumed = true;
  appended(request, lsn, blocks + 1);
  return true;
}

bool Primary::admit_zero(Request& request) {
  // Trim is advice: partial blocks are left alone. Zero is a promise: they are merged.
  const bool trim = request.kind == RequestKind::kTrim;
  const bool head = head_is_partial(request), tail = tail_is_partial(request);
  const uint64_t from = first_block(request) + (head ? 1 : 0);
  const uint64_t end = last_block(request) + (tail || (head && first_block(request) == last_block(request)) ? 0 : 1);
  if (request.step == kHead) {
    if (head && !trim && !append_partial_block(request, first_block(request))) return false;
    if (request.error != RequestError::kNone) return true;
    request.step = kMiddle;
  }
  while (request.step == kMiddle && from + request.progress < end) {
    const auto blocks = static_cast<uint32_t>(std::min<uint64_t>(end - from - request.progress, kZeroRecordBlocksMax));
    if (!may_append(blocks + 1)) return false;
    const RecordKind kind = trim ? RecordKind::kTrim : RecordKind::kZero;
    const Wal::Admission admission = store_.prepare(kind, blocks);
    if (admission != Wal::Admission::kOk) return refused(request, admission);
    appended(request, store_.append(kind, Lba(from + request.progress), blocks), blocks + 1);
    request.progress += blocks;
  }
  request.step = kTail;
  if (tail && !trim && !append_partial_block(request, last_block(request))) return false;
  return true;
}

/// Zeros the part of `block` that the request covers. False: it waits for room.
bool Primary::append_partial_block(Request& request, uint64_t block) {
  if (!may_append(2)) return false;
  const Wal::Admission admission = store_.prepare(RecordKind::kWrite, 1);
  if (admission != Wal::Admission::kOk) return refused(request, admission);
  std::byte* const space = store_.payload_space();
  for (const ReadTask* edge : edges_) {
    if (edge->request == &request && edge->edge_block == block) std::memcpy(space, edge->buffer.data, kBlockBytes);
  }
  const uint64_t block_offset = block * kBlockBytes;
  const uint64_t from = std::max(request.offset, block_offset) - block_offset;
  const uint64_t to = std::min(request.offset + request.length, block_offset + kBlockBytes) - block_offset;
  std::memset(space + from, 0, to - from);
  appended(request, store_.append(RecordKind::kWrite, Lba(block), 1), 2);
  return true;
}

// --- edge blocks ------------------------------------------------------------------------------------------

bool Primary::needs_edges(const Request& request) const {
  if (request.kind != RequestKind::kWrite && request.kind != RequestKind::kZero) return false;
  return head_is_partial(request) || tail_is_partial(request);
}

/// Whether it touches a block of a request that is not appended yet because of its edge blocks. All
/// blocks of that request count: if this one has edges, too, and one lies within the other's whole
/// blocks, it would read and later append what is older than the other.
bool Primary::overlaps_unappended(const Request& request) const {
  for (const RequestQueue* queue : {&edges_reading_, &edges_ready_}) {
    for (const Request* other = queue->front(); other != nullptr; other = other->next) {
      if (first_block(*other) > last_block(request) || last_block(*other) < first_block(request)) continue;
      mark(Mark::kOverlapWaited);
      return !defect(Defect::kEdgesTooEarly);
    }
  }
  return false;
}

/// Starts reading the request's edge blocks. False if there is no memory (it stays where it is).
bool Primary::read_edges(Request& request) {
  ReadTask* started[2] = {};
  const bool wanted[2] = {head_is_partial(request), tail_is_partial(request)};
  for (int i = 0; i < 2; ++i) {
    if (!wanted[i]) continue;
    // They wait with their request for the log, so they are charged like its payload.
    io::Buffer buffer = store_.payload_memory().allocate(kBlockBytes);
    const bool charged = static_cast<bool>(buffer);
    if (!buffer) buffer = store_.wal().reserve_memory().take(io::BufferReserve::Use::kEdge);
    if (!buffer) {
      if (started[0] != nullptr) give_task(started[0]);
      pool_.wait(memory_);
      return false;
    }
    ReadTask* task = take_task();
    task->buffer = buffer;
    task->charged = charged;
    task->request = &request;
    task->edge = true;
    task->edge_block = i == 0 ? first_block(request) : last_block(request);
    task->job.first = Lba(task->edge_block);
    task->job.blocks = 1;
    task->job.data = buffer.data;
    task->job.done = [](ReadJob& job, int error) { static_cast<ReadTask*>(job.owner)->primary->edge_read(job, error); };
    started[i] = task;
  }
  mark(Mark::kEdgesRead);
  queue_.remove(request);
  edges_reading_.push(request);
  request.reads_pending = (started[0] != nullptr ? 1 : 0) + (started[1] != nullptr ? 1 : 0);
  for (ReadTask* task : started) {
    if (task == nullptr) continue;
    edges_.push_back(task);
    ++reads_in_flight_;
  }
  for (ReadTask* task : started) {
    if (task != nullptr) store_.read(task->job);
  }
  return true;
}

void Primary::edge_read(ReadJob& job, int error) {
  Request& request = *static_cast<ReadTask*>(job.owner)->request;
  --reads_in_flight_;
  if (error != 0) request.error = RequestError::kIo;
  if (--request.reads_pending > 0) return;
  edges_reading_.remove(request);
  if (stopping_ && !draining_) {
    release_edges(request);
    answer(request, RequestError::kShutdown);
    return continue_stop();
  }
  if (request.error != RequestError::kNone || fenced_ || store_.failed()) {
    const RequestError reason = fenced_ ? RequestError::kShutdown : RequestError::kIo;
    release_edges(request);
    answer(request, reason);
    return pump();
  }
  edges_ready_.push(request);
  pump();
}

void Primary::release_edges(Request& request) {
  size_t kept = 0;
  for (ReadTask* edge : edges_) {
    if (edge->request == &request) {
      give_task(edge);
    } else {
      edges_[kept++] = edge;
    }
  }
  edges_.resize(kept);
}

/// All records that there are have left. Those that had not before are at the ends of the queues: what is logged later waits behind.
void Primary::note_sealed() {
  for (const RequestQueue* queue : {&waiting_commit_, &waiting_stable_}) {
    for (Request* request = queue->back(); request != nullptr && !request->sealed; request = request->previous) {
      request->sealed = true;
      request->sealed_at = io_.now();
    }
  }
}

// --- answers ----------------------------------------------------------------------------------------------

void Primary::answer(Request& request, RequestError error) {
  const io::Nanos now = io_.now();
  load_.end(now - request.submitted_at);
  meter_.answered(request, error, now);
  request.done(request, error);
}

void Primary::answer_ready() {
  while (!waiting_commit_.empty() && waiting_commit_.front()->wait_lsn <= committed_) {
    answer(*waiting_commit_.pop(), RequestError::kNone);
  }
  while (!waiting_stable_.empty() && waiting_stable_.front()->wait_lsn <= stable_) {
    answer(*waiting_stable_.pop(), RequestError::kNone);
  }
  for (Request* request = waiting_reads_.front(); request != nullptr;) {
    Request* const next = request->next;
    if (request->wait_lsn <= committed_) {
      waiting_reads_.remove(*request);
      answer(*request, RequestError::kNone);
    }
    request = next;
  }
}

/// Requests whose edge blocks are still being read are answered when that ends.
void Primary::fail_all(RequestError error) {
  while (Request* request = edges_ready_.pop()) {
    release_edges(*request);
    answer(*request, error);
  }
  for (RequestQueue* queue : {&queue_, &waiting_commit_, &waiting_stable_, &waiting_reads_}) {
    while (Request* request = queue->pop()) answer(*request, error);
  }
}

}  // namespace ringbolt::repl

#include "repl/wal_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

WalReader::WalReader(io::Io& io, io::BufferPool& pool, Store& store, WalReaderListener& listener)
    : io_(io), pool_(pool), store_(store), listener_(listener) {
  for (Span& span : spans_) span.frames.reserve(kFramesPerSpanMax);
}

WalReader::~WalReader() {
  RINGBOLT_ASSERT(!pending());
  pool_.cancel_wait(memory_);
  for (Span& span : spans_) release(span);
}

bool WalReader::pending() const { return spans_[0].read.pending() || spans_[1].read.pending(); }

void WalReader::release(Span& span) {
  if (span.buffer) pool_.release(span.buffer);
  span.buffer = {};
  span.frames.clear();
  span.ready = false;
}

const WalReader::ReadFrame* WalReader::find(Lsn lsn) {
  for (const Span& span : spans_) {
    if (!span.ready) continue;
    for (const ReadFrame& frame : span.frames) {
      if (frame.place.first > lsn || frame.place.live_last < lsn) continue;
      read_ahead(span.frames.back().place.live_last.next());
      return &frame;
    }
  }
  read_ahead(lsn);
  return nullptr;
}

/// Starts reading the frames from `from` on, unless they are read, being read or in memory.
void WalReader::read_ahead(Lsn from) {
  for (const Span& span : spans_) {
    if (span.frames.empty() || span.dropped) continue;
    if (span.frames.front().place.first <= from && span.frames.back().place.live_last >= from) return;
  }
  if (from > store_.wal().sealed() || store_.wal().find_frame(from) != nullptr || memory_.queued()) return;
  for (Span& span : spans_) {
    if (span.free() && start(span, from)) return;
  }
}

/// Frames that lie one behind the other, as many as fit the largest buffer.
bool WalReader::start(Span& span, Lsn from) {
  const Wal& wal = store_.wal();
  constexpr uint32_t kBlocksMax = kFrameBytesMax / kBlockBytes;
  span.blocks = 0;
  span.frames.clear();
  for (Lsn next = from; span.frames.size() < kFramesPerSpanMax && next <= wal.sealed();) {
    // What is in memory may not be on the device yet, and is sent from there.
    if (wal.find_frame(next) != nullptr) break;
    const auto place = wal.find_place(next);
    if (!place || span.blocks + place->blocks > kBlocksMax) break;
    if (span.frames.empty()) span.position = place->position;
    if (place->position != span.position + span.blocks) break;
    // Positions go on behind the end of the area, the device does not.
    if (wal.device_block(span.position) + span.blocks + place->blocks > wal.capacity_blocks()) break;
    span.frames.push_back({*place, nullptr});
    span.blocks += place->blocks;
    next = place->live_last.next();
  }
  if (span.frames.empty()) return false;
  span.buffer = store_.wal().reserve_memory().allocate(io::BufferReserve::Use::kReadBack, span.blocks * kBlockBytes);
  if (!span.buffer) {
    span.frames.clear();
    pool_.wait(memory_);
    return false;
  }
  uint64_t at = 0;
  for (ReadFrame& frame : span.frames) {
    frame.bytes = span.buffer.data + at * kBlockBytes;
    at += frame.place.blocks;
  }
  mark(Mark::kReadBack);
  span.ready = span.dropped = false;
  io_.read(wal.geometry().file, span.buffer.data, span.blocks * kBlockBytes, wal.device_block(span.position) * kBlockBytes, span.read);
  return true;
}

const char* WalReader::check(const ReadFrame& frame) const {
  const Wal& wal = store_.wal();
  const FrameHeader header(const_cast<std::byte*>(frame.bytes));
  if (const char* wrong = header.check(wal.geometry().volume, wal.geometry().volume_blocks)) return wrong;
  if (header.first_lsn() != frame.place.first || header.total_blocks() != frame.place.blocks) return "another frame";
  return header.check_payload(frame.bytes + kBlockBytes) ? "payload checksum mismatch" : nullptr;
}

void WalReader::on_span_read(Span& span, int32_t result) {
  if (span.dropped) {
    span.dropped = false;
    release(span);
    return listener_.on_wal_read();  // who stops waits for this
  }
  if (result < 0) {
    release(span);
    return listener_.on_wal_unreadable(fmt::format("reading the WAL: {}", std::strerror(-result)));
  }
  for (const ReadFrame& frame : span.frames) {
    // The place may have been given up and written again while it was read: then it says nothing.
    const auto place = store_.wal().find_place(frame.place.first);
    if (!place || place->position != frame.place.position) {
      release(span);
      return listener_.on_wal_read();
    }
    if (const char* wrong = check(frame)) {
      const uint64_t byte = store_.wal().device_block(frame.place.position) * kBlockBytes;
      release(span);
      return listener_.on_wal_unreadable(fmt::format("the WAL is damaged at byte {}: {}", byte, wrong));
    }
  }
  span.ready = true;
  listener_.on_wal_read();
}

void WalReader::sent(Lsn next) {
  for (Span& span : spans_) {
    if (span.ready && span.frames.back().place.live_last < next) release(span);
  }
}

void WalReader::drop() {
  pool_.cancel_wait(memory_);
  for (Span& span : spans_) {
    if (span.read.pending()) {
      span.dropped = true;
    } else {
      release(span);
    }
  }
}

}  // namespace ringbolt::repl

#include "volume/zero_scan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/types.h"

namespace ringbolt {

ZeroScan::ZeroScan(io::Io& io, io::File file, uint64_t bytes, Done done)
    : io_(io), file_(file), bytes_(bytes), done_(std::move(done)),
      memory_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, uint64_t{kReads} * kFrameBytesMax))) {
  RINGBOLT_ASSERT(memory_ != nullptr);
  for (uint32_t i = 0; i < kReads; ++i) {
    reads_[i].owner = this;
    reads_[i].data = memory_ + size_t{i} * kFrameBytesMax;
  }
}

ZeroScan::~ZeroScan() {
  for (const Read& read : reads_) RINGBOLT_ASSERT(!read.read.pending());
  io_.undefer(finish_);
  std::free(memory_);
}

void ZeroScan::run() { read_more(); }

void ZeroScan::read_more() {
  const uint64_t end = bytes_ / kBlockBytes * kBlockBytes;
  for (Read& read : reads_) {
    if (read.read.pending() || next_ == end || outcome_.error != 0 || outcome_.data_at) continue;
    read.offset = next_;
    read.bytes = static_cast<uint32_t>(std::min<uint64_t>(kFrameBytesMax, end - next_));
    next_ += read.bytes;
    ++pending_;
    io_.read(file_, read.data, read.bytes, read.offset, read.read);
  }
  if (pending_ == 0) io_.defer(finish_);
}

void ZeroScan::read_done(Read& read, int32_t result) {
  --pending_;
  if (result < 0) {
    outcome_.error = -result;
    outcome_.at = read.offset;
  } else if (read.data[0] != std::byte{0} || std::memcmp(read.data, read.data + 1, read.bytes - 1) != 0) {
    uint64_t at = 0;
    while (read.data[at] == std::byte{0}) ++at;
    const uint64_t found = read.offset + at / kBlockBytes * kBlockBytes;
    outcome_.data_at = std::min(outcome_.data_at.value_or(found), found);
  }
  read_more();
}

void ZeroScan::finish() {
  if (outcome_.error == 0 && !outcome_.data_at && bytes_ % kBlockBytes != 0) outcome_.data_at = bytes_ / kBlockBytes * kBlockBytes;
  // `done` may destroy this.
  const Done done = std::move(done_);
  const Outcome outcome = outcome_;
  done(outcome);
}

}  // namespace ringbolt

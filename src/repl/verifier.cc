#include "repl/verifier.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringbolt/assert.h"
#include "ringbolt/crc64.h"

namespace ringbolt::repl {

Verifier::Verifier(io::BufferPool& pool, Store& store, uint64_t first_id, uint64_t blocks_total, Ranges ranges, Ask ask, Done done)
    : pool_(pool), store_(store), next_id_(first_id), ranges_(std::move(ranges)), ask_(std::move(ask)), done_(std::move(done)) {
  result_.blocks_total = blocks_total;
  for (Slot& slot : slots_) {
    slot.owner = this;
    slot.job.owner = &slot;
    slot.job.done = [](ReadJob& job, int error) {
      Slot& read = *static_cast<Slot*>(job.owner);
      read.owner->read_done(read, error);
    };
  }
}

Verifier::~Verifier() {
  pool_.cancel_wait(memory_);
  for (Slot& slot : slots_) {
    if (slot.buffer) pool_.release(slot.buffer);
  }
}

// --- what is compared -------------------------------------------------------------------------------------

Verifier::Ranges Verifier::whole(uint64_t volume_blocks) {
  return [next = uint64_t{0}, volume_blocks]() mutable -> std::optional<BlockRange> {
    if (next == volume_blocks) return std::nullopt;
    const BlockRange range{Lba(next), std::min<uint64_t>(kVerifyBlocksMax, volume_blocks - next)};
    next += range.blocks;
    return range;
  };
}

uint64_t Verifier::sampled_blocks(uint64_t volume_blocks, uint64_t count) { return std::min(volume_blocks, count * kVerifyBlocksMax); }

/// One range in each of `count` equal parts of the volume: no part is left out by chance.
Verifier::Ranges Verifier::samples(uint64_t volume_blocks, uint64_t count, uint64_t seed) {
  if (volume_blocks <= count * kVerifyBlocksMax) return whole(volume_blocks);
  return [part = uint64_t{0}, volume_blocks, count, random = seed | 1]() mutable -> std::optional<BlockRange> {
    if (part == count) return std::nullopt;
    const uint64_t first = volume_blocks / count * part++;
    const uint64_t room = volume_blocks / count - kVerifyBlocksMax;
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    return BlockRange{Lba(first + (random >> 33) % (room + 1)), kVerifyBlocksMax};
  };
}

// --- asking -------------------------------------------------------------------------------------------------

void Verifier::pump() {
  if (pumping_) return;
  pumping_ = true;
  for (Slot& slot : slots_) {
    while (!slot.busy && !stopped_ && begin(slot)) {
    }
  }
  pumping_ = false;
  finish_if_done();
}

/// True: the slot has work, or had it and is done already.
bool Verifier::begin(Slot& slot) {
  if (!slot.buffer) slot.buffer = pool_.allocate(kVerifyBlocksMax * kBlockBytes);
  if (!slot.buffer) {
    pool_.wait(memory_);
    return false;
  }
  if (!again_.empty()) {
    slot.task = again_.front();
    again_.pop_front();
  } else {
    const auto range = exhausted_ ? std::nullopt : ranges_();
    if (!range) {
      exhausted_ = true;
      pool_.release(std::exchange(slot.buffer, {}));
      return false;
    }
    slot.task = Task{range->first, static_cast<uint32_t>(range->blocks), 0, false};
  }
  slot.busy = slot.reading = true;
  slot.after = store_.wal().head();
  slot.job.first = slot.task.first;
  slot.job.blocks = slot.task.blocks;
  slot.job.data = slot.buffer.data;
  store_.read(slot.job);
  return true;
}

void Verifier::read_done(Slot& slot, int error) {
  slot.reading = false;
  if (stopped_) {
    slot.busy = false;
    return finish_if_done();
  }
  if (error != 0) {
    slot.busy = false;
    return stop(fmt::format("the primary cannot read its blocks {} to {}", slot.task.first.value(), slot.task.first.value() + slot.task.blocks - 1));
  }
  slot.sums.clear();
  for (uint32_t i = 0; i < slot.task.blocks; ++i) slot.sums.push_back(crc64(slot.job.data + size_t{i} * kBlockBytes, kBlockBytes));
  slot.id = next_id_++;
  ask_(Verify{slot.id, slot.task.first, slot.task.blocks, slot.after});
}

// --- comparing ----------------------------------------------------------------------------------------------

Result<bool> Verifier::on_answer(const VerifyAck& ack) {
  for (Slot& slot : slots_) {
    if (!slot.busy || slot.reading || slot.id != ack.id) continue;
    if (stopped_) return true;
    if (ack.reason != Reason::kNone) {
      slot.busy = false;
      stop(fmt::format("the replica cannot read its blocks {} to {}: {}", slot.task.first.value(), slot.task.first.value() + slot.task.blocks - 1,
                       to_string(ack.reason)));
      return true;
    }
    if (ack.sums.size() != slot.task.blocks || ack.head < slot.after) {
      return make_error(Errc::kInvalid, "checksums of other blocks than were asked for, or of an earlier moment");
    }
    slot.busy = false;
    compare(slot, ack);
    pump();
    return true;
  }
  return false;
}

bool Verifier::is_written_after(Lba lba, Lsn lsn) const {
  const DirtyIndex::Entry* entry = store_.index().find(lba);
  if (entry == nullptr) return false;
  const Lsn head = store_.wal().head();
  return Lsn(head.value() - static_cast<uint32_t>(short_lsn(head) - entry->lsn)) > lsn;
}

void Verifier::compare(const Slot& slot, const VerifyAck& ack) {
  const Task& task = slot.task;
  // Of what a checkpoint has taken the index says nothing any more.
  const bool index_knows = store_.index_limit() <= slot.after;
  for (uint32_t i = 0; i < task.blocks; ++i) {
    const Lba lba = task.first.plus(i);
    if (!index_knows) {
      again(lba, task.confirming, task.attempts);
    } else if (is_written_after(lba, slot.after)) {
      if (task.attempts < kAttemptsMax) {
        again(lba, task.confirming, task.attempts + 1);
      } else {
        ++result_.blocks_in_log;
      }
    } else if (slot.sums[i] == ack.sums[i]) {
      ++result_.blocks_compared;
    } else if (!task.confirming) {
      again(lba, true, 0);
    } else {
      ++result_.blocks_compared;
      differs(lba);
    }
  }
}

void Verifier::again(Lba lba, bool confirming, uint32_t attempts) {
  if (!again_.empty()) {
    Task& last = again_.back();
    if (last.first.plus(last.blocks) == lba && last.confirming == confirming && last.attempts == attempts && last.blocks < kVerifyBlocksMax) {
      ++last.blocks;
      return;
    }
  }
  again_.push_back(Task{lba, 1, attempts, confirming});
}

void Verifier::differs(Lba lba) {
  ++result_.blocks_differing;
  auto& ranges = result_.differing;
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), lba, [](Lba block, const BlockRange& range) { return block < range.first; });
  if (after != ranges.begin()) {
    BlockRange& before = *std::prev(after);
    if (before.first.plus(before.blocks) == lba) {
      ++before.blocks;
      if (after != ranges.end() && after->first == lba.plus(1)) {
        before.blocks += after->blocks;
        ranges.erase(after);
      }
      return;
    }
  }
  if (after != ranges.end() && after->first == lba.plus(1)) {
    after->first = lba;
    ++after->blocks;
    return;
  }
  if (ranges.size() < VerifyResult::kRangesMax) ranges.insert(after, BlockRange{lba, 1});
}

// --- the end ------------------------------------------------------------------------------------------------

void Verifier::stop(const std::string& problem) {
  if (stopped_) return;
  stopped_ = true;
  result_.problem = problem;
  pool_.cancel_wait(memory_);
  for (Slot& slot : slots_) {
    if (!slot.reading) slot.busy = false;
  }
  finish_if_done();
}

void Verifier::finish_if_done() {
  if (!done_ || pumping_) return;
  const bool busy = std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.busy; });
  if (busy || (!stopped_ && (!exhausted_ || !again_.empty()))) return;
  const Done done = std::move(done_);
  done_ = nullptr;
  done();
}

}  // namespace ringbolt::repl

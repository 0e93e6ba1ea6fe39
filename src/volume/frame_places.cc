#include "volume/frame_places.h"

#include <cstdlib>

#include "ringbolt/assert.h"

namespace ringbolt {

void FramePlaces::Freed::operator()(void* memory) const { std::free(memory); }

FramePlaces::FramePlaces(uint64_t wal_blocks) : order_(chunks_max(wal_blocks)) {
  // Zero pages of chunks that are not in use cost nothing.
  chunks_.reset(static_cast<Chunk*>(std::calloc(order_.size(), sizeof(Chunk))));
  RINGBOLT_ASSERT(chunks_ != nullptr);
  free_.reserve(order_.size());
}

void FramePlaces::clear() {
  while (chunks_size_ > 0) drop_chunk();
}

FramePlaces::Chunk& FramePlaces::take_chunk() {
  RINGBOLT_ASSERT(chunks_size_ < order_.size());
  uint32_t id = chunks_taken_;
  if (free_.empty()) {
    ++chunks_taken_;
  } else {
    id = free_.back();
    free_.pop_back();
  }
  order_[(order_first_ + chunks_size_++) % order_.size()] = id;
  Chunk& chunk = chunks_[id];
  chunk.frames = 0;
  return chunk;
}

void FramePlaces::drop_chunk() {
  free_.push_back(order_[order_first_]);
  order_first_ = (order_first_ + 1) % order_.size();
  --chunks_size_;
  skipped_ = 0;
}

namespace {
struct Walk {
  uint64_t first;
  uint64_t position;
};
}  // namespace

void FramePlaces::push(const FramePlace& place) {
  const uint64_t records = place.live_last.minus(place.first) + 1;
  RINGBOLT_ASSERT(records >= 1 && records <= UINT8_MAX && place.blocks >= 1 && place.blocks <= UINT8_MAX);
  Chunk* chunk = nullptr;
  if (chunks_size_ > 0) {
    RINGBOLT_ASSERT(place.first == end_.first && place.position >= end_.position);
    chunk = &chunk_at(chunks_size_ - 1);
    // Within a chunk places are sums of lengths: behind a pad frame another one begins.
    if (chunk->frames == kChunkFrames || place.position != end_.position) chunk = nullptr;
  }
  if (chunk == nullptr) {
    chunk = &take_chunk();
    chunk->first = place.first.value();
    chunk->position = place.position;
  }
  chunk->records[chunk->frames] = static_cast<uint8_t>(records);
  chunk->blocks[chunk->frames] = static_cast<uint8_t>(place.blocks);
  chunk->previous_checksum[chunk->frames] = place.previous_checksum;
  ++chunk->frames;
  end_ = {place.live_last.next(), place.position + place.blocks};
}

std::optional<size_t> FramePlaces::search(uint64_t Chunk::* field, uint64_t limit) const {
  size_t low = 0, high = chunks_size_;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (chunk_at(middle).*field <= limit) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return std::nullopt;
  return low - 1;
}

/// The chunk's last place that is `wanted` (a prefix of its places is).
template <class Wanted>
std::optional<FramePlace> FramePlaces::last_in(size_t index, const Wanted& wanted) const {
  const Chunk& chunk = chunk_at(index);
  std::optional<FramePlace> last;
  Walk at{chunk.first, chunk.position};
  for (uint32_t i = 0; i < chunk.frames; ++i) {
    if (!wanted(at)) break;
    if (index > 0 || i >= skipped_) {
      last = FramePlace{Lsn(at.first), Lsn(at.first + chunk.records[i] - 1), at.position, chunk.blocks[i], chunk.previous_checksum[i]};
    }
    at.first += chunk.records[i];
    at.position += chunk.blocks[i];
  }
  return last;
}

FramePlace FramePlaces::front() const {
  RINGBOLT_ASSERT(chunks_size_ > 0);
  const Chunk& chunk = chunk_at(0);
  Walk at{chunk.first, chunk.position};
  for (uint32_t i = 0; i < skipped_; ++i) {
    at.first += chunk.records[i];
    at.position += chunk.blocks[i];
  }
  return FramePlace{Lsn(at.first), Lsn(at.first + chunk.records[skipped_] - 1), at.position, chunk.blocks[skipped_],
                    chunk.previous_checksum[skipped_]};
}

std::optional<FramePlace> FramePlaces::find(Lsn lsn) const {
  const auto chunk = search(&Chunk::first, lsn.value());
  if (!chunk) return std::nullopt;
  const auto place = last_in(*chunk, [&](const Walk& at) { return at.first <= lsn.value(); });
  if (!place || lsn > place->live_last) return std::nullopt;
  return place;
}

std::optional<FramePlace> FramePlaces::last_before(uint64_t position) const {
  if (position == 0) return std::nullopt;
  const auto chunk = search(&Chunk::position, position - 1);
  if (!chunk) return std::nullopt;
  return last_in(*chunk, [&](const Walk& at) { return at.position < position; });
}

FramePlace FramePlaces::candidate(uint64_t position, Lsn first) const {
  const auto by_position = search(&Chunk::position, position);
  const auto by_lsn = search(&Chunk::first, first.value());
  if (!by_position || !by_lsn) return front();
  const auto place = last_in(std::min(*by_position, *by_lsn),
                             [&](const Walk& at) { return at.position <= position && at.first <= first.value(); });
  return place ? *place : front();
}

void FramePlaces::drop_before(uint64_t position) {
  while (chunks_size_ > 1 && chunk_at(1).position <= position) drop_chunk();
  while (front().position < position) {
    RINGBOLT_ASSERT(skipped_ + 1 < chunk_at(0).frames);
    ++skipped_;
  }
  RINGBOLT_ASSERT(front().position == position);
}

}  // namespace ringbolt

// Bodies of block_model.h.
#include "block_model.h"

#include <algorithm>
#include <cstring>

#include "ringbolt/assert.h"

namespace ringbolt::test {

namespace {
constexpr size_t kWords = kBlockBytes / sizeof(uint64_t);
constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
}  // namespace

void fill_block(std::byte* block, uint64_t stamp) {
  uint64_t word = stamp * kStep;
  for (size_t i = 0; i < kWords; ++i, word += stamp)
    std::memcpy(block + i * sizeof word, &word, sizeof word);
}

bool block_is(const std::byte* block, uint64_t stamp) {
  uint64_t word = stamp * kStep;
  for (size_t i = 0; i < kWords; ++i, word += stamp) {
    if (std::memcmp(block + i * sizeof word, &word, sizeof word) != 0) return false;
  }
  return true;
}

void BlockModel::apply(const Record& record, std::vector<uint64_t>& stamps) {
  for (uint32_t i = 0; i < record.blocks; ++i) {
    stamps[record.lba + i] = has_payload(record.kind) ? record.stamp + i : 0;
  }
}

void BlockModel::append(RecordKind kind, uint64_t lba, uint32_t blocks) {
  RINGBOLT_ASSERT(lba + blocks <= stamps_.size());
  records_.push_back({kind, lba, blocks, next_stamp_});
  apply(records_.back(), stamps_);
  next_stamp_ += blocks + 1;
}

void BlockModel::truncate(Lsn head) {
  RINGBOLT_ASSERT(head <= this->head());
  records_.resize(head.value());
  stamps_ = stamps_at(head);
}

std::vector<uint64_t> BlockModel::stamps_at(Lsn head) const {
  std::vector<uint64_t> stamps(stamps_.size());
  for (uint64_t i = 0; i < head.value(); ++i) apply(records_[i], stamps);
  return stamps;
}

}  // namespace ringbolt::test

// Bodies of the log reader.
#include "log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cell_model.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::sim {

std::optional<Superblock> read_superblock(const io::SimNode& node, const std::string& directory) {
  if (!node.disk().exists(directory + "/superblock")) return std::nullopt;
  std::optional<Superblock> newest;
  for (const uint64_t offset : Superblock::kSlotOffset) {
    const auto bytes = node.read_file(directory + "/superblock", offset, Superblock::kSlotBytes);
    auto slot = Superblock::decode(bytes.data());
    if (!slot.has_value()) continue;
    if (!newest || slot.value().generation > newest->generation) newest = slot.value();
  }
  return newest;
}

namespace {

/// The frame's records that are part of history.
void take_records(const FrameHeader& header, const Superblock& superblock, CopyOnDisk& copy) {
  uint32_t payload = 0;
  for (uint32_t i = 0; i < header.record_count(); ++i) {
    const WalRecord on_disk = header.record(i);
    LoggedRecord record;
    record.lsn = header.first_lsn().plus(i);
    record.term = header.term();
    record.kind = on_disk.kind;
    record.lba = on_disk.lba;
    record.blocks = on_disk.blocks;
    const auto term = superblock.history.term_at(record.lsn);
    if (superblock.history.empty() || (term && *term != record.term)) return;
    for (uint32_t b = 0; has_payload(record.kind) && b < record.blocks; ++b) {
      record.crcs.push_back(header.block_crc(payload++));
    }
    copy.records.push_back(std::move(record));
  }
}

}  // namespace

std::optional<CopyOnDisk> read_copy(const io::SimNode& node, const std::string& directory) {
  const auto superblock = read_superblock(node, directory);
  if (!superblock || !node.disk().exists(directory + "/wal")) return std::nullopt;
  CopyOnDisk copy;
  copy.superblock = *superblock;
  copy.said_durable = superblock->durable;
  const uint64_t capacity = superblock->wal_bytes / kBlockBytes;
  const uint64_t volume_blocks = superblock->volume_bytes / kBlockBytes;
  auto area = node.read_file(directory + "/wal", 0, superblock->wal_bytes);
  uint64_t block = superblock->tail_block, scanned = 0;
  uint32_t chain = superblock->tail_previous_checksum;
  while (scanned < capacity) {
    const FrameHeader header(area.data() + block * kBlockBytes);
    if (header.check(superblock->volume, volume_blocks) != nullptr) break;
    const FrameFields fields = header.fields();
    if (fields.log_key != superblock->log_key) break;
    const uint64_t blocks = header.total_blocks();
    if (fields.previous_checksum != chain || block + blocks > capacity) break;
    if (header.first_lsn() != copy.head().next()) break;
    if (!header.is_pad()) {
      if (header.check_payload(area.data() + (block + 1) * kBlockBytes)) break;
      const size_t before = copy.records.size();
      take_records(header, *superblock, copy);
      if (copy.records.size() == before) break;
      copy.said_durable = std::max(copy.said_durable, Lsn(fields.durable_lsn));
    }
    chain = fields.checksum;
    scanned += blocks;
    block = (block + blocks) % capacity;
  }
  return copy;
}

std::string compare_logs(const CopyOnDisk& a, const CopyOnDisk& b) {
  if (a.records.empty() || b.records.empty()) return {};
  const uint64_t from = std::max(a.records.front().lsn, b.records.front().lsn).value();
  const uint64_t to = std::min(a.head(), b.head()).value();
  for (uint64_t lsn = from; lsn <= to; ++lsn) {
    const LoggedRecord& left = a.records[lsn - a.records.front().lsn.value()];
    const LoggedRecord& right = b.records[lsn - b.records.front().lsn.value()];
    if (left == right) continue;
    return fmt::format("record {} is ({}, {}) on {} and ({}, {}) on {}", lsn,
                       left.term.epoch.value(), left.term.incarnation.value(), a.superblock.node_id,
                       right.term.epoch.value(), right.term.incarnation.value(),
                       b.superblock.node_id);
  }
  return {};
}

namespace {

/// Values that clients write are unique, zeros are not: with a cell of zeros a block may be an older version, or a torn write of one,
/// that looks like the record's.
bool has_zeros(const std::byte* block) {
  for (uint32_t cell = 0; cell < kBlockBytes; cell += kCellBytes) {
    if (std::all_of(block + cell, block + cell + kCellBytes, [](std::byte b) { return b == std::byte{0}; })) return true;
  }
  return false;
}

}  // namespace

std::string find_uncommitted_in_base(const io::SimNode& node, const std::string& directory,
                                     Lsn committed) {
  const auto copy = read_copy(node, directory);
  if (!copy || !node.disk().exists(directory + "/base")) return {};
  std::set<std::pair<uint64_t, uint32_t>> known;
  for (const LoggedRecord& record : copy->records) {
    if (record.lsn > committed) break;
    for (size_t i = 0; i < record.crcs.size(); ++i) known.emplace(record.lba + i, record.crcs[i]);
  }
  for (const LoggedRecord& record : copy->records) {
    if (record.lsn <= committed || record.kind != RecordKind::kWrite) continue;
    const auto base = node.read_file(directory + "/base", record.lba * kBlockBytes,
                                     uint64_t{record.blocks} * kBlockBytes);
    for (uint32_t i = 0; i < record.blocks; ++i) {
      const std::byte* block = base.data() + size_t{i} * kBlockBytes;
      if (known.contains({record.lba + i, record.crcs[i]})) continue;
      if (crc32c(block, kBlockBytes) != record.crcs[i] || has_zeros(block)) continue;
      return fmt::format("the base image of {} holds block {} of record {}, committed is {}",
                         node.name(), record.lba + i, record.lsn.value(), committed.value());
    }
  }
  return {};
}

}  // namespace ringbolt::sim

// The content of simulated files: live pages, durable pages, and what lies between them.
#include <algorithm>
#include <cstring>

#include "io/sim_disk.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

// --- pages ---------------------------------------------------------------------------------------

SimDisk::PageBytes& SimDisk::writable(PagePointer& page) {
  if (!page) {
    page = std::make_shared<PageBytes>();
    page->fill(std::byte{0});
  } else if (page.use_count() > 1) {
    page = std::make_shared<PageBytes>(*page);
  }
  return *page;
}

/// A page with these bytes. Pages of zeros, of which there are many, are one.
SimDisk::PagePointer SimDisk::page_of(const std::byte* data) {
  static const PagePointer zeros = std::make_shared<PageBytes>();
  if (std::memcmp(data, zeros->data(), kBlockBytes) == 0) return zeros;
  auto page = std::make_shared_for_overwrite<PageBytes>();
  std::memcpy(page->data(), data, kBlockBytes);
  return page;
}

uint64_t SimDisk::pages_needed(const File& file, uint64_t offset, uint64_t bytes) const {
  uint64_t missing = 0;
  for (uint64_t page = offset / kBlockBytes; page * kBlockBytes < offset + bytes; ++page) {
    if (file.live.count(page) == 0) ++missing;
  }
  return missing;
}

void SimDisk::apply_live(File& file, uint64_t offset, uint64_t bytes, const std::byte* data) {
  for (uint64_t at = offset; at < offset + bytes;) {
    const uint64_t page = at / kBlockBytes;
    const uint64_t within = at % kBlockBytes;
    const uint64_t part = std::min<uint64_t>(kBlockBytes - within, offset + bytes - at);
    const auto found = file.live.find(page);
    if (data == nullptr && part == kBlockBytes) {
      if (found != file.live.end()) {
        file.live.erase(found);
        --used_pages_;
      }
    } else if (data != nullptr || found != file.live.end()) {
      if (found == file.live.end()) ++used_pages_;
      if (part == kBlockBytes) {
        (found == file.live.end() ? file.live[page] : found->second) = page_of(data + (at - offset));
        at += part;
        continue;
      }
      PageBytes& target = writable(found == file.live.end() ? file.live[page] : found->second);
      if (data == nullptr) {
        std::memset(target.data() + within, 0, part);
      } else {
        std::memcpy(target.data() + within, data + (at - offset), part);
      }
    }
    at += part;
  }
}

void SimDisk::copy_live(const File& file, uint64_t offset, uint64_t bytes, std::byte* to) const {
  for (uint64_t at = offset; at < offset + bytes;) {
    const uint64_t within = at % kBlockBytes;
    const uint64_t part = std::min<uint64_t>(kBlockBytes - within, offset + bytes - at);
    const auto found = file.live.find(at / kBlockBytes);
    if (found == file.live.end()) {
      std::memset(to, 0, part);
    } else {
      std::memcpy(to, found->second->data() + within, part);
    }
    to += part;
    at += part;
  }
}

bool SimDisk::land(Op& op, uint64_t offset, uint64_t bytes) {
  File& file = *op.file;
  const bool zeros = op.request.kind == SimOpKind::kZero;
  const uint64_t begin = op.request.offset + offset;
  if (!zeros && used_pages_ + pages_needed(file, begin, bytes) > capacity_ / kBlockBytes) {
    return false;
  }
  auto landed = std::make_shared<Landed>();
  landed->sequence = next_landed_++;
  landed->offset = begin;
  landed->bytes = bytes;
  landed->zeros = zeros;
  if (!zeros) {
    RINGBOLT_ASSERT(op.copied);
    landed->data = op.copy;
    landed->data_at = offset;
    landed->length = begin + bytes;
    file.length = std::max(file.length, landed->length);
  }
  apply_live(file, begin, bytes, zeros ? nullptr : landed->data->data() + offset);
  file.unflushed.push_back(landed);
  op.landed.push_back(landed);
  return true;
}

// --- durability ----------------------------------------------------------------------------------

void SimDisk::make_durable(File& file, const Landed& landed, uint32_t keep_of_8) {
  const uint64_t first = landed.offset / kSectorBytes;
  for (uint64_t i = 0; i < landed.bytes / kSectorBytes; ++i) {
    // A whole page at once, if nothing newer is there.
    if (keep_of_8 == 8 && !landed.zeros && (first + i) % kSectors == 0 && landed.bytes / kSectorBytes - i >= kSectors) {
      DurablePage& page = file.durable[(first + i) / kSectors];
      const auto newer = [&](uint64_t sequence) { return sequence > landed.sequence; };
      if (std::none_of(page.sequence.begin(), page.sequence.end(), newer)) {
        page.sequence.fill(landed.sequence);
        page.data = page_of(landed.data->data() + landed.data_at + i * kSectorBytes);
        i += kSectors - 1;
        continue;
      }
    }
    if (keep_of_8 < 8 && !world_.random().chance(keep_of_8, 8)) continue;
    const uint64_t sector = first + i;
    DurablePage& page = file.durable[sector / kSectors];
    // An older write that was left behind by a failed flush must not undo a newer durable one.
    uint64_t& sequence = page.sequence[sector % kSectors];
    if (sequence > landed.sequence) continue;
    sequence = landed.sequence;
    if (landed.zeros && !page.data) continue;
    std::byte* target = writable(page.data).data() + sector % kSectors * kSectorBytes;
    if (landed.zeros) {
      std::memset(target, 0, kSectorBytes);
    } else {
      std::memcpy(target, landed.data->data() + landed.data_at + i * kSectorBytes, kSectorBytes);
    }
  }
  if (keep_of_8 == 8 || world_.random().chance(keep_of_8, 8)) {
    file.durable_length = std::max(file.durable_length, landed.length);
  }
}

void SimDisk::persist(File& file, uint64_t covers) {
  std::deque<std::shared_ptr<Landed>> left;
  for (auto& landed : file.unflushed) {
    if (landed->completed != 0 && landed->completed <= covers && !landed->abandoned) {
      make_durable(file, *landed, 8);
    } else {
      left.push_back(std::move(landed));
    }
  }
  file.unflushed = std::move(left);
}

void SimDisk::lose_power(File& file, SimPowerLoss mode) {
  if (mode == SimPowerLoss::kKeepAll || mode == SimPowerLoss::kRandom) {
    for (const auto& [id, op] : file.in_flight) {
      while (!op->unlanded.empty()) {
        const auto [offset, bytes] = op->unlanded.back();
        op->unlanded.pop_back();
        static_cast<void>(land(*op, offset, bytes));  // one that finds no space just never lands
      }
    }
    for (const auto& landed : file.unflushed) {
      // Some writes all or nothing, some torn.
      static constexpr uint32_t kKeep[] = {0, 1, 4, 7, 8};
      const uint32_t keep = mode == SimPowerLoss::kKeepAll ? 8 : kKeep[world_.random().below(5)];
      if (keep > 0) make_durable(file, *landed, keep);
    }
  }
  file.unflushed.clear();
  used_pages_ -= file.live.size();
  file.live.clear();
  for (const auto& [number, page] : file.durable) {
    if (page.data) file.live[number] = page.data;
  }
  used_pages_ += file.live.size();
  file.length = file.durable_length;
}

// --- for tests -----------------------------------------------------------------------------------

SimDisk::File& SimDisk::existing(const std::string& path) {
  const auto at = files_.find(path);
  RINGBOLT_ASSERT(at != files_.end());
  return *at->second;
}

const SimDisk::File& SimDisk::existing(const std::string& path) const {
  const auto at = files_.find(path);
  RINGBOLT_ASSERT(at != files_.end());
  return *at->second;
}

std::vector<std::byte> SimDisk::read_file(const std::string& path, uint64_t offset,
                                          uint64_t bytes) const {
  std::vector<std::byte> data(bytes);
  copy_live(existing(path), offset, bytes, data.data());
  return data;
}

void SimDisk::write_file(const std::string& path, uint64_t offset,
                         std::span<const std::byte> data) {
  auto& slot = files_[path];
  if (!slot) {
    slot = std::make_unique<File>();
    slot->path = path;
  }
  File& file = *slot;
  apply_live(file, offset, data.size(), data.data());
  const uint64_t sequence = next_landed_++;
  for (uint64_t i = 0; i < data.size(); ++i) {
    const uint64_t at = offset + i;
    DurablePage& page = file.durable[at / kBlockBytes];
    writable(page.data)[at % kBlockBytes] = data[i];
    page.sequence[at % kBlockBytes / kSectorBytes] = sequence;
  }
  file.length = std::max(file.length, offset + data.size());
  file.durable_length = std::max(file.durable_length, offset + data.size());
}

void SimDisk::flip_bit(const std::string& path, uint64_t offset, uint32_t bit) {
  File& file = existing(path);
  RINGBOLT_ASSERT(offset < file.length && bit < 8);
  const auto mask = static_cast<std::byte>(1u << bit);
  std::byte byte = read_file(path, offset, 1)[0] ^ mask;
  apply_live(file, offset, 1, &byte);
  writable(file.durable[offset / kBlockBytes].data)[offset % kBlockBytes] ^= mask;
  for (const auto& landed : file.unflushed) {
    if (landed->zeros || offset < landed->offset || offset >= landed->offset + landed->bytes) {
      continue;
    }
    // Its other pieces keep theirs.
    landed->data = std::make_shared<std::vector<std::byte>>(*landed->data);
    (*landed->data)[landed->data_at + offset - landed->offset] ^= mask;
  }
}

bool SimDisk::exists(const std::string& path) const { return files_.count(path) > 0; }

uint64_t SimDisk::file_bytes(const std::string& path) const { return existing(path).length; }

std::vector<std::string> SimDisk::list_files() const {
  std::vector<std::string> paths;
  for (const auto& [path, file] : files_) paths.push_back(path);
  return paths;
}

void SimDisk::remove_file(const std::string& path) {
  File& file = existing(path);
  RINGBOLT_ASSERT(file.fd < 0 && file.in_flight.empty());
  used_pages_ -= file.live.size();
  files_.erase(path);
}

void SimDisk::add_block_device(const std::string& path, uint64_t bytes) {
  RINGBOLT_ASSERT(!exists(path) && bytes % kBlockBytes == 0);
  auto file = std::make_unique<File>();
  file->path = path;
  file->is_block_device = true;
  file->length = bytes;
  file->durable_length = bytes;
  files_[path] = std::move(file);
}

}  // namespace ringbolt::io

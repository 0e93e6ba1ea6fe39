// The volumes of the daemon as all its threads may know them without asking a shard: names, sizes, owners. Volumes come
// and go while it runs.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.h"
#include "control/volume_record.h"
#include "shard/volume_report.h"

namespace ringbolt {

struct VolumeEntry {
  VolumeConfig volume;  ///< as it was configured, or created
  /// What clients see. Written by the owner, before it lets any of them come.
  std::atomic<uint64_t> size_bytes{0};
  uint32_t shard = 0;
  /// Of one that was created at run time; nullopt: it is of the configuration file. Only the thread of orders changes it.
  std::optional<VolumeRecord> record;

  // `refusal` is written by the owner and read by the listeners, at handshakes and changes of role only.
  std::mutex mutex;
  std::string refusal = "the volume is being opened";

  // On the owner's thread only:
  VolumeReport report;
  bool being_deleted = false;  ///< takes no orders any more
};

class VolumeTable {
 public:
  using Entry = std::shared_ptr<VolumeEntry>;

  /// Those of the configuration file first, in its order; then the others, by name.
  void add(Entry entry) {
    const std::lock_guard lock(mutex_);
    const auto before = [&](const Entry& one) { return entry->record && one->record && entry->volume.name < one->volume.name; };
    entries_.insert(std::find_if(entries_.begin(), entries_.end(), before), std::move(entry));
  }
  void remove(const Entry& entry) {
    const std::lock_guard lock(mutex_);
    std::erase(entries_, entry);
  }
  [[nodiscard]] std::vector<Entry> all() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }
  /// If there is just one; else null.
  [[nodiscard]] Entry only() const {
    const std::lock_guard lock(mutex_);
    return entries_.size() == 1 ? entries_.front() : nullptr;
  }
  /// Null: there is none.
  [[nodiscard]] Entry find(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& one) { return one->volume.name == name; });
    return found == entries_.end() ? nullptr : *found;
  }
  [[nodiscard]] size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }
  [[nodiscard]] uint32_t count_on(uint32_t shard) const {
    const std::lock_guard lock(mutex_);
    return static_cast<uint32_t>(std::count_if(entries_.begin(), entries_.end(), [&](const Entry& one) { return one->shard == shard; }));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace ringbolt

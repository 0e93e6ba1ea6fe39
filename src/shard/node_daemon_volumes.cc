// Which volumes there are: those of the configuration file, and those that were created at run time and are kept in the
// catalogue. Orders to create and remove them are carried out by a thread that may block, one after another.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "control/config_values.h"
#include "control/volume_places.h"
#include "log/log.h"
#include "shard/node_daemon.h"

namespace ringbolt {

namespace {

constexpr std::chrono::milliseconds kLockRetry{20};
constexpr std::chrono::seconds kLockPatience{20};

/// Runs `begin` on the shard's thread, and waits until it, or what it started, calls its argument.
template <class Answer>
Answer wait_for(Shard& shard, const std::function<void(std::function<void(Answer)> done)>& begin) {
  std::promise<Answer> answer;
  shard.run([&] { begin([&answer](Answer value) { answer.set_value(std::move(value)); }); });
  return answer.get_future().get();
}

}  // namespace

// --- at the start ---------------------------------------------------------------------------------------------

/// A predecessor that was told to stop may still be at it.
Status NodeDaemon::lock_data_dir() {
  const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
  for (bool told = false;; told = true) {
    auto lock = io::DirectoryLock::take(config_.data_dir);
    if (lock.has_value()) {
      data_dir_lock_ = std::move(lock).value();
      return boost::outcome_v2::success();
    }
    if (lock.error().code != Errc::kBusy || std::chrono::steady_clock::now() > deadline) return lock.error();
    if (!told) log::warn("waiting: {}", lock.error().message);
    std::this_thread::sleep_for(kLockRetry);
  }
}

Status NodeDaemon::find_volumes() {
  BOOST_OUTCOME_TRYV(files_.make_directory(config_.data_dir));
  // What another process is just creating must not be taken for what a crash has left.
  BOOST_OUTCOME_TRYV(lock_data_dir());
  VolumePlaces places(config_.data_dir);
  for (const VolumeConfig& volume : config_.volumes) {
    const auto entry = std::make_shared<VolumeEntry>();
    entry->volume = volume;
    table_.add(entry);
    places.add(volume);
  }
  BOOST_OUTCOME_TRY(const std::vector<VolumeRecord> created, catalog_.load());
  for (const VolumeRecord& record : created) {
    const std::string& name = record.volume.name;
    const std::string where = catalog_.record_path(name);
    if (table_.find(name) != nullptr) {
      return make_error(Errc::kInvalid, fmt::format("volume \"{}\" is in {}, and was created at run time, too ({}): take it out of the one, or move "
                                                    "the other away",
                                                    name, config_.file, where));
    }
    if (const Status checked = places.check(record.volume); checked.has_error()) {
      return make_error(Errc::kInvalid, fmt::format("{}: {}", where, checked.error().message));
    }
    places.add(record.volume);
    const auto entry = std::make_shared<VolumeEntry>();
    entry->volume = record.volume;
    entry->record = record;
    table_.add(entry);
  }
  // Its files would be taken for what is left of the other one, at a later start.
  for (const VolumeConfig& volume : config_.volumes) {
    BOOST_OUTCOME_TRY(const std::optional<std::string> record, catalog_.find_record(volume.name));
    if (!record) continue;
    return make_error(Errc::kInvalid, fmt::format("volume \"{}\" is in {}, and an earlier one of that name could not be removed (see above): remove what "
                                                  "is left of it, {} last",
                                                  volume.name, config_.file, *record));
  }
  if (!created.empty()) log::info("{} volumes of {}, and {} that were created at run time", config_.volumes.size(), config_.file, created.size());
  if (table_.size() > kVolumesMax) {
    return make_error(Errc::kInvalid, fmt::format("{} volumes, {} of them created at run time; at most {} are allowed", table_.size(),
                                                  created.size(), kVolumesMax));
  }
  const uint32_t shards = shard_count();
  const uint64_t least = least_shard_memory((table_.size() + shards - 1) / shards) * shards;
  if (config_.memory_bytes < least) {
    return make_error(Errc::kInvalid, fmt::format("{}: [node] memory: {} is too little for {} shards and {} volumes, {} of them created at run time, "
                                                  "which need {}",
                                                  config_.file, format_size(config_.memory_bytes), shards, table_.size(), created.size(), format_size(least)));
  }
  uint32_t next = 0;
  for (const Entry& entry : table_.all()) entry->shard = next++ % shards;
  return boost::outcome_v2::success();
}

// --- creating -------------------------------------------------------------------------------------------------

void NodeDaemon::create(const VolumeConfig& volume, std::function<void(Result<VolumeStatus>)> done) {
  orders_.run([this, volume, done = std::move(done)] { done(create_now(volume)); });
}

/// The shard that has fewest volumes, if it has memory for one more.
Result<uint32_t> NodeDaemon::find_room(const VolumeConfig& volume) const {
  if (table_.size() >= kVolumesMax) return make_error(Errc::kNotPermitted, fmt::format("there are {} volumes, as many as there may be", kVolumesMax));
  uint32_t least = 0;
  for (uint32_t shard = 1; shard < shards_.size(); ++shard) {
    if (table_.count_on(shard) < table_.count_on(least)) least = shard;
  }
  const uint64_t needed = least_shard_memory(table_.count_on(least) + 1);
  const uint64_t there = shard_memory(shards_.size());
  if (needed <= there) return least;
  return make_error(Errc::kNotPermitted,
                    fmt::format("no memory for volume \"{}\": each of {} shards has {} for its volumes, and with one more would need {}; give node.memory "
                                "{} and start the daemon again",
                                volume.name, shards_.size(), format_size(there), format_size(needed), format_size(needed * shards_.size())));
}

Result<VolumeStatus> NodeDaemon::create_now(const VolumeConfig& volume) {
  if (stopping_) return make_error(Errc::kBusy, "the daemon is stopping");
  if (const Entry there = table_.find(volume.name)) {
    return make_error(Errc::kExists, fmt::format("there is a volume \"{}\" already, {}", volume.name,
                                                 there->record ? "created at run time" : "of " + config_.file));
  }
  VolumePlaces places(config_.data_dir);
  for (const Entry& entry : table_.all()) places.add(entry->volume);
  BOOST_OUTCOME_TRYV(places.check(volume));
  BOOST_OUTCOME_TRY(const uint32_t shard, find_room(volume));
  const auto entry = std::make_shared<VolumeEntry>();
  entry->volume = volume;
  entry->shard = shard;
  entry->record.emplace().volume = volume;
  BOOST_OUTCOME_TRYV(catalog_.begin_creation(*entry->record));
  Status status = open_created(entry);
  if (status.has_value()) {
    status = catalog_.finish_creation(*entry->record);
    if (status.has_error()) close_created(entry);
  }
  if (status.has_error()) {
    const Status taken_back = catalog_.take_back(*entry->record);
    if (taken_back.has_value()) return status.error();
    return make_error(status.error().code, fmt::format("{}; {}", status.error().message, taken_back.error().message));
  }
  table_.add(entry);
  log::info({.volume = volume.name}, "created, {}, on shard {}", format_size(volume.size_bytes), shard);
  return wait_for<VolumeStatus>(*shards_[shard], [this, &entry](const std::function<void(VolumeStatus)>& answer) {
    answer(entry->report.look(*shards_[entry->shard]->find_volume(entry->volume.name)));
  });
}

/// On error it is closed.
Status NodeDaemon::open_created(const Entry& entry) {
  Shard& shard = *shards_[entry->shard];
  repl::VolumeOptions options = options_of(entry);
  options.keep_failed = false;
  Status status = wait_for<Status>(shard, [&](std::function<void(Status)> answer) { shard.add_volume(options, std::move(answer)); });
  if (status.has_value()) return status;
  close_created(entry);
  // Of what is not there, or must not be touched, the given path is at fault.
  const Errc code = status.error().code;
  const bool is_request = code == Errc::kNotFound || code == Errc::kNotPermitted;
  return make_error(is_request ? Errc::kInvalid : code, status.error().message);
}

void NodeDaemon::close_created(const Entry& entry) {
  Shard& shard = *shards_[entry->shard];
  static_cast<void>(wait_for<bool>(shard, [&](const std::function<void(bool)>& answer) {
    shard.close_volume(entry->volume.name, [answer] { answer(true); });
  }));
}

// --- removing -------------------------------------------------------------------------------------------------

void NodeDaemon::remove(const std::string& volume, bool force, std::function<void(Result<RemovedVolume>)> done) {
  orders_.run([this, volume, force, done = std::move(done)] { done(remove_now(volume, force)); });
}

/// From here on it takes no orders, so it stays without a role. Clients and peers are refused by what has no role, or has failed.
Status NodeDaemon::begin_removal(const Entry& entry, bool force) {
  Shard& shard = *shards_[entry->shard];
  const std::string& name = entry->volume.name;
  bool failed = false;
  Status status = wait_for<Status>(shard, [&](const std::function<void(Status)>& answer) {
    const repl::Volume* const volume = shard.find_volume(name);
    failed = !volume->open_failure().empty();
    const std::string use = volume->use();
    const bool refused = failed ? !force : !use.empty();
    if (refused) return answer(make_error(Errc::kNotPermitted, fmt::format("volume {} is not deleted: {}{}", name, use, failed ? "; force deletes it all the same" : "")));
    entry->being_deleted = true;
    answer(boost::outcome_v2::success());
  });
  if (status.has_error()) return status;
  if (failed) status = catalog_.disown_given_files(*entry->record);
  if (status.has_value()) status = catalog_.begin_deletion(*entry->record);
  if (status.has_value()) return status;
  return wait_for<Status>(shard, [&](const std::function<void(Status)>& answer) {
    entry->being_deleted = false;
    answer(make_error(status.error().code, fmt::format("volume {} is not deleted: {}", name, status.error().message)));
  });
}

Result<RemovedVolume> NodeDaemon::remove_now(const std::string& volume, bool force) {
  if (stopping_) return make_error(Errc::kBusy, "the daemon is stopping");
  const Entry entry = table_.find(volume);
  if (entry == nullptr) return make_error(Errc::kNotFound, fmt::format("there is no volume \"{}\" on this node", volume));
  if (!entry->record) {
    return make_error(Errc::kNotPermitted, fmt::format("volume \"{}\" is of {}: take it out of there and start the daemon again; its files stay, "
                                                       "remove them by hand",
                                                       volume, config_.file));
  }
  BOOST_OUTCOME_TRYV(begin_removal(entry, force));
  table_.remove(entry);
  close_created(entry);
  auto kept = catalog_.finish_deletion(*entry->record);
  if (kept.has_error()) {
    return make_error(kept.error().code, fmt::format("volume {} is deleted, but not all of its files are: {}", volume, kept.error().message));
  }
  log::info({.volume = volume}, "deleted");
  for (const std::string& path : kept.value()) log::info({.volume = volume}, "{} stays as it is", path);
  return RemovedVolume{volume, std::move(kept).value()};
}

}  // namespace ringbolt

// Bodies of SimDisk: operations, faults, holds, crashes. What their data does to a file's content
// is in sim_disk_content.cc.
#include "io/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/sim_trace.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

// --- names ---------------------------------------------------------------------------------------

bool SimDisk::parent_exists(const std::string& path) const {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return true;
  return directories_.count(path.substr(0, slash)) > 0;
}

Status SimDisk::make_directory(const std::string& path) {
  if (path.empty()) return make_error(Errc::kInvalid, "empty directory name");
  if (files_.count(path) > 0) return make_error(Errc::kExists, path + ": is a file");
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    directories_[path.substr(0, slash)] = true;
  }
  directories_[path] = true;
  return boost::outcome_v2::success();
}

Result<FileInfo> SimDisk::open(const std::string& path, const OpenOptions& options) {
  FileInfo info;
  if (directories_.count(path) > 0) {
    return make_error(Errc::kInvalid, path + ": is a directory");
  }
  auto at = files_.find(path);
  if (at == files_.end()) {
    if (!options.create) return make_error(Errc::kNotFound, path + ": no such file");
    if (!parent_exists(path)) return make_error(Errc::kNotFound, path + ": no such directory");
    at = files_.emplace(path, std::make_unique<File>()).first;
    at->second->path = path;
    info.created = true;
  }
  File& file = *at->second;
  if (file.fd >= 0 || (file.orphans > 0 && locks_)) {
    return make_error(Errc::kBusy, path + ": in use, or writes of a killed process are in flight");
  }
  if (!file.is_block_device && options.resize_bytes > file.length) {
    // Like a write that changes no bytes: durable with the next flush only.
    auto landed = std::make_shared<Landed>();
    landed->sequence = next_landed_++;
    landed->length = options.resize_bytes;
    landed->completed = ++file.completions;
    file.unflushed.push_back(landed);
    file.length = options.resize_bytes;
  }
  file.fd = world_.next_fd();
  open_[file.fd] = &file;
  info.file.fd = file.fd;
  info.bytes = file.length;
  info.is_block_device = file.is_block_device;
  world_.trace(kTraceOpen, node_index_, static_cast<uint64_t>(file.fd), file.length);
  return info;
}

void SimDisk::close(int32_t fd) {
  const auto at = open_.find(fd);
  RINGBOLT_ASSERT(at != open_.end());
  RINGBOLT_ASSERT(at->second->in_flight.empty());
  for (const auto& [id, op] : undelivered_) RINGBOLT_ASSERT(op->request.fd != fd);
  at->second->fd = -1;
  open_.erase(at);
}

// --- faults and holds ----------------------------------------------------------------------------

bool SimDisk::matches(const SimOpMatch& match, const Request& request, const std::string& path) {
  if (match.kind && *match.kind != request.kind) return false;
  if (path.find(match.path) == std::string::npos) return false;
  if (request.kind == SimOpKind::kFlush) return true;
  return request.offset < match.to && request.offset + request.bytes > match.from;
}

uint64_t SimDisk::add_fault(const SimFault& fault) {
  RINGBOLT_ASSERT(fault.error > 0);
  const uint64_t id = world_.next_id();
  faults_[id] = {fault, 0};
  return id;
}

void SimDisk::make_unreadable(const std::string& path, uint64_t offset, uint64_t bytes) {
  RINGBOLT_ASSERT(bytes > 0);
  File& file = existing(path);
  for (uint64_t sector = offset / kSectorBytes; sector * kSectorBytes < offset + bytes; ++sector) file.unreadable.insert(sector);
}

int SimDisk::fault_for(const Op& op) {
  for (auto at = faults_.begin(); at != faults_.end(); ++at) {
    Fault& fault = at->second;
    if (!matches(fault.fault.match, op.request, op.file->path)) continue;
    if (fault.seen++ < fault.fault.skip) continue;
    const int error = fault.fault.error;
    if (!fault.fault.forever) faults_.erase(at);
    return error;
  }
  return 0;
}

uint64_t SimDisk::hold(const SimOpMatch& match) {
  const uint64_t id = world_.next_id();
  holds_[id].match = match;
  return id;
}

size_t SimDisk::held(uint64_t hold_id) const {
  const auto at = holds_.find(hold_id);
  return at == holds_.end() ? 0 : at->second.ops.size();
}

void SimDisk::release(uint64_t hold_id) {
  const auto at = holds_.find(hold_id);
  RINGBOLT_ASSERT(at != holds_.end());
  const std::vector<OpPointer> ops = std::move(at->second.ops);
  holds_.erase(at);
  for (const OpPointer& op : ops) start(op);
}

size_t SimDisk::in_flight() const {
  size_t count = 0;
  for (const auto& [path, file] : files_) count += file->in_flight.size();
  return count;
}

bool SimDisk::is_failing() const {
  const auto fails = [](const auto& entry) { return entry.second->error != 0; };
  if (std::any_of(undelivered_.begin(), undelivered_.end(), fails)) return true;
  return std::any_of(files_.begin(), files_.end(),
                     [&](const auto& entry) { return std::any_of(entry.second->in_flight.begin(), entry.second->in_flight.end(), fails); });
}

// --- operations ----------------------------------------------------------------------------------

void SimDisk::narrate(const Op& op, const char* what) const {
  static constexpr const char* kKinds[] = {"read", "write", "flush", "zero"};
  const Request& r = op.request;
  world_.narrate(node_ + ": " + kKinds[static_cast<size_t>(r.kind)] + " " + op.file->path + " at " + std::to_string(r.offset) + ", " +
                 std::to_string(r.bytes) + " bytes (" + std::to_string(r.op_id) + "): " + what);
}

Nanos SimDisk::latency(SimOpKind kind) {
  const SimOptions& options = world_.options();
  SimRange range = options.read;
  if (kind == SimOpKind::kWrite) range = options.write;
  if (kind == SimOpKind::kFlush) range = options.flush;
  if (kind == SimOpKind::kZero) range = options.zero;
  return world_.random().between(range) * slow_factor_;
}

void SimDisk::schedule(const OpPointer& op, Nanos delay, void (SimDisk::*stage)(const OpPointer&)) {
  world_.after(delay, [this, op, stage, generation = op->generation] {
    if (op->generation == generation) (this->*stage)(op);
  });
}

void SimDisk::submit(const Request& request) {
  const auto at = open_.find(request.fd);
  RINGBOLT_ASSERT(at != open_.end());
  auto op = std::make_shared<Op>();
  op->request = request;
  op->file = at->second;
  File& file = *op->file;
  file.in_flight[request.op_id] = op;
  world_.trace(kTraceSubmit + 16 * static_cast<uint64_t>(request.kind), request.op_id,
               request.offset, request.bytes);
  if (request.kind == SimOpKind::kRead) std::memset(request.target, kPoison, request.bytes);
  if (request.kind == SimOpKind::kFlush) op->covers = file.completions;
  op->error = fault_for(*op);
  if (world_.narrating()) narrate(*op, op->error == 0 ? "begins" : "is going to fail");
  ++operations_;
  if (tripwire_ != nullptr && --tripwire_count_ == 0) std::exchange(tripwire_, nullptr)();
  if (file.is_block_device && request.offset + request.bytes > file.length && op->error == 0) {
    op->error = request.kind == SimOpKind::kRead ? EIO : ENOSPC;
  }
  for (auto& [id, hold] : holds_) {
    if (!matches(hold.match, request, file.path)) continue;
    hold.ops.push_back(op);
    return;
  }
  start(op);
}

void SimDisk::start(const OpPointer& op) {
  const Nanos total = latency(op->request.kind);
  switch (op->request.kind) {
    case SimOpKind::kRead:
      schedule(op, world_.random().between({0, total}), &SimDisk::snapshot_read);
      break;
    case SimOpKind::kWrite:
    case SimOpKind::kZero:
      start_write(op, total);
      break;
    case SimOpKind::kFlush:
      break;
  }
  schedule(op, total, &SimDisk::finish);
}

void SimDisk::start_write(const OpPointer& op, Nanos total) {
  SimRandom& random = world_.random();
  uint64_t bytes = op->request.bytes;
  if (op->error == EIO) {
    // Part of it may have happened.
    bytes = random.below(bytes / kSectorBytes + 1) * kSectorBytes;
  } else if (op->error != 0) {
    bytes = 0;
  }
  const Nanos taken = random.between({0, total});
  if (op->request.kind == SimOpKind::kWrite) schedule(op, taken, &SimDisk::take_data);
  if (bytes == 0) return;
  // A hole is metadata: whole blocks. A write may tear at any sector.
  const uint64_t unit = op->request.kind == SimOpKind::kZero ? kBlockBytes : kSectorBytes;
  uint64_t cut = bytes;
  if (bytes >= 2 * unit && random.chance(1, 4)) cut = (1 + random.below(bytes / unit - 1)) * unit;
  op->unlanded.emplace_back(0, cut);
  if (cut < bytes) op->unlanded.emplace_back(cut, bytes - cut);
  if (op->unlanded.size() == 2 && random.chance(1, 2)) {
    std::swap(op->unlanded[0], op->unlanded[1]);
  }
  // Scheduled after take_data and before finish: equal times run in this order.
  for (size_t i = 0; i < op->unlanded.size(); ++i) {
    schedule(op, random.between({taken, total}), &SimDisk::land_one);
  }
}

void SimDisk::take_data(const OpPointer& op) {
  if (op->copied || op->request.kind != SimOpKind::kWrite) return;
  op->copied = true;
  // New logs are full of zeros: all of them are kept once.
  static const auto zeros = std::make_shared<std::vector<std::byte>>(size_t{1} << 20);
  const Request& request = op->request;
  const bool is_zeros = request.bytes <= zeros->size() && std::memcmp(request.source, zeros->data(), request.bytes) == 0;
  op->copy = is_zeros ? zeros : std::make_shared<std::vector<std::byte>>(request.source, request.source + request.bytes);
}

void SimDisk::snapshot_read(const OpPointer& op) {
  const Request& request = op->request;
  if (op->error != 0) return;
  if (request.offset + request.bytes > op->file->length) {
    op->error = EIO;
    return;
  }
  const auto unreadable = op->file->unreadable.lower_bound(request.offset / kSectorBytes);
  if (unreadable != op->file->unreadable.end() && *unreadable * kSectorBytes < request.offset + request.bytes) {
    op->error = EIO;
    return;
  }
  copy_live(*op->file, request.offset, request.bytes, request.target);
}

void SimDisk::land_one(const OpPointer& op) {
  RINGBOLT_ASSERT(!op->unlanded.empty());
  const auto [offset, bytes] = op->unlanded.front();
  op->unlanded.erase(op->unlanded.begin());
  world_.trace(kTraceLand, op->request.op_id, offset, bytes);
  if (!land(*op, offset, bytes) && op->error == 0) op->error = ENOSPC;
  if (op->request.kind != SimOpKind::kWrite || op->file->unreadable.empty()) return;
  const uint64_t first = (op->request.offset + offset) / kSectorBytes;
  auto& unreadable = op->file->unreadable;
  unreadable.erase(unreadable.lower_bound(first), unreadable.lower_bound(first + bytes / kSectorBytes));
}

void SimDisk::finish(const OpPointer& op) {
  RINGBOLT_ASSERT(op->unlanded.empty());
  const Request& request = op->request;
  File& file = *op->file;
  file.in_flight.erase(request.op_id);
  if (request.kind == SimOpKind::kFlush) {
    if (op->error == 0) {
      persist(file, op->covers);
    } else {
      flush_failed_ = true;
      for (const auto& landed : file.unflushed) {
        if (landed->completed != 0 && landed->completed <= op->covers) landed->abandoned = true;
      }
    }
  }
  const bool transfer = request.kind == SimOpKind::kRead || request.kind == SimOpKind::kWrite;
  const int32_t result = op->error != 0 ? -op->error
                         : transfer     ? static_cast<int32_t>(request.bytes)
                                        : 0;
  world_.trace(kTraceFinish, request.op_id, static_cast<uint64_t>(result));
  if (world_.narrating()) narrate(*op, op->error == 0 ? "done" : "failed");
  undelivered_[request.op_id] = op;
  world_.finish(request.io_id, request.op_id, result);
}

void SimDisk::delivered(uint64_t op_id) {
  const auto at = undelivered_.find(op_id);
  if (at == undelivered_.end()) return;
  const OpPointer op = at->second;
  undelivered_.erase(at);
  complete_landed(*op);
}

// --- crash ---------------------------------------------------------------------------------------

void SimDisk::orphan_write(const OpPointer& op) {
  File& file = *op->file;
  ++op->generation;
  op->orphan = true;
  take_data(op);  // the dead process's memory stays as it was at this moment
  if (op->unlanded.empty() && op->landed.empty() && op->error == 0) {
    op->unlanded.emplace_back(0, op->request.bytes);  // it was held before the device
  }
  if (op->unlanded.empty() || world_.random().chance(1, 4)) {
    file.in_flight.erase(op->request.op_id);
    complete_landed(*op);
    return;
  }
  ++file.orphans;
  const Nanos delay = world_.random().between(world_.options().landing_after_kill);
  if (world_.narrating()) narrate(*op, "lands later, its process is dead");
  world_.trace(kTraceOrphan, op->request.op_id, static_cast<uint64_t>(delay));
  schedule(op, delay, &SimDisk::land_orphan);
}

void SimDisk::land_orphan(const OpPointer& op) {
  while (!op->unlanded.empty()) land_one(op);
  op->file->in_flight.erase(op->request.op_id);
  --op->file->orphans;
  complete_landed(*op);
}

/// From here on a flush covers what landed: the device is done with it, whoever is told.
void SimDisk::complete_landed(Op& op) {
  if (op.landed.empty()) return;
  const uint64_t completed = ++op.file->completions;
  for (const auto& landed : op.landed) landed->completed = completed;
}

void SimDisk::forget_io(uint64_t io_id) {
  for (auto& [path, file] : files_) {
    const auto in_flight = file->in_flight;  // a copy: reads are erased
    for (const auto& [id, op] : in_flight) {
      if (op->request.io_id != io_id || op->orphan) continue;
      take_data(op);
      if (op->request.kind != SimOpKind::kRead) continue;
      ++op->generation;
      file->in_flight.erase(id);
    }
  }
}

void SimDisk::crash() {
  for (auto& [path, file] : files_) {
    const auto in_flight = file->in_flight;  // a copy: orphan_write erases
    for (const auto& [id, op] : in_flight) {
      if (op->orphan) continue;
      if (op->request.kind == SimOpKind::kWrite || op->request.kind == SimOpKind::kZero) {
        orphan_write(op);
      } else {
        ++op->generation;
        file->in_flight.erase(id);
      }
    }
    file->fd = -1;
  }
  open_.clear();
  for (const auto& [id, op] : undelivered_) complete_landed(*op);
  undelivered_.clear();
  for (auto& [id, hold] : holds_) hold.ops.clear();
}

void SimDisk::power_loss(SimPowerLoss mode) {
  flush_failed_ = false;
  for (auto& [path, file] : files_) {
    for (const auto& [id, op] : file->in_flight) {
      if (op->request.kind == SimOpKind::kWrite && !op->copied) take_data(op);
      if (op->unlanded.empty() && op->landed.empty() && op->error == 0 &&
          op->request.kind != SimOpKind::kRead && op->request.kind != SimOpKind::kFlush) {
        op->unlanded.emplace_back(0, op->request.bytes);
      }
    }
    lose_power(*file, mode);
    for (const auto& [id, op] : file->in_flight) ++op->generation;
    file->in_flight.clear();
    file->orphans = 0;
    file->fd = -1;
  }
  open_.clear();
  undelivered_.clear();
  for (auto& [id, hold] : holds_) hold.ops.clear();
}

}  // namespace ringbolt::io

// Bodies of Faults.
#include "faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "fault_limits.h"

namespace ringbolt::sim {

namespace {

std::string path_of(const char* file) { return Node::directory() + "/" + file; }

/// Of a hold in one place.
constexpr uint64_t kHeldBytes = 16 * kBlockBytes;

/// One of a copy's files.
std::string some_path(uint64_t number) {
  static constexpr const char* kFiles[] = {"wal", "base", "wal", "superblock"};
  return path_of(kFiles[number % std::size(kFiles)]);
}

}  // namespace

void Faults::later(io::Nanos delay, std::function<void()> what) {
  c_.world.after(delay, [this, era = era_, what = std::move(what)] {
    if (era == era_) what();
  });
}

bool Faults::carry_out(const Event& event) {
  if (event.node >= c_.size() || event.other >= c_.size()) return false;
  return on_process(event) || on_network(event) || on_disk(event) || on_roles(event);
}

bool Faults::on_process(const Event& event) {
  Host& host = c_.hosts[event.node];
  const io::Nanos start_at = c_.world.now() + event.lasting;
  switch (event.act) {
    case Act::kKill:
      if (host.node->down()) return false;
      c_.kill(event.node);
      host.start_at = start_at;
      return true;
    case Act::kPowerLoss:
      c_.power_loss(event.node, static_cast<io::SimPowerLoss>(event.amount % 3));  // whatever a file says
      host.start_at = start_at;
      return true;
    case Act::kPowerLossOfAll:
      for (size_t i = 0; i < c_.size(); ++i) {
        c_.power_loss(i, static_cast<io::SimPowerLoss>((event.amount >> (2 * i)) % 3));
        c_.hosts[i].start_at = start_at;
      }
      return true;
    case Act::kKillAtIo: return kill_at_io(event, false);
    case Act::kPowerLossAtIo: return kill_at_io(event, true);
    case Act::kRestart:
      if (!host.up()) return false;
      c_.begin_stop(event.node);
      host.start_at = start_at;
      return true;
    case Act::kPause:
      if (!host.up()) return false;
      host.node->host().pause();
      later(event.lasting, [this, node = event.node] { c_.hosts[node].node->host().resume(); });
      return true;
    case Act::kSlow:
      host.node->host().set_slow_factor(static_cast<uint32_t>(std::clamp<uint64_t>(event.amount, 1, 1000)));
      later(event.lasting, [this, node = event.node] { c_.hosts[node].node->host().set_slow_factor(1); });
      return true;
    case Act::kClockJump: host.node->host().jump_clock(event.lasting); return true;
    default: return false;
  }
}

bool Faults::kill_at_io(const Event& event, bool power) {
  Host& host = c_.hosts[event.node];
  if (host.node->down()) return false;
  host.node->host().disk().after_operations(std::max<uint64_t>(event.amount / 4, 1), [this, event, power] {
    // Not from inside the process.
    const io::Nanos delay = c_.world.random().between({0, 200 * io::kMicrosecond});
    later(power || event.amount % 4 == 0 ? 0 : delay, [this, event, power] {
      Host& victim = c_.hosts[event.node];
      if (victim.node->down()) return;
      power ? c_.power_loss(event.node, static_cast<io::SimPowerLoss>(event.amount % 4 % 3)) : c_.kill(event.node);
      victim.start_at = c_.world.now() + event.lasting;
    });
  });
  return true;
}

bool Faults::on_network(const Event& event) {
  io::SimNet& net = c_.world.net();
  const std::string &a = c_.id(event.node), &b = c_.id(event.other);
  switch (event.act) {
    case Act::kPartition:
    case Act::kPartitionOneWay:
      if (a == b) return false;
      event.act == Act::kPartition ? net.partition(a, b) : net.partition_one_way(a, b);
      later(event.lasting, [&net, a, b] { net.heal(a, b); });
      return true;
    case Act::kIsolate:
      for (size_t i = 0; i < c_.size(); ++i) {
        if (i != event.node) net.partition(a, c_.id(i));
      }
      later(event.lasting, [this, &net, a, node = event.node] {
        for (size_t i = 0; i < c_.size(); ++i) {
          if (i != node) net.heal(a, c_.id(i));
        }
      });
      return true;
    case Act::kCut:
      if (a == b) return false;
      net.cut_between(a, b, event.amount);
      return true;
    case Act::kCutAtSend: return cut_at_send(event);
    case Act::kSlowNetwork: {
      const auto factor = static_cast<io::Nanos>(std::clamp<uint64_t>(event.amount, 1, 1000));
      c_.world.options().network.max *= factor;
      later(event.lasting, [this, factor] { c_.world.options().network.max /= factor; });
      return true;
    }
    default: return false;
  }
}

bool Faults::on_disk(const Event& event) {
  Host& host = c_.hosts[event.node];
  io::SimDisk& disk = host.node->host().disk();
  switch (event.act) {
    case Act::kReadErrors: return read_errors(event);
    case Act::kWriteError:
      disk.add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = some_path(event.amount)}, .skip = static_cast<uint32_t>(event.amount / 4 % 50)});
      return true;
    case Act::kFlushError:
      disk.add_fault({.match = {.kind = io::SimOpKind::kFlush, .path = some_path(event.amount)}, .skip = static_cast<uint32_t>(event.amount / 4 % 20)});
      return true;
    case Act::kFailIo: return fail_io(event);
    case Act::kDiskFull:
      disk.set_capacity(disk.used_bytes() + event.amount * kBlockBytes);
      later(event.lasting, [&disk] { disk.set_capacity(UINT64_MAX); });
      return true;
    case Act::kHold: return hold(event);
    case Act::kRotInLog: return rot_in_log(event);
    case Act::kRotInSuperblock: return rot_in_superblock(event);
    case Act::kNewDisk:
      if (!may_destroy(c_, operator_, event.node)) return false;
      operator_.replace(event.node);
      c_.kill(event.node);
      host.node->replace_disk();
      host.start_at = c_.world.now() + event.lasting;
      return true;
    default: return false;
  }
}

bool Faults::hold(const Event& event) {
  io::SimDisk& disk = c_.hosts[event.node].node->host().disk();
  io::SimOpMatch match;
  match.path = some_path(event.amount);
  if (event.amount / 4 % 3 == 0) match.kind = io::SimOpKind::kRead;
  if (event.amount / 12 % 4 == 1) {
    match.from = event.amount / 48 * kHeldBytes;
    match.to = match.from + kHeldBytes;
  }
  const std::pair held(&disk, disk.hold(match));
  holds_.push_back(held);
  later(event.lasting, [this, held] {
    std::erase(holds_, held);
    held.first->release(held.second);
  });
  return true;
}

bool Faults::fail_io(const Event& event) {
  Host& host = c_.hosts[event.node];
  const bool stays = event.amount % 4 == 1;
  io::SimFault fault{.match = {}, .skip = static_cast<uint32_t>(std::max<uint64_t>(event.amount / 4, 1) - 1), .forever = stays};
  if (event.amount % 4 == 2) fault.error = ENOSPC;
  io::SimDisk& disk = host.node->host().disk();
  const uint64_t id = disk.add_fault(fault);
  if (stays) later(event.lasting, [&disk, id] { disk.remove_fault(id); });
  return true;
}

bool Faults::cut_at_send(const Event& event) {
  io::SimNet& net = c_.world.net();
  net.after_sends(c_.id(event.node), std::max<uint64_t>(event.amount / 4, 1), [&net, how = event.amount % 4](uint64_t link, uint64_t bytes) {
    net.cut_connection(link, how == 0 ? 0 : how == 1 ? bytes / 2 : bytes);
  });
  return true;
}

bool Faults::read_errors(const Event& event) {
  io::SimDisk& disk = c_.hosts[event.node].node->host().disk();
  const std::string path = some_path(event.amount);
  if (!disk.exists(path) || disk.file_bytes(path) == 0) return false;
  const uint64_t from = event.amount / 4 * kBlockBytes % disk.file_bytes(path);
  const uint64_t fault = disk.add_fault({.match = {.kind = io::SimOpKind::kRead, .path = path, .from = from, .to = from + kBlockBytes}, .forever = true});
  later(event.lasting, [&disk, fault] { disk.remove_fault(fault); });
  return true;
}

bool Faults::rot_in_log(const Event& event) {
  Host& host = c_.hosts[event.node];
  if (!may_rot_in_log(c_, operator_, event.node)) return false;
  const auto superblock = c_.superblock(event.node);
  io::SimDisk& disk = host.node->host().disk();
  const std::string path = path_of("wal");
  // Nor one that is just being made.
  if (!superblock || !disk.exists(path) || disk.file_bytes(path) < superblock->wal_bytes) return false;
  host.destroyed_at = host.node->boots();
  host.lost_unflushed = true;  // at the very end of the log it looks like a torn tail
  c_.kill(event.node);
  host.start_at = c_.world.now() + event.lasting;
  // Mostly where records are.
  const uint64_t block = (superblock->tail_block + event.amount % (event.amount % 3 == 0 ? 4096 : 64)) * kBlockBytes;
  disk.flip_bit(path, (block + event.amount * 37 % kBlockBytes) % superblock->wal_bytes, event.amount % 8);
  return true;
}

bool Faults::rot_in_superblock(const Event& event) {
  Host& host = c_.hosts[event.node];
  if (!may_destroy(c_, operator_, event.node)) return false;
  const std::string path = path_of("superblock");
  std::optional<uint64_t> generation;
  for (const uint64_t offset : Superblock::kSlotOffset) {
    const auto slot = Superblock::decode(host.node->host().read_file(path, offset, Superblock::kSlotBytes).data());
    if (!slot.has_value() || (generation && *generation != slot.value().generation)) return false;
    generation = slot.value().generation;
  }
  // The other one must not be what a power loss takes back.
  if (!host.node->host().disk().is_durable(path)) return false;
  host.destroyed_at = host.node->boots();
  c_.kill(event.node);
  host.start_at = c_.world.now() + event.lasting;
  host.node->host().disk().flip_bit(path, Superblock::kSlotOffset[event.amount % 2] + event.amount / 2 % 4096, event.amount % 8);
  return true;
}

bool Faults::on_roles(const Event& event) {
  switch (event.act) {
    case Act::kHandOver: return operator_.hand_over(event.node);
    case Act::kFailOver: return operator_.fail_over(event.amount % 2 == 0);
    case Act::kRaiseEpoch: return operator_.raise_epoch();
    case Act::kRemoveReplica:
      if (!operator_.remove_replica(event.node)) return false;
      later(event.lasting, [this, node = event.node] { operator_.add_replica(node); });
      return true;
    case Act::kRebuild:
      if (!operator_.rebuild(event.node, true)) return false;
      if (event.lasting > 0) later(event.lasting, [this, node = event.node] { static_cast<void>(operator_.rebuild(node, false)); });
      return true;
    case Act::kVerify: return operator_.verify();
    case Act::kRepeatOrder: return operator_.repeat_order(event.amount);
    default: return false;
  }
}

void Faults::put_all_right() {
  ++era_;
  for (const auto& [disk, hold] : std::exchange(holds_, {})) disk->release(hold);
  c_.world.net().heal_all();
  c_.world.net().forget_cuts();
  c_.world.options().network.max = io::SimOptions{}.network.max * c_.plan.network_factor;
  for (size_t i = 0; i < c_.size(); ++i) {
    Host& host = c_.hosts[i];
    io::SimDisk& disk = host.node->host().disk();
    disk.after_operations(0, nullptr);
    c_.world.net().after_sends(c_.id(i), 0, nullptr);
    disk.clear_faults();
    disk.set_capacity(UINT64_MAX);
    host.node->host().set_slow_factor(1);
    host.node->host().resume();
    host.start_at = std::min(host.start_at, c_.world.now());
    operator_.add_replica(i);
  }
}

}  // namespace ringbolt::sim

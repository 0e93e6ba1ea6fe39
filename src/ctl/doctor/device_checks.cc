// The block device below a path: what it is, and how it is set up.
#include <fmt/format.h>

#include <algorithm>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/block_devices.h"
#include "ctl/doctor/checks.h"
#include "ctl/doctor/mounts.h"
#include "ctl/table.h"
#include "ringbolt/types.h"

namespace ringbolt::ctl::doctor {

namespace {

Result<BlockDevice> device_below(const HostFiles& files, const PathFacts& facts) {
  if (facts.major != 0) return block_device(files, facts.major, facts.minor);
  // The file system has a number of its own (btrfs, overlay, tmpfs).
  BOOST_OUTCOME_TRY(const Mount mount, mount_of(files, facts.path));
  if (mount.source.starts_with("/dev/")) return block_device(files, mount.source);
  return make_error(Errc::kNotFound, fmt::format("{} is {}, which lies on no block device of this host", mount.point, mount.type));
}

// --- of the device as a whole, mappings included ---------------------------------------------------

void check_block_sizes(const HostFiles& files, const BlockDevice& device, const std::string& subject, Findings& findings) {
  const Result<uint64_t> logical = files.read_number(device.queue("logical_block_size"));
  if (logical.has_error()) return add_unknown(findings, subject, "block_size", logical.error());
  const Result<uint64_t> physical = files.read_number(device.queue("physical_block_size"));
  if (physical.has_error()) return add_unknown(findings, subject, "block_size", physical.error());
  const std::string found = fmt::format("{} bytes, {} inside", logical.value(), physical.value());
  if (logical.value() > kBlockBytes) {
    findings.push_back({subject, "block_size", State::kProblem, found + fmt::format(": ringbolt writes {}", kBlockBytes), "format the device with blocks of 4096 or 512 bytes"});
  } else if (physical.value() > kBlockBytes) {
    findings.push_back({subject, "block_size", State::kWarning, found + ": it reads and writes more than it is given", "format the device with blocks of 4096 bytes, if it can be"});
  } else {
    add_ok(findings, subject, "block_size", found);
  }
}

void check_alignment(const HostFiles& files, const BlockDevice& device, const std::string& subject, Findings& findings) {
  if (!device.is_partition()) return add_ok(findings, subject, "alignment", "the whole device");
  const Result<uint64_t> start = files.read_number(device.directory + "/start");  // in 512 bytes
  if (start.has_error()) return add_unknown(findings, subject, "alignment", start.error());
  const Result<uint64_t> physical = files.read_number(device.queue("physical_block_size"));
  if (physical.has_error()) return add_unknown(findings, subject, "alignment", physical.error());
  const uint64_t unit = std::max<uint64_t>(physical.value(), kBlockBytes);
  const uint64_t begin = start.value() * 512;
  if (begin % unit == 0) return add_ok(findings, subject, "alignment", fmt::format("begins at byte {}, whole blocks of {}", begin, unit));
  findings.push_back({subject, "alignment", State::kWarning, fmt::format("begins at byte {}: no multiple of {}, so each block lies on two of the device's", begin, unit),
                      "make the partition anew at a multiple of 1 MiB"});
}

void check_discard(const HostFiles& files, const BlockDevice& device, const std::string& subject, Findings& findings) {
  const Result<uint64_t> most = files.read_number(device.queue("discard_max_bytes"));
  if (most.has_error()) return add_unknown(findings, subject, "discard", most.error());
  if (most.value() > 0) return add_ok(findings, subject, "discard", fmt::format("up to {} at a time", human_bytes(most.value())));
  findings.push_back({subject, "discard", State::kWarning, "not supported: the device is never told what is free",
                      "with LUKS or LVM: allow-discards, issue_discards; else nothing can be done, and only wear suffers"});
}

// --- of each disk below it --------------------------------------------------------------------------

/// What a SCSI disk itself says, whatever the kernel was told.
std::string scsi_cache(const HostFiles& files, const BlockDevice& disk) {
  const std::string directory = disk.disk + "/device/scsi_disk";
  for (const std::string& name : files.list(directory)) {
    const Result<std::string> type = files.read(directory + "/" + name + "/cache_type");
    if (type.has_value()) return type.value();
  }
  return {};
}

void check_write_cache(const HostFiles& files, const BlockDevice& disk, const std::string& subject, Findings& findings) {
  const Result<std::string> cache = files.read(disk.queue("write_cache"));
  if (cache.has_error()) return add_unknown(findings, subject, "write_cache", cache.error());
  if (cache.value() == "write through" && scsi_cache(files, disk).starts_with("write back")) {
    findings.push_back({subject, "write_cache", State::kProblem, "the disk has a write-back cache, and the kernel was told not to flush it: a power cut loses what was answered",
                        fmt::format("echo 'write back' > /sys/block/{}/queue/write_cache", disk.disk_name())});
  } else if (cache.value() == "write through") {
    add_ok(findings, subject, "write_cache", "write through: what is written is durable, a flush costs nothing");
  } else if (cache.value() == "write back") {
    findings.push_back({subject, "write_cache", State::kWarning, "write back: safe, but each durable write waits for a flush of the cache",
                        "a disk with power-loss protection reports write through; ringboltctl bench shows what a flush costs here"});
  } else {
    add_unknown(findings, subject, "write_cache", make_error(Errc::kUnsupported, fmt::format("\"{}\" is nothing that is known", cache.value())));
  }
}

void check_rotational(const HostFiles& files, const BlockDevice& disk, const std::string& subject, Findings& findings) {
  const Result<uint64_t> rotational = files.read_number(disk.queue("rotational"));
  if (rotational.has_error()) return add_unknown(findings, subject, "rotational", rotational.error());
  if (rotational.value() == 0) return add_ok(findings, subject, "rotational", "no");
  findings.push_back({subject, "rotational", State::kWarning, "yes, says the kernel (of a virtual disk it may not know better)",
                      fmt::format("use NVMe or another SSD; if it is one: echo 0 > /sys/block/{}/queue/rotational", disk.disk_name())});
}

void check_scheduler(const HostFiles& files, const BlockDevice& disk, const std::string& subject, Findings& findings) {
  const Result<std::string> text = files.read(disk.queue("scheduler"));
  if (text.has_error()) return add_unknown(findings, subject, "scheduler", text.error());
  // "none [mq-deadline] kyber", or just "none".
  const size_t open = text.value().find('[');
  const size_t close = text.value().find(']');
  const bool is_choice = open != std::string::npos && close != std::string::npos && open < close;
  const std::string used = is_choice ? text.value().substr(open + 1, close - open - 1) : text.value();
  const Result<uint64_t> rotational = files.read_number(disk.queue("rotational"));
  const bool may_help = rotational.has_value() && rotational.value() == 1 && !disk.disk_name().starts_with("nvme");
  if (used == "none" || may_help) return add_ok(findings, subject, "scheduler", used);
  findings.push_back({subject, "scheduler", State::kWarning, used + ": on a disk without moving parts it only costs time",
                      fmt::format("echo none > /sys/block/{}/queue/scheduler; a udev rule keeps it", disk.disk_name())});
}

/// Of the nearest thing above the disk, its controller, that has one; nullopt: none says.
std::optional<uint32_t> node_of(const HostFiles& files, const BlockDevice& disk) {
  for (std::string at = disk.disk; at.size() > 1; at = at.substr(0, at.find_last_of('/'))) {
    const Result<std::string> text = files.read(at + "/numa_node");
    if (text.has_error()) continue;
    const Result<std::vector<uint32_t>> node = parse_cpu_list(text.value());  // "-1": not known
    return node.has_value() && node.value().size() == 1 ? std::optional(node.value().front()) : std::nullopt;
  }
  return std::nullopt;
}

void check_numa(const HostFiles& files, const Process& process, const BlockDevice& disk, const std::string& subject, Findings& findings) {
  const Result<std::string> online = files.read("/sys/devices/system/node/online");
  if (online.has_error()) return add_unknown(findings, subject, "numa", online.error());
  if (online.value() == "0") return add_ok(findings, subject, "numa", "the host has one node");
  const std::optional<uint32_t> node = node_of(files, disk);
  if (!node) return add_unknown(findings, subject, "numa", make_error(Errc::kNotFound, "/sys does not say on which node the disk is"));
  const std::string path = fmt::format("/sys/devices/system/node/node{}/cpulist", *node);
  const Result<std::string> list = files.read(path);
  if (list.has_error()) return add_unknown(findings, subject, "numa", list.error());
  const Result<std::vector<uint32_t>> here = parse_cpu_list(list.value());
  if (here.has_error()) return add_unknown(findings, subject, "numa", here.error());
  const Result<std::vector<uint32_t>> allowed = allowed_cpus(files, process);
  if (allowed.has_error()) return add_unknown(findings, subject, "numa", allowed.error());
  const auto away = static_cast<size_t>(std::count_if(allowed.value().begin(), allowed.value().end(), [&](uint32_t cpu) {
    return std::find(here.value().begin(), here.value().end(), cpu) == here.value().end();
  }));
  const std::string found = fmt::format("on node {}; {} of {} processors ({}) are on another", *node, away, allowed.value().size(), process.words());
  if (away == 0) return add_ok(findings, subject, "numa", found);
  findings.push_back({subject, "numa", State::kWarning, found, fmt::format("systemd: CPUAffinity={}, or numactl --cpunodebind={}", list.value(), *node)});
}

}  // namespace

void check_devices(const HostFiles& files, const Process& process, const PathFacts& facts, std::set<std::string>& seen, Findings& findings) {
  const Result<BlockDevice> found = device_below(files, facts);
  if (found.has_error()) {
    if (seen.insert(facts.path).second) add_unknown(findings, "path " + facts.asked, "device", found.error());
    return;
  }
  const BlockDevice& device = found.value();
  if (seen.insert(device.directory).second) {
    const std::string subject = "device " + device.name;
    check_block_sizes(files, device, subject, findings);
    check_alignment(files, device, subject, findings);
    check_discard(files, device, subject, findings);
  }
  for (const BlockDevice& disk : disks_below(files, device)) {
    if (!seen.insert("disk " + disk.directory).second) continue;
    const std::string subject = "device " + disk.name;
    check_write_cache(files, disk, subject, findings);
    check_rotational(files, disk, subject, findings);
    check_scheduler(files, disk, subject, findings);
    check_numa(files, process, disk, subject, findings);
  }
}

}  // namespace ringbolt::ctl::doctor

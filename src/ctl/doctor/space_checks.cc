// Whether there is room for what is configured.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/block_devices.h"
#include "ctl/doctor/checks.h"
#include "ctl/table.h"

namespace ringbolt::ctl::doctor {

namespace {

struct Room {
  uint64_t free_bytes = 0, total_bytes = 0;
  uint64_t wanted_reserved = 0, wanted_later = 0;
};

/// /sys counts in 512 bytes, whatever the device's blocks are.
constexpr uint64_t kSectorBytes = 512;

void check_device_size(const HostFiles& files, const FileNeed& need, Findings& findings) {
  const std::string subject = "device " + need.facts.path;
  const Result<BlockDevice> device = block_device(files, need.facts.major, need.facts.minor);
  if (device.has_error()) return add_unknown(findings, subject, "size", device.error());
  const Result<uint64_t> sectors = files.read_number(device.value().directory + "/size");
  if (sectors.has_error()) return add_unknown(findings, subject, "size", sectors.error());
  const uint64_t bytes = sectors.value() * kSectorBytes;
  const std::string found = fmt::format("{}, {} are needed", human_bytes(bytes), human_bytes(need.wanted_bytes));
  if (bytes >= need.wanted_bytes) return add_ok(findings, subject, "size", found);
  findings.push_back({subject, "size", State::kProblem, found, "a larger device, or a smaller volume"});
}

void check_room(const std::string& subject, const Room& room, Findings& findings) {
  const std::string free = fmt::format("{} of {} free", human_bytes(room.free_bytes), human_bytes(room.total_bytes));
  const uint64_t wanted = room.wanted_reserved + room.wanted_later;
  const std::string found = fmt::format("{}; the volumes still need {}", free, human_bytes(wanted));
  if (room.free_bytes < room.wanted_reserved) {
    findings.push_back({subject, "space", State::kProblem, found + fmt::format(", and {} of it for logs before they start", human_bytes(room.wanted_reserved)),
                        "free some, or make wal_size smaller"});
  } else if (room.free_bytes < wanted) {
    findings.push_back({subject, "space", State::kWarning, found + " if they are filled", "clients get errors when the space ends: add some, or watch it"});
  } else {
    add_ok(findings, subject, "space", found);
  }
}

}  // namespace

void check_space(const HostFiles& files, const std::vector<FileNeed>& needs, Findings& findings) {
  std::map<std::string, Room> rooms;  // by what is said of them
  for (const FileNeed& need : needs) {
    if (!need.facts.problem.empty()) continue;  // told elsewhere
    if (need.facts.is_block_device) {
      check_device_size(files, need, findings);
      continue;
    }
    Room& room = rooms[file_system_subject(files, need.facts)];
    room.free_bytes = need.facts.free_bytes;
    room.total_bytes = need.facts.total_bytes;
    const uint64_t missing = need.wanted_bytes - std::min(need.wanted_bytes, need.facts.exists ? need.facts.allocated_bytes : 0);
    (need.reserved ? room.wanted_reserved : room.wanted_later) += missing;
  }
  for (const auto& [subject, room] : rooms) check_room(subject, room, findings);
}

}  // namespace ringbolt::ctl::doctor

// ringboltctl doctor: file systems, block devices, space.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "ctl/doctor/block_devices.h"
#include "ctl/doctor/checks.h"
#include "ctl/doctor/mounts.h"
#include "tests/unit/ctl/fake_host.h"

namespace ringbolt::ctl::doctor {
namespace {

using Catch::Matchers::Contains;

constexpr uint64_t kGiB = uint64_t{1} << 30;
const std::string kDisk = "/sys/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1";
const std::string kPartition = kDisk + "/nvme0n1p2";

/// One NVMe disk with a partition on which a file system is, as it should be.
class DiskHost : public FakeHost {
 public:
  DiskHost() {
    write(kDisk + "/queue/logical_block_size", "512").write(kDisk + "/queue/physical_block_size", "4096");
    write(kDisk + "/queue/discard_max_bytes", "2147483648").write(kDisk + "/queue/write_cache", "write through");
    write(kDisk + "/queue/rotational", "0").write(kDisk + "/queue/scheduler", "[none] mq-deadline kyber");
    write(kPartition + "/partition", "2").write(kPartition + "/start", "2048");
    write("/sys/devices/pci0000:00/0000:00:04.0/numa_node", "1");
    write("/sys/devices/system/node/online", "0-1").write("/sys/devices/system/node/node1/cpulist", "4-7");
    write("/proc/self/status", "Cpus_allowed_list:\t4-7");
    link("/sys/dev/block/259:2", "../../.." + kPartition);
    link("/sys/class/block/nvme0n1p2", "../../.." + kPartition);
    link("/sys/class/block/nvme0n1", "../../.." + kDisk);
    mount("ext4 /dev/nvme0n1p2 rw,discard");
  }
  DiskHost& mount(const std::string& what) {
    write("/proc/self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"
                                  "30 27 259:2 / /data\\040here rw,relatime shared:1 - " + what);
    return *this;
  }
};

PathFacts data_path() {
  PathFacts facts;
  facts.asked = facts.path = "/data here/ringbolt";
  facts.exists = true;
  facts.major = 259;
  facts.minor = 2;
  facts.free_bytes = 10 * kGiB;
  facts.total_bytes = 20 * kGiB;
  facts.direct_io.result = facts.punch_hole.result = Trial::Result::kWorks;
  return facts;
}

Findings devices(const FakeHost& host, const PathFacts& facts = data_path()) {
  Findings findings;
  std::set<std::string> seen;
  check_devices(host.files(), {}, facts, seen, findings);
  const size_t count = findings.size();
  check_devices(host.files(), {}, facts, seen, findings);  // told once
  CHECK(findings.size() == count);
  return findings;
}

State state_of(const FakeHost& host, const std::string& check) { return found(devices(host), check).state; }

TEST_CASE("doctor: a disk that is as it should be", "[doctor]") {
  DiskHost host;
  for (const Finding& finding : devices(host)) {
    INFO(finding.check << ": " << finding.found);
    CHECK(finding.state == State::kOk);
  }
  CHECK(devices(host).size() == 7);
  CHECK(found(devices(host), "alignment").subject == "device nvme0n1p2");
  CHECK(found(devices(host), "write_cache").subject == "device nvme0n1");
}

TEST_CASE("doctor: what /sys does not say of a disk is unknown, with the file that is missing", "[doctor]") {
  const auto [check, file] = GENERATE(table<std::string, std::string>({{"block_size", kDisk + "/queue/logical_block_size"},
                                                                        {"block_size", kDisk + "/queue/physical_block_size"},
                                                                        {"alignment", kPartition + "/start"},
                                                                        {"discard", kDisk + "/queue/discard_max_bytes"},
                                                                        {"write_cache", kDisk + "/queue/write_cache"},
                                                                        {"rotational", kDisk + "/queue/rotational"},
                                                                        {"scheduler", kDisk + "/queue/scheduler"},
                                                                        {"numa", "/sys/devices/system/node/online"},
                                                                        {"numa", "/sys/devices/system/node/node1/cpulist"},
                                                                        {"numa", "/proc/self/status"}}));
  DiskHost host;
  host.remove(file);
  const Finding finding = found(devices(host), check);
  INFO(file);
  CHECK(finding.state == State::kUnknown);
  CHECK_THAT(finding.found, Contains(file));
}

TEST_CASE("doctor: the write cache", "[doctor]") {
  DiskHost host;
  const std::string path = kDisk + "/queue/write_cache";
  CHECK((host.write(path, "write back"), state_of(host, "write_cache")) == State::kWarning);
  CHECK((host.write(path, "strange"), state_of(host, "write_cache")) == State::kUnknown);
  // The disk says one thing, the kernel was told another.
  host.write(path, "write through").write(kDisk + "/device/scsi_disk/0:0:0:0/cache_type", "write back");
  CHECK(state_of(host, "write_cache") == State::kProblem);
  CHECK((host.write(kDisk + "/device/scsi_disk/0:0:0:0/cache_type", "write through"), state_of(host, "write_cache")) == State::kOk);
}

TEST_CASE("doctor: block sizes and alignment", "[doctor]") {
  DiskHost host;
  CHECK((host.write(kDisk + "/queue/physical_block_size", "16384"), state_of(host, "block_size")) == State::kWarning);
  CHECK(state_of(host, "alignment") == State::kOk);  // 1 MiB is a multiple of that, too
  CHECK((host.write(kDisk + "/queue/logical_block_size", "8192"), state_of(host, "block_size")) == State::kProblem);
  CHECK((host.write(kPartition + "/start", "63"), state_of(host, "alignment")) == State::kWarning);
  CHECK_THAT(found(devices(host), "alignment").found, Contains("byte 32256"));
}

TEST_CASE("doctor: moving parts, scheduler, discard", "[doctor]") {
  DiskHost host;
  CHECK((host.write(kDisk + "/queue/scheduler", "none [mq-deadline] kyber"), state_of(host, "scheduler")) == State::kWarning);
  CHECK_THAT(found(devices(host), "scheduler").remedy, Contains("/sys/block/nvme0n1/queue/scheduler"));
  CHECK((host.write(kDisk + "/queue/scheduler", "none"), state_of(host, "scheduler")) == State::kOk);
  CHECK((host.write(kDisk + "/queue/rotational", "1"), state_of(host, "rotational")) == State::kWarning);
  CHECK((host.write(kDisk + "/queue/discard_max_bytes", "0"), state_of(host, "discard")) == State::kWarning);
}

TEST_CASE("doctor: a disk of another NUMA node", "[doctor]") {
  DiskHost host;
  CHECK((host.write("/proc/self/status", "Cpus_allowed_list:\t0-7"), state_of(host, "numa")) == State::kWarning);
  CHECK_THAT(found(devices(host), "numa").found, Contains("4 of 8"));
  CHECK_THAT(found(devices(host), "numa").remedy, Contains("CPUAffinity=4-7"));
  CHECK((host.write("/sys/devices/system/node/online", "0"), state_of(host, "numa")) == State::kOk);
  host.write("/sys/devices/system/node/online", "0-1").write("/sys/devices/pci0000:00/0000:00:04.0/numa_node", "-1");
  CHECK(state_of(host, "numa") == State::kUnknown);
}

TEST_CASE("doctor: below a mapping its disks are looked at", "[doctor]") {
  DiskHost host;
  const std::string mapping = "/sys/devices/virtual/block/dm-0";
  for (const char* const leaf : {"logical_block_size", "physical_block_size"}) host.write(mapping + "/queue/" + leaf, "4096");
  host.write(mapping + "/queue/discard_max_bytes", "0").write(mapping + "/queue/write_cache", "write back");
  host.write(mapping + "/slaves/nvme0n1p2/x", "").link("/sys/class/block/dm-0", "../../.." + mapping).link("/sys/dev/block/253:0", "../../.." + mapping);
  PathFacts facts = data_path();
  facts.major = 253;
  facts.minor = 0;
  const Findings findings = devices(host, facts);
  CHECK(found(findings, "discard").subject == "device dm-0");
  CHECK(found(findings, "discard").state == State::kWarning);
  CHECK(found(findings, "write_cache").subject == "device nvme0n1");
  CHECK(found(findings, "write_cache").state == State::kOk);
  // A file system with a number of its own: by what is mounted.
  facts.major = 0;
  host.mount("btrfs /dev/mapper/data rw").write("/dev/dm-0", "").link("/dev/mapper/data", "../dm-0");
  CHECK(found(devices(host, facts), "discard").subject == "device dm-0");
  host.mount("tmpfs tmpfs rw");
  CHECK(found(devices(host, facts), "device").state == State::kUnknown);
  facts.major = 7;
  CHECK(found(devices(host, facts), "device").state == State::kUnknown);
}

TEST_CASE("doctor: kinds of file systems, and how they are mounted", "[doctor]") {
  DiskHost host;
  const auto look = [&](const char* check) { return finding_of(check, [&](Findings& f) { check_file_system(host.files(), data_path(), f); }); };
  CHECK(look("file_system").state == State::kOk);
  CHECK(look("file_system").subject == "file system /data here");
  CHECK(look("mount_options").state == State::kOk);
  CHECK((host.mount("xfs /dev/nvme0n1p2 rw"), look("file_system").state) == State::kOk);
  CHECK((host.mount("tmpfs tmpfs rw"), look("file_system").state) == State::kProblem);
  CHECK((host.mount("btrfs /dev/nvme0n1p2 rw"), look("file_system").state) == State::kWarning);
  CHECK((host.mount("nfs4 server:/x rw"), look("file_system").state) == State::kWarning);
  CHECK((host.mount("fuse.sshfs server:/x rw"), look("file_system").state) == State::kWarning);
  CHECK((host.mount("minix /dev/nvme0n1p2 rw"), look("file_system").state) == State::kUnknown);
  for (const char* const options : {"ro", "rw,nobarrier", "rw,barrier=0", "rw,data=journal"}) {
    INFO(options);
    host.mount(std::string("ext4 /dev/nvme0n1p2 ") + options);
    CHECK(look("mount_options").state == State::kProblem);
  }
  host.remove("/proc/self/mountinfo");
  CHECK(look("file_system").state == State::kUnknown);
}

TEST_CASE("doctor: direct I/O and holes, as they were tried", "[doctor]") {
  DiskHost host;
  PathFacts facts = data_path();
  const auto look = [&](const char* check) { return finding_of(check, [&](Findings& f) { check_file_system(host.files(), facts, f); }); };
  CHECK(look("direct_io").state == State::kOk);
  CHECK(look("punch_hole").state == State::kOk);
  facts.direct_io = facts.punch_hole = {Trial::Result::kFails, "Invalid argument"};
  CHECK(look("direct_io").state == State::kProblem);
  CHECK(look("punch_hole").state == State::kWarning);
  facts.direct_io = facts.punch_hole = {Trial::Result::kNotTried, "Permission denied"};
  CHECK(look("direct_io").state == State::kUnknown);
  CHECK(look("punch_hole").state == State::kUnknown);
  CHECK_THAT(look("direct_io").found, Contains("Permission denied"));
}

TEST_CASE("doctor: of nested mounts the innermost counts, of two at one place the later", "[doctor]") {
  FakeHost host;
  host.write("/proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /data rw - ext4 /dev/b rw\n3 1 8:3 / /data rw opt:1 opt:2 - xfs /dev/c rw\n"
                                     "4 1 8:4 / /database rw - ext4 /dev/d rw\nnonsense\n5 - x");
  CHECK(mount_of(host.files(), "/data/x").value().source == "/dev/c");
  CHECK(mount_of(host.files(), "/data").value().type == "xfs");
  CHECK(mount_of(host.files(), "/dat").value().source == "/dev/a");
  CHECK(mount_of(host.files(), "/database/y").value().source == "/dev/d");
}

TEST_CASE("doctor: free space against configured sizes", "[doctor]") {
  DiskHost host;
  const auto need = [](uint64_t wanted, bool reserved, uint64_t allocated) {
    FileNeed one{data_path(), wanted, reserved};
    one.facts.allocated_bytes = allocated;
    return one;
  };
  std::vector<FileNeed> needs{need(8 * kGiB, false, 0), need(kGiB, true, 0)};
  const auto look = [&] { return finding_of("space", [&](Findings& f) { check_space(host.files(), needs, f); }); };
  CHECK(look().state == State::kOk);
  needs.push_back(need(4 * kGiB, false, 0));
  CHECK(look().state == State::kWarning);
  needs.back().facts.allocated_bytes = 4 * kGiB;  // it has it already
  CHECK(look().state == State::kOk);
  needs.push_back(need(11 * kGiB, true, 0));
  CHECK(look().state == State::kProblem);
  PathFacts device = data_path();
  device.is_block_device = true;
  needs = {{device, 5 * kGiB, false}};
  const auto size = [&] { return finding_of("size", [&](Findings& f) { check_space(host.files(), needs, f); }); };
  CHECK(size().state == State::kUnknown);
  host.write(kPartition + "/size", std::to_string(5 * kGiB / 512));
  CHECK(size().state == State::kOk);
  needs[0].wanted_bytes += 4096;
  CHECK(size().state == State::kProblem);
}

TEST_CASE("doctor: a path of this host is looked at, and nothing is left behind", "[doctor]") {
  FakeHost host;  // for its directory
  const PathFacts there = look_at(host.root());
  CHECK(there.problem.empty());
  CHECK(there.exists);
  CHECK(there.total_bytes > 0);
  const PathFacts later = look_at(host.root() + "/volumes/vol0/base");
  CHECK(later.problem.empty());
  CHECK_FALSE(later.exists);
  CHECK(later.path == there.path);
  CHECK(std::filesystem::is_empty(host.root()));
  host.write("/file", std::string(10'000, 'x'));
  const PathFacts file = look_at(host.root() + "/file");
  CHECK(file.exists);
  CHECK(file.bytes == 10'001);
  CHECK(file.allocated_bytes >= 10'001);
  CHECK_THAT(look_at(host.root() + "/file/below").problem, Contains("Not a directory"));
  CHECK_THAT(look_at("/dev/null").problem, Contains("neither a file"));
  CHECK(look_at("").problem == "an empty path");
}

}  // namespace
}  // namespace ringbolt::ctl::doctor

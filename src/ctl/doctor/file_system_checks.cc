// The file system below a path: its kind, how it is mounted, and whether it does what volumes need.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "ctl/doctor/advice.h"
#include "ctl/doctor/checks.h"
#include "ctl/doctor/mounts.h"

namespace ringbolt::ctl::doctor {

namespace {

bool is_one_of(const std::string& word, std::initializer_list<std::string_view> words) { return std::find(words.begin(), words.end(), word) != words.end(); }

Finding kind_of(const std::string& subject, const Mount& mount) {
  const std::string& type = mount.type;
  const std::string found = fmt::format("{} on {}", type, mount.source);
  if (is_one_of(type, {"ext4", "xfs"})) return {subject, "file_system", State::kOk, found};
  if (is_one_of(type, {"tmpfs", "ramfs", "devtmpfs"})) {
    return {subject, "file_system", State::kProblem, found + ": memory, gone with the power", "name a path on a disk"};
  }
  if (is_one_of(type, {"btrfs", "zfs", "bcachefs"})) {
    return {subject, "file_system", State::kWarning, found + ": copies on write, which multiplies each durable write",
            "ext4 or xfs, or a block device of its own; on btrfs: chattr +C on the empty directory"};
  }
  if (is_one_of(type, {"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "overlay", "glusterfs"}) || type.starts_with("fuse")) {
    return {subject, "file_system", State::kWarning, found + ": what a flush means there is for something else to say", "ext4 or xfs on a local disk"};
  }
  return {subject, "file_system", State::kUnknown, found + ": not one that ringbolt was tried on (ext4, xfs)"};
}

void check_options(const std::string& subject, const Mount& mount, Findings& findings) {
  const auto add = [&](const char* found, const char* remedy) { findings.push_back({subject, "mount_options", State::kProblem, found, remedy}); };
  if (mount.has_option("ro")) add("mounted read-only", "see in dmesg whether the kernel did that after an error; mount -o remount,rw");
  if (mount.has_option("nobarrier") || mount.has_option("barrier=0")) {
    add("without barriers: a flush does not reach the device, so a power cut loses what was answered", "mount it without nobarrier");
  }
  if (mount.has_option("data=journal")) add("data=journal: there is no direct I/O", "mount it with data=ordered");
  const bool is_fine = findings.empty() || findings.back().check != "mount_options" || findings.back().subject != subject;
  if (is_fine) add_ok(findings, subject, "mount_options", "none that does harm");
}

void check_trial(const std::string& subject, const char* check, const Trial& trial, const char* works, const char* remedy, State failed, Findings& findings) {
  switch (trial.result) {
    case Trial::Result::kWorks: return add_ok(findings, subject, check, works);
    case Trial::Result::kFails: return findings.push_back({subject, check, failed, trial.why, remedy});
    case Trial::Result::kNotTried: return add_unknown(findings, subject, check, make_error(Errc::kNotPermitted, "not tried: " + trial.why));
  }
}

}  // namespace

std::string file_system_subject(const HostFiles& files, const PathFacts& facts) {
  const Result<Mount> mount = mount_of(files, facts.path);
  return "file system " + (mount.has_value() ? mount.value().point : facts.path);
}

void check_file_system(const HostFiles& files, const PathFacts& facts, Findings& findings) {
  const std::string subject = file_system_subject(files, facts);
  const Result<Mount> mount = mount_of(files, facts.path);
  if (mount.has_error()) {
    add_unknown(findings, subject, "file_system", mount.error());
  } else {
    findings.push_back(kind_of(subject, mount.value()));
    check_options(subject, mount.value(), findings);
  }
  check_trial(subject, "direct_io", facts.direct_io, "works", "ext4 or xfs: volumes are read and written with O_DIRECT only", State::kProblem, findings);
  check_trial(subject, "punch_hole", facts.punch_hole, "works", "trims work, but free no space; ext4 and xfs can do it", State::kWarning, findings);
}

}  // namespace ringbolt::ctl::doctor

// Bodies of Checks.
#include "checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringbolt::sim {

std::optional<Broken> Checks::after_step() {
  Clients& clients = c_.clients;
  if (std::string what = clients.broken(false); !what.empty()) return Broken{"what is read was written", what};
  if (!clients.two_primaries().empty()) return Broken{"one primary acknowledges", clients.two_primaries()};
  return std::nullopt;
}

std::optional<Broken> Checks::now_and_then() {
  for (size_t i = 0; i < c_.size(); ++i) {
    if (auto broken = positions(i)) return broken;
    if (auto broken = unusable(i)) return broken;
  }
  return std::nullopt;
}

std::optional<Broken> Checks::history() {
  if (std::string what = c_.clients.broken(true); !what.empty()) return Broken{"reads are linearizable, and nothing acknowledged is lost", what};
  return std::nullopt;
}

std::optional<Broken> Checks::positions(size_t index) {
  const Host& host = c_.hosts[index];
  if (!host.up()) return std::nullopt;
  Node& node = *host.node;
  if (node.pool().used_bytes() > node.pool().limit_bytes()) return Broken{"memory is bounded", node.id() + ": the pool is beyond its limit"};
  const VolumeStatus s = c_.status(index);
  if (!s.wal_head || c_.is_failed(index)) return std::nullopt;
  if (auto broken = verification(s)) return broken;
  Seen& seen = seen_[index];
  if (seen.boot != node.boots() || seen.role != s.role) seen = Seen{node.boots(), s.role, 0, 0, 0, 0, 0};
  // While a replica cuts its tail, or has been told to begin anew, its log is being read again.
  if (s.role != "primary") {
    seen = Seen{node.boots(), s.role, 0, 0, 0, 0, 0};
    if (*s.wal_head < *s.written_lsn) return std::nullopt;
  }
  const std::string now = fmt::format("{}, {}: checkpoint {}, durable {}, written {}, head {}, committed {}", node.id(), s.role, *s.checkpoint_lsn,
                                      *s.durable_lsn, *s.written_lsn, *s.wal_head, s.committed_lsn.value_or(0));
  if (*s.checkpoint_lsn > *s.durable_lsn || *s.durable_lsn > *s.written_lsn || *s.written_lsn > *s.wal_head) {
    return Broken{"checkpoint <= durable <= written <= head", now};
  }
  if (s.role != "primary") return std::nullopt;
  const uint64_t committed = s.committed_lsn.value_or(seen.committed);
  if (*s.wal_head < seen.head || *s.written_lsn < seen.written || *s.durable_lsn < seen.durable || *s.checkpoint_lsn < seen.checkpoint ||
      committed < seen.committed) {
    return Broken{"positions only grow", fmt::format("{}; before: checkpoint {}, durable {}, written {}, head {}, committed {}", now, seen.checkpoint,
                                                     seen.durable, seen.written, seen.head, seen.committed)};
  }
  for (const ReplicaStatus& r : s.replicas) {
    if (r.written_lsn && (*r.written_lsn > *s.wal_head || *r.durable_lsn > *r.written_lsn)) {
      return Broken{"a replica is a prefix of its primary", fmt::format("{}; {} has written {}, durable {}", now, r.id, *r.written_lsn, *r.durable_lsn)};
    }
  }
  seen = Seen{node.boots(), s.role, *s.wal_head, *s.written_lsn, *s.durable_lsn, *s.checkpoint_lsn, committed};
  return std::nullopt;
}

/// Comparing copies under load must raise no false alarm, and here no base image is damaged.
std::optional<Broken> Checks::verification(const VolumeStatus& status) const {
  for (const VerifyStatus& verify : status.verifications) {
    if (verify.bytes_differing > 0) {
      return Broken{"copies are equal", fmt::format("a comparison with {} found {} bytes that differ, the first at {}", verify.replica, verify.bytes_differing,
                                                    verify.differing.empty() ? 0 : verify.differing[0].offset)};
    }
  }
  return std::nullopt;
}

/// A copy with the rebuild mark is no copy.
std::optional<Broken> Checks::unusable(size_t index) const {
  const auto superblock = c_.superblock(index);
  if (!superblock || !superblock->rebuild_mark) return std::nullopt;
  const std::string& id = c_.id(index);
  if (c_.serves(index)) return Broken{"an unusable copy is never served", id + " serves clients, and has the rebuild mark"};
  // One that is waited for stays in the set meanwhile, and nothing is acknowledged.
  if (index == c_.primary || c_.plan.wait_for_lost || !c_.established()) return std::nullopt;
  const auto recorded = c_.superblock(c_.primary);
  if (!recorded || std::find(recorded->in_sync.begin(), recorded->in_sync.end(), id) == recorded->in_sync.end()) return std::nullopt;
  return Broken{"an unusable copy never counts", fmt::format("{} has the rebuild mark, and {} has recorded it as in sync", id, c_.id(c_.primary))};
}

std::optional<Broken> Checks::at_rest() {
  if (auto broken = now_and_then()) return broken;
  if (auto broken = history()) return broken;
  std::vector<CopyOnDisk> copies;
  for (size_t i = 0; i < c_.size(); ++i) {
    auto copy = read_copy(c_.hosts[i].node->host(), Node::directory());
    if (!copy) return Broken{"a copy can be read", c_.id(i) + " has no valid superblock"};
    copies.push_back(std::move(*copy));
  }
  for (size_t a = 0; a < copies.size(); ++a) {
    for (size_t b = a + 1; b < copies.size(); ++b) {
      if (std::string difference = compare_logs(copies[a], copies[b]); !difference.empty()) return Broken{"logs are equal", difference};
    }
  }
  const auto committed = c_.status(c_.primary).committed_lsn;
  for (size_t i = 0; committed && i < c_.size(); ++i) {
    if (std::string found = find_uncommitted_in_base(c_.hosts[i].node->host(), Node::directory(), Lsn(*committed)); !found.empty()) {
      return Broken{"base images hold committed records only", found};
    }
  }
  return std::nullopt;
}

std::optional<Broken> Checks::after_stop() {
  const auto image = [this](size_t index) { return c_.hosts[index].node->host().read_file(Node::directory() + "/base", 0, c_.plan.volume_bytes); };
  const std::vector<std::byte> first = image(0);
  for (size_t i = 1; i < c_.size(); ++i) {
    const std::vector<std::byte> other = image(i);
    const auto at = std::mismatch(first.begin(), first.end(), other.begin());
    if (at.first == first.end()) continue;
    return Broken{"images are equal", fmt::format("{} and {} differ in block {}", c_.id(0), c_.id(i), (at.first - first.begin()) / kBlockBytes)};
  }
  return std::nullopt;
}

}  // namespace ringbolt::sim

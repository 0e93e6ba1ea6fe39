// Bodies of Checks.
#include "checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace ringbolt::sim {

namespace {

/// Both slots, if they are valid: a crash may leave either.
std::vector<Superblock> read_slots(const io::SimNode& host) {
  std::vector<Superblock> slots;
  const std::string path = Node::directory() + "/superblock";
  if (!host.disk().exists(path)) return slots;
  for (const uint64_t offset : Superblock::kSlotOffset) {
    auto slot = Superblock::decode(host.read_file(path, offset, Superblock::kSlotBytes).data());
    if (slot.has_value()) slots.push_back(std::move(slot.value()));
  }
  return slots;
}

bool contains(const std::vector<std::string>& ids, const std::string& id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

}  // namespace

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
  if (auto broken = replicas()) return broken;
  return one_heir();
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
  // Between two looks a primary may have been a replica, which cuts its tail, and be primary again: of another epoch then.
  const uint64_t epoch = s.epoch.value_or(0);
  const Seen nothing{.boot = node.boots(), .role = s.role, .epoch = epoch};
  if (seen.boot != nothing.boot || seen.role != nothing.role || seen.epoch != epoch) seen = nothing;
  // While a replica cuts its tail, or has been told to begin anew, its log is being read again.
  if (s.role != "primary") {
    seen = nothing;
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
  seen = Seen{node.boots(), s.role, epoch, *s.wal_head, *s.written_lsn, *s.durable_lsn, *s.checkpoint_lsn, committed};
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
  // The sample at a rebuild's end would have it done again, and nobody would know that it went wrong.
  for (const ReplicaStatus& replica : status.replicas) {
    if (replica.session && replica.session->reason.find("sampled blocks differ") != std::string::npos) {
      return Broken{"copies are equal", fmt::format("{}: {}", replica.id, replica.session->reason)};
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
  if (c_.plan.durability == Durability::kBestEffort) {
    // Made primary by force it goes by what it recorded when it last was one, or as a blank copy by its configuration, until it has heard of each of
    // them. Clients do not wait for that where nothing waits for replicas.
    const VolumeStatus status = c_.status(c_.primary);
    const auto replica = std::find_if(status.replicas.begin(), status.replicas.end(), [&](const ReplicaStatus& one) { return one.id == id; });
    if (replica != status.replicas.end() && !(replica->session && replica->session->id)) return std::nullopt;
  }
  return Broken{"an unusable copy never counts", fmt::format("{} has the rebuild mark, and {} has recorded it as in sync", id, c_.id(c_.primary))};
}

/// What a primary relies on, compared with what its replicas have.
std::optional<Broken> Checks::replicas() {
  if (!c_.established() || !c_.serves(c_.primary)) return std::nullopt;
  std::vector<std::string> recorded;
  for (const Superblock& slot : read_slots(c_.hosts[c_.primary].node->host())) recorded.insert(recorded.end(), slot.in_sync.begin(), slot.in_sync.end());
  const VolumeStatus s = c_.status(c_.primary);
  for (const ReplicaStatus& r : s.replicas) {
    if (auto broken = replica(s, r, recorded)) return broken;
  }
  if (auto broken = recorded_term(s)) return broken;
  if (auto broken = majority(s)) return broken;
  return base_limits(s, recorded);
}

/// Up, and neither power nor damage has taken anything from it since it had everything.
bool Checks::has_all_it_had(size_t index) const {
  const Host& host = c_.hosts[index];
  // One whose log cannot be read at the moment looks empty.
  return host.up() && !host.lost_unflushed && !host.destroyed() && !c_.is_failed(index) && !c_.is_damaged(index);
}

/// The term whose records are acknowledged is in both slots.
std::optional<Broken> Checks::recorded_term(const VolumeStatus& primary) const {
  for (const Superblock& slot : read_slots(c_.hosts[c_.primary].node->host())) {
    const auto last = slot.history.last();
    if (last && last->term.epoch.value() == *primary.epoch) continue;
    return Broken{"a term is durable before its first record",
                  fmt::format("{} is primary of epoch {}, and its superblock still says {}", c_.id(c_.primary), *primary.epoch,
                              last ? last->term.epoch.value() : 0)};
  }
  return std::nullopt;
}

/// An operator may order that a copy of what was committed is thrown away; but nothing more is committed then without a majority.
std::optional<Broken> Checks::majority(const VolumeStatus& primary) {
  if (c_.plan.durability != Durability::kSyncQuorum || !primary.committed_lsn || primary.replicas.size() + 1 != c_.size()) return std::nullopt;
  size_t having = 0;
  std::vector<std::pair<uint64_t, bool>> logs;
  for (size_t i = 0; i < c_.size(); ++i) {
    if (!has_all_it_had(i)) {
      alone_with_.reset();
      return std::nullopt;
    }
    const auto superblock = c_.superblock(i);
    const auto written = c_.status(i).written_lsn;
    if (superblock) logs.emplace_back(superblock->log_key, superblock->rebuild_mark);
    if (superblock && !superblock->rebuild_mark && written && *written >= *primary.committed_lsn) ++having;
  }
  if (having > c_.size() / 2) {
    alone_with_.reset();
    return std::nullopt;
  }
  if (!alone_with_ || logs != alone_logs_) {
    alone_with_ = primary.committed_lsn;
    alone_logs_ = logs;
  }
  if (*primary.committed_lsn <= *alone_with_) return std::nullopt;
  return Broken{"what is committed is on a majority", fmt::format("{} of {} copies have Lsn {}", having, c_.size(), *primary.committed_lsn)};
}

/// Only what every copy that counts has flushed goes into a base image. A rebuild brings other records, too, which become stable later.
std::optional<Broken> Checks::base_limits(const VolumeStatus& primary, const std::vector<std::string>& recorded) {
  if (c_.plan.durability != Durability::kSyncAll || !primary.durable_lsn || !has_all_it_had(c_.primary)) return std::nullopt;
  uint64_t stable = *primary.durable_lsn;
  for (size_t i = 0; i < c_.size(); ++i) {
    if (i == c_.primary || !contains(recorded, c_.id(i))) continue;
    if (!has_all_it_had(i)) return std::nullopt;
    stable = std::min(stable, c_.status(i).durable_lsn.value_or(0));
  }
  for (size_t i = 0; i < c_.size(); ++i) {
    const auto superblock = c_.superblock(i);
    if (!superblock || superblock->rebuild_mark || (i != c_.primary && !c_.in_step(i))) continue;
    if (superblock->base_limit.value() <= stable) {
      settled_[i] = superblock->log_key;
    } else if (settled_[i] == superblock->log_key) {
      return Broken{"base images hold stable records only", fmt::format("that of {} may hold records up to {}, flushed everywhere are those up to {}",
                                                                        c_.id(i), superblock->base_limit.value(), stable)};
    }
  }
  return std::nullopt;
}

std::optional<Broken> Checks::disk(size_t index) const {
  const auto superblock = c_.superblock(index);
  if (!superblock || superblock->rebuild_mark || c_.hosts[index].destroyed()) return std::nullopt;
  const auto copy = read_copy(c_.hosts[index].node->host(), Node::directory());
  if (copy && copy->head() < superblock->durable) {
    return Broken{"what is flushed can be read back", fmt::format("the log of {} ends at {}, and {} was flushed", c_.id(index), copy->head().value(),
                                                                  superblock->durable.value())};
  }
  const std::string found = find_uncommitted_in_base(c_.hosts[index].node->host(), Node::directory(), superblock->base_limit);
  if (found.empty()) return std::nullopt;
  return Broken{"a base image holds nothing beyond its limit", found};
}

std::optional<Broken> Checks::replica(const VolumeStatus& primary, const ReplicaStatus& seen, const std::vector<std::string>& recorded) const {
  const size_t index = c_.index_of(seen.id);
  if (!has_all_it_had(index)) return std::nullopt;
  const VolumeStatus there = c_.status(index);
  const auto superblock = c_.superblock(index);
  // One that was started again knows of no session, whatever its primary still believes.
  const bool in_session = there.committed_lsn.has_value();
  if (!there.written_lsn || !in_session || there.epoch != primary.epoch || !superblock || superblock->rebuild_mark) return std::nullopt;
  const bool has_written = !seen.written_lsn || *seen.written_lsn <= *there.written_lsn;
  if (!has_written || (seen.durable_lsn && *seen.durable_lsn > *there.durable_lsn)) {
    return Broken{"a replica has what it acknowledges",
                  fmt::format("{} has acknowledged {} as written and {} as flushed, it has written {} and flushed {}", seen.id,
                              seen.written_lsn.value_or(0), seen.durable_lsn.value_or(0), *there.written_lsn, *there.durable_lsn)};
  }
  if (!primary.committed_lsn) return std::nullopt;
  if (c_.plan.durability == Durability::kSyncAll && contains(recorded, seen.id) && *there.written_lsn < *primary.committed_lsn) {
    return Broken{"whoever may be promoted has everything", fmt::format("{} is recorded as in sync and has written {}, committed is {}", seen.id,
                                                                        *there.written_lsn, *primary.committed_lsn)};
  }
  return std::nullopt;
}

/// Who was left everything may be promoted without force: there is one at most.
std::optional<Broken> Checks::one_heir() const {
  std::optional<std::pair<Epoch, size_t>> heir;
  for (size_t i = 0; i < c_.size(); ++i) {
    const auto superblock = c_.superblock(i);
    if (!superblock || superblock->handed_over == Lsn{} || superblock->rebuild_mark) continue;
    if (heir && heir->first == superblock->epoch) {
      return Broken{"one heir", fmt::format("{} and {} have both been left everything in epoch {}", c_.id(heir->second), c_.id(i), heir->first.value())};
    }
    heir.emplace(superblock->epoch, i);
  }
  return std::nullopt;
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

#include "volume/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt {

namespace {

struct Layout {
  uint64_t magic;
  uint32_t version;
  uint32_t checksum;
  uint64_t generation;
  uint64_t features[3];
  uint8_t uuid[16];
  char node_id[64];
  char name[256];
  uint64_t volume_bytes;
  uint64_t wal_bytes;
  uint32_t block_bytes;
  uint32_t flags;
  uint64_t epoch;
  uint64_t incarnation;
  uint64_t checkpoint;
  uint64_t tail_first;
  uint64_t tail_block;
  uint32_t tail_previous_checksum;
  uint32_t term_count;
  uint64_t durable;
  uint32_t in_sync_count;
  uint8_t zero0[4];
  uint64_t base_limit;
  uint64_t cuts;
  uint64_t handed_over;
  uint64_t log_key;
  uint64_t made_bytes;
  struct {
    uint64_t epoch, incarnation, first;
  } terms[64];
  char in_sync[8][64];
  char epoch_holder[64];
  uint8_t zero2[1472];
  struct {
    uint8_t present, role, durability, replica_count;
    uint8_t zero0[4];
    uint64_t version, epoch;
    uint8_t zero1[8];
    struct {
      char id[64];
      char address[128];
    } replicas[8];
  } assignment;
  uint8_t zero3[2528];
};
static_assert(sizeof(Layout) == Superblock::kSlotBytes && std::is_trivially_copyable_v<Layout>);
static_assert(offsetof(Layout, flags) == 404 && offsetof(Layout, base_limit) == 472 && offsetof(Layout, terms) == 512 &&
              offsetof(Layout, in_sync) == 2048 && offsetof(Layout, epoch_holder) == 2560 && offsetof(Layout, assignment) == 4096 &&
              offsetof(Layout, assignment.replicas) == 4128 && offsetof(Layout, zero3) == 5664);
static_assert(core::TermHistory::kTermsMax == 64 && kReplicasMax == 8);
// On disk they are numbers.
static_assert(static_cast<int>(Role::kNone) == 0 && static_cast<int>(Role::kPrimary) == 1 && static_cast<int>(Role::kReplica) == 2);
static_assert(static_cast<int>(Durability::kBestEffort) == 0 && static_cast<int>(Durability::kSyncQuorum) == 1 &&
              static_cast<int>(Durability::kSyncAll) == 2);

/// Of what only this copy counts: no count ever comes near to wrapping around.
constexpr uint64_t kCountMax = UINT64_MAX / 2;

constexpr uint32_t kCleanShutdown = 1, kRebuildMark = 2, kBaseSeeded = 4, kBeingMade = 8;

template <size_t N>
void put_text(char (&field)[N], const std::string& text) {
  RINGBOLT_ASSERT(text.size() < N);
  std::memcpy(field, text.data(), text.size());
}

template <size_t N>
bool get_text(const char (&field)[N], std::string* text) {
  const size_t length = strnlen(field, N);
  if (length == N) return false;
  text->assign(field, length);
  return true;
}

bool is_text(std::string_view text, size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max && text.find('\0') == std::string_view::npos;
}

bool is_zero(const std::byte* slot) {
  return slot[0] == std::byte{0} && std::memcmp(slot, slot + 1, Superblock::kSlotBytes - 1) == 0;
}

uint32_t checksum_of(Layout layout) {
  layout.checksum = 0;
  return crc32c(&layout, sizeof layout);
}

}  // namespace

bool Superblock::is_node_id(std::string_view text) { return is_text(text, kNodeIdBytesMax); }

const char* Superblock::problem_of(const StoredAssignment& assignment) {
  if (assignment.role > Role::kReplica) return "unknown role";
  if (assignment.durability > Durability::kSyncAll) return "unknown durability";
  if (assignment.replicas.size() > kReplicasMax) return "too many replicas";
  for (size_t i = 0; i < assignment.replicas.size(); ++i) {
    const core::ReplicaAddress& replica = assignment.replicas[i];
    if (!is_node_id(replica.id)) return "replica id";
    if (!is_text(replica.address, kAddressBytesMax)) return "replica address";
    for (size_t j = 0; j < i; ++j) {
      if (assignment.replicas[j].id == replica.id) return "replica twice";
    }
  }
  return nullptr;
}

void Superblock::encode(std::byte* slot) const {
  RINGBOLT_ASSERT(std::max(base_limit, checkpoint) <= durable);
  Layout l{};
  l.magic = kMagic;
  l.version = kVersion;
  l.generation = generation;
  std::memcpy(l.uuid, volume.bytes.data(), sizeof l.uuid);
  put_text(l.node_id, node_id);
  put_text(l.name, name);
  l.volume_bytes = volume_bytes;
  l.made_bytes = made_bytes;
  l.wal_bytes = wal_bytes;
  l.block_bytes = kBlockBytes;
  l.flags = (clean_shutdown ? kCleanShutdown : 0) | (rebuild_mark ? kRebuildMark : 0) | (base_seeded ? kBaseSeeded : 0) |
            (being_made ? kBeingMade : 0);
  l.epoch = epoch.value();
  l.incarnation = incarnation.value();
  l.checkpoint = checkpoint.value();
  l.base_limit = std::max(base_limit, checkpoint).value();
  l.tail_first = tail_first.value();
  l.tail_block = tail_block;
  l.tail_previous_checksum = tail_previous_checksum;
  l.durable = durable.value();
  l.term_count = static_cast<uint32_t>(history.size());
  for (size_t i = 0; i < history.size(); ++i) {
    const core::TermStart& entry = history.at(i);
    l.terms[i] = {entry.term.epoch.value(), entry.term.incarnation.value(), entry.first.value()};
  }
  RINGBOLT_ASSERT(in_sync.size() <= kReplicasMax);
  l.in_sync_count = static_cast<uint32_t>(in_sync.size());
  for (size_t i = 0; i < in_sync.size(); ++i) put_text(l.in_sync[i], in_sync[i]);
  l.cuts = cuts;
  l.log_key = log_key;
  l.handed_over = handed_over.value();
  put_text(l.epoch_holder, epoch_holder);
  if (assignment) {
    RINGBOLT_ASSERT(problem_of(*assignment) == nullptr);
    l.assignment.present = 1;
    l.assignment.role = static_cast<uint8_t>(assignment->role);
    l.assignment.durability = static_cast<uint8_t>(assignment->durability);
    l.assignment.version = assignment->version;
    l.assignment.epoch = assignment->epoch.value();
    l.assignment.replica_count = static_cast<uint8_t>(assignment->replicas.size());
    for (size_t i = 0; i < assignment->replicas.size(); ++i) {
      put_text(l.assignment.replicas[i].id, assignment->replicas[i].id);
      put_text(l.assignment.replicas[i].address, assignment->replicas[i].address);
    }
  }
  l.checksum = checksum_of(l);
  std::memcpy(slot, &l, sizeof l);
}

Result<Superblock> Superblock::decode(const std::byte* slot) {
  Layout l;
  std::memcpy(&l, slot, sizeof l);
  if (l.magic != kMagic) return make_error(Errc::kNotFound, "no superblock");
  const bool known = l.version == kVersion;
  // The checksum first: a version number that decayed must not look like one of the future.
  if (l.checksum != checksum_of(l)) {
    return make_error(Errc::kCorrupt, known ? "checksum mismatch"
                                            : fmt::format("damaged, or of format version {}, which this build does not know", l.version));
  }
  if (!known) {
    return make_error(Errc::kUnsupported, fmt::format("format version {} is unknown to this build, which knows {}: use the build that wrote it",
                                                      l.version, kVersion));
  }
  if (l.features[2] != 0 || l.features[1] != 0) {
    return make_error(Errc::kUnsupported, fmt::format("uses features {:#x}/{:#x}, unknown to this build: use the build that wrote it",
                                                      l.features[1], l.features[2]));
  }
  Superblock s;
  s.generation = l.generation;
  std::memcpy(s.volume.bytes.data(), l.uuid, sizeof l.uuid);
  s.volume_bytes = l.volume_bytes;
  s.made_bytes = l.made_bytes;
  s.wal_bytes = l.wal_bytes;
  s.clean_shutdown = (l.flags & kCleanShutdown) != 0;
  s.rebuild_mark = (l.flags & kRebuildMark) != 0;
  s.base_seeded = (l.flags & kBaseSeeded) != 0;
  s.being_made = (l.flags & kBeingMade) != 0;
  s.epoch = Epoch(l.epoch);
  s.incarnation = Incarnation(l.incarnation);
  s.checkpoint = Lsn(l.checkpoint);
  s.base_limit = std::max(Lsn(l.base_limit), s.checkpoint);
  s.tail_first = Lsn(l.tail_first);
  s.tail_block = l.tail_block;
  s.tail_previous_checksum = l.tail_previous_checksum;
  s.durable = Lsn(l.durable);
  const auto bad = [](const char* what) { return make_error(Errc::kCorrupt, fmt::format("superblock: impossible {}", what)); };
  if (!get_text(l.node_id, &s.node_id) || !get_text(l.name, &s.name)) return bad("name");
  if (l.block_bytes != kBlockBytes || l.volume_bytes == 0 || l.volume_bytes % kBlockBytes != 0 || l.volume_bytes > kVolumeBytesMax) {
    return bad("volume size");
  }
  if (l.made_bytes > l.volume_bytes || l.made_bytes % kBlockBytes != 0) return bad("size that the volume was made with");
  if (l.wal_bytes < kWalBytesMin || l.wal_bytes % kBlockBytes != 0 || l.wal_bytes > kWalBytesMax) return bad("WAL size");
  if (l.tail_first == 0 || l.tail_block >= l.wal_bytes / kBlockBytes) return bad("WAL tail");
  if (l.checkpoint + 1 < l.tail_first) return bad("checkpoint before the WAL tail");
  // Only what is flushed is ever copied. (A log that ends before this is damaged.)
  if (s.base_limit > s.durable) return bad("base image beyond what is durable");
  if (l.generation > kCountMax || l.incarnation > kCountMax || l.cuts > kCountMax || l.handed_over > kCountMax) return bad("count");
  if (l.term_count > core::TermHistory::kTermsMax) return bad("term count");
  for (uint32_t i = 0; i < l.term_count; ++i) {
    const core::TermStart entry{{Epoch(l.terms[i].epoch), Incarnation(l.terms[i].incarnation)}, Lsn(l.terms[i].first)};
    if (!s.history.append_checked(entry)) return bad("term history");
  }
  // Else a later primary could not open its term behind it.
  if (!s.history.empty() && s.history.last()->term.epoch > s.epoch) return bad("term history beyond the epoch");
  if (l.in_sync_count > kReplicasMax) return bad("in-sync set");
  for (uint32_t i = 0; i < l.in_sync_count; ++i) {
    std::string id;
    if (!get_text(l.in_sync[i], &id) || id.empty()) return bad("in-sync set");
    s.in_sync.push_back(id);
  }
  s.cuts = l.cuts;
  s.log_key = l.log_key;
  s.handed_over = Lsn(l.handed_over);
  if (!get_text(l.epoch_holder, &s.epoch_holder)) return bad("epoch holder");
  if (l.assignment.present > 1) return bad("assignment");
  if (l.assignment.present == 1) {
    if (l.assignment.replica_count > kReplicasMax) return bad("assignment");
    StoredAssignment& a = s.assignment.emplace();
    a.role = static_cast<Role>(l.assignment.role);
    a.durability = static_cast<Durability>(l.assignment.durability);
    a.version = l.assignment.version;
    a.epoch = Epoch(l.assignment.epoch);
    for (uint32_t i = 0; i < l.assignment.replica_count; ++i) {
      core::ReplicaAddress& replica = a.replicas.emplace_back();
      const auto& stored = l.assignment.replicas[i];
      if (!get_text(stored.id, &replica.id) || !get_text(stored.address, &replica.address)) return bad("assignment");
    }
    if (problem_of(a) != nullptr) return bad("assignment");
  }
  return s;
}

Result<SuperblockSlots> read_superblock_slots(const std::byte* const (&slots)[2]) {
  SuperblockSlots result;
  std::optional<Superblock> found[2];
  bool blank = false;
  for (uint32_t i = 0; i < 2; ++i) {
    if (slots[i] != nullptr && is_zero(slots[i])) {
      blank = true;
      continue;
    }
    auto slot = slots[i] != nullptr ? Superblock::decode(slots[i]) : make_error(Errc::kIo, "cannot be read");
    if (slot.has_value()) {
      found[i] = std::move(slot).value();
      continue;
    }
    // Its checksum is right, so it is no damage, and says something that must not be ignored.
    if (slot.error().code == Errc::kUnsupported) return slot.error();
    result.damage += fmt::format("{}slot {}: {}", result.damage.empty() ? "" : "; ", i, slot.error().message);
  }
  if (found[0] && found[1] && found[0]->generation == found[1]->generation &&
      std::memcmp(slots[0], slots[1], Superblock::kSlotBytes) != 0) {
    return make_error(Errc::kCorrupt, fmt::format("both slots are of generation {}, and they differ", found[0]->generation));
  }
  if (found[0] || found[1]) {
    const uint32_t newest = !found[0] || (found[1] && found[1]->generation > found[0]->generation) ? 1 : 0;
    result.newest = std::move(found[newest]);
    result.write_first = 1 - newest;
    return result;
  }
  // With a slot that was never written, at most the write of the very first version was cut off.
  if (!blank) return make_error(Errc::kCorrupt, result.damage);
  return result;
}

}  // namespace ringbolt

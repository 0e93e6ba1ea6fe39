#include "volume/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
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
  uint8_t zero1[32];
  struct {
    uint64_t epoch, incarnation, first;
  } terms[64];
  char in_sync[8][64];
  uint8_t zero2[1536];
};
static_assert(sizeof(Layout) == Superblock::kSlotBytes && std::is_trivially_copyable_v<Layout>);
static_assert(offsetof(Layout, flags) == 404 && offsetof(Layout, base_limit) == 472 && offsetof(Layout, terms) == 512 && offsetof(Layout, in_sync) == 2048);
static_assert(core::TermHistory::kTermsMax == 64 && kReplicasMax == 8);

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

uint32_t checksum_of(Layout layout) {
  layout.checksum = 0;
  return crc32c(&layout, sizeof layout);
}

}  // namespace

void Superblock::encode(std::byte* slot) const {
  Layout l{};
  l.magic = kMagic;
  l.version = kVersion;
  l.generation = generation;
  std::memcpy(l.uuid, volume.bytes.data(), sizeof l.uuid);
  put_text(l.node_id, node_id);
  put_text(l.name, name);
  l.volume_bytes = volume_bytes;
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
  l.checksum = checksum_of(l);
  std::memcpy(slot, &l, sizeof l);
}

Result<Superblock> Superblock::decode(const std::byte* slot) {
  Layout l;
  std::memcpy(&l, slot, sizeof l);
  if (l.magic != kMagic) return make_error(Errc::kNotFound, "no superblock");
  // The version comes before the checksum, which a later version may compute differently.
  if (l.version != kVersion) {
    return make_error(Errc::kUnsupported, fmt::format("superblock format {} is unknown (this build knows {})", l.version, kVersion));
  }
  if (l.checksum != checksum_of(l)) return make_error(Errc::kCorrupt, "superblock checksum mismatch");
  if (l.features[2] != 0 || l.features[1] != 0) {
    return make_error(Errc::kUnsupported, fmt::format("superblock uses unknown features {:#x}/{:#x}", l.features[1], l.features[2]));
  }
  Superblock s;
  s.generation = l.generation;
  std::memcpy(s.volume.bytes.data(), l.uuid, sizeof l.uuid);
  s.volume_bytes = l.volume_bytes;
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
  if (l.wal_bytes < kWalBytesMin || l.wal_bytes % kBlockBytes != 0 || l.wal_bytes > kWalBytesMax) return bad("WAL size");
  if (l.tail_first == 0 || l.tail_block >= l.wal_bytes / kBlockBytes) return bad("WAL tail");
  if (l.checkpoint + 1 < l.tail_first) return bad("checkpoint before the WAL tail");
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
  return s;
}

SuperblockWriter::SuperblockWriter(io::Io& io, Failed on_failed, void* owner)
    : io_(io), failed_callback_(on_failed), owner_(owner),
      slot_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, Superblock::kSlotBytes))) {
  RINGBOLT_ASSERT(slot_ != nullptr);
}

SuperblockWriter::~SuperblockWriter() {
  RINGBOLT_ASSERT(!write_.pending() && !flush_.pending());
  io_.undefer(start_);
  std::free(slot_);
}

void SuperblockWriter::open(io::File file, const Superblock& current) {
  file_ = file;
  current_ = current;
}

Superblock& SuperblockWriter::change() {
  ++changed_version_;
  if (!write_.pending() && !flush_.pending() && !failed_) io_.defer(start_);
  return current_;
}

void SuperblockWriter::wait(SuperblockWaiter& waiter) {
  RINGBOLT_ASSERT(!waiter.waiting_);
  if (failed_) return;
  waiter.waiting_ = true;
  waiter.version_ = changed_version_;
  waiter.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &waiter;
  last_ = &waiter;
  // Nothing to write: still answer from a completion, so that callers see one order of events.
  if (changed_version_ == durable_version_) change();
}

void SuperblockWriter::start() {
  if (failed_ || write_.pending() || flush_.pending() || changed_version_ == durable_version_) return;
  writing_version_ = changed_version_;
  current_.generation += 1;
  current_.encode(slot_);
  io_.write(file_, slot_, Superblock::kSlotBytes, Superblock::kSlotOffset[current_.generation % 2], write_);
}

void SuperblockWriter::on_written(int32_t result) {
  if (result < 0) return fail(result);
  io_.flush(file_, flush_);
}

void SuperblockWriter::on_flushed(int32_t result) {
  if (result < 0) return fail(result);
  durable_version_ = writing_version_;
  while (first_ != nullptr && first_->version_ <= durable_version_) {
    SuperblockWaiter* waiter = first_;
    first_ = waiter->next_;
    if (first_ == nullptr) last_ = nullptr;
    waiter->waiting_ = false;
    waiter->function_(*waiter);
  }
  if (changed_version_ != durable_version_) io_.defer(start_);
}

void SuperblockWriter::fail(int32_t result) {
  failed_ = true;
  // Nobody is called any more; whoever waits learns it from the failure of the store.
  for (; first_ != nullptr; first_ = first_->next_) first_->waiting_ = false;
  last_ = nullptr;
  failed_callback_(owner_, -result);
}

}  // namespace ringbolt

// Bodies of rebuild_bed.h.
#include "rebuild_bed.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace ringbolt::test {

RebuildBed::RebuildBed(const BedOptions& options) : StoreBed(options) {
  on_written = [this] { mark_written(); };
}

RebuildBed::~RebuildBed() { crash(0); }

core::TermHistory RebuildBed::history_after(Lsn base) const {
  core::TermHistory history = store->facts().history;
  const Incarnation last = history.empty() ? Incarnation{} : history.last()->term.incarnation;
  history.open({Epoch(1), last.next()}, base.next());
  return history;
}

void RebuildBed::take_source(Lsn base) {
  BlockModel source(model.volume_blocks(), model.next_stamp() + (uint64_t{1} << 32));
  source.append(RecordKind::kTerm, 0, 0);
  while (source.head() < base) {
    const uint64_t lba = world.random().below(source.volume_blocks() - 4);
    source.append(world.random().chance(1, 4) ? RecordKind::kTrim : RecordKind::kWrite, lba, 4);
  }
  if (base == Lsn{}) source.truncate(Lsn{});
  model = source;
}

void RebuildBed::start() {
  if (store->facts().volume.is_nil()) store->adopt_volume(Uuid{{1, 2, 3}});
  if (store->facts().epoch < Epoch(1)) store->superblock().change().epoch = Epoch(1);
  if (bitmap != nullptr) old_bitmaps_.push_back(std::move(bitmap));
  bitmap = std::make_unique<RebuildBitmap>(model.volume_blocks());
  unmarked_.clear();
  begun.reset();
  finished.reset();
  store->begin_rebuild(model.head(), history_after(model.head()),
                       [this](Status status) { begun = std::move(status); });
}

void RebuildBed::set_term() { store->set_term(store->facts().history.last()->term); }

void RebuildBed::begin(Lsn base) {
  take_source(base);
  start();
  REQUIRE(run([this] { return begun.has_value(); }));
  if (!begun->has_value()) FAIL(begun->error().message);
  set_term();
}

Lsn RebuildBed::put(RecordKind kind, uint64_t lba, uint32_t blocks) {
  const Lsn lsn = append(kind, lba, blocks);
  if (blocks > 0) unmarked_.push_back({lsn, Lba(lba), blocks});
  return lsn;
}

void RebuildBed::mark_written() {
  while (!unmarked_.empty() && unmarked_.front().lsn <= store->wal().written()) {
    bitmap->mark_applied(unmarked_.front().lba, unmarked_.front().blocks);
    unmarked_.pop_front();
  }
}

RebuildBed::Base& RebuildBed::add_base(uint64_t lba, uint32_t blocks, bool data) {
  Base& base = bases_.emplace_back();
  if (data) {
    base.buffer = pool->allocate(blocks * kBlockBytes);
    REQUIRE(base.buffer);
    for (uint32_t i = 0; i < blocks; ++i) {
      fill_block(base.buffer.data + size_t{i} * kBlockBytes, model.stamp(lba + i));
    }
    base.job.data = base.buffer.data;
  }
  base.pool = pool.get();
  base.job.first = Lba(lba);
  base.job.blocks = blocks;
  base.job.bitmap = bitmap.get();
  base.job.owner = &base;
  base.job.done = [](BaseWrite& job, int error) {
    auto& self = *static_cast<Base*>(job.owner);
    REQUIRE_FALSE(self.error.has_value());
    self.error = error;
    if (self.buffer) self.pool->release(self.buffer);
    self.buffer = {};
  };
  store->write_base(base.job);
  return base;
}

RebuildBed::Base& RebuildBed::begin_base(uint64_t lba, uint32_t blocks) {
  return add_base(lba, blocks, true);
}

RebuildBed::Base& RebuildBed::begin_zeros(uint64_t lba, uint32_t blocks) {
  return add_base(lba, blocks, false);
}

RebuildBed::Base& RebuildBed::begin_chunk(uint64_t lba, uint32_t blocks) {
  bool zeros = true;
  for (uint32_t i = 0; i < blocks; ++i) zeros = zeros && model.stamp(lba + i) == 0;
  return add_base(lba, blocks, !zeros);
}

bool RebuildBed::base_settled() const {
  return std::all_of(bases_.begin(), bases_.end(),
                     [](const Base& base) { return base.error.has_value(); });
}

void RebuildBed::settle_base() {
  REQUIRE(run([this] { return base_settled(); }));
}

bool RebuildBed::base_block_is(uint64_t lba, uint64_t stamp) const {
  return block_is(node.read_file(path("base"), lba * kBlockBytes, kBlockBytes).data(), stamp);
}

void RebuildBed::start_finish(Lsn achieved) {
  finished.reset();
  store->finish_rebuild(achieved, [this](Status status) {
    REQUIRE_FALSE(finished.has_value());
    finished = std::move(status);
  });
}

Status RebuildBed::finish(Lsn achieved) {
  start_finish(achieved);
  REQUIRE(run([this] { return finished.has_value(); }));
  return *finished;
}

Status RebuildBed::complete() {
  for (uint64_t lba = 0; lba < model.volume_blocks(); lba += 16) {
    begin_chunk(lba, static_cast<uint32_t>(std::min<uint64_t>(16, model.volume_blocks() - lba)));
  }
  settle_base();
  flush();
  return finish(store->wal().head());
}

void RebuildBed::crash(uint64_t how) {
  if (how % 4 == 0) node.crash();
  if (how % 4 != 0) node.power_loss(static_cast<io::SimPowerLoss>(how % 4 - 1));
  if (pool != nullptr) {
    for (Base& base : bases_) {
      if (base.buffer) pool->release(base.buffer);
    }
  }
  bases_.clear();
  kill();
  bitmap.reset();
  old_bitmaps_.clear();
}

}  // namespace ringbolt::test

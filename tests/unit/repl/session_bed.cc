// Bodies of session_bed.h.
#include "session_bed.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "../../sim/log_reader.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::test {

using repl::OrRefused;
using repl::Refused;

SessionBed::SessionBed(const BedOptions& options) : RebuildBed(options), source(options.volume_blocks) {
  // As Replica::on_positions(): the bits before anything that rests on the record.
  on_written = [this] {
    if (session == nullptr) return;
    session->wal_applied();
    session->try_complete();
  };
}

SessionBed::~SessionBed() { crash_session(0); }

void SessionBed::on_store_durable() {
  if (session != nullptr) session->wal_applied();
  if (stable_follows) store->set_stable(store->wal().durable());
  if (session != nullptr) session->try_complete();
}

void SessionBed::make_session() { session = std::make_unique<repl::RebuildSession>(*io, *pool, *store, limits, *this); }

void SessionBed::prepare(Lsn base, bool blank) {
  if (blank) {
    REQUIRE(open().has_value());
    store->adopt_volume(Uuid{{1, 2, 3}});
    store->superblock().change().epoch = Epoch(1);
  } else {
    serve();
    write(0, 32);
    checkpoint_all();
    for (uint64_t i = 3; i <= 12; ++i) write(4 * i, 3);
    flush();
  }
  make_session();
  take_source(base);
  source = model;
}

repl::RebuildConfig SessionBed::wanted(uint64_t id) const {
  repl::RebuildConfig asked;
  asked.id = SessionId(id);
  asked.epoch = Epoch(1);
  asked.base = source.head();
  asked.target = std::max(source.head(), Lsn(1));
  asked.history = history_after(source.head());
  return asked;
}

bool SessionBed::wait_running() {
  if (!run([this] { return session->phase() == repl::SessionPhase::kRunning; })) return false;
  set_term();
  return true;
}

bool SessionBed::wait_quiet() {
  return run([this] { return !session->active() && session->quiet(); });
}

void SessionBed::run_session(Lsn base, uint64_t id) {
  prepare(base);
  REQUIRE(session->start(wanted(id)).has_value());
  REQUIRE(wait_running());
}

void SessionBed::source_record(RecordKind kind, uint64_t lba, uint32_t blocks) {
  source.append(kind, lba, blocks);
  on_their_way_.push_back({kind, lba, blocks});
}

bool SessionBed::deliver_record(bool own_frame) {
  if (on_their_way_.empty()) return false;
  const Record record = on_their_way_.front();
  if (!try_append(record.kind, record.lba, record.blocks, own_frame)) return false;
  on_their_way_.pop_front();
  return true;
}

Lsn SessionBed::put(RecordKind kind, uint64_t lba, uint32_t blocks) {
  source_record(kind, lba, blocks);
  REQUIRE(run([this] { return deliver_record(); }));
  store->seal();
  return store->wal().head();
}

SessionBed::Chunk SessionBed::read_chunk(uint32_t blocks) {
  Chunk chunk;
  chunk.fields.chunk = next_chunk_++;
  chunk.fields.first = Lba(next_block_);
  chunk.fields.blocks = static_cast<uint32_t>(std::min<uint64_t>(blocks, source.volume_blocks() - next_block_));
  chunk.fields.read = newest_read = std::max(source.head(), Lsn(1));
  chunk.fields.zeros = true;
  chunk.data.resize(size_t{chunk.fields.blocks} * kBlockBytes);
  for (uint32_t i = 0; i < chunk.fields.blocks; ++i) {
    const uint64_t stamp = source.stamp(next_block_ + i);
    chunk.fields.zeros = chunk.fields.zeros && stamp == 0;
    fill_block(chunk.data.data() + size_t{i} * kBlockBytes, stamp);
  }
  if (!chunk.fields.zeros) chunk.fields.data_crc = crc32c(chunk.data.data(), chunk.data.size());
  next_block_ += chunk.fields.blocks;
  chunk.fields.last = next_block_ == source.volume_blocks();
  return chunk;
}

OrRefused<bool> SessionBed::give(const Chunk& chunk) { return give(chunk, session->id(), Epoch(1)); }

OrRefused<bool> SessionBed::give(const Chunk& chunk, SessionId id, Epoch epoch) {
  io::Buffer buffer;
  if (!chunk.fields.zeros) {
    buffer = pool->allocate(static_cast<uint32_t>(chunk.data.size()));
    REQUIRE(buffer);
    std::memcpy(buffer.data, chunk.data.data(), chunk.data.size());
  }
  const auto taken = session->apply_base(id, epoch, chunk.fields, buffer);
  const bool took = taken.has_value() && taken.value();
  // The buffer is taken exactly if the chunk is.
  CHECK(static_cast<bool>(buffer) == (!took && !chunk.fields.zeros));
  if (buffer) pool->release(buffer);
  return taken;
}

void SessionBed::give_all(uint32_t blocks) {
  while (next_block_ < source.volume_blocks()) {
    const Chunk chunk = read_chunk(blocks);
    bool taken = false;
    REQUIRE(run([&] {
      if (!taken) {
        const auto given = give(chunk);
        REQUIRE(given.has_value());
        taken = given.value();
      }
      return taken;
    }));
  }
  REQUIRE(run([this] { return applied_chunk + 1 == next_chunk_ || !session->active(); }));
}

OrRefused<void> SessionBed::base_complete(Lsn barrier) { return session->mark_base_complete(session->id(), Epoch(1), barrier); }

void SessionBed::crash_session(uint64_t how) {
  if (how % 4 == 0) node.crash();
  if (how % 4 != 0) node.power_loss(static_cast<io::SimPowerLoss>(how % 4 - 1));
  session.reset();
  crash(0);
}

void SessionBed::reopen(uint64_t how) {
  crash_session(how);
  REQUIRE(open().has_value());
  make_session();
  rewind();
  on_their_way_.clear();
  running = 0;
}

void SessionBed::rewind() {
  next_chunk_ = 1;
  next_block_ = 0;
  applied_chunk = 0;
}

bool SessionBed::marked_on_disk() const {
  const auto superblock = sim::read_superblock(node, config.directory);
  REQUIRE(superblock.has_value());
  return superblock->rebuild_mark;
}

}  // namespace ringbolt::test

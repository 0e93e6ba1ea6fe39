// Bodies of store_bed.h.
#include "store_bed.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "log/log.h"

namespace ringbolt::test {

StoreBed::StoreBed(const BedOptions& options)
    : world({.seed = options.seed}),
      node(world.add_node("n1")),
      model(options.volume_blocks),
      pool_bytes_(options.pool_bytes) {
  config.name = "vol0";
  config.node_id = "n1";
  config.directory = "/data/vol0";
  config.volume_bytes = options.volume_blocks * kBlockBytes;
  config.wal_bytes = options.wal_bytes;
  // Thousands of starts and recoveries, none of them news.
  if (!log::enabled(log::Level::kInfo)) return;
  had_info_ = true;
  log::set_level(log::Level::kError);
}

StoreBed::~StoreBed() {
  kill();
  if (had_info_) log::set_level(log::Level::kInfo);
}

// --- life of the process
// -----------------------------------------------------------------------------

void StoreBed::begin_open() {
  REQUIRE(store == nullptr);
  io = node.create_io();
  pool = std::make_unique<io::BufferPool>(pool_bytes_);
  io->attach_pool(pool.get());
  memory = std::make_unique<CheckpointMemory>(*pool);
  StoreListener& listener = *this;
  store = std::make_unique<Store>(*io, *pool, *memory, config, listener);
  open_result.reset();
  store->open([this](Status status) { open_result = std::move(status); });
}

Status StoreBed::open() {
  begin_open();
  REQUIRE(run([this] { return open_result.has_value(); }));
  return *open_result;
}

void StoreBed::begin_term() {
  struct Recorded : SuperblockWaiter {
    Recorded()
        : SuperblockWaiter(
              [](SuperblockWaiter& self) { static_cast<Recorded&>(self).done = true; }) {}
    bool done = false;
  } recorded;
  if (store->facts().volume.is_nil()) store->adopt_volume(Uuid{{1, 2, 3}});
  Superblock& superblock = store->superblock().change();
  superblock.epoch = Epoch(1);
  superblock.incarnation = superblock.incarnation.next();
  const Term term{superblock.epoch, superblock.incarnation};
  superblock.history.open(term, store->wal().head().next());
  store->superblock().wait(recorded);
  REQUIRE(run([&] { return recorded.done; }));
  store->set_term(term);
  append(RecordKind::kTerm, 0, 0);
  store->seal();
}

void StoreBed::serve() {
  const Status opened = open();
  if (!opened.has_value()) FAIL(opened.error().message);
  begin_term();
}

void StoreBed::end_process() {
  store.reset();
  memory.reset();
  if (pool != nullptr) {
    for (const auto& read : reads_) pool->release(read->buffer);
  }
  reads_.clear();
  pool.reset();
  io.reset();
}

void StoreBed::kill() {
  node.crash();
  end_process();
}

void StoreBed::power_loss(io::SimPowerLoss mode) {
  node.power_loss(mode);
  end_process();
}

Status StoreBed::close() {
  std::optional<Status> closed;
  store->close([&](Status status) { closed = std::move(status); });
  REQUIRE(run([&] { return closed.has_value(); }));
  CHECK(io->pending_operations() == 0);
  end_process();
  return *closed;
}

// --- writing
// -------------------------------------------------------------------------------------------

std::optional<Lsn> StoreBed::append_own(uint64_t lba, uint32_t blocks) {
  const io::Buffer buffer = pool->allocate((1 + blocks) * kBlockBytes);
  if (!buffer) return std::nullopt;
  for (uint32_t i = 0; i < blocks; ++i)
    fill_block(buffer.data + size_t{1 + i} * kBlockBytes, model.next_stamp() + i);
  Lsn lsn;
  if (store->append_buffer(buffer, Lba(lba), blocks, &lsn) == Wal::Admission::kOk) return lsn;
  pool->release(buffer);
  return std::nullopt;
}

std::optional<Lsn> StoreBed::try_append(RecordKind kind, uint64_t lba, uint32_t blocks,
                                        bool own_frame) {
  std::optional<Lsn> lsn;
  if (own_frame && has_payload(kind)) {
    lsn = append_own(lba, blocks);
  } else if (store->prepare(kind, blocks) == Wal::Admission::kOk) {
    for (uint32_t i = 0; has_payload(kind) && i < blocks; ++i) {
      fill_block(store->payload_space() + size_t{i} * kBlockBytes, model.next_stamp() + i);
    }
    lsn = store->append(kind, Lba(lba), blocks);
  }
  if (!lsn) return std::nullopt;
  model.append(kind, lba, blocks);
  REQUIRE(model.head() == *lsn);
  return lsn;
}

Lsn StoreBed::append(RecordKind kind, uint64_t lba, uint32_t blocks) {
  std::optional<Lsn> lsn;
  REQUIRE(run([&] { return (lsn = try_append(kind, lba, blocks)).has_value(); }));
  return *lsn;
}

void StoreBed::settle_written() {
  store->seal();
  REQUIRE(run([this] { return store->wal().written() == store->wal().head(); }));
}

void StoreBed::flush() {
  store->seal();
  store->request_flush(store->wal().head());
  REQUIRE(run([this] { return store->wal().durable() == store->wal().head(); }));
}

void StoreBed::checkpoint_all() {
  flush();
  store->set_stable(store->wal().durable());
  REQUIRE(run([this] { return store->checkpoint() == store->wal().head(); }));
}

void StoreBed::drop_cache() {
  settle_written();
  std::vector<io::Buffer> taken;
  // Taking all memory there is makes the WAL give up its frames.
  for (uint32_t bytes = kFrameBytesMax; bytes >= kBlockBytes; bytes /= 2) {
    while (const io::Buffer buffer = pool->allocate(bytes)) taken.push_back(buffer);
  }
  for (const io::Buffer& buffer : taken) pool->release(buffer);
  REQUIRE(store->wal().find_frame(store->wal().head()) == nullptr);
}

Status StoreBed::cut(Lsn fork) {
  std::optional<Status> result;
  store->cut(fork, [&](Status status) { result = std::move(status); });
  REQUIRE(run([&] { return result.has_value(); }));
  if (result->has_value()) model.truncate(fork);
  return *result;
}

void StoreBed::on_store_durable() {
  ++durable_calls;
  if (stable_follows) store->set_stable(store->wal().durable());
}

// --- reading
// -------------------------------------------------------------------------------------------

StoreBed::Read& StoreBed::begin_read(uint64_t lba, uint32_t blocks) {
  reads_.push_back(std::make_unique<Read>());
  Read& read = *reads_.back();
  read.buffer = pool->allocate(blocks * kBlockBytes);
  REQUIRE(read.buffer);
  for (uint32_t i = 0; i < blocks; ++i) read.expected.push_back(model.stamp(lba + i));
  read.job.first = Lba(lba);
  read.job.blocks = blocks;
  read.job.data = read.buffer.data;
  read.job.owner = &read;
  read.job.done = [](ReadJob& job, int error) {
    auto& self = *static_cast<Read*>(job.owner);
    REQUIRE_FALSE(self.done);
    self.done = true;
    self.error = error;
  };
  store->read(read.job);
  return read;
}

bool StoreBed::read_is_right(Read& read) {
  if (!run([&] { return read.done; }) || read.error != 0) return false;
  bool right = true;
  for (size_t i = 0; i < read.expected.size(); ++i) {
    right = right && block_is(read.buffer.data + i * kBlockBytes, read.expected[i]);
  }
  pool->release(read.buffer);
  std::erase_if(reads_, [&](const auto& one) { return one.get() == &read; });
  return right;
}

int StoreBed::read_error(uint64_t lba) {
  Read& read = begin_read(lba, 1);
  REQUIRE(run([&] { return read.done; }));
  return read.error;
}

std::string StoreBed::difference() {
  constexpr uint64_t kStep = 64;
  for (uint64_t lba = 0; lba < model.volume_blocks(); lba += kStep) {
    const auto blocks = static_cast<uint32_t>(std::min(kStep, model.volume_blocks() - lba));
    if (!read_is_right(begin_read(lba, blocks)))
      return "blocks from " + std::to_string(lba) + " on differ";
  }
  return {};
}

std::string StoreBed::base_difference(Lsn lsn) {
  const std::vector<uint64_t> stamps = model.stamps_at(lsn);
  const std::vector<std::byte> bytes = node.read_file(path("base"), 0, stamps.size() * kBlockBytes);
  for (size_t i = 0; i < stamps.size(); ++i) {
    if (!block_is(bytes.data() + i * kBlockBytes, stamps[i]))
      return "block " + std::to_string(i) + " differs";
  }
  return {};
}

uint64_t StoreBed::frame_offset(Lsn lsn) const {
  const auto place = store->wal().find_place(lsn);
  REQUIRE(place.has_value());
  return store->wal().device_block(place->position) * kBlockBytes;
}

}  // namespace ringbolt::test

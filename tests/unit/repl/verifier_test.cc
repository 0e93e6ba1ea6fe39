// Comparing two copies while they are written: two real stores, the records of the first one applied to the second one
// later; questions and answers in between take their time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>

#include "../volume/store_bed.h"
#include "repl/verifier.h"
#include "ringbolt/crc64.h"

using namespace ringbolt;
using namespace ringbolt::test;
using namespace ringbolt::repl;
using io::kMicrosecond;
using io::kSecond;

namespace {

struct VerifyBed {
  explicit VerifyBed(uint64_t seed, uint64_t blocks = 256, uint64_t pool_bytes = 16u << 20)
      : primary({.seed = seed, .volume_blocks = blocks, .pool_bytes = pool_bytes}), replica({.seed = seed + 1000, .volume_blocks = blocks}), random(seed) {
    primary.serve();
    replica.serve();
    primary.settle_written();
    replica.settle_written();
  }
  ~VerifyBed() { verifier.reset(); }

  void write(RecordKind kind, uint64_t lba, uint32_t blocks) {
    if (!primary.try_append(kind, lba, blocks)) return;
    on_their_way.push_back({kind, lba, blocks});
    if (random.chance(1, 2)) primary.store->seal();
    if (random.chance(1, 4)) primary.store->request_flush(primary.store->wal().sealed());
  }
  void apply_one() {
    if (on_their_way.empty()) return;
    const auto [kind, lba, blocks] = on_their_way.front();
    if (!replica.try_append(kind, lba, blocks)) return;
    on_their_way.pop_front();
    if (random.chance(1, 2)) replica.store->seal();
    if (random.chance(1, 4)) replica.store->request_flush(replica.store->wal().sealed());
  }
  void apply_all() {
    while (!on_their_way.empty()) {
      apply_one();
      replica.store->seal();
      replica.world.run_for(100 * kMicrosecond);
    }
  }
  /// Both have random data in all blocks, also in their base images; nothing is in the logs only.
  void fill() {
    for (uint64_t lba = 0; lba < primary.model.volume_blocks(); lba += 16) {
      write(RecordKind::kWrite, lba, static_cast<uint32_t>(std::min<uint64_t>(16, primary.model.volume_blocks() - lba)));
      primary.settle_written();
      apply_all();
    }
    primary.checkpoint_all();
    replica.checkpoint_all();
  }

  void begin(Verifier::Ranges ranges, uint64_t blocks) {
    verifier = std::make_unique<Verifier>(
        *primary.pool, *primary.store, 1, blocks, std::move(ranges), [this](const Verify& question) { questions.push_back(question); }, [this] { ++done; });
    verifier->start();
  }
  void begin_whole() { begin(Verifier::whole(primary.model.volume_blocks()), primary.model.volume_blocks()); }

  /// What the replica does with a question once it has the records that it is about.
  void answer_one() {
    if (questions.empty()) return;
    const Verify question = questions.front();
    if (replica.store->wal().head() < question.after) return;
    questions.pop_front();
    StoreBed::Read& read = replica.begin_read(question.first.value(), question.blocks);
    while (!read.done) {
      // Records are applied, and copied to the base image, while it reads.
      if (random.chance(1, 3)) apply_one();
      replica.world.run_for(20 * kMicrosecond);
    }
    VerifyAck ack{question.id, replica.store->wal().head(), Reason::kNone, {}};
    if (read.error != 0) {
      ack.reason = Reason::kLocalExtentCorrupt;
    } else {
      for (uint32_t i = 0; i < question.blocks; ++i) ack.sums.push_back(crc64(read.buffer.data + size_t{i} * kBlockBytes, kBlockBytes) ^ spoil(question.first.value() + i));
    }
    static_cast<void>(replica.read_is_right(read));
    if (meanwhile) meanwhile();
    const auto taken = verifier->on_answer(ack);
    REQUIRE(taken.has_value());
    CHECK(taken.value());
  }
  void run_to_end() {
    for (int i = 0; i < 200'000 && done == 0; ++i) {
      if (load) load();
      apply_one();
      if (random.chance(1, 2)) answer_one();
      primary.world.run_for(static_cast<io::Nanos>(random.below(60)) * kMicrosecond);
      replica.world.run_for(static_cast<io::Nanos>(random.below(60)) * kMicrosecond);
    }
    REQUIRE(done == 1);
  }
  const VerifyResult& result() { return verifier->result(); }

  StoreBed primary, replica;
  io::SimRandom random;
  std::deque<std::tuple<RecordKind, uint64_t, uint32_t>> on_their_way;
  std::deque<Verify> questions;
  std::unique_ptr<Verifier> verifier;
  int done = 0;
  std::function<void()> load, meanwhile;
  std::function<uint64_t(uint64_t lba)> spoil = [](uint64_t) { return uint64_t{0}; };
};

std::string ranges(const VerifyResult& result) {
  std::string text;
  for (const BlockRange& range : result.differing) text += std::to_string(range.first.value()) + "+" + std::to_string(range.blocks) + " ";
  return text;
}

}  // namespace

TEST_CASE("verify: equal copies are equal, however hot their blocks are", "[repl][verify]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{21}));
  INFO("seed " << seed);
  VerifyBed bed(seed);
  bed.fill();
  const uint64_t hot = seed % 4 == 0 ? 2 : 16;
  bed.load = [&] {
    for (uint64_t i = bed.random.below(4); i > 0; --i) {
      const auto kind = bed.random.chance(1, 6) ? RecordKind::kTrim : RecordKind::kWrite;
      bed.write(kind, bed.random.below(hot), static_cast<uint32_t>(1 + bed.random.below(3)));
    }
    if (bed.random.chance(1, 20)) bed.write(RecordKind::kWrite, bed.random.below(250), 4);
  };
  if (seed % 2 == 0) bed.meanwhile = bed.load;  // ... also between the replica's read and its answer
  bed.begin_whole();
  bed.run_to_end();
  CHECK(bed.result().problem.empty());
  CHECK(ranges(bed.result()) == "");
  CHECK(bed.result().blocks_differing == 0);
  CHECK(bed.result().blocks_total == 256);
  CHECK(bed.result().blocks_compared + bed.result().blocks_in_log == 256);
  CHECK(bed.result().blocks_compared >= 200);
  CHECK(bed.primary.pool->used_bytes() <= bed.primary.pool->limit_bytes());
}

TEST_CASE("verify: a block that is written all the time is said to be in both logs, and the rest is compared", "[repl][verify]") {
  VerifyBed bed(1);
  bed.fill();
  bed.primary.stable_follows = bed.replica.stable_follows = false;  // no checkpoint takes it out of the index
  bed.meanwhile = [&] {
    bed.write(RecordKind::kWrite, 7, 1);
    bed.apply_all();
  };
  bed.begin_whole();
  bed.run_to_end();
  CHECK(bed.result().blocks_in_log == 1);
  CHECK(bed.result().blocks_compared == 255);
  CHECK(bed.result().blocks_differing == 0);
}

TEST_CASE("verify: blocks whose base image changed behind the replica's back are found, all of them and no others", "[repl][verify]") {
  const bool loaded = GENERATE(false, true);
  const uint64_t seed = GENERATE(1, 2, 3, 4, 5);
  INFO("seed " << seed << ", loaded " << loaded);
  VerifyBed bed(seed);
  bed.fill();
  for (const uint64_t lba : {64, 130, 131, 132, 200, 255}) {
    bed.replica.node.disk().flip_bit(bed.replica.path("base"), lba * kBlockBytes + bed.random.below(kBlockBytes), static_cast<uint32_t>(bed.random.below(8)));
  }
  // Not of the blocks that were flipped: writing one makes it right again.
  if (loaded) bed.load = [&] { bed.write(RecordKind::kWrite, bed.random.below(30), 2); };
  bed.begin_whole();
  bed.run_to_end();
  CHECK(bed.result().problem.empty());
  CHECK(ranges(bed.result()) == "64+1 130+3 200+1 255+1 ");
  CHECK(bed.result().blocks_differing == 6);
  CHECK(bed.result().blocks_compared + bed.result().blocks_in_log == 256);
}

TEST_CASE("verify: a difference that is seen once only is none", "[repl][verify]") {
  VerifyBed bed(1);
  bed.fill();
  int seen = 0;
  bed.spoil = [&](uint64_t lba) { return lba == 40 && seen++ == 0 ? uint64_t{1} : uint64_t{0}; };
  bed.begin_whole();
  bed.run_to_end();
  CHECK(seen == 2);
  CHECK(bed.result().blocks_differing == 0);
  CHECK(bed.result().blocks_compared == 256);
}

TEST_CASE("verify: so many differences are named and the others counted", "[repl][verify]") {
  VerifyBed bed(1, 4096);
  bed.spoil = [](uint64_t lba) { return lba % 2; };
  bed.begin_whole();
  bed.run_to_end();
  CHECK(bed.result().blocks_differing == 2048);
  REQUIRE(bed.result().differing.size() == VerifyResult::kRangesMax);
  for (const BlockRange& range : bed.result().differing) {
    CHECK(range.first.value() % 2 == 1);
    CHECK(range.blocks == 1);
  }
  const auto in_order = [](const BlockRange& a, const BlockRange& b) { return a.first < b.first; };
  CHECK(std::is_sorted(bed.result().differing.begin(), bed.result().differing.end(), in_order));
}

TEST_CASE("verify: a block that one side cannot read ends it, and says which side and where", "[repl][verify]") {
  VerifyBed bed(1);
  bed.fill();
  const bool primary = GENERATE(false, true);
  StoreBed& side = primary ? bed.primary : bed.replica;
  if (primary) side.drop_cache();
  side.node.disk().add_fault({.match = {.kind = io::SimOpKind::kRead, .path = "/base", .from = 70 * kBlockBytes, .to = 71 * kBlockBytes}, .forever = true});
  bed.begin_whole();
  for (int i = 0; i < 100'000 && bed.done == 0; ++i) {
    if (!bed.questions.empty()) {
      const Verify question = bed.questions.front();
      bed.questions.pop_front();
      StoreBed::Read& read = bed.replica.begin_read(question.first.value(), question.blocks);
      REQUIRE(bed.replica.run([&] { return read.done; }));
      VerifyAck ack{question.id, bed.replica.store->wal().head(), read.error != 0 ? Reason::kLocalExtentCorrupt : Reason::kNone, {}};
      for (uint32_t b = 0; read.error == 0 && b < question.blocks; ++b) ack.sums.push_back(crc64(read.buffer.data + size_t{b} * kBlockBytes, kBlockBytes));
      static_cast<void>(bed.verifier->on_answer(ack));
    }
    bed.primary.world.run_for(50 * kMicrosecond);
  }
  REQUIRE(bed.done == 1);
  CHECK(bed.result().problem.find(primary ? "the primary cannot read its blocks 64 to 127" : "the replica cannot read its blocks 64 to 127") == 0);
  CHECK(bed.result().blocks_differing == 0);
}

TEST_CASE("verify: answers that cannot be are refused, those to no question ignored", "[repl][verify]") {
  VerifyBed bed(1);
  bed.fill();
  bed.begin_whole();
  REQUIRE(bed.primary.run([&] { return !bed.questions.empty(); }));
  const Verify question = bed.questions.front();
  const Lsn head = bed.primary.store->wal().head();
  const std::vector<uint64_t> sums(question.blocks, 7);
  const auto unknown = bed.verifier->on_answer(VerifyAck{1000, head, Reason::kNone, sums});
  REQUIRE(unknown.has_value());
  CHECK_FALSE(unknown.value());
  CHECK(bed.verifier->on_answer(VerifyAck{question.id, Lsn(question.after.value() - 1), Reason::kNone, sums}).has_error());
  CHECK(bed.verifier->on_answer(VerifyAck{question.id, head, Reason::kNone, std::vector<uint64_t>(question.blocks - 1, 7)}).has_error());
  CHECK(bed.verifier->on_answer(VerifyAck{question.id, head, Reason::kNone, std::vector<uint64_t>(question.blocks + 1, 7)}).has_error());
  CHECK(bed.done == 0);
  bed.verifier->stop("the session ended");
  bed.verifier->stop("again");
  REQUIRE(bed.primary.run([&] { return bed.done > 0; }));
  bed.primary.world.run_for(kSecond);
  CHECK(bed.done == 1);
  CHECK(bed.result().problem == "the session ended");
}

TEST_CASE("verify: waits for memory, takes little of it and gives it all back", "[repl][verify]") {
  VerifyBed bed(1);
  bed.fill();
  bed.primary.drop_cache();
  const uint64_t before = bed.primary.pool->used_bytes();
  std::vector<io::Buffer> taken;
  for (uint32_t bytes = kFrameBytesMax; bytes >= kBlockBytes; bytes /= 2) {
    while (const io::Buffer buffer = bed.primary.pool->allocate(bytes)) taken.push_back(buffer);
  }
  bed.begin_whole();
  bed.primary.world.run_for(kSecond);
  CHECK(bed.questions.empty());
  CHECK(bed.done == 0);
  for (const io::Buffer& buffer : taken) bed.primary.pool->release(buffer);
  uint64_t most = 0;
  bed.load = [&] { most = std::max(most, bed.primary.pool->used_bytes()); };
  bed.run_to_end();
  CHECK(bed.result().blocks_compared == 256);
  CHECK(most <= before + 4 * kVerifyBlocksMax * kBlockBytes);
  CHECK(bed.primary.pool->used_bytes() <= before);
}

TEST_CASE("verify: samples are spread over the whole volume, and the same for the same seed", "[repl][verify]") {
  const uint64_t blocks = GENERATE(uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{1024}, uint64_t{4096}, uint64_t{4097}, uint64_t{1} << 28);
  constexpr uint64_t kCount = 64;
  INFO("blocks " << blocks);
  auto take = [&](uint64_t seed) {
    std::vector<std::pair<uint64_t, uint64_t>> all;
    auto next = Verifier::samples(blocks, kCount, seed);
    while (const auto range = next()) all.emplace_back(range->first.value(), range->blocks);
    CHECK_FALSE(next().has_value());
    return all;
  };
  const auto one = take(1), again = take(1), other = take(2);
  CHECK(one == again);
  uint64_t sum = 0, end = 0;
  for (const auto& [first, count] : one) {
    CHECK(first >= end);  // in order, nothing twice
    CHECK(count >= 1);
    CHECK(count <= kVerifyBlocksMax);
    end = first + count;
    sum += count;
  }
  CHECK(end <= blocks);
  CHECK(sum == Verifier::sampled_blocks(blocks, kCount));
  if (blocks <= kCount * kVerifyBlocksMax) {
    CHECK(sum == blocks);  // all of it
    return;
  }
  CHECK(one.size() == kCount);
  if (blocks > 5000) CHECK(one != other);
  for (size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].first >= blocks / kCount * i);
    CHECK(one[i].first + one[i].second <= blocks / kCount * (i + 1));
  }
}

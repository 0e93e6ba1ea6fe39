// The superblock's format: what is read back, what is refused, and what two slots say together.
#include "volume/superblock.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ringbolt/crc32c.h"

using namespace ringbolt;

namespace {

using Slot = std::vector<std::byte>;

Superblock sample() {
  Superblock s;
  s.generation = 41;
  s.volume = Uuid{{1, 2, 3, 4}};
  s.node_id = "n1";
  s.name = "vol0";
  s.volume_bytes = 1u << 30;
  s.made_bytes = 1u << 28;
  s.wal_bytes = 64u << 20;
  s.clean_shutdown = true;
  s.rebuild_mark = true;
  s.base_seeded = true;
  s.epoch = Epoch(9);
  s.incarnation = Incarnation(4);
  s.checkpoint = Lsn(500);
  s.base_limit = Lsn(600);
  s.tail_first = Lsn(300);
  s.tail_block = 77;
  s.tail_previous_checksum = 0x12345678;
  s.durable = Lsn(700);
  s.history.open({Epoch(8), Incarnation(1)}, Lsn(1));
  s.history.open({Epoch(9), Incarnation(4)}, Lsn(650));
  s.in_sync = {"n2", "n3"};
  s.cuts = 5;
  s.log_key = 0x1234567890abcdef;
  s.handed_over = Lsn(690);
  s.epoch_holder = "n7";
  s.assignment = StoredAssignment{Epoch(12),
                                  3,
                                  Role::kPrimary,
                                  Durability::kSyncQuorum,
                                  {{"n2", "10.0.0.2:10810"}, {"n3", "[::1]:1"}}};
  return s;
}

Slot encode(const Superblock& superblock) {
  Slot slot(Superblock::kSlotBytes);
  superblock.encode(slot.data());
  return slot;
}

void check_equal(const Superblock& a, const Superblock& b) {
  CHECK(a.generation == b.generation);
  CHECK(a.volume == b.volume);
  CHECK(a.node_id == b.node_id);
  CHECK(a.name == b.name);
  CHECK(a.volume_bytes == b.volume_bytes);
  CHECK(a.made_bytes == b.made_bytes);
  CHECK(a.wal_bytes == b.wal_bytes);
  CHECK(a.clean_shutdown == b.clean_shutdown);
  CHECK(a.rebuild_mark == b.rebuild_mark);
  CHECK(a.base_seeded == b.base_seeded);
  CHECK(a.being_made == b.being_made);
  CHECK(a.epoch == b.epoch);
  CHECK(a.incarnation == b.incarnation);
  CHECK(a.checkpoint == b.checkpoint);
  CHECK(a.base_limit == b.base_limit);
  CHECK(a.tail_first == b.tail_first);
  CHECK(a.tail_block == b.tail_block);
  CHECK(a.tail_previous_checksum == b.tail_previous_checksum);
  CHECK(a.durable == b.durable);
  CHECK(a.history == b.history);
  CHECK(a.in_sync == b.in_sync);
  CHECK(a.cuts == b.cuts);
  CHECK(a.log_key == b.log_key);
  CHECK(a.handed_over == b.handed_over);
  CHECK(a.epoch_holder == b.epoch_holder);
  CHECK(a.assignment == b.assignment);
}

void repair(Slot& slot) {
  std::memset(slot.data() + 12, 0, 4);
  const uint32_t crc = crc32c(slot.data(), slot.size());
  std::memcpy(slot.data() + 12, &crc, 4);
}

/// The error of a slot with the bytes at `offset` replaced and the checksum made right again.
Errc error_of(Slot slot, size_t offset, const std::vector<uint8_t>& bytes) {
  std::memcpy(slot.data() + offset, bytes.data(), bytes.size());
  repair(slot);
  const auto decoded = Superblock::decode(slot.data());
  REQUIRE_FALSE(decoded.has_value());
  CHECK_FALSE(decoded.error().message.empty());
  return decoded.error().code;
}

}  // namespace

TEST_CASE("superblock: it is read back as it was written", "[volume][superblock]") {
  const auto decoded = Superblock::decode(encode(sample()).data());
  REQUIRE(decoded.has_value());
  check_equal(decoded.value(), sample());

  Superblock full = sample();
  full.node_id = std::string(Superblock::kNodeIdBytesMax, 'x');
  full.name = std::string(Superblock::kNameBytesMax, 'y');
  full.history = {};
  full.epoch = Epoch(core::TermHistory::kTermsMax);
  for (uint64_t i = 1; i <= core::TermHistory::kTermsMax; ++i)
    full.history.open({Epoch(i), Incarnation(i)}, Lsn(i * 3));
  full.in_sync.assign(kReplicasMax, std::string(Superblock::kNodeIdBytesMax, 'z'));
  full.clean_shutdown = full.rebuild_mark = full.base_seeded = false;
  full.being_made = true;
  full.epoch_holder = std::string(Superblock::kNodeIdBytesMax, 'h');
  full.assignment =
      StoredAssignment{Epoch(UINT64_MAX), UINT64_MAX, Role::kReplica, Durability::kSyncAll, {}};
  for (size_t i = 0; i < kReplicasMax; ++i) {
    std::string id(Superblock::kNodeIdBytesMax, 'r');
    id.back() = static_cast<char>('0' + i);
    full.assignment->replicas.push_back({id, std::string(Superblock::kAddressBytesMax, 'a')});
  }
  REQUIRE(Superblock::problem_of(*full.assignment) == nullptr);
  const auto again = Superblock::decode(encode(full).data());
  REQUIRE(again.has_value());
  check_equal(again.value(), full);

  Superblock bare = sample();
  bare.epoch_holder.clear();
  bare.assignment.reset();
  const auto third = Superblock::decode(encode(bare).data());
  REQUIRE(third.has_value());
  check_equal(third.value(), bare);
  // No assignment is another thing than one that takes every role away.
  bare.assignment.emplace();
  CHECK(Superblock::decode(encode(bare).data()).value().assignment == StoredAssignment{});
}

TEST_CASE("superblock: what cannot be stored is known before", "[volume][superblock]") {
  CHECK(Superblock::is_node_id("n1"));
  CHECK(Superblock::is_node_id(std::string(63, 'x')));
  CHECK_FALSE(Superblock::is_node_id(""));
  CHECK_FALSE(Superblock::is_node_id(std::string(64, 'x')));
  CHECK_FALSE(Superblock::is_node_id(std::string_view("n\0x", 3)));
  const auto problem = [](const std::function<void(StoredAssignment&)>& change) {
    StoredAssignment assignment = *sample().assignment;
    change(assignment);
    return Superblock::problem_of(assignment) != nullptr;
  };
  CHECK_FALSE(problem([](StoredAssignment&) {}));
  CHECK(problem([](StoredAssignment& a) { a.role = static_cast<Role>(3); }));
  CHECK(problem([](StoredAssignment& a) { a.durability = static_cast<Durability>(3); }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[0].id = ""; }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[0].id = std::string(64, 'x'); }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[0].address = ""; }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[0].address = std::string(128, 'x'); }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[0].address = std::string("a\0b", 3); }));
  CHECK(problem([](StoredAssignment& a) { a.replicas[1].id = a.replicas[0].id; }));
  CHECK(problem([](StoredAssignment& a) {
    for (int i = 0; i < 7; ++i) a.replicas.push_back({"m" + std::to_string(i), "x:1"});
  }));
}

TEST_CASE("superblock: each changed byte is noticed", "[volume][superblock]") {
  Slot slot = encode(sample());
  std::mt19937 random(1);
  for (size_t at = 0; at < slot.size(); ++at) {
    const auto flip = static_cast<std::byte>(1 + random() % 255);
    slot[at] ^= flip;
    const auto decoded = Superblock::decode(slot.data());
    INFO("byte " << at);
    CHECK_FALSE(decoded.has_value());
    slot[at] ^= flip;
  }
}

TEST_CASE("superblock: unknown versions and features are refused, not guessed at",
          "[volume][superblock]") {
  const Slot slot = encode(sample());
  CHECK(error_of(slot, 8, {1}) == Errc::kUnsupported);
  CHECK(error_of(slot, 8, {2}) == Errc::kUnsupported);
  CHECK(error_of(slot, 8, {4}) == Errc::kUnsupported);
  CHECK(error_of(slot, 32, {1}) == Errc::kUnsupported);  // read-only compatible
  CHECK(error_of(slot, 40, {1}) == Errc::kUnsupported);  // incompatible
  CHECK(error_of(slot, 0, {0}) == Errc::kNotFound);
  // A feature that old builds may ignore.
  Slot compatible = slot;
  compatible[24] = std::byte{1};
  repair(compatible);
  CHECK(Superblock::decode(compatible.data()).has_value());
  // A version number that decayed is damage, and says so.
  Slot decayed = slot;
  decayed[9] = std::byte{1};
  const auto damaged = Superblock::decode(decayed.data());
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().code == Errc::kCorrupt);
  CHECK(damaged.error().message.find("version 259") != std::string::npos);
}

TEST_CASE("superblock: impossible values are refused although the checksum is right",
          "[volume][superblock]") {
  const Slot slot = encode(sample());
  const std::vector<uint8_t> full64(64, 'a'), full256(256, 'a');
  CHECK(error_of(slot, 64, full64) == Errc::kCorrupt);    // no end of the node id
  CHECK(error_of(slot, 128, full256) == Errc::kCorrupt);  // nor of the name
  CHECK(error_of(slot, 384, {0, 0, 0, 0}) == Errc::kCorrupt);
  CHECK(error_of(slot, 384, {1}) == Errc::kCorrupt);
  CHECK(error_of(slot, 384, {0, 0, 0, 0, 0, 0, 0, 0x7f}) == Errc::kCorrupt);
  CHECK(error_of(slot, 392, {0, 0x10, 0, 0}) == Errc::kCorrupt);
  CHECK(error_of(slot, 400, {0, 2}) == Errc::kCorrupt);
  CHECK(error_of(slot, 432, {0, 0}) == Errc::kCorrupt);        // tail at Lsn 0
  CHECK(error_of(slot, 432, {0xff, 0xff}) == Errc::kCorrupt);  // tail beyond the checkpoint
  CHECK(error_of(slot, 440, {0, 0, 0, 9}) == Errc::kCorrupt);  // tail beyond the WAL
  CHECK(error_of(slot, 452, {65}) == Errc::kCorrupt);
  CHECK(error_of(slot, 464, {9}) == Errc::kCorrupt);
  CHECK(error_of(slot, 512, {100}) == Errc::kCorrupt);    // terms that do not ascend
  CHECK(error_of(slot, 2048, {0, 0}) == Errc::kCorrupt);  // a member without a name
  // More in the base image than was flushed: 600 and 700 it should be.
  CHECK(error_of(slot, 472, {0xbd, 2}) == Errc::kCorrupt);
  CHECK(error_of(slot, 456, {0x57, 2}) == Errc::kCorrupt);
  // More than the volume has, and no whole block, as it was made.
  CHECK(error_of(slot, 504, {0, 0x10, 0, 0x40}) == Errc::kCorrupt);
  CHECK(error_of(slot, 504, {1}) == Errc::kCorrupt);
  // Counts that could wrap around.
  for (const size_t offset : {16, 416, 480, 488})
    CHECK(error_of(slot, offset, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) ==
          Errc::kCorrupt);
  CHECK(error_of(slot, 2560, full64) == Errc::kCorrupt);  // no end of the epoch's holder
}

TEST_CASE(
    "superblock: an assignment of impossible values is refused although the checksum is right",
    "[volume][superblock]") {
  const Slot slot = encode(sample());
  const std::vector<uint8_t> full64(64, 'a'), full128(128, 'a');
  CHECK(error_of(slot, 4096, {2}) == Errc::kCorrupt);  // neither present nor not
  CHECK(error_of(slot, 4097, {3}) == Errc::kCorrupt);  // unknown role
  CHECK(error_of(slot, 4097, {0xff}) == Errc::kCorrupt);
  CHECK(error_of(slot, 4098, {3}) == Errc::kCorrupt);  // unknown durability
  CHECK(error_of(slot, 4099, {9}) == Errc::kCorrupt);  // too many replicas
  CHECK(error_of(slot, 4099, {0xff}) == Errc::kCorrupt);
  CHECK(error_of(slot, 4099, {3}) == Errc::kCorrupt);         // the third is empty
  CHECK(error_of(slot, 4128, full64) == Errc::kCorrupt);      // no end of the id
  CHECK(error_of(slot, 4128, {0}) == Errc::kCorrupt);         // no id
  CHECK(error_of(slot, 4128, {'n', '3'}) == Errc::kCorrupt);  // the same twice
  CHECK(error_of(slot, 4192, full128) == Errc::kCorrupt);     // no end of the address
  CHECK(error_of(slot, 4192, {0}) == Errc::kCorrupt);         // no address
  // Without an assignment the bytes say nothing.
  Slot absent = slot;
  absent[4096] = std::byte{0};
  absent[4097] = absent[4099] = std::byte{0xff};
  repair(absent);
  const auto decoded = Superblock::decode(absent.data());
  REQUIRE(decoded.has_value());
  CHECK_FALSE(decoded.value().assignment.has_value());
}

TEST_CASE("superblock: no bytes crash the decoder", "[volume][superblock]") {
  std::mt19937_64 random(5);
  const Slot good = encode(sample());
  uint64_t accepted = 0;
  for (int round = 0; round < 5000; ++round) {
    Slot slot = good;
    for (uint64_t i = random() % 6; i > 0; --i)
      slot[16 + random() % (round % 2 == 0 ? slot.size() - 16 : 500)] =
          static_cast<std::byte>(random());
    repair(slot);
    const auto decoded = Superblock::decode(slot.data());
    if (!decoded.has_value()) continue;
    ++accepted;
    // What was accepted can be written and read again.
    REQUIRE(Superblock::decode(encode(decoded.value()).data()).has_value());
  }
  CHECK(accepted > 100);
}

// --- two slots
// ---------------------------------------------------------------------------------------

namespace {

Slot generation(uint64_t number) {
  Superblock superblock = sample();
  superblock.generation = number;
  superblock.epoch = Epoch(number);
  return encode(superblock);
}

Slot damaged(Slot slot) {
  slot[700] ^= std::byte{1};
  return slot;
}

const Slot kBlank(Superblock::kSlotBytes);

Result<SuperblockSlots> read(const Slot& first, const Slot& second) {
  return read_superblock_slots({first.data(), second.data()});
}

/// The generation that counts and the slot to write first, or -1 and that slot.
std::pair<int64_t, uint32_t> choice(const Result<SuperblockSlots>& slots) {
  REQUIRE(slots.has_value());
  const auto& newest = slots.value().newest;
  return {newest ? static_cast<int64_t>(newest->generation) : -1, slots.value().write_first};
}

}  // namespace

TEST_CASE("superblock: the newest good slot counts, and is not the one to be written first",
          "[volume][superblock]") {
  using Choice = std::pair<int64_t, uint32_t>;
  CHECK(choice(read(generation(41), generation(40))) == Choice{41, 1});
  CHECK(choice(read(generation(41), generation(42))) == Choice{42, 0});
  CHECK(choice(read(generation(41), generation(41))).first == 41);
  CHECK(choice(read(damaged(generation(43)), generation(42))) == Choice{42, 0});
  CHECK(choice(read(generation(41), damaged(generation(42)))) == Choice{41, 1});
  CHECK(choice(read(generation(41), kBlank)) == Choice{41, 1});
  CHECK(choice(read(kBlank, generation(41))) == Choice{41, 0});
  // A slot that the device cannot read is as a damaged one.
  CHECK(choice(read_superblock_slots({nullptr, generation(41).data()})) == Choice{41, 0});
  CHECK(choice(read_superblock_slots({generation(41).data(), nullptr})) == Choice{41, 1});
  CHECK(read(generation(41), generation(42)).value().damage.empty());
  CHECK(read(generation(41), damaged(generation(42))).value().damage.find("slot 1") !=
        std::string::npos);
  CHECK(read_superblock_slots({nullptr, generation(41).data()}).value().damage.find("slot 0") !=
        std::string::npos);
}

TEST_CASE("superblock: slots that never held anything are no damage, others are",
          "[volume][superblock]") {
  CHECK(choice(read(kBlank, kBlank)).first == -1);
  // The write of the very first version was cut off.
  CHECK(choice(read(damaged(generation(1)), kBlank)).first == -1);
  const auto error = [](const Result<SuperblockSlots>& slots) {
    REQUIRE_FALSE(slots.has_value());
    CHECK_FALSE(slots.error().message.empty());
    return slots.error().code;
  };
  CHECK(error(read(damaged(generation(41)), damaged(generation(42)))) == Errc::kCorrupt);
  CHECK(error(read_superblock_slots({nullptr, nullptr})) == Errc::kCorrupt);
  CHECK(error(read_superblock_slots({nullptr, damaged(generation(42)).data()})) == Errc::kCorrupt);
  // Two that cannot both be right.
  Superblock other = sample();
  other.epoch = Epoch(10);
  CHECK(error(read(encode(sample()), encode(other))) == Errc::kCorrupt);
  // Whole, but of a later build: what it says must not be passed over.
  Slot later = generation(42);
  later[8] = std::byte{4};
  repair(later);
  CHECK(error(read(generation(41), later)) == Errc::kUnsupported);
  CHECK(error(read(later, generation(43))) == Errc::kUnsupported);
  // One whose version number decayed is damage like any other.
  later[700] ^= std::byte{1};
  CHECK(choice(read(generation(41), later)).first == 41);
}

// The dirty index against std::map.
#include "volume/dirty_index.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <vector>

using namespace ringbolt;

namespace {

struct Version {
  uint32_t lsn, wal_block, crc;
};
using Reference = std::map<uint32_t, Version>;

void check_same(const DirtyIndex& index, const Reference& reference) {
  REQUIRE(index.size() == reference.size());
  for (const auto& [lba, version] : reference) {
    const DirtyIndex::Entry* entry = index.find(Lba(lba));
    REQUIRE(entry != nullptr);
    if (entry->lba != lba || entry->lsn != version.lsn || entry->wal_block != version.wal_block ||
        entry->crc != version.crc) {
      FAIL("block " << lba << " has another version");
    }
  }
}

}  // namespace

TEST_CASE("dirty_index: random operations have the effect that they have on a map",
          "[volume][dirty_index]") {
  std::mt19937_64 random(21);
  for (int round = 0; round < 60; ++round) {
    const uint32_t capacity = 1 + static_cast<uint32_t>(random() % 100);
    const uint32_t lbas = 1 + static_cast<uint32_t>(random() % 200);
    // Neighbours collide after hashing as strangers do; large numbers use all bits.
    const uint32_t base = round % 3 == 0 ? UINT32_MAX - lbas : 0;
    DirtyIndex index(capacity);
    Reference reference;
    for (uint64_t step = 1; step < 4000; ++step) {
      const uint32_t lba = base + static_cast<uint32_t>(random() % lbas);
      const auto at = reference.find(lba);
      const uint64_t choice = random() % 100;
      if (choice < 50) {
        REQUIRE(index.has_room(1) == (reference.size() < capacity));
        if (at == reference.end() && !index.has_room(1)) continue;
        const Version version{static_cast<uint32_t>(step), static_cast<uint32_t>(random()),
                              static_cast<uint32_t>(random())};
        index.put(Lba(lba), Lsn(step), version.wal_block, version.crc);
        reference[lba] = version;
      } else if (choice < 75) {
        const uint32_t lsn = at != reference.end() ? at->second.lsn : 1;
        REQUIRE(index.remove_if(Lba(lba), lsn) == (at != reference.end()));
        if (at != reference.end()) reference.erase(at);
      } else if (choice < 99) {
        REQUIRE((index.find(Lba(lba)) != nullptr) == (at != reference.end()));
      } else if (random() % 20 == 0) {
        index.clear();
        reference.clear();
      }
      if (step % 50 == 0) check_same(index, reference);
    }
    check_same(index, reference);
  }
}

TEST_CASE("dirty_index: an entry is removed only if it is still the version that was copied",
          "[volume][dirty_index]") {
  DirtyIndex index(8);
  index.put(Lba(5), Lsn(10), 100, 1);
  const uint32_t copied = index.find(Lba(5))->lsn;
  index.put(Lba(5), Lsn(11), 200, 2);  // written again while the older version was on its way
  CHECK_FALSE(index.remove_if(Lba(5), copied));
  REQUIRE(index.find(Lba(5)) != nullptr);
  CHECK(index.find(Lba(5))->lsn == 11);
  CHECK(index.find(Lba(5))->wal_block == 200);
  CHECK(index.size() == 1);
  CHECK(index.remove_if(Lba(5), 11));
  CHECK(index.find(Lba(5)) == nullptr);
  CHECK_FALSE(index.remove_if(Lba(5), 11));
}

TEST_CASE("dirty_index: versions are told apart where the low bits of the Lsn wrap",
          "[volume][dirty_index]") {
  DirtyIndex index(8);
  const Lsn before(0xffffffff), after(0x100000000);
  index.put(Lba(1), before, 1, 1);
  index.put(Lba(1), after, 2, 2);
  CHECK_FALSE(index.remove_if(Lba(1), short_lsn(before)));
  CHECK(index.remove_if(Lba(1), short_lsn(after)));
}

TEST_CASE("dirty_index: room is counted to the last entry", "[volume][dirty_index]") {
  DirtyIndex index(100);
  CHECK(index.capacity() == 100);
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK(index.has_room(100 - i));
    CHECK_FALSE(index.has_room(101 - i));
    index.put(Lba(i * 1000), Lsn(i + 1), i, i);
  }
  index.put(Lba(5000), Lsn(500), 1, 1);  // replacing takes no room
  CHECK(index.size() == 100);
}

TEST_CASE("dirty_index: with more room everything is where it was", "[volume][dirty_index][resize]") {
  DirtyIndex index(300);
  const auto lba_of = [](uint32_t i) { return Lba(i * 2654435761u); };
  for (uint32_t i = 0; i < 300; ++i) index.put(lba_of(i), Lsn(i + 1), i, ~i);
  CHECK(index.remove_if(lba_of(7), 8));
  index.grow(100);  // there is that
  CHECK(index.capacity() == 300);
  index.grow(5000);
  CHECK(index.capacity() == 5000);
  CHECK(index.size() == 299);
  CHECK(index.has_room(4701));
  CHECK(index.find(lba_of(7)) == nullptr);
  for (uint32_t i = 300; i < 5000; ++i) index.put(lba_of(i), Lsn(i + 1), i, ~i);
  for (uint32_t i = 0; i < 5000; ++i) {
    if (i == 7) continue;
    const DirtyIndex::Entry* entry = index.find(lba_of(i));
    const bool right = entry != nullptr && entry->lsn == i + 1 && entry->wal_block == i && entry->crc == ~i;
    if (!right || !index.remove_if(lba_of(i), i + 1)) FAIL("entry " << i << " is wrong");
  }
  CHECK(index.size() == 0);
}

TEST_CASE("dirty_index: a million entries come and go", "[volume][dirty_index]") {
  constexpr uint32_t kEntries = 1u << 20;
  DirtyIndex index(kEntries);
  // A permutation, so that each Lba is met once: odd multipliers are one-to-one modulo 2^32.
  const auto lba_of = [](uint32_t i) { return Lba(i * 2654435761u); };
  for (uint32_t i = 0; i < kEntries; ++i) index.put(lba_of(i), Lsn(i + 1), i, ~i);
  CHECK(index.size() == kEntries);
  CHECK_FALSE(index.has_room(1));
  for (uint32_t i = 1; i < kEntries; i += 2) {
    if (!index.remove_if(lba_of(i), i + 1)) FAIL("entry " << i << " is lost");
  }
  CHECK(index.size() == kEntries / 2);
  for (uint32_t i = 0; i < kEntries; ++i) {
    const DirtyIndex::Entry* entry = index.find(lba_of(i));
    const bool right = i % 2 == 1 ? entry == nullptr
                                  : entry != nullptr && entry->lsn == i + 1 &&
                                        entry->wal_block == i && entry->crc == ~i;
    if (!right) FAIL("entry " << i << " is wrong");
  }
  index.clear();
  CHECK(index.size() == 0);
  CHECK(index.find(lba_of(0)) == nullptr);
}

// The places of a WAL's frames: the same answers as a plain list gives, in a fraction of the
// memory.
#include "volume/frame_places.h"

#include <catch2/catch.hpp>
#include <deque>
#include <optional>
#include <random>

using namespace ringbolt;

namespace {

struct Model {
  std::deque<FramePlace> places;

  [[nodiscard]] std::optional<FramePlace> find(Lsn lsn) const {
    for (const FramePlace& place : places) {
      if (place.first <= lsn && lsn <= place.live_last) return place;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<FramePlace> last_before(uint64_t position) const {
    std::optional<FramePlace> last;
    for (const FramePlace& place : places) {
      if (place.position < position) last = place;
    }
    return last;
  }
  [[nodiscard]] FramePlace candidate(uint64_t position, Lsn first) const {
    FramePlace last = places.front();
    for (const FramePlace& place : places) {
      if (place.position <= position && place.first <= first) last = place;
    }
    return last;
  }
};

bool same(const FramePlace& a, const FramePlace& b) {
  return a.first == b.first && a.live_last == b.live_last && a.position == b.position &&
         a.blocks == b.blocks && a.previous_checksum == b.previous_checksum;
}

bool same(const std::optional<FramePlace>& a, const std::optional<FramePlace>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}

}  // namespace

TEST_CASE("frame_places: they answer as a plain list does", "[volume][wal]") {
  std::mt19937_64 random(11);
  uint64_t frames_most = 0;
  for (int round = 0; round < 40; ++round) {
    const uint64_t capacity = 64 + random() % 1000;
    FramePlaces places(capacity);
    Model model;
    Lsn next(1 + random() % 1000);
    uint64_t position = random() % capacity;
    for (int step = 0; step < 400; ++step) {
      // As a WAL does it: as many as fit, a pad frame before the end, then some of the oldest go.
      for (uint64_t more = random() % 200; more > 0; --more) {
        const uint64_t blocks = round % 3 == 0 ? 1 : 1 + random() % 60;
        const uint64_t remaining = capacity - position % capacity;
        const uint64_t pad = remaining < blocks ? remaining : 0;
        const uint64_t tail = model.places.empty() ? position : model.places.front().position;
        if (position + pad + blocks - tail > capacity) break;
        const uint64_t records = 1 + random() % 216;
        const FramePlace place{next, Lsn(next.value() + records - 1), position + pad,
                               static_cast<uint32_t>(blocks), static_cast<uint32_t>(random())};
        places.push(place);
        model.places.push_back(place);
        position += pad + blocks;
        next = place.live_last.next();
      }
      frames_most = std::max<uint64_t>(frames_most, model.places.size());
      REQUIRE(places.empty() == model.places.empty());
      REQUIRE(same(places.front(), model.places.front()));
      const Lsn oldest = model.places.front().first;
      const uint64_t begin = model.places.front().position;
      for (int i = 0; i < 10; ++i) {
        const Lsn lsn(oldest.value() - 1 + random() % (next.minus(oldest) + 3));
        const uint64_t at =
            begin - std::min<uint64_t>(begin, 2) + random() % (position - begin + 4);
        REQUIRE(same(places.find(lsn), model.find(lsn)));
        REQUIRE(same(places.last_before(at), model.last_before(at)));
        REQUIRE(same(places.candidate(at, lsn), model.candidate(at, lsn)));
      }
      REQUIRE_FALSE(places.last_before(0).has_value());
      REQUIRE_FALSE(places.find(Lsn{}).has_value());
      if (random() % 3 == 0) {
        // Any one may become the oldest, the newest too.
        const FramePlace keep = model.places[random() % model.places.size()];
        places.drop_before(keep.position);
        while (model.places.front().position < keep.position) model.places.pop_front();
      }
      if (random() % 150 == 0) {
        places.clear();
        model.places.clear();
        REQUIRE(places.empty());
        next = Lsn(1 + random() % 1000);
        position = random() % capacity;
        step = std::max(step, 1);
        const FramePlace place{next, next, position, 1, 7};
        places.push(place);
        model.places.push_back(place);
        next = next.next();
        ++position;
      }
    }
  }
  CHECK(frames_most > 500);
}

TEST_CASE("frame_places: memory is what the frames at one time need, however many laps they go",
          "[volume][wal]") {
  constexpr uint64_t kCapacity = 16u << 20;  // blocks: 64 GiB
  FramePlaces places(kCapacity);
  CHECK(places.used_bytes() == 0);
  CHECK(FramePlaces::bytes_max(kCapacity) < 7 * kCapacity);
  Lsn next(1);
  uint64_t position = 0;
  std::deque<uint64_t> positions;
  for (int i = 0; i < 400'000; ++i) {
    places.push({next, next, position, 60, 0});
    positions.push_back(position);
    next = next.next();
    position += 60;
    if (positions.size() <= 1000) continue;
    positions.pop_front();
    places.drop_before(positions.front());
  }
  CHECK(position > kCapacity);
  CHECK(places.used_bytes() < 10 * 1000);
}

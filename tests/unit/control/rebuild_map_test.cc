// The map of a rebuild from the sums that the primary knows.
#include "control/rebuild_map.h"

#include <catch2/catch.hpp>

#include "ringbolt/types.h"

namespace ringbolt {
namespace {

SessionStatus session(uint64_t id, uint64_t total, uint64_t done, uint64_t skipped = 0) {
  SessionStatus status;
  status.id = id;
  status.kind = "rebuild";
  status.phase = "running";
  status.base_bytes_total = total;
  status.base_bytes_done = done;
  status.base_bytes_skipped = skipped;
  return status;
}

constexpr uint64_t kTotal = uint64_t{1} << 30;
constexpr uint64_t kCell = kTotal / RebuildMap::kCellsMax;

TEST_CASE("rebuild map: it fills from the beginning to the end", "[rebuild-map]") {
  RebuildMap map;
  CHECK(map.look(session(7, kTotal, 0)));
  CHECK(map.cells() == std::string(256, '.'));
  CHECK(map.look(session(7, kTotal, 3 * kCell)));
  CHECK(map.cells() == "000" + std::string(253, '.'));
  CHECK(map.look(session(7, kTotal, 3 * kCell + kCell / 2)));
  CHECK(map.cells() == "000>" + std::string(252, '.'));
  CHECK(map.look(session(7, kTotal, kTotal)));
  CHECK(map.cells() == std::string(256, '0'));
  CHECK(map.bytes_passed() == kTotal);
}

TEST_CASE("rebuild map: the same look again is no news", "[rebuild-map]") {
  RebuildMap map;
  CHECK(map.look(session(7, kTotal, kCell)));
  CHECK(!map.look(session(7, kTotal, kCell)));
}

TEST_CASE("rebuild map: what was left out is where it was passed, evenly between two looks", "[rebuild-map]") {
  RebuildMap map;
  map.look(session(7, kTotal, 2 * kCell));
  map.look(session(7, kTotal, 3 * kCell, kCell));      // half of two cells
  map.look(session(7, kTotal, 3 * kCell, 3 * kCell));  // all of two cells
  map.look(session(7, kTotal, 5 * kCell, 3 * kCell));
  CHECK(map.cells().substr(0, 9) == "00559900.");
}

TEST_CASE("rebuild map: a cell that two looks passed has both parts", "[rebuild-map]") {
  RebuildMap map;
  map.look(session(7, kTotal, kCell / 2));
  map.look(session(7, kTotal, kCell / 2, kCell / 2));
  CHECK(map.cells().substr(0, 2) == "5.");  // half of nine ninths, rounded
}

TEST_CASE("rebuild map: another session begins anew, and so does one that went back", "[rebuild-map]") {
  RebuildMap map;
  map.look(session(7, kTotal, 100 * kCell));
  CHECK(map.look(session(8, kTotal, kCell)));
  CHECK(map.session() == 8);
  CHECK(map.cells() == "0" + std::string(255, '.'));
  CHECK(map.look(session(8, kTotal, 0)));
  CHECK(map.cells() == std::string(256, '.'));
}

TEST_CASE("rebuild map: a small volume has a cell for each block, an odd one equal parts", "[rebuild-map]") {
  RebuildMap map;
  map.look(session(1, 3 * kBlockBytes, kBlockBytes));
  CHECK(map.cells() == "0..");
  map.look(session(2, kBlockBytes, kBlockBytes));
  CHECK(map.cells() == "0");
  const uint64_t odd = 1000 * kBlockBytes;
  for (uint64_t done = 0; done <= odd; done += kBlockBytes) map.look(session(3, odd, done / 2, done - done / 2));
  CHECK(map.cells().find_first_of(".>") == std::string::npos);
  CHECK(map.cells().size() == 256);
}

TEST_CASE("rebuild map: a peer that counts more than there is does no harm", "[rebuild-map]") {
  RebuildMap map;
  map.look(session(1, kTotal, 5 * kTotal, 7 * kTotal));
  CHECK(map.bytes_passed() == kTotal);
  CHECK(map.cells().find_first_not_of("0123456789") == std::string::npos);
  map.look(session(1, 0, 5, 5));
  CHECK(map.bytes_passed() == 0);
}

}  // namespace
}  // namespace ringbolt

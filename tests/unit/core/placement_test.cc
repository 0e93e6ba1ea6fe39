// Where copies go, and which node can be spared.
#include "core/placement.h"

#include <catch2/catch.hpp>
#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

constexpr uint64_t kGiB = 1u << 30;

NodeFacts has(std::string id, std::string host, std::string zone, uint64_t free_gib) {
  NodeFacts facts;
  facts.id = std::move(id);
  facts.host = std::move(host);
  facts.zone = std::move(zone);
  facts.capacity_bytes = 100 * kGiB;
  facts.free_bytes = free_gib * kGiB;
  return facts;
}

std::vector<std::string> names(std::initializer_list<const char*> list) { return {list.begin(), list.end()}; }

}  // namespace

TEST_CASE("core: copies go to different zones, and there to the least full nodes", "[core][placement]") {
  const std::vector<NodeFacts> nodes = {has("a1", "ha1", "a", 90), has("a2", "ha2", "a", 95), has("b1", "hb1", "b", 20), has("b2", "hb2", "b", 10)};
  CHECK(place(nodes, {kGiB, 1, {}}).nodes == names({"a2"}));
  CHECK(place(nodes, {kGiB, 2, {}}).nodes == names({"a2", "b1"}));
  CHECK(place(nodes, {kGiB, 3, {}}).nodes == names({"a2", "b1", "a1"}));
  // What is there already counts.
  CHECK(place(nodes, {kGiB, 2, names({"a1"})}).nodes == names({"b1"}));
  CHECK(place(nodes, {kGiB, 2, names({"a1", "b2"})}).nodes.empty());
  CHECK(place(nodes, {kGiB, 2, names({"a1", "b2"})}).reason.empty());
  // Of a node that nobody knows any more only the copy counts.
  CHECK(place(nodes, {kGiB, 2, names({"gone"})}).nodes == names({"a2"}));
}

TEST_CASE("core: of equally full nodes the one with fewer copies, then the first by name", "[core][placement]") {
  std::vector<NodeFacts> nodes = {has("n2", "", "", 50), has("n1", "", "", 50), has("n3", "", "", 50)};
  CHECK(place(nodes, {kGiB, 1, {}}).nodes == names({"n1"}));
  nodes[1].copies = 2;
  nodes[0].copies = 1;
  CHECK(place(nodes, {kGiB, 2, {}}).nodes == names({"n3", "n2"}));
}

TEST_CASE("core: what hinders a placement is said of each node", "[core][placement]") {
  std::vector<NodeFacts> nodes = {has("n1", "h1", "", 50), has("n2", "h1", "", 60), has("n3", "h3", "", 0), has("n4", "h4", "", 50), has("n5", "h5", "", 50)};
  nodes[3].draining = true;
  nodes[4].reachable = false;
  const Placement placement = place(nodes, {kGiB, 3, {}});
  CHECK(placement.nodes.empty());
  CHECK(placement.reason ==
        "no node on another host for 2 of 3 copies; n1 is on host h1, which has one; n3 has 0 bytes free, 1073741824 are needed; "
        "n4 is being drained; n5 is not reachable");
  CHECK(place({}, {kGiB, 1, {}}).reason == "no node on another host for 1 of 1 copies");
}

TEST_CASE("core: a placement is on different hosts, in as many zones as can be, and found if there is one", "[core][placement]") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::vector<NodeFacts> nodes;
    const size_t count = random() % 9;
    for (size_t i = 0; i < count; ++i) {
      const std::string host = std::to_string(random() % 6);
      // A host is in one zone.
      nodes.push_back(has("n" + std::to_string(i), "h" + host, "z" + std::to_string(std::stoul(host) % 3), random() % 4));
      nodes.back().draining = random() % 8 == 0;
    }
    const PlacementRequest request{kGiB, 1 + random() % 4, {}};
    std::set<std::string> hosts, zones;
    std::map<std::string, NodeFacts> known;
    for (const NodeFacts& node : nodes) {
      known[node.id] = node;
      if (node.draining || node.free_bytes < request.bytes) continue;
      hosts.insert(node.host);
      zones.insert(node.zone);
    }
    const Placement placement = place(nodes, request);
    CHECK(placement.reason.empty() == (hosts.size() >= request.copies));
    if (!placement.reason.empty()) continue;
    REQUIRE(placement.nodes.size() == request.copies);
    std::set<std::string> used_hosts, used_zones;
    for (const std::string& id : placement.nodes) {
      CHECK_FALSE(known[id].draining);
      used_hosts.insert(known[id].host);
      used_zones.insert(known[id].zone);
    }
    CHECK(used_hosts.size() == request.copies);
    CHECK(used_zones.size() == std::min(zones.size(), request.copies));
  }
}

TEST_CASE("core: a node can be spared if every volume goes on without it", "[core][placement]") {
  std::vector<NodeFacts> nodes = {has("n1", "", "", 50), has("n2", "", "", 50), has("n3", "", "", 50)};
  VolumeCopies volume{"vol0", Durability::kSyncAll, "n1", names({"n1", "n2", "n3"}), names({"n1", "n2"})};
  const auto answer = [&](const char* node) { return safe_to_stop(node, nodes, std::span(&volume, 1)); };

  CHECK(answer("n1").safe);
  CHECK(answer("n3").safe);
  CHECK(answer("n4").safe);  // it has none
  volume.in_sync = names({"n1"});
  CHECK(answer("n1").reasons == names({"volume vol0: no other copy that is in sync can be reached"}));
  CHECK(answer("n2").safe);
  volume.in_sync = names({"n1", "n2"});
  nodes[1].reachable = false;
  CHECK_FALSE(answer("n1").safe);
  nodes[1].reachable = true;
  // What stands still already does not because of a node that has no copy of it.
  volume.in_sync = names({"gone"});
  CHECK(answer("n4").safe);
  volume.in_sync = names({"n1", "n2"});

  volume.durability = Durability::kSyncQuorum;
  CHECK(answer("n1").safe);
  nodes[2].reachable = false;
  CHECK(answer("n1").reasons == names({"volume vol0: 1 of its copies would be left, a majority is 2"}));
  CHECK(answer("n3").safe);

  volume.durability = Durability::kBestEffort;
  CHECK_FALSE(answer("n1").safe);
  CHECK(answer("n2").safe);

  volume.durability = Durability::kSyncAll;
  volume.copies = volume.in_sync = names({"n1"});
  CHECK_FALSE(answer("n1").safe);
}

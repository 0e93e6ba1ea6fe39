#include "core/placement.h"

#include <algorithm>
#include <tuple>

#include "core/node_set.h"

namespace ringbolt::core {

namespace {

const NodeFacts* find_node(std::span<const NodeFacts> nodes, const std::string& id) {
  const auto at = std::find_if(nodes.begin(), nodes.end(), [&](const NodeFacts& node) { return node.id == id; });
  return at == nodes.end() ? nullptr : &*at;
}

const std::string& host_of(const NodeFacts& node) { return node.host.empty() ? node.id : node.host; }

/// Empty: it can have one.
std::string lacks(const NodeFacts& node, const PlacementRequest& request) {
  if (!node.reachable) return "is not reachable";
  if (node.draining) return "is being drained";
  if (node.free_bytes < request.bytes) {
    return "has " + std::to_string(node.free_bytes) + " bytes free, " + std::to_string(request.bytes) + " are needed";
  }
  return "";
}

/// How full it is with the new copy, in parts of a million. Whole numbers: the same on any machine.
uint64_t fullness(const NodeFacts& node, uint64_t bytes) {
  if (node.capacity_bytes == 0) return UINT64_MAX;
  const uint64_t free = std::min(node.free_bytes, node.capacity_bytes);
  return (node.capacity_bytes - free + bytes) / (node.capacity_bytes / 1'000'000 + 1);
}

}  // namespace

Placement place(std::span<const NodeFacts> nodes, const PlacementRequest& request) {
  std::vector<const NodeFacts*> taken;
  for (const std::string& id : request.present) {
    if (const NodeFacts* const node = find_node(nodes, id)) taken.push_back(node);
  }
  const auto takes_host = [&](const NodeFacts& node) {
    const auto same = [&](const NodeFacts* other) { return host_of(*other) == host_of(node); };
    return std::any_of(taken.begin(), taken.end(), same);
  };
  const auto in_zone = [&](const std::string& zone) {
    return std::count_if(taken.begin(), taken.end(), [&](const NodeFacts* node) { return node->zone == zone; });
  };
  Placement placement;
  while (request.present.size() + placement.nodes.size() < request.copies) {
    const NodeFacts* best = nullptr;
    const auto rank = [&](const NodeFacts& node) { return std::tuple(in_zone(node.zone), fullness(node, request.bytes), node.copies, node.id); };
    for (const NodeFacts& node : nodes) {
      if (takes_host(node) || !lacks(node, request).empty()) continue;
      if (best == nullptr || rank(node) < rank(*best)) best = &node;
    }
    if (best == nullptr) {
      const size_t missing = request.copies - request.present.size() - placement.nodes.size();
      placement.reason = "no node on another host for " + std::to_string(missing) + " of " + std::to_string(request.copies) + " copies";
      for (const NodeFacts& node : nodes) {
        if (contains(request.present, node.id) || contains(placement.nodes, node.id)) continue;
        const std::string why = lacks(node, request);
        placement.reason += "; " + node.id + " " + (why.empty() ? "is on host " + host_of(node) + ", which has one" : why);
      }
      placement.nodes.clear();
      return placement;
    }
    taken.push_back(best);
    placement.nodes.push_back(best->id);
  }
  return placement;
}

StopAnswer safe_to_stop(const std::string& node, std::span<const NodeFacts> nodes, std::span<const VolumeCopies> volumes) {
  StopAnswer answer;
  const auto stands = [&](const std::string& id) {
    const NodeFacts* const facts = find_node(nodes, id);
    return id != node && facts != nullptr && facts->reachable;
  };
  for (const VolumeCopies& volume : volumes) {
    if (!contains(volume.copies, node)) continue;
    const auto standing = static_cast<size_t>(std::count_if(volume.copies.begin(), volume.copies.end(), stands));
    const size_t majority = volume.copies.size() / 2 + 1;
    std::string why;
    switch (volume.durability) {
      case Durability::kSyncAll:
        if (std::none_of(volume.in_sync.begin(), volume.in_sync.end(), stands)) why = "no other copy that is in sync can be reached";
        break;
      case Durability::kSyncQuorum:
        if (standing < majority) why = std::to_string(standing) + " of its copies would be left, a majority is " + std::to_string(majority);
        break;
      case Durability::kBestEffort:
        if (volume.primary == node) why = "this is its primary, and with best_effort no other copy takes over by itself";
        break;
    }
    if (!why.empty()) answer.reasons.push_back("volume " + volume.name + ": " + why);
  }
  answer.safe = answer.reasons.empty();
  return answer;
}

}  // namespace ringbolt::core

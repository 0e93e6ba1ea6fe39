// What tests of rebuilds ask of a simulated cluster.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "cluster.h"

namespace ringbolt::sim {

inline bool contains(const std::vector<std::string>& set, const std::string& id) { return std::find(set.begin(), set.end(), id) != set.end(); }

/// What is on its disk says that its base image is not usable.
inline bool marked(Cluster& c, size_t node) {
  const auto superblock = read_superblock(c.sim(node), Cluster::directory());
  return superblock && superblock->rebuild_mark;
}

/// The primary, node 0, has a session with it that is a rebuild.
inline bool rebuilding(const Cluster& c, size_t replica = 1) {
  const auto session = c.replica_status(0, replica).session;
  return session && session->kind == "rebuild" && session->id && session->phase != "failed";
}

inline void wipe_disks(Cluster& c, size_t node) {
  for (const std::string& file : c.sim(node).disk().list_files()) c.sim(node).disk().remove_file(file);
}

}  // namespace ringbolt::sim

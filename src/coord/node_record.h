// What a node says of itself in the coordinator, under its lease. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt::coord {

struct NodeRecord {
  std::string id;
  std::string incarnation;   ///< drawn by each start of a daemon
  std::string registration;  ///< drawn once for a data directory: who has the same is the same daemon, started again
  std::string admin, replication;  ///< HOST:PORT
  std::vector<std::string> nbd;    ///< likewise
  std::string host, zone;
  uint64_t capacity_bytes = 0, free_bytes = 0;  ///< of the data directory's file system
  std::string version;
  bool operator==(const NodeRecord&) const = default;
};

std::string to_text(const NodeRecord& record);
/// What it does not know it leaves out. Errors: kInvalid, what is wrong.
Result<NodeRecord> parse_node_record(std::string_view text);

/// Whether the difference is worth a write: free space counts in steps, as it changes all the time.
bool worth_telling(const NodeRecord& told, const NodeRecord& now);

}  // namespace ringbolt::coord

// What a line of the log is about, apart from its words: `log::warn({.volume = name, .lsn = lsn}, "...")`. There are just
// these fields, so that whoever filters a log by one finds every line that is about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ringbolt/types.h"

namespace ringbolt::log {

/// What is empty or absent is not there, and what is 0, unless that says something. Text only has to live as long as the call.
struct Fields {
  std::string_view volume = {};
  std::string_view replica = {};  ///< of the volume whose primary this node is: its id
  std::string_view peer = {};     ///< the node at the other end, by the id that it gives itself
  std::string_view client = {};   ///< who connected here (an NBD client, a caller of the replication port): its address
  std::string_view key = {};      ///< of the configuration file
  std::optional<uint32_t> shard = {};
  SessionId session = {};
  Epoch epoch = {};
  std::optional<Lsn> lsn = {};  ///< 0 is the beginning of the log
  uint64_t left_out = 0;  ///< lines like this one that were left out since the last one
};

}  // namespace ringbolt::log

// The words of commands, and engines in states that many tests begin with.
#pragma once

#include <string>

#include "engine_facts.h"

namespace ringbolt::core {

using Lines = Subject::Lines;

inline const Lines kNothing;
inline const char* const kNotInWal = "records that it misses are no longer in the WAL";
inline const char* const kUnusable = "the replica's base image is marked unusable";

inline std::string catchup(uint64_t session, uint64_t position, uint64_t target = 100) {
  return "start_catchup replica=n2 session=" + std::to_string(session) + " position=" + std::to_string(position) +
         " target=" + std::to_string(target);
}
inline std::string rebuild(uint64_t session, const std::string& why) {
  return "start_rebuild replica=n2 session=" + std::to_string(session) + " target=100 why=\"" + why + "\"";
}
inline std::string invalidate(const std::string& id, uint64_t session, const std::string& reason) {
  return "invalidate_session replica=" + id + " session=" + std::to_string(session) + " reason=" + reason;
}
inline std::string invalidate(uint64_t session, const std::string& reason) { return invalidate("n2", session, reason); }

/// A primary of term (1, 1), its replica n2 connected by its first attempt, and nothing known of it.
inline Subject connected_pair() {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.tell(connected("n2", 1));
  return s;
}

}  // namespace ringbolt::core

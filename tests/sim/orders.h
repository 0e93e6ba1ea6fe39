// Orders of an operator to the nodes of a simulated cluster, and what became of them.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster.h"

namespace ringbolt::sim {

inline repl::AssignmentRequest order(Role role, uint64_t epoch, core::Authority authority = core::Authority::kAssigned,
                                     std::optional<std::vector<core::ReplicaAddress>> replicas = std::nullopt) {
  repl::AssignmentRequest request;
  request.role = role;
  request.epoch = Epoch(epoch);
  request.authority = authority;
  request.replicas = std::move(replicas);
  return request;
}

/// Set when the answer comes.
using Answer = std::shared_ptr<std::optional<Status>>;

inline Answer give(Cluster& c, size_t node, const repl::AssignmentRequest& request) {
  const auto answer = std::make_shared<std::optional<Status>>();
  c.volume(node).assign(request, [answer](const Status& status) { *answer = status; });
  return answer;
}

inline void check_taken(Cluster& c, const Answer& answer, io::Nanos limit = 20 * io::kSecond) {
  REQUIRE(c.run_until([&] { return answer->has_value(); }, limit));
  INFO((answer->value().has_value() ? "" : answer->value().error().message));
  REQUIRE(answer->value().has_value());
}

inline void check_refused(Cluster& c, const Answer& answer, Errc code, const std::string& words, io::Nanos limit = 20 * io::kSecond) {
  REQUIRE(c.run_until([&] { return answer->has_value(); }, limit));
  REQUIRE_FALSE(answer->value().has_value());
  INFO(answer->value().error().message);
  CHECK(answer->value().error().code == code);
  CHECK(answer->value().error().message.find(words) != std::string::npos);
}

}  // namespace ringbolt::sim

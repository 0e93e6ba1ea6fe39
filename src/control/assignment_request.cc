#include "control/assignment_request.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "control/config_values.h"
#include "control/request_body.h"

namespace ringbolt {
namespace {

namespace json = boost::json;
using request_body::ObjectReader;
using request_body::quoted;

constexpr std::string_view kOrderKeys[] = {"role", "epoch", "replicas", "durability", "promote", "force"};
constexpr std::string_view kReplicaKeys[] = {"id", "address"};

core::ReplicaAddress read_replica(const json::value& value, const std::vector<core::ReplicaAddress>& before) {
  const ObjectReader in(value, fmt::format("replicas[{}]", before.size()), kReplicaKeys);
  in.require_key("id");
  in.require_key("address");
  core::ReplicaAddress replica{in.text("id"), in.text("address")};
  in.require("id", check_node_id(replica.id));
  in.require("address", check_peer_address(replica.address));
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].id == replica.id) in.fail_at("id", fmt::format("{} is already replicas[{}]", quoted(replica.id), i));
    if (before[i].address == replica.address) {
      in.fail_at("address", fmt::format("{} is already the address of replicas[{}]", quoted(replica.address), i));
    }
  }
  return replica;
}

std::vector<core::ReplicaAddress> read_replicas(const ObjectReader& in, Role role) {
  const json::array& array = in.array("replicas");
  if (array.size() > kReplicasMax) {
    in.fail_at("replicas", fmt::format("{} replicas, at most {} are allowed", array.size(), kReplicasMax));
  }
  if (!array.empty() && role != Role::kPrimary) {
    in.fail_at("replicas", fmt::format("only a primary has replicas; the role is \"{}\"", to_string(role)));
  }
  std::vector<core::ReplicaAddress> replicas;
  for (const json::value& element : array) replicas.push_back(read_replica(element, replicas));
  return replicas;
}

core::Authority read_authority(const ObjectReader& in, Role role) {
  const bool promote = in.flag("promote");
  const bool force = in.flag("force");
  if (promote && role != Role::kPrimary) {
    in.fail_at("promote", fmt::format("only to primary is there a promotion; the role is \"{}\"", to_string(role)));
  }
  if (force && !promote) in.fail_at("force", "only a promotion can be forced: it needs \"promote\": true");
  if (force) return core::Authority::kForced;
  // Said as a promotion or not: an operator does not know by himself whether the copy has everything.
  return role == Role::kPrimary ? core::Authority::kPromoted : core::Authority::kAssigned;
}

AssignmentOrder read_order(const json::value& document) {
  const ObjectReader in(document, "", kOrderKeys);
  in.require_key("role");
  in.require_key("epoch");
  AssignmentOrder order;
  order.role = in.word("role", {Role::kPrimary, Role::kReplica, Role::kNone});
  order.epoch = Epoch(in.natural("epoch", 1, kEpochMax));
  if (in.find("durability") != nullptr) {
    order.durability = in.word("durability", {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll});
  }
  if (in.find("replicas") != nullptr) order.replicas = read_replicas(in, order.role);
  order.authority = read_authority(in, order.role);
  return order;
}

}  // namespace

Result<AssignmentOrder> parse_assignment(std::string_view body) {
  try {
    return read_order(request_body::parse_document(body, "an object with \"role\" and \"epoch\""));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

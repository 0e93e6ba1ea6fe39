#include "ctl/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "control/config_values.h"
#include "ringbolt/types.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

Error usage(std::string message) { return make_error(Errc::kInvalid, std::move(message)); }

Result<uint64_t> parse_epoch(std::string_view text) {
  uint64_t epoch = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, epoch);
  if (failure == std::errc{} && rest == end && epoch >= 1 && epoch <= kEpochMax) return epoch;
  return usage(fmt::format("--epoch: expected a whole number from 1 to {}, got \"{}\"", kEpochMax, text));
}

Result<json::object> parse_replica(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return usage(fmt::format("--replica: expected ID=HOST:PORT, got \"{}\"", text));
  const std::string_view id = text.substr(0, equals);
  const std::string_view address = text.substr(equals + 1);
  const Status id_status = check_node_id(id);
  if (id_status.has_error()) return usage(fmt::format("--replica {}: id {}", text, id_status.error().message));
  const Status address_status = check_peer_address(address);
  if (address_status.has_error()) return usage(fmt::format("--replica {}: {}", text, address_status.error().message));
  return json::object{{"id", json::string_view(id.data(), id.size())}, {"address", json::string_view(address.data(), address.size())}};
}

Result<json::array> parse_replicas(const OrderArguments& order) {
  if (!order.replicas.empty() && order.no_replicas) return usage("--replica and --no-replicas exclude each other");
  if (!order.replicas.empty() && order.role != "primary") {
    return usage(fmt::format("--replica: only a primary has replicas, the role is {}", order.role));
  }
  if (order.replicas.size() > kReplicasMax) {
    return usage(fmt::format("--replica: {} replicas, at most {} are allowed", order.replicas.size(), kReplicasMax));
  }
  json::array replicas;
  for (const std::string& text : order.replicas) {
    BOOST_OUTCOME_TRY(json::object replica, parse_replica(text));
    for (const char* const key : {"id", "address"}) {
      const auto same = [&](const json::value& one) { return one.at(key) == replica.at(key); };
      if (std::any_of(replicas.begin(), replicas.end(), same)) return usage(fmt::format("--replica {}: its {} is given twice", text, key));
    }
    replicas.push_back(std::move(replica));
  }
  return replicas;
}

}  // namespace

Result<std::string> order_body(const OrderArguments& order) {
  BOOST_OUTCOME_TRY(const uint64_t epoch, parse_epoch(order.epoch));
  BOOST_OUTCOME_TRY(json::array replicas, parse_replicas(order));
  json::object body{{"role", order.role}, {"epoch", epoch}};
  if (!replicas.empty() || order.no_replicas) body["replicas"] = std::move(replicas);
  if (!order.durability.empty()) body["durability"] = order.durability;
  if (order.promote) body["promote"] = true;
  if (order.force) body["force"] = true;
  return json::serialize(body);
}

std::string next_step(std::string_view code, const OrderArguments& order) {
  if (code == "stale_epoch") return "repeat it with an --epoch higher than the current one";
  if (code == "not_found") return "ringboltctl status lists the volumes of this node";
  if (code == "starting" || code == "stopping" || code == "busy") return "nothing was changed; try again in a moment";
  if (code == "unfinished") {
    return fmt::format("ringboltctl why {} tells what it waits for; the same order may be given again, another one takes its place", order.volume);
  }
  if (code == "superseded") return fmt::format("ringboltctl volume show {} tells what it is now", order.volume);
  if (code != "refused") return {};
  if (order.role != "primary" || order.force) return fmt::format("ringboltctl why {} tells more", order.volume);
  return fmt::format("if the old primary still runs, let it hand over: on its node ringboltctl assign {0} --role replica --epoch {1}, "
                     "then give this order again. If it is lost for good, promote --force takes this copy as it is: what only the old primary has is lost",
                     order.volume, order.epoch);
}

std::string next_step_unanswered(const OrderArguments& order) {
  return fmt::format("the order may have been carried out: ringboltctl volume show {} tells; the same order again changes nothing if it was",
                     order.volume);
}

}  // namespace ringbolt::ctl

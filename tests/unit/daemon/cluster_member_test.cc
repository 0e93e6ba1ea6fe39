// What a node tells the cluster of itself, and how the cluster is shown to people and scripts.
#include "daemon/cluster_member.h"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <sstream>

#include "control/json.h"
#include "control/metrics_text.h"
#include "ctl/node_command.h"
#include "ctl/table.h"

namespace ringbolt {
namespace {

using Catch::Matchers::Contains;

coord::CoordinatorStatus cluster_of_two() {
  coord::CoordinatorStatus status;
  status.cluster = "prod";
  status.endpoints = {"http://h1:2379", "http://h2:2379"};
  status.endpoint = "http://h2:2379";
  status.answering = true;
  status.registration = "registered";
  status.lease_id = "5";
  status.lease_seconds = 5;
  status.lease_valid = true;
  status.lease_seconds_left = 3.5;
  status.nodes_current = true;
  status.this_node.id = "n1";
  status.this_node.incarnation = "i1";
  coord::NodeRecord other;
  other.id = std::string(63, 'n');
  other.incarnation = "i1";
  other.host = std::string(200, 'h') + "\x1b[2J\xff";
  other.replication = other.admin = std::string(100, 'a') + ":10810";
  other.free_bytes = uint64_t{1} << 40;
  other.capacity_bytes = uint64_t{4} << 40;
  status.nodes = {status.this_node, other};
  return status;
}

TEST_CASE("cluster member: others are told where it is found, not what it listens on", "[cluster]") {
  Config config;
  config.node_id = "n1";
  config.host = "h1.example";
  config.zone = "z1";
  config.nbd_listen = {"0.0.0.0:10809", "[::]:10809", "192.0.2.1:10809", "unix:/run/nbd.sock"};
  config.replication_listen = "0.0.0.0:10810";
  const coord::NodeRecord record = node_record(config, {{}, "incarnation", "registration"}, "127.0.0.1:10811");
  CHECK((record.id == "n1" && record.incarnation == "incarnation" && record.registration == "registration"));
  CHECK((record.host == "h1.example" && record.zone == "z1" && record.version == RINGBOLT_VERSION));
  CHECK(record.replication == "h1.example:10810");
  CHECK(record.admin == "127.0.0.1:10811");
  CHECK(record.nbd == std::vector<std::string>{"h1.example:10809", "h1.example:10809", "192.0.2.1:10809"});
  config.host.clear();
  CHECK_FALSE(node_record(config, {}, "127.0.0.1:10811").host.empty());  // the machine's
}

TEST_CASE("cluster: without a coordinator that is said", "[cluster]") {
  CHECK(nodes_json(std::nullopt) == R"({"coordinator":null,"nodes":[]})");
  CHECK_THAT(ctl::render_nodes(boost::json::parse(nodes_json(std::nullopt))), Contains("no coordinator"));
  CHECK_THAT(metrics_text({}, {}, {}), !Contains("ringbolt_coordinator"));
}

TEST_CASE("cluster: the nodes and how this one stands are shown, whatever others say of themselves", "[cluster]") {
  coord::CoordinatorStatus status = cluster_of_two();
  const auto shown = [&status] { return ctl::render_nodes(boost::json::parse(nodes_json(status))); };
  const std::string good = shown();
  CHECK_THAT(good, Contains("http://h2:2379 answers") && Contains("n1 is registered, its lease is valid") && Contains("1.0 TiB") && !Contains("as they were"));
  CHECK(good.find_first_not_of("\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") == std::string::npos);
  std::istringstream lines(good);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= ctl::kTerminalColumns);
  // Who has the same incarnation and another id is not this one.
  const boost::json::value nodes = boost::json::parse(nodes_json(status)).at("nodes");
  CHECK((nodes.at(0).at("this_node").as_bool() && !nodes.at(1).at("this_node").as_bool()));

  status.answering = status.lease_valid = status.nodes_current = false;
  status.last_error = "http://h1:2379/v3/kv/range: cannot connect";
  CHECK_THAT(shown(), Contains("does not answer: http://h1:2379/v3/kv/range: cannot connect") && Contains("its lease may be over") && Contains("as they were"));
  status.registration = "refused";
  status.reason = "node id n1 is in use";
  CHECK_THAT(shown(), Contains("n1 is refused: node id n1 is in use"));
}

TEST_CASE("cluster: metrics tell what is known", "[cluster]") {
  coord::CoordinatorStatus status = cluster_of_two();
  const auto metrics = [&status] { return metrics_text({}, {}, {}, status); };
  CHECK_THAT(metrics(), Contains("\nringbolt_coordinator_up 1\n") && Contains("\nringbolt_coordinator_registered 1\n") && Contains("\nringbolt_coordinator_lease_valid 1\n") &&
                            Contains("\nringbolt_coordinator_nodes 2\n") && !Contains("\nringbolt_coordinator_last_answer_age_seconds "));
  status.answering = status.lease_valid = false;
  status.registration = "refused";
  status.last_answer_seconds = 2.5;
  CHECK_THAT(metrics(), Contains("\nringbolt_coordinator_up 0\n") && Contains("\nringbolt_coordinator_registered 0\n") && Contains("\nringbolt_coordinator_lease_valid 0\n") &&
                            Contains("\nringbolt_coordinator_last_answer_age_seconds 2.5\n"));
}

}  // namespace
}  // namespace ringbolt

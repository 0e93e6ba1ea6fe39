#include "ctl/node_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <string>
#include <vector>

#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

/// What the daemon has to say of the coordinator, and of itself in it.
std::string render_coordinator(const json::value& coordinator) {
  std::string result = field("cluster", text(coordinator, "cluster"));
  const bool answering = flag(coordinator, "answering");
  result += field("coordinator", answering ? text(coordinator, "endpoint") + " answers" : "does not answer: " + text(coordinator, "last_error"));
  std::string registration = text(coordinator, "node") + " is " + text(coordinator, "registration");
  const std::string reason = text(coordinator, "reason");
  if (reason != "-") registration += ": " + reason;
  if (text(coordinator, "registration") == "registered") registration += flag(coordinator, "lease.valid") ? ", its lease is valid" : ", its lease may be over";
  result += field("this node", registration);
  if (!flag(coordinator, "nodes_current")) result += field("nodes", "as they were when the coordinator answered last");
  return result;
}

}  // namespace

std::string render_nodes(const json::value& nodes) {
  const json::value* const coordinator = find(nodes, "coordinator");
  if (coordinator == nullptr || coordinator->is_null()) return "this node has no coordinator ([coordinator] in its configuration)\n";
  Table table({{"NODE", false, true}, {""}, {"HOST", false, true}, {"ZONE", false, true}, {"REPLICATION", false, true}, {"ADMIN", false, true}, {"FREE", true}, {"OF", true}});
  for (const json::value& node : elements(find(nodes, "nodes"))) {
    table.add_row({plain(text(node, "id")), flag(node, "this_node") ? "this" : "", plain(text(node, "host")), plain(text(node, "zone")), plain(text(node, "replication")),
                   plain(text(node, "admin")), bytes(node, "free_bytes"), bytes(node, "capacity_bytes")});
  }
  std::string result = render_coordinator(*coordinator) + "\n";
  for (const std::string& line : table.lines()) result += line + "\n";
  return result;
}

void add_node(CLI::App& app, Session& session) {
  CLI::App* node = app.add_subcommand("node", "the nodes of the cluster");
  node->fallthrough();
  node->require_subcommand(1);
  CLI::App* list = node->add_subcommand("list", "the nodes that are registered with the coordinator, and how this one stands with it");
  list->callback([&session] {
    session.action = [&session] { return ask(session, {.target = "/v1/nodes"}, render_nodes); };
  });
}

}  // namespace ringbolt::ctl

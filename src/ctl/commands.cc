#include "ctl/commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <ostream>

#include "control/config_values.h"
#include "ctl/bench_command.h"
#include "ctl/complete.h"
#include "ctl/doctor_command.h"
#include "ctl/live_commands.h"
#include "ctl/node_command.h"
#include "ctl/order.h"
#include "ctl/reload_command.h"
#include "ctl/render.h"
#include "ctl/session.h"
#include "ctl/volume_commands.h"

namespace ringbolt::ctl {
namespace {

/// Longer than the daemon's own limit for an order, so that its answer says what became of it.
constexpr std::chrono::seconds kOrderAnswerTime{70};

void add_status(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("status", "every volume on the node");
  command->callback([&session] {
    session.action = [&session] { return ask(session, {.target = "/v1/volumes"}, render_status); };
  });
}

void add_volume_show(CLI::App& volume, Session& session) {
  CLI::App* command = volume.add_subcommand("show", "everything about one volume");
  auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "the volume's name")->required();
  command->callback([&session, name] {
    session.action = [&session, name] { return ask(session, {.target = volume_target(*name)}, render_volume); };
  });
}

void add_why(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("why", "the chain of facts behind a volume's present mode");
  auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "the volume's name")->required();
  command->callback([&session, name] {
    session.action = [&session, name] { return ask(session, {.target = volume_target(*name) + "/why"}, render_why); };
  });
}

/// What `assign` and `promote` have in common.
void add_order_options(CLI::App& command, Session& session, const std::shared_ptr<OrderArguments>& order) {
  command.add_option("NAME", order->volume, "the volume's name")->required();
  command.add_option("--epoch", order->epoch, "the assignment's epoch; a new role needs a higher one than the present")->required();
  command.add_option("--replica", order->replicas, "ID=HOST:PORT of a replica, once for each; none given: as they are if it stays primary")
      ->allow_extra_args(false);
  command.add_flag("--no-replicas", order->no_replicas, "a primary without replicas");
  command.add_option("--durability", order->durability, "when writes are acknowledged; not given: as it is")
      ->check(CLI::IsMember({"best_effort", "sync_quorum", "sync_all"}));
  command.callback([&session, order] {
    const Result<std::string> body = order_body(*order);
    if (body.has_error()) throw CLI::ValidationError(body.error().message, CLI::ExitCodes::ValidationError);
    session.action = [&session, order, body = body.value()] {
      const HttpRequest request{volume_target(order->volume) + "/assignment", HttpMethod::kPost, body, kOrderAnswerTime};
      const Advice advice{[order](std::string_view code) { return next_step(code, *order); }, next_step_unanswered(*order)};
      return ask(session, request, render_volume, advice);
    };
  });
}

void add_assign(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("assign", "deliver an assignment: role, epoch, replicas");
  auto order = std::make_shared<OrderArguments>();
  command->add_option("--role", order->role, "what this node is to be for the volume; primary: only a copy that may be promoted without force")
      ->required()
      ->check(CLI::IsMember({"primary", "replica", "none"}));
  add_order_options(*command, session, order);
}

void add_promote(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("promote", "make this node's copy the primary, if it has everything");
  auto order = std::make_shared<OrderArguments>();
  order->role = "primary";
  order->promote = true;
  command->add_flag("--force", order->force, "also a copy that may be stale: what only the old primary has is lost");
  add_order_options(*command, session, order);
}

std::string check_admin(const std::string& text) {
  const Status status = check_peer_address(text);
  return status.has_error() ? status.error().message : std::string();
}

}  // namespace

int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err) {
  Session session{out, err};
  CLI::App app("Control of a ringbolt daemon", "ringboltctl");
  app.set_version_flag("--version", std::string("ringboltctl " RINGBOLT_VERSION));
  app.add_option("--admin", session.admin, "HOST:PORT of the daemon's admin API")
      ->envname("RINGBOLT_ADMIN")
      ->check(CLI::Validator(check_admin, "HOST:PORT", "address"))
      ->capture_default_str();
  app.add_flag("--json", session.as_json, "print exactly what the API returned");
  // The options above may stand before and after the command.
  app.fallthrough();
  app.require_subcommand(1);
  add_status(app, session);
  add_assign(app, session);
  add_promote(app, session);
  add_why(app, session);
  add_rebuild(app, session);
  add_verify(app, session);
  add_watch(app, session);
  add_doctor(app, session);
  add_bench(app, session);
  add_reload(app, session);
  add_node(app, session);
  CLI::App* volume = app.add_subcommand("volume", "one volume");
  volume->fallthrough();
  volume->require_subcommand(1);
  add_volume_show(*volume, session);
  add_volume_create(*volume, session);
  add_volume_delete(*volume, session);
  add_volume_resize(*volume, session);

  // Before they are parsed: the words of an unfinished command line are mostly no valid one.
  if (!arguments.empty() && arguments.front() == kCompleteCommand) return print_candidates(app, session, {arguments.begin() + 1, arguments.end()});
  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 takes a vector in
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? kDone : kUsage;
  }
  return session.action();
}

}  // namespace ringbolt::ctl

#include "ctl/commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <functional>
#include <ostream>

#include "control/config_values.h"
#include "control/http_target.h"
#include "ctl/http_client.h"
#include "ctl/render.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

/// What every command works with.
struct Session {
  std::ostream& out;
  std::ostream& err;
  std::string admin = "127.0.0.1:10811";
  bool as_json = false;
  /// Set by the command that was chosen.
  std::function<int()> action = nullptr;
};

int fail(const Session& session, ExitCode code, std::string_view why) {
  session.err << "ringboltctl: " << why << "\n";
  return code;
}

/// The message of an error reply; a general one if the body has none.
std::string error_message(const HttpReply& reply) {
  json::error_code error;
  const json::value body = json::parse(reply.body, error);
  const json::value* message = error ? nullptr : body.find_pointer("/error/message", error);
  if (message != nullptr && message->is_string()) {
    return std::string(message->get_string().data(), message->get_string().size());
  }
  return "the daemon answered with HTTP status " + std::to_string(reply.status);
}

/// Asks the daemon and shows what it returned.
int show(const Session& session, const std::string& target,
         std::string (*render)(const json::value&)) {
  const Result<io::Address> address = parse_host_port(session.admin);
  if (address.has_error()) return fail(session, kUsage, address.error().message);
  const Result<HttpReply> reply = http_get(address.value(), target);
  if (reply.has_error()) return fail(session, kNoAnswer, reply.error().message);
  if (session.as_json) session.out << reply.value().body << std::flush;
  if (reply.value().status != 200) return fail(session, kRefused, error_message(reply.value()));
  if (!session.as_json) {
    json::error_code error;
    const json::value body = json::parse(reply.value().body, error);
    if (error) return fail(session, kRefused, "the daemon's reply is not JSON: " + error.message());
    session.out << render(body) << std::flush;
  }
  // A full disk or a closed pipe behind stdout.
  return session.out ? kDone : fail(session, kRefused, "the output could not be written");
}

void add_status(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("status", "every volume on the node");
  command->callback([&session] {
    session.action = [&session] { return show(session, "/v1/volumes", render_status); };
  });
}

void add_volume_show(CLI::App& volume, Session& session) {
  CLI::App* command = volume.add_subcommand("show", "everything about one volume");
  auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "the volume's name")->required();
  command->callback([&session, name] {
    session.action = [&session, name] {
      return show(session, "/v1/volumes/" + escape_segment(*name), render_volume);
    };
  });
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
  CLI::App* volume = app.add_subcommand("volume", "one volume");
  volume->fallthrough();
  volume->require_subcommand(1);
  add_volume_show(*volume, session);

  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 takes a vector in
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? kDone : kUsage;
  }
  return session.action();
}

}  // namespace ringbolt::ctl

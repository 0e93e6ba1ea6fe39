#include "ctl/reload_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

/// Longer than the daemon's own limit, so that its answer says what became of it.
constexpr std::chrono::seconds kReloadAnswerTime{70};
constexpr const char* kNeedsRestart = "needs a restart";

/// Whose key it is.
std::string owner_of(const json::value& change) {
  const std::string volume = text(change, "volume"), replica = text(change, "replica");
  return replica == "-" ? volume : volume + ", " + replica;
}

std::string next_after_reload(std::string_view code) {
  return code == "invalid_config" ? "correct the file and reload again; the daemon goes on with what it had" : "";
}

}  // namespace

std::string render_reload(const json::value& report) {
  const json::array& applied = elements(find(report, "applied"));
  const json::array& pending = elements(find(report, "pending"));
  if (applied.empty() && pending.empty()) return fmt::format("{} has nothing new\n", plain(text(report, "file")));
  Table table({{"KEY"}, {"OF", false, true}, {"BEFORE", false, true}, {"NOW", false, true}, {"STATE"}});
  for (const json::value& change : applied) table.add_row({text(change, "key"), owner_of(change), text(change, "from"), text(change, "to"), "applied"});
  for (const json::value& change : pending) {
    const bool restart = text(change, "why") == kNeedsRestart;
    table.add_row({text(change, "key"), owner_of(change), text(change, "from"), text(change, "to"), restart ? kNeedsRestart : "not in force"});
  }
  const std::vector<std::string> lines = table.lines();
  std::string result = lines[0] + "\n";
  for (size_t row = 1; row < lines.size(); ++row) {
    result += lines[row] + "\n";
    if (row <= applied.size()) continue;
    const std::string why = text(pending[row - applied.size() - 1], "why");
    if (why != kNeedsRestart) result += field("  why", why);
  }
  return result;
}

void add_reload(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("reload", "read the daemon's configuration file again, as SIGHUP does, and show what that changes");
  command->callback([&session] {
    session.action = [&session] {
      const HttpRequest request{"/v1/node/reload", HttpMethod::kPost, "{}", kReloadAnswerTime};
      const Advice advice{next_after_reload, "its log says what became of it; a second reload changes nothing"};
      return ask(session, request, render_reload, advice);
    };
  });
}

}  // namespace ringbolt::ctl

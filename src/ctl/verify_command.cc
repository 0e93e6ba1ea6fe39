// `ringboltctl verify`: begins a comparison of copies and follows it to its end.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <ostream>
#include <thread>

#include "control/config_values.h"
#include "ctl/live_commands.h"
#include "ctl/pace.h"
#include "ctl/screen.h"
#include "ctl/table.h"
#include "ctl/verify_view.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

constexpr std::chrono::milliseconds kLookInterval{500};

struct VerifyArguments {
  std::string volume;
  std::string replica;  ///< empty: all
};

std::string target(const VerifyArguments& arguments) { return volume_target(arguments.volume) + "/verify"; }

Advice advice(const VerifyArguments& arguments) {
  return {[arguments](std::string_view code) -> std::string {
            if (code == "not_found") return fmt::format("ringboltctl volume show {} lists its replicas", arguments.volume);
            if (code == "refused") return fmt::format("ringboltctl status shows which node is the primary and which replicas are in sync");
            if (code == "starting" || code == "stopping" || code == "busy") return "nothing was begun; try again in a moment";
            return {};
          },
          "the comparison may have begun; it changes nothing, and ends by itself"};
}

std::string line_of(const VerifyLook& look, const Screen& screen) {
  std::string line = plain(look.replica) + ": ";
  if (look.end == VerifyEnd::kRunning && look.percent) {
    if (screen.is_terminal()) line += bar(*look.percent, kBarColumns) + " ";
    line += fmt::format("{}%, ", *look.percent);
  }
  line += plain(look.words);
  // The result is what somebody waits for: it is not cut.
  const bool cut = look.end == VerifyEnd::kRunning && line.size() > screen.columns();
  return cut ? line.substr(0, screen.columns() - 1) + "~" : line;
}

/// Elsewhere than on a terminal: a line for each tenth and for the end.
class Progress {
 public:
  explicit Progress(std::ostream& out) : screen_(out) {}

  void show(const std::vector<VerifyLook>& looks, bool is_over) {
    std::vector<std::string> lines;
    for (const VerifyLook& look : looks) {
      const std::string step = look.end == VerifyEnd::kRunning ? std::to_string(look.percent.value_or(0) / 10) : "over";
      const bool is_new = std::exchange(steps_[look.replica], step) != step;
      if (screen_.is_terminal() || is_new) lines.push_back(line_of(look, screen_));
    }
    if (!lines.empty()) screen_.draw(lines);
    if (is_over) screen_.keep();
  }

 private:
  Screen screen_;
  std::map<std::string, std::string> steps_;
};

int end(const Session& session, const VerifyArguments& arguments, const std::vector<VerifyLook>& looks) {
  std::vector<std::string> different, failed;
  for (const VerifyLook& look : looks) {
    if (look.end == VerifyEnd::kDifferent) different.push_back(look.replica);
    if (look.end == VerifyEnd::kFailed) failed.push_back(look.replica);
    if (session.as_json || look.ranges.empty()) continue;
    session.out << fmt::format("{} differs from the primary's copy:\n", plain(look.replica));
    for (const std::string& range : look.ranges) session.out << plain(range) << "\n";
  }
  session.out << std::flush;
  if (!session.out) return fail(session, kRefused, "the output could not be written");
  if (!different.empty()) {
    return fail(session, kRefused, fmt::format("not equal to the primary's copy: {}", fmt::join(different, ", ")),
                fmt::format("ringboltctl rebuild {} {} copies it anew from the primary", arguments.volume, different.front()));
  }
  if (!failed.empty()) {
    return fail(session, kRefused, fmt::format("not compared to the end: {}", fmt::join(failed, ", ")),
                fmt::format("see that it is in sync (ringboltctl volume show {}), then try again", arguments.volume));
  }
  return kDone;
}

int verify(const Session& session, const VerifyArguments& arguments) {
  const json::object body = arguments.replica.empty() ? json::object{} : json::object{{"replica", arguments.replica}};
  Answer answer = ask(session, HttpRequest{target(arguments), HttpMethod::kPost, json::serialize(body)}, advice(arguments));
  if (answer.code != kDone) {
    if (session.as_json) session.out << answer.body << std::flush;
    return fail(session, answer.code, answer.why, answer.next);
  }
  const std::vector<std::string> replicas = arguments.replica.empty() ? verified_replicas(answer.value) : std::vector{arguments.replica};
  Progress progress(session.out);
  while (true) {
    std::vector<VerifyLook> looks;
    for (const std::string& replica : replicas) looks.push_back(look_at_verify(answer.value, replica));
    const bool is_over = std::none_of(looks.begin(), looks.end(), [](const VerifyLook& look) { return look.end == VerifyEnd::kRunning; });
    if (!session.as_json) progress.show(looks, is_over);
    if (is_over && session.as_json) session.out << answer.body;
    if (is_over || !session.out) return end(session, arguments, looks);
    std::this_thread::sleep_for(kLookInterval);
    answer = ask(session, {.target = target(arguments)});
    if (answer.code != kDone) return fail(session, answer.code, answer.why, "the comparison goes on without being watched, if the daemon does");
  }
}

}  // namespace

void add_verify(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("verify", "compare replicas with the primary's copy, block by block, while clients go on");
  auto arguments = std::make_shared<VerifyArguments>();
  command->add_option("NAME", arguments->volume, "the volume's name")->required();
  command->add_option("--replica", arguments->replica, "only this one; not given: all")->check(replica_id_check());
  command->callback([&session, arguments] {
    session.action = [&session, arguments] { return verify(session, *arguments); };
  });
}

}  // namespace ringbolt::ctl

#include "ctl/live_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <memory>
#include <ostream>
#include <thread>

#include "control/config_values.h"
#include "control/http_target.h"
#include "ctl/rebuild_wait.h"
#include "ctl/screen.h"
#include "ctl/table.h"
#include "ctl/watch.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr Seconds kWaitInterval{0.5};

/// Says how long ago the last call was; 0 at the first.
class Since {
 public:
  double operator()() {
    const Clock::time_point now = Clock::now();
    const double seconds = last_ ? Seconds(now - *last_).count() : 0;
    last_ = now;
    return seconds;
  }

 private:
  std::optional<Clock::time_point> last_;
};

// --- watch ----------------------------------------------------------------------------------------------

struct WatchArguments {
  std::string volume;
  double interval = 1;
  uint64_t count = 0;  ///< 0: until it is ended
};

int watch(const Session& session, const WatchArguments& arguments) {
  Screen screen(session.out);
  Pace pace;
  Since since;
  Answer answer;
  for (uint64_t looks = 0;;) {
    answer = ask(session, {.target = volume_target(arguments.volume)});
    if (answer.code != kDone && looks == 0) return fail(session, answer.code, answer.why, answer.next);
    if (session.as_json) {
      session.out << answer.body << std::flush;
    } else if (answer.code == kDone) {
      pace.look(answer.value, since());
      screen.draw(watch_lines(answer.value, pace, screen.columns(), screen.colour()));
    } else {
      // A daemon that is started again is watched on.
      screen.draw({plain(answer.why).substr(0, screen.columns())});
    }
    if (!session.out) return fail(session, kRefused, "the output could not be written");
    if (++looks == arguments.count) return answer.code == kDone ? kDone : fail(session, answer.code, answer.why, answer.next);
    std::this_thread::sleep_for(Seconds(arguments.interval));
  }
}

// --- rebuild --------------------------------------------------------------------------------------------

struct RebuildArguments {
  std::string volume, replica;
  bool wait = false;
};

Advice advice(const RebuildArguments& order) {
  return {[order](std::string_view code) -> std::string {
            if (code == "not_found") return fmt::format("ringboltctl volume show {} lists its replicas", order.volume);
            if (code == "refused") return "ask the volume's primary: ringboltctl --admin HOST:PORT of that node";
            if (code == "starting" || code == "stopping" || code == "busy") return "nothing was changed; try again in a moment";
            return {};
          },
          fmt::format("the order may have been carried out: ringboltctl watch {} tells", order.volume)};
}

std::string show(const RebuildWait::Look& look, const Screen& screen) {
  std::string line = look.percent && screen.is_terminal() ? bar(*look.percent, kBarColumns) + " " : std::string();
  line = plain(line + look.words);
  return line.size() > screen.columns() ? line.substr(0, screen.columns() - 1) + "~" : line;
}

/// Of a look that is shown elsewhere than on a terminal: another tenth, or other words than numbers.
std::string step_of(const RebuildWait::Look& look) {
  if (look.state == RebuildWait::State::kRunning) return fmt::format("running {}", look.percent.value_or(0) / 10);
  return look.words;
}

/// Until the replica is in sync, or will not be.
int wait_for_rebuild(const Session& session, const RebuildArguments& order, Answer answer) {
  Screen screen(session.out);
  RebuildWait wait(order.replica);
  Since since;
  std::string shown;
  while (true) {
    const RebuildWait::Look look = wait.look(answer.value, since());
    const std::string step = step_of(look);
    const bool is_over = look.state == RebuildWait::State::kInSync || look.state == RebuildWait::State::kFailed;
    if (session.as_json) {
      if (is_over) session.out << answer.body << std::flush;
    } else if (look.state != RebuildWait::State::kFailed && (screen.is_terminal() || step != shown)) {
      screen.draw({show(look, screen)});  // if it failed, the last words are on stderr
    }
    shown = step;
    if (!session.out) return fail(session, kRefused, "the output could not be written");
    if (look.state == RebuildWait::State::kInSync) return kDone;
    if (look.state == RebuildWait::State::kFailed) return fail(session, kRefused, look.words, fmt::format("ringboltctl why {} tells more", order.volume));
    std::this_thread::sleep_for(kWaitInterval);
    answer = ask(session, {.target = volume_target(order.volume)});
    if (answer.code != kDone) {
      return fail(session, answer.code, answer.why, fmt::format("the rebuild goes on without being watched: ringboltctl watch {}", order.volume));
    }
  }
}

int rebuild(const Session& session, const RebuildArguments& order) {
  const HttpRequest request{volume_target(order.volume) + "/rebuild", HttpMethod::kPost, json::serialize(json::object{{"replica", order.replica}})};
  if (!order.wait) {
    return ask(session, request, [&](const json::value&) {
      return fmt::format("replica {} of {} will be rebuilt; ringboltctl watch {} shows how far it is\n", plain(order.replica), plain(order.volume), plain(order.volume));
    }, advice(order));
  }
  const Answer answer = ask(session, request, advice(order));
  if (answer.code != kDone) return fail(session, answer.code, answer.why, answer.next);
  return wait_for_rebuild(session, order, answer);
}

int cancel(const Session& session, const RebuildArguments& order) {
  const HttpRequest request{volume_target(order.volume) + "/rebuild/" + escape_segment(order.replica), HttpMethod::kDelete};
  return ask(session, request, [&](const json::value&) {
    return fmt::format("replica {0} of {1}: no rebuild goes on or begins until ringboltctl rebuild {1} {0}\n", plain(order.replica), plain(order.volume));
  }, advice(order));
}

void add_names(CLI::App& command, RebuildArguments& order) {
  command.add_option("NAME", order.volume, "the volume's name");
  command.add_option("REPLICA", order.replica, "the replica's id")->check(replica_id_check());
}

/// By hand: the parser would miss `rebuild`'s own names when `cancel` has them.
void require_names(const RebuildArguments& order) {
  if (order.volume.empty()) throw CLI::RequiredError("NAME");
  if (order.replica.empty()) throw CLI::RequiredError("REPLICA");
}

void add_cancel(CLI::App& rebuild, Session& session) {
  CLI::App* command = rebuild.add_subcommand("cancel", "end a rebuild, and begin none until one is asked for");
  auto order = std::make_shared<RebuildArguments>();
  add_names(*command, *order);
  command->callback([&session, order] {
    require_names(*order);
    session.action = [&session, order] { return cancel(session, *order); };
  });
}

}  // namespace

CLI::Validator replica_id_check() {
  return CLI::Validator([](const std::string& text) {
    const Status status = check_node_id(text);
    return status.has_error() ? status.error().message : std::string();
  }, "ID", "id");
}

void add_watch(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("watch", "live view: throughput, latency, lag, and progress of catch-up and rebuild");
  auto arguments = std::make_shared<WatchArguments>();
  command->add_option("NAME", arguments->volume, "the volume's name")->required();
  command->add_option("--interval", arguments->interval, "seconds from one look to the next")->check(CLI::Range(0.01, 3600.0))->capture_default_str();
  command->add_option("--count", arguments->count, "how often to look; not given: until it is ended")->check(CLI::Range(uint64_t{1}, UINT64_MAX));
  command->callback([&session, arguments] {
    session.action = [&session, arguments] { return watch(session, *arguments); };
  });
}

void add_rebuild(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("rebuild", "copy a replica anew, whatever it has; or cancel that");
  command->fallthrough();
  auto order = std::make_shared<RebuildArguments>();
  add_names(*command, *order);
  command->add_flag("--wait", order->wait, "until the replica is in sync; exit code 1 if it will not be");
  add_cancel(*command, session);
  command->callback([&session, order, command] {
    if (command->got_subcommand("cancel")) {
      // What `cancel` does not know falls through to here.
      if (!order->volume.empty()) throw CLI::ExtrasError({order->volume});
      if (order->wait) throw CLI::ExtrasError({"--wait"});
      return;
    }
    require_names(*order);
    session.action = [&session, order] { return rebuild(session, *order); };
  });
}

}  // namespace ringbolt::ctl

// ringbolt-sim: whole clusters in one thread, from one seed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <unistd.h>

#include "defects.h"
#include "log/log.h"
#include "ringbolt/probe.h"
#include "run.h"

using namespace ringbolt;
using namespace ringbolt::sim;

namespace {

constexpr size_t kLastLines = 200;

struct Options {
  std::optional<uint64_t> seed;
  uint64_t count = 1;
  uint64_t steps = UINT64_MAX;
  std::string profile = "default";
  std::string defect;
  bool trace = false, print_plan = false, marks = false, list = false, check_defects = false;
};

char now_running[160];

/// An assertion of the code under test ends the process: say in which run.
void on_abort(int) {
  static_cast<void>(!write(STDERR_FILENO, now_running, std::strlen(now_running)));
  _exit(134);
}

std::string command_for(const Plan& plan, const Options& options) {
  std::string command = fmt::format("build/ringbolt-sim --seed {}", plan.seed);
  if (plan.profile != "default") command += " --profile " + plan.profile;
  if (options.steps != UINT64_MAX) command += fmt::format(" --steps {}", options.steps);
  if (!options.defect.empty()) command += " --defect " + options.defect;
  return command;
}

/// The run once more, with words.
void print_failure(const Plan& plan, const Options& options, const Outcome& outcome) {
  std::deque<std::string> last;
  const Outcome again = run(plan, {.steps_max = options.steps, .narrator = [&last](const std::string& line) {
                                     last.push_back(line);
                                     if (last.size() > kLastLines) last.pop_front();
                                   }});
  for (const std::string& line : last) fmt::print("{}\n", line);
  fmt::print("FAILED: seed {}, profile {}\nrule:   {}\nwhat:   {}\n", plan.seed, plan.profile, outcome.broken->rule, outcome.broken->text);
  if (!again.broken || again.broken->text != outcome.broken->text) fmt::print("(the same run again ended differently: it is not deterministic)\n");
  fmt::print("again:  {} --trace\n", command_for(plan, options));
}

void print_marks() {
#define RINGBOLT_PRINT(name, words) fmt::print("mark {:>12} {}\n", probe.reached[static_cast<size_t>(Mark::name)], words);
  RINGBOLT_MARKS(RINGBOLT_PRINT)
#undef RINGBOLT_PRINT
}

bool choose_defect(const std::string& name) {
#define RINGBOLT_CHOOSE(defect_name, words)  \
  if (name == #defect_name) {                \
    probe.defect = Defect::defect_name;      \
    return true;                             \
  }
  RINGBOLT_DEFECTS(RINGBOLT_CHOOSE)
#undef RINGBOLT_CHOOSE
  return false;
}

int run_seeds(const Options& options) {
  const auto begun = std::chrono::steady_clock::now();
  Outcome sum;
  const uint64_t first = options.seed.value_or(1);
  for (uint64_t seed = first; seed < first + options.count; ++seed) {
    const auto plan = draw_plan(options.profile, seed);
    if (!plan.has_value()) {
      fmt::print(stderr, "ringbolt-sim: {}\n", plan.error().message);
      return 2;
    }
    if (options.print_plan) fmt::print("{}", print_plan(plan.value()));
    std::snprintf(now_running, sizeof now_running, "FAILED: seed %llu, profile %s\nrule:   assertions hold\n", static_cast<unsigned long long>(seed),
                  options.profile.c_str());
    RunOptions how{.steps_max = options.steps, .narrator = nullptr};
    if (options.trace) how.narrator = [](const std::string& line) { fmt::print("{}\n", line); };
    const Outcome outcome = run(plan.value(), how);
    sum.simulated += outcome.simulated;
    sum.steps += outcome.steps;
    sum.requests += outcome.requests;
    sum.failed += outcome.failed;
    sum.events += outcome.events;
    if (outcome.broken) {
      print_failure(plan.value(), options, outcome);
      return 1;
    }
    if (options.count == 1) {
      fmt::print("seed {}, profile {}: ok, trace {:016x}, {} steps, {:.3f} s simulated, {} requests answered ({} with an error), {} faults and orders\n", seed,
                 options.profile, outcome.trace_hash, outcome.steps, static_cast<double>(outcome.simulated) / 1e9, outcome.requests, outcome.failed,
                 outcome.events);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (options.count > 1) {
    fmt::print("seeds {} to {}, profile {}: ok in {:.1f} s; per second {:.1f} seeds, {:.1f} s simulated, {:.0f} requests, {:.0f} steps; {} faults and orders\n",
               first, first + options.count - 1, options.profile, seconds, static_cast<double>(options.count) / seconds,
               static_cast<double>(sum.simulated) / 1e9 / seconds, static_cast<double>(sum.requests) / seconds, static_cast<double>(sum.steps) / seconds,
               sum.events);
  }
  if (options.marks) print_marks();
  return 0;
}

int list() {
  for (const auto& [name, purpose] : profiles()) fmt::print("profile {:<10} {}\n", name, purpose);
#define RINGBOLT_PRINT(name, words) fmt::print("defect {} {}\n", #name, words);
  RINGBOLT_DEFECTS(RINGBOLT_PRINT)
#undef RINGBOLT_PRINT
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Runs whole ringbolt clusters in simulation: one seed, one run, the same on any machine.");
  app.add_option("--seed", options.seed, "the first seed (1)");
  app.add_option("--count", options.count, "how many seeds from there on (1)")->check(CLI::PositiveNumber);
  app.add_option("--profile", options.profile, "what may happen (default); --list names them");
  app.add_option("--steps", options.steps, "faults end after so many steps");
  app.add_option("--defect", options.defect, "spoil the code in this way");
  app.add_flag("--trace", options.trace, "print everything that happens");
  app.add_flag("--print-plan", options.print_plan, "print what the seed draws");
  app.add_flag("--marks", options.marks, "print which rare branches were reached, and how often");
  app.add_flag("--check-defects", options.check_defects, "see whether every seeded defect is found (with --defect: that one) within its bound");
  app.add_flag("--list", options.list, "print profiles and defects");
  CLI11_PARSE(app, argc, argv);
  if (options.list) return list();
  if (options.check_defects) return check_defects(options.defect, options.seed.value_or(1));
  if (!options.defect.empty() && !choose_defect(options.defect)) {
    fmt::print(stderr, "ringbolt-sim: no defect is called \"{}\"; see --list\n", options.defect);
    return 2;
  }
  log::set_level(log::Level::kError);
  log::take_lines([](log::Level, std::string_view, void*) {}, nullptr);
  std::signal(SIGABRT, on_abort);
  return run_seeds(options);
}

// ringbolt-sim: whole clusters in one thread, from one seed.
#include <fmt/format.h>

#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "child.h"
#include "defects.h"
#include "exhaustive.h"
#include "log/log.h"
#include "ringbolt/probe.h"
#include "run.h"
#include "shrink.h"

using namespace ringbolt;
using namespace ringbolt::sim;

namespace {

constexpr size_t kLastLines = 200;

struct Options {
  std::optional<uint64_t> seed;
  uint64_t count = 1;
  uint64_t fresh = 0;
  uint64_t steps = UINT64_MAX;
  std::string profile = "default";
  std::string defect;
  std::string scenario, shrink_to;
  std::vector<std::string> stories;
  std::string part = "1/1";
  bool trace = false, print_plan = false, marks = false, list = false, twice = false, keep_going = false, check_defects = false;
};

char now_running[160];

/// An assertion of the code under test ends the process: say in which run.
void on_abort(int) {
  static_cast<void>(!write(STDERR_FILENO, now_running, std::strlen(now_running)));
  _exit(134);
}

std::string command_for(const Plan& plan, const Options& options) {
  if (!options.scenario.empty()) return "build/ringbolt-sim --scenario " + options.scenario;
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

void print_marks(const std::array<uint64_t, kMarks>& reached) {
#define RINGBOLT_PRINT(name, words) fmt::print("mark {:>12} {}\n", reached[static_cast<size_t>(Mark::name)], words);
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

/// What many runs did, and what it cost.
class Sum {
 public:
  void add(const Outcome& outcome) {
    ++runs_;
    simulated_ += outcome.simulated;
    steps_ += outcome.steps;
    requests_ += outcome.requests;
    events_ += outcome.events;
    for (size_t i = 0; i < kMarks; ++i) marks_[i] += outcome.marks[i];
  }
  [[nodiscard]] const std::array<uint64_t, kMarks>& marks() const { return marks_; }
  [[nodiscard]] uint64_t runs() const { return runs_; }
  void print(const std::string& what, uint64_t failed) const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
    fmt::print("{}: {} runs, {} failed, in {:.1f} s; per second {:.1f} runs, {:.1f} s simulated, {:.0f} requests, {:.0f} steps; {} faults and orders\n", what, runs_,
               failed, seconds, static_cast<double>(runs_) / seconds, static_cast<double>(simulated_) / 1e9 / seconds,
               static_cast<double>(requests_) / seconds, static_cast<double>(steps_) / seconds, events_);
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  uint64_t runs_ = 0, steps_ = 0, requests_ = 0, events_ = 0;
  io::Nanos simulated_ = 0;
  std::array<uint64_t, kMarks> marks_{};
};

/// One run, here, with as many words as are wanted.
int run_one(const Plan& plan, const Options& options) {
  if (options.print_plan) fmt::print("{}", print_plan(plan));
  std::snprintf(now_running, sizeof now_running, "FAILED: seed %llu, profile %s\nrule:   assertions hold\n", static_cast<unsigned long long>(plan.seed),
                plan.profile.c_str());
  RunOptions how{.steps_max = options.steps, .narrator = nullptr};
  if (options.trace) how.narrator = [](const std::string& line) { fmt::print("{}\n", line); };
  const Outcome outcome = run(plan, how);
  if (outcome.broken) {
    print_failure(plan, options, outcome);
    return 1;
  }
  fmt::print("seed {}, profile {}: ok, trace {:016x}, {} steps, {:.3f} s simulated, {} requests answered ({} with an error), {} faults and orders\n", plan.seed,
             plan.profile, outcome.trace_hash, outcome.steps, static_cast<double>(outcome.simulated) / 1e9, outcome.requests, outcome.failed, outcome.events);
  if (options.marks) print_marks(outcome.marks);
  return 0;
}

void print_short_failure(const Plan& plan, const Options& options, const Broken& broken) {
  fmt::print("FAILED: {}\n  rule: {}\n  what: {}\n", command_for(plan, options), broken.rule, broken.text);
  std::fflush(stdout);
}

/// Many, each in a process of its own.
int run_many(const std::string& what, const std::vector<Plan>& plans, const Options& options) {
  Sum sum;
  uint64_t failed = 0;
  size_t next = 0;
  std::map<uint64_t, uint64_t> hashes;
  const uint64_t times = options.twice ? 2 : 1;
  run_in_children(
      [&]() -> std::optional<Plan> {
        if (next == plans.size() * times) return std::nullopt;
        return plans[next++ / times];
      },
      [&](const Plan& plan, const Outcome& outcome) {
        sum.add(outcome);
        auto broken = outcome.broken;
        const auto [known, added] = hashes.try_emplace(plan.seed, outcome.trace_hash);
        if (!broken && options.twice && known->second != outcome.trace_hash) {
          broken = Broken{"the same seed is the same run", fmt::format("traces {:016x} and {:016x}", known->second, outcome.trace_hash)};
        }
        if (!broken) return true;
        ++failed;
        print_short_failure(plan, options, *broken);
        if (plan.profile == "exhaustive") fmt::print("{}", print_plan(plan));
        return options.keep_going;
      },
      {.steps_max = options.steps, .narrator = nullptr});
  sum.print(what, failed);
  if (options.marks) print_marks(sum.marks());
  return failed == 0 ? 0 : 1;
}

int fail_usage(const std::string& why) {
  fmt::print(stderr, "ringbolt-sim: {}\n", why);
  return 2;
}

int run_seeds(const Options& options) {
  std::vector<Plan> plans;
  std::random_device random;
  const uint64_t first = options.fresh > 0 ? random() : options.seed.value_or(1);
  const uint64_t count = options.fresh > 0 ? options.fresh : options.count;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    auto plan = draw_plan(options.profile, seed);
    if (!plan.has_value()) return fail_usage(plan.error().message);
    plans.push_back(std::move(plan.value()));
  }
  if (count == 1 && !options.twice) return run_one(plans[0], options);
  return run_many(fmt::format("seeds {} to {}, profile {}", first, first + count - 1, options.profile), plans, options);
}

std::optional<std::string> read_whole(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

int run_scenario(const Options& options) {
  const auto text = read_whole(options.scenario);
  if (!text) return fail_usage("cannot read " + options.scenario);
  const auto plan = parse_plan(*text);
  if (!plan.has_value()) return fail_usage(options.scenario + ": " + plan.error().message);
  return run_one(plan.value(), options);
}

int run_shrink(const Options& options) {
  Plan plan;
  if (options.scenario.empty()) {
    const auto drawn = draw_plan(options.profile, options.seed.value_or(1));
    if (!drawn.has_value()) return fail_usage(drawn.error().message);
    plan = drawn.value();
  } else {
    const auto text = read_whole(options.scenario);
    const auto parsed = text ? parse_plan(*text) : make_error(Errc::kNotFound, "cannot be read");
    if (!parsed.has_value()) return fail_usage(options.scenario + ": " + parsed.error().message);
    plan = parsed.value();
  }
  const Outcome outcome = run_in_child(plan);
  if (!outcome.broken) return fail_usage("this run does not fail");
  const Plan smallest = shrink(plan, outcome.broken->rule, 600, [](const std::string& line) { fmt::print("{}\n", line); });
  std::ofstream file(options.shrink_to);
  file << "# " << outcome.broken->rule << "\n" << print_plan(smallest);
  file.close();
  if (!file) return fail_usage("cannot write " + options.shrink_to);
  fmt::print("{} events are left of {}; the run that breaks \"{}\" is in {}\n", smallest.events.size(), plan.events.size(), outcome.broken->rule, options.shrink_to);
  return 0;
}

int run_stories(const Options& options) {
  uint64_t part = 0, parts = 0;
  if (std::sscanf(options.part.c_str(), "%" SCNu64 "/%" SCNu64, &part, &parts) != 2 || part < 1 || part > parts) {
    return fail_usage("--part is like 1/4, not \"" + options.part + "\"");
  }
  int result = 0;
  bool found = false;
  for (const Story& story : stories()) {
    const bool wanted = std::find(options.stories.begin(), options.stories.end(), story.name) != options.stories.end() || options.stories[0] == "all";
    if (!wanted) continue;
    found = true;
    result |= run_many(fmt::format("story {} ({})", story.name, story.what), with_each_fault(story, part - 1, parts), options);
  }
  return found ? result : fail_usage("no such story; see --list");
}

int list() {
  for (const auto& [name, purpose] : profiles()) fmt::print("profile {:<10} {}\n", name, purpose);
#define RINGBOLT_PRINT(name, words) fmt::print("defect {} {}\n", #name, words);
  RINGBOLT_DEFECTS(RINGBOLT_PRINT)
#undef RINGBOLT_PRINT
  for (const Story& story : stories()) fmt::print("story {:<10} {}\n", story.name, story.what);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Runs take and free the same large pieces over and over: kept, they need not be asked of the kernel each time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  Options options;
  CLI::App app("Runs whole ringbolt clusters in simulation: one seed, one run, the same on any machine.");
  app.add_option("--seed", options.seed, "the first seed (1)");
  app.add_option("--count", options.count, "how many seeds from there on (1)")->check(CLI::PositiveNumber);
  app.add_option("--profile", options.profile, "what may happen (default); --list names them");
  app.add_option("--steps", options.steps, "faults end after so many steps");
  app.add_option("--defect", options.defect, "spoil the code in this way");
  app.add_option("--fresh", options.fresh, "so many seeds that nobody has chosen")->check(CLI::PositiveNumber);
  app.add_flag("--twice", options.twice, "each run twice: the traces must be the same");
  app.add_flag("--keep-going", options.keep_going, "also after a failure");
  app.add_option("--scenario", options.scenario, "run a plan from a file");
  app.add_option("--shrink", options.shrink_to, "write the smallest plan that fails like this seed, or this scenario, to a file");
  app.add_option("--story", options.stories, "run small stories with each fault in turn; all, or names of --list");
  app.add_option("--part", options.part, "of the faults of the stories just this part: 1/4 is the first of four");
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
  if (!options.stories.empty()) return run_stories(options);
  if (!options.shrink_to.empty()) return run_shrink(options);
  if (!options.scenario.empty()) return run_scenario(options);
  return run_seeds(options);
}

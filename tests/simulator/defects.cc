// Bodies of the check of seeded defects, and the table of them.
#include "defects.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "log/log.h"
#include "ringbolt/probe.h"
#include "run.h"

namespace ringbolt::sim {

namespace {

struct Expectation {
  Defect defect;
  const char* profile;
  uint64_t seeds;  ///< within which it is found, with margin
};

constexpr Expectation kExpected[] = {
    {Defect::kFlushNotAwaited, "power", 20},
    {Defect::kFlushCoversMore, "power", 20},
    {Defect::kFlushErrorIgnored, "power", 40},
    {Defect::kTornTailTaken, "power", 60},
    {Defect::kStaleFrames, "crash", 150},
    {Defect::kZerosNotIndexed, "calm", 12},
    {Defect::kNewerEntryCleared, "calm", 20},
    {Defect::kOlderVersionDropped, "crash", 600},
    {Defect::kBaseNotFlushed, "checkpoints", 50},
    {Defect::kBaseLimitNotAnnounced, "checkpoints", 40},
    {Defect::kReusedUnrecorded, "checkpoints", 600},
    {Defect::kSuperblockNotFlushed, "power", 10},
    {Defect::kOneSlot, "power", 60},
    {Defect::kLateWritesNotAwaited, "heirs", 60},
    {Defect::kEdgesTooEarly, "calm", 40},
    {Defect::kReadsUncommitted, "heirs", 100},
    {Defect::kReadsBeforeTerm, "terms", 60},
    {Defect::kLocalNotAwaited, "heirs", 400},
    {Defect::kMajorityTooSmall, "heirs", 30},
    {Defect::kTermNotDurable, "heirs", 400},
    {Defect::kAckAtReceipt, "heirs", 30},
    {Defect::kDurableIsWritten, "heirs", 20},
    {Defect::kCheckpointBeyondStable, "checkpoints", 80},
    {Defect::kRebuildingCounts, "anew", 150},
    {Defect::kNoProof, "heirs", 100},
    {Defect::kLeftUnrecorded, "heirs", 150},
    {Defect::kStaleEpoch, "terms", 60},
    {Defect::kForkIgnored, "heirs", 40},
    {Defect::kTwoHeirs, "hand-over", 20},
    {Defect::kRecordSkipped, "heirs", 30},
    {Defect::kNoRebuildMark, "anew", 60},
    {Defect::kBaseOverLog, "lanes", 80},
    {Defect::kBitsLate, "lanes", 120},
    {Defect::kNoBarrier, "lanes", 60},
    {Defect::kRebuiltBaseNotFlushed, "anew", 900},
};

constexpr const char* kNames[] = {
#define RINGBOLT_NAME(name, words) #name,
    RINGBOLT_DEFECTS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

constexpr const char* kWords[] = {
#define RINGBOLT_NAME(name, words) words,
    RINGBOLT_DEFECTS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

const char* name_of(Defect defect) { return kNames[static_cast<size_t>(defect)]; }

/// What a child tells: the seed, and the rule that was broken there; written before a run, too, for one that an assertion ends.
struct Finding {
  uint64_t seed = 0;
  char rule[96] = {};
};

void tell(int pipe, uint64_t seed, const char* rule) {
  Finding finding;
  finding.seed = seed;
  std::snprintf(finding.rule, sizeof finding.rule, "%s", rule);
  static_cast<void>(!write(pipe, &finding, sizeof finding));
}

int child_pipe = -1;
uint64_t child_seed = 0;

void on_death(int) {
  tell(child_pipe, child_seed, "assertions hold");
  _exit(0);
}

[[noreturn]] void search(const Expectation& expected, uint64_t first, int pipe) {
  // An assertion says what it found; here that is what is wanted.
  static_cast<void>(!std::freopen("/dev/null", "w", stderr));
  probe.defect = expected.defect;
  child_pipe = pipe;
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, on_death);
  for (child_seed = first; child_seed < first + expected.seeds; ++child_seed) {
    const auto plan = draw_plan(expected.profile, child_seed);
    if (!plan.has_value()) _exit(2);
    const Outcome outcome = run(plan.value());
    if (!outcome.broken) continue;
    tell(pipe, child_seed, outcome.broken->rule.c_str());
    break;
  }
  _exit(0);
}

struct Child {
  const Expectation* expected = nullptr;
  pid_t pid = -1;
  int pipe = -1;
  std::optional<Finding> finding;
};

bool begin(Child& child, uint64_t first) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  std::fflush(stdout);
  child.pid = fork();
  if (child.pid == 0) {
    close(ends[0]);
    search(*child.expected, first, ends[1]);
  }
  close(ends[1]);
  child.pipe = ends[0];
  return child.pid > 0;
}

void end(Child& child) {
  Finding finding;
  if (read(child.pipe, &finding, sizeof finding) == ssize_t{sizeof finding}) child.finding = finding;
  close(child.pipe);
}

void print(const Child& child) {
  const Expectation& e = *child.expected;
  fmt::print("{:<24} {:<12} {:>5} {:>5}  {:<52.52} {}\n", name_of(e.defect), e.profile, child.finding ? std::to_string(child.finding->seed) : "NOT",
             e.seeds, child.finding ? child.finding->rule : "", kWords[static_cast<size_t>(e.defect)]);
}

/// All of `children`, a few at a time.
bool run_all(std::vector<Child>& children, uint64_t first) {
  const size_t parallel = std::max(1u, std::thread::hardware_concurrency());
  size_t begun = 0, running = 0;
  while (begun < children.size() || running > 0) {
    if (begun < children.size() && running < parallel) {
      if (!begin(children[begun++], first)) return false;
      ++running;
      continue;
    }
    const pid_t pid = wait(nullptr);
    const auto ended = std::find_if(children.begin(), children.end(), [pid](const Child& child) { return child.pid == pid; });
    if (ended == children.end()) return false;
    --running;
    end(*ended);
  }
  return true;
}

}  // namespace

int check_defects(const std::string& only, uint64_t first) {
  static_assert(std::size(kExpected) == kDefects - 1, "every defect has an expectation");
  log::set_level(log::Level::kError);
  log::take_lines([](log::Level, std::string_view, void*) {}, nullptr);
  std::vector<Child> children;
  for (const Expectation& expected : kExpected) {
    if (!only.empty() && only != name_of(expected.defect)) continue;
    children.emplace_back().expected = &expected;
  }
  if (children.empty()) {
    fmt::print(stderr, "ringbolt-sim: no defect is called \"{}\"; see --list\n", only);
    return 2;
  }
  if (!run_all(children, first)) {
    fmt::print(stderr, "ringbolt-sim: cannot run a process: {}\n", std::strerror(errno));
    return 2;
  }
  fmt::print("{:<24} {:<12} {:>5} {:>5}  {:<52} {}\n", "defect", "profile", "found", "bound", "by the rule that", "what is wrong");
  for (const Child& child : children) print(child);
  const auto missed = std::count_if(children.begin(), children.end(), [](const Child& child) { return !child.finding; });
  fmt::print("{} of {} defects found\n", children.size() - static_cast<size_t>(missed), children.size());
  return missed == 0 ? 0 : 1;
}

}  // namespace ringbolt::sim

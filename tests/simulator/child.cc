// Bodies of runs in children. A child tells its outcomes through a pipe, a few lines of text each; standard error, where an assertion
// speaks, is another pipe.
#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <list>
#include <sstream>
#include <thread>

#include "ringbolt/assert.h"

namespace ringbolt::sim {

namespace {

struct Child {
  pid_t pid = -1;
  int out = -1;
  int err = -1;
  std::string told, complaints;
  std::vector<Plan> plans;
};

std::string encode(const Outcome& o) {
  std::string text = fmt::format("{} {} {} {} {} {}", o.trace_hash, o.steps, o.simulated, o.requests, o.failed, o.events);
  for (const uint64_t reached : o.marks) text += fmt::format(" {}", reached);
  for (size_t i = 0; i < o.sends.size(); ++i) text += fmt::format(" {} {}", o.disk_operations[i], o.sends[i]);
  text += fmt::format("\n{}\n", o.broken ? 1 : 0);
  if (o.broken) text += o.broken->rule + "\n" + o.broken->text + "\n";
  return text;
}

/// The next one.
std::optional<Outcome> decode(std::istream& lines) {
  Outcome o;
  std::string line;
  if (!std::getline(lines, line)) return std::nullopt;
  std::istringstream numbers(line);
  if (!(numbers >> o.trace_hash >> o.steps >> o.simulated >> o.requests >> o.failed >> o.events)) return std::nullopt;
  for (uint64_t& reached : o.marks) numbers >> reached;
  for (uint64_t operations = 0, sends = 0; numbers >> operations >> sends;) {
    o.disk_operations.push_back(operations);
    o.sends.push_back(sends);
  }
  if (!std::getline(lines, line)) return std::nullopt;
  if (line == "0") return o;
  o.broken.emplace();
  if (!std::getline(lines, o.broken->rule) || !std::getline(lines, o.broken->text)) return std::nullopt;
  return o;
}

void write_all(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t part = write(fd, text.data() + at, text.size() - at);
    if (part <= 0) return;  // the parent is gone
    at += static_cast<size_t>(part);
  }
}

Child begin(std::vector<Plan> plans, const RunOptions& options) {
  Child child;
  child.plans = std::move(plans);
  int out[2], err[2];
  // Not inherited by the next child, or the end of this one would not be seen.
  RINGBOLT_ASSERT(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
  std::fflush(nullptr);
  child.pid = fork();
  RINGBOLT_ASSERT(child.pid >= 0);
  if (child.pid == 0) {
    close(out[0]);
    close(err[0]);
    dup2(err[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    RunOptions quiet = options;
    quiet.narrator = nullptr;
    for (const Plan& plan : child.plans) write_all(out[1], encode(run(plan, quiet)));
    _exit(0);
  }
  close(out[1]);
  close(err[1]);
  child.out = out[0];
  child.err = err[0];
  return child;
}

/// False at its end.
bool take(int& fd, std::string& into) {
  char buffer[4096];
  const ssize_t bytes = read(fd, buffer, sizeof buffer);
  if (bytes > 0) {
    into.append(buffer, static_cast<size_t>(bytes));
    return true;
  }
  close(fd);
  fd = -1;
  return false;
}

/// The outcomes of the plans that were run, in order; of the last one perhaps that it ended the process.
std::vector<Outcome> end(Child& child) {
  int status = 0;
  waitpid(child.pid, &status, 0);
  std::vector<Outcome> outcomes;
  std::istringstream lines(child.told);
  while (outcomes.size() < child.plans.size()) {
    auto outcome = decode(lines);
    if (!outcome) break;
    outcomes.push_back(std::move(*outcome));
  }
  if (outcomes.size() == child.plans.size()) return outcomes;
  std::string text = child.complaints.substr(0, child.complaints.find('\n'));
  if (WIFSIGNALED(status)) text += fmt::format(" (signal {})", WTERMSIG(status));
  outcomes.emplace_back().broken = Broken{"assertions hold", text};
  return outcomes;
}

/// Takes plans, and gives them out again several at a time.
class Plans {
 public:
  explicit Plans(const std::function<std::optional<Plan>()>& next) : next_(next) {}
  /// A new process finds no memory that it may use without asking the kernel for it, which takes as long as a run: several runs share one.
  std::vector<Plan> take() {
    std::vector<Plan> taken;
    while (taken.size() < kPlansPerChild) {
      if (!again_.empty()) {
        taken.push_back(std::move(again_.front()));
        again_.pop_front();
        continue;
      }
      auto plan = more_ ? next_() : std::nullopt;
      more_ = plan.has_value();
      if (!more_) break;
      taken.push_back(std::move(*plan));
    }
    return taken;
  }
  /// Those from `first` on were not run: the one before it ended the process.
  void put_back(const std::vector<Plan>& plans, size_t first) { again_.insert(again_.end(), plans.begin() + static_cast<ptrdiff_t>(first), plans.end()); }
  void no_more() {
    more_ = false;
    again_.clear();
  }

 private:
  static constexpr size_t kPlansPerChild = 8;
  const std::function<std::optional<Plan>()>& next_;
  std::deque<Plan> again_;
  bool more_ = true;
};

}  // namespace

void run_in_children(const std::function<std::optional<Plan>()>& next, const std::function<bool(const Plan&, const Outcome&)>& done,
                     const RunOptions& options) {
  const size_t at_a_time = std::max(1u, std::thread::hardware_concurrency());
  std::list<Child> children;
  Plans plans(next);
  while (true) {
    while (children.size() < at_a_time) {
      auto some = plans.take();
      if (some.empty()) break;
      children.push_back(begin(std::move(some), options));
    }
    if (children.empty()) return;
    std::vector<pollfd> waits;
    for (const Child& child : children) {
      waits.push_back({child.out, POLLIN, 0});  // one that is closed is left out by poll()
      waits.push_back({child.err, POLLIN, 0});
    }
    if (poll(waits.data(), waits.size(), -1) < 0) continue;
    size_t at = 0;
    for (auto child = children.begin(); child != children.end(); at += 2) {
      if (waits[at].revents != 0) static_cast<void>(take(child->out, child->told));
      if (waits[at + 1].revents != 0) static_cast<void>(take(child->err, child->complaints));
      if (child->out >= 0 || child->err >= 0) {
        ++child;
        continue;
      }
      const std::vector<Outcome> outcomes = end(*child);
      plans.put_back(child->plans, outcomes.size());
      for (size_t i = 0; i < outcomes.size(); ++i) {
        if (!done(child->plans[i], outcomes[i])) plans.no_more();
      }
      child = children.erase(child);
    }
  }
}

Outcome run_in_child(const Plan& plan, const RunOptions& options) {
  Outcome result;
  bool given = false;
  run_in_children([&]() -> std::optional<Plan> { return std::exchange(given, true) ? std::nullopt : std::optional(plan); },
                  [&](const Plan&, const Outcome& outcome) {
                    result = outcome;
                    return true;
                  },
                  options);
  return result;
}

}  // namespace ringbolt::sim

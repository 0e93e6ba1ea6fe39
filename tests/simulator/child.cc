// Bodies of runs in children. A child tells its outcome through a pipe, in a few lines of text; standard error, where an assertion
// speaks, is another pipe.
#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
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
  Plan plan;
};

std::string encode(const Outcome& o) {
  std::string text = fmt::format("{} {} {} {} {} {}", o.trace_hash, o.steps, o.simulated, o.requests, o.failed, o.events);
  for (const uint64_t reached : o.marks) text += fmt::format(" {}", reached);
  for (size_t i = 0; i < o.sends.size(); ++i) text += fmt::format(" {} {}", o.disk_operations[i], o.sends[i]);
  text += fmt::format("\n{}\n", o.broken ? 1 : 0);
  if (o.broken) text += o.broken->rule + "\n" + o.broken->text + "\n";
  return text;
}

std::optional<Outcome> decode(const std::string& text) {
  Outcome o;
  std::istringstream lines(text);
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

Child begin(const Plan& plan, const RunOptions& options) {
  Child child;
  child.plan = plan;
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
    write_all(out[1], encode(run(plan, quiet)));
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

Outcome end(Child& child) {
  int status = 0;
  waitpid(child.pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    if (auto outcome = decode(child.told)) return *outcome;
  }
  Outcome outcome;
  std::string text = child.complaints.substr(0, child.complaints.find('\n'));
  if (WIFSIGNALED(status)) text += fmt::format(" (signal {})", WTERMSIG(status));
  outcome.broken = Broken{"assertions hold", text};
  return outcome;
}

}  // namespace

void run_in_children(const std::function<std::optional<Plan>()>& next, const std::function<bool(const Plan&, const Outcome&)>& done,
                     const RunOptions& options) {
  const size_t at_a_time = std::max(1u, std::thread::hardware_concurrency());
  std::list<Child> children;
  bool more = true;
  while (true) {
    while (more && children.size() < at_a_time) {
      const auto plan = next();
      if (!plan) {
        more = false;
        break;
      }
      children.push_back(begin(*plan, options));
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
      if (!done(child->plan, end(*child))) more = false;
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

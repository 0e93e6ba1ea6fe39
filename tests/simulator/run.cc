// Bodies of a run.
#include "run.h"

#include <fmt/format.h>

#include <algorithm>

#include "faults.h"
#include "log/log.h"
#include "operator.h"
#include "ringbolt/probe.h"

namespace ringbolt::sim {

namespace {

using io::kMillisecond;
using io::kSecond;

constexpr io::Nanos kTick = 10 * kMillisecond;
constexpr uint64_t kStepsBetweenLooks = 512;
constexpr uint64_t kStepsBetweenHistories = 64 * kStepsBetweenLooks;
/// No run of a profile comes near it: something goes round in a circle.
constexpr uint64_t kStepsMax = 10'000'000;
/// Longer than any backoff and any rebuild of these volumes takes, several times.
constexpr io::Nanos kHealingMax = 60 * kSecond;

class Run {
 public:
  Run(const Plan& plan, const RunOptions& options) : options_(options), c_(plan), operator_(c_), faults_(c_, operator_), checks_(c_) {
    if (!options_.narrator) return;
    c_.world.set_narrator([this](const std::string& line) { options_.narrator(fmt::format("{:12.6f} {}", static_cast<double>(c_.world.now()) / 1e9, line)); });
    log::take_lines([](log::Level, std::string_view line, void* self) { static_cast<Run*>(self)->c_.world.narrate(std::string(line)); }, this);
    log::set_level(log::Level::kDebug);
  }
  ~Run() {
    log::set_level(log::Level::kError);
    log::take_lines([](log::Level, std::string_view, void*) {}, nullptr);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Outcome execute() {
    tick();
    if (c_.plan.whole_first && !go_on([this] { return is_healed(); }, kHealingMax)) fail("a new volume becomes whole", not_healed());
    for (size_t i = 0; i < c_.size(); ++i) {
      outcome_.disk_operations.push_back(c_.hosts[i].node->host().disk().operations());
      outcome_.sends.push_back(c_.world.net().sends(c_.id(i)));
    }
    for (const Event& event : c_.plan.events) {
      c_.world.after(event.at, [this, event] { happen(event); });
    }
    c_.clients.send_at_most(c_.plan.requests_max);
    const io::Nanos end = c_.world.now() + c_.plan.duration;
    go_on([&] { return c_.world.now() >= end || c_.world.events_run() >= options_.steps_max; }, INT64_MAX);
    for (size_t i = 0; i < c_.size(); ++i) {
      outcome_.disk_operations[i] = c_.hosts[i].node->host().disk().operations() - outcome_.disk_operations[i];
      outcome_.sends[i] = c_.world.net().sends(c_.id(i)) - outcome_.sends[i];
    }
    c_.clients.send_at_most(0);
    faults_over_ = true;
    fail(checks_.history());
    fail(checks_.disk(c_.plan.seed % c_.size()));
    faults_.put_all_right();
    c_.clients.slow_down();
    if (c_.world.narrating()) c_.world.narrate("all faults are over");
    if (!go_on([this] { return is_healed(); }, kHealingMax)) fail("what was put right heals", not_healed());
    come_to_rest();
    stop_all();
    outcome_.trace_hash = c_.world.trace_hash();
    outcome_.steps = c_.world.events_run();
    outcome_.simulated = c_.world.now();
    outcome_.requests = c_.clients.requests_answered();
    outcome_.failed = c_.clients.requests_failed();
    return outcome_;
  }

 private:
  void fail(const std::string& rule, const std::string& text) {
    if (!outcome_.broken) outcome_.broken = Broken{rule, text};
  }
  void fail(const std::optional<Broken>& broken) {
    if (broken) fail(broken->rule, broken->text);
  }

  void tick() {
    if (!over_) {
      operator_.tick();
      if (faults_over_) order_cancelled_rebuilds();
      c_.world.after(kTick, [this] { tick(); });
    }
  }

  void happen(const Event& event) {
    if (faults_over_) return;
    if (c_.world.narrating()) c_.world.narrate("plan: " + describe(event));
    if (faults_.carry_out(event)) ++outcome_.events;
  }

  /// Steps until `done`, a rule is broken, or `limit` has passed. Returns whether `done`.
  template <class Done>
  bool go_on(Done done, io::Nanos limit) {
    const io::Nanos begun = c_.world.now();
    uint64_t steps = 0;
    while (!outcome_.broken) {
      if (done()) return true;
      if (!c_.world.step() || c_.world.now() - begun > limit) return false;
      fail(checks_.after_step());
      if (!operator_.broken().empty()) fail("a node does as it is told", operator_.broken());
      if (++steps % kStepsBetweenLooks != 0) continue;
      fail(checks_.now_and_then());
      if (steps % kStepsBetweenHistories == 0) fail(checks_.history());
      if (c_.world.events_run() > kStepsMax) fail("nothing is done for ever", fmt::format("{} steps, and no end", kStepsMax));
    }
    return false;
  }

  /// Nobody but an operator ends what an operator ordered.
  void order_cancelled_rebuilds() {
    if (!c_.hosts[c_.primary].up()) return;
    for (const ReplicaStatus& r : c_.status(c_.primary).replicas) {
      if (r.rebuild_order == RebuildOrderStatus::kCancelled) static_cast<void>(operator_.rebuild(c_.index_of(r.id), true));
    }
  }

  bool is_healed() {
    // Not at every step: it asks everybody.
    if (c_.world.now() < next_look_) return false;
    next_look_ = c_.world.now() + kTick / 2;
    // The end of a fault is not the end of what it has begun: a host that was paused, or is slow, learns of a failed write later.
    if (std::any_of(c_.hosts.begin(), c_.hosts.end(), [](Host& host) { return host.node->host().disk().is_failing(); })) return false;
    return operator_.settled() && c_.whole();
  }

  std::string not_healed() {
    std::string text = fmt::format("after {} s", kHealingMax / kSecond);
    for (size_t i = 0; i < c_.size(); ++i) {
      text += fmt::format("; {}: ", c_.id(i));
      if (!c_.hosts[i].up()) {
        const auto& error = c_.hosts[i].node->open_error();
        text += error ? "not up, " + error->message : "not up";
        continue;
      }
      const VolumeStatus s = c_.status(i);
      text += fmt::format("{} of epoch {}{}, mode {}, {} {}", s.role, s.epoch.value_or(0), i == c_.primary ? " (the primary)" : "", s.mode, s.reason,
                          c_.hosts[i].node->volume().refusal());
      for (const ReplicaStatus& r : s.replicas) {
        text += fmt::format(" [{}{} {} {} {}]", r.id, r.in_sync ? " in sync," : ",", r.session ? r.session->kind : "no session",
                            r.session ? r.session->phase : "", r.session ? r.session->reason : "");
      }
    }
    return text;
  }

  bool everybody_has_everything() {
    if (c_.world.now() < next_look_) return false;
    next_look_ = c_.world.now() + kTick / 2;
    if (!operator_.settled() || !c_.whole()) return false;
    const auto head = c_.status(c_.primary).wal_head;
    for (size_t i = 0; i < c_.size(); ++i) {
      const VolumeStatus s = c_.status(i);
      if (s.written_lsn != head || s.committed_lsn != head) return false;
    }
    return true;
  }

  void come_to_rest() {
    if (outcome_.broken) return;
    c_.clients.pause();
    if (!go_on([this] { return c_.clients.idle(); }, kHealingMax)) return fail("every request is answered", "after all faults were put right");
    c_.clients.read_back();
    if (!go_on([this] { return c_.clients.has_read_back() || c_.clients.scan_failed(); }, kHealingMax)) {
      return fail("every request is answered", "a read of everything, at rest");
    }
    if (!c_.clients.has_read_back()) return fail("every request is answered", "with success, at rest");
    if (!go_on([this] { return everybody_has_everything(); }, kHealingMax)) return fail("what was put right heals", "replicas stay behind an idle primary");
    fail(checks_.at_rest());
    requests_failed_for_a_reason();
    logs_damaged_for_a_reason();
  }

  /// By rot, and nothing else.
  void logs_damaged_for_a_reason() {
    const bool rot = std::any_of(c_.plan.events.begin(), c_.plan.events.end(), [](const Event& event) { return event.act == Act::kRotInLog; });
    if (!rot && damages() > damages_before_) fail("only rot damages a log", "a recovery found damage");
  }
  static uint64_t reached(Mark mark) { return probe.reached[static_cast<size_t>(mark)]; }
  static uint64_t damages() { return reached(Mark::kDamageFound) + reached(Mark::kDamageProven); }

  /// Read errors, full devices and damage are told to clients; nothing else is a reason.
  void requests_failed_for_a_reason() {
    static constexpr Act kReasons[] = {Act::kReadErrors, Act::kWriteError, Act::kFlushError, Act::kFailIo, Act::kDiskFull, Act::kRotInLog};
    for (const Event& event : c_.plan.events) {
      if (std::find(std::begin(kReasons), std::end(kReasons), event.act) != std::end(kReasons)) return;
    }
    if (c_.clients.requests_failed() == 0) return;
    fail("requests fail where devices do", fmt::format("{} requests failed, and nothing was wrong with a device", c_.clients.requests_failed()));
  }

  void stop_all() {
    if (outcome_.broken) return;
    over_ = true;
    // What a slow network still carries when the primary is told to stop may take so long that a replica is given up: that one keeps
    // in its log what it does not know to be stable, and is told when there is a primary again.
    const uint64_t given_up_before = reached(Mark::kReplicaSilent);
    // The primary first: what it has is everywhere then.
    std::vector<size_t> order = {c_.primary};
    for (size_t i = 0; i < c_.size(); ++i) {
      if (i != c_.primary) order.push_back(i);
    }
    for (const size_t index : order) {
      c_.begin_stop(index);
      if (!go_on([&] { return c_.hosts[index].node->down(); }, kHealingMax)) return fail("a stop ends", c_.id(index));
      if (const auto& error = c_.hosts[index].node->stop_error()) return fail("a stop ends", c_.id(index) + ": " + error->message);
    }
    if (reached(Mark::kReplicaSilent) == given_up_before) fail(checks_.after_stop());
  }

  const RunOptions& options_;
  Cluster c_;
  Operator operator_;
  Faults faults_;
  Checks checks_;
  Outcome outcome_;
  bool faults_over_ = false;
  bool over_ = false;
  io::Nanos next_look_ = 0;
  const uint64_t damages_before_ = damages();
};

}  // namespace

Outcome run(const Plan& plan, const RunOptions& options) {
  std::fill(std::begin(probe.reached), std::end(probe.reached), 0);
  Outcome outcome = Run(plan, options).execute();
  std::copy(std::begin(probe.reached), std::end(probe.reached), outcome.marks.begin());
  return outcome;
}

}  // namespace ringbolt::sim

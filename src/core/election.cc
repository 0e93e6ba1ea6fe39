#include "core/election.h"

#include <algorithm>
#include <tuple>

#include "core/node_set.h"

namespace ringbolt::core {

namespace {

/// The newest that `node` has said since the promise; null: nothing that counts.
const CopyReport* report_of(const ElectionFacts& facts, const std::string& node) {
  const CopyReport* newest = nullptr;
  for (const CopyReport& report : facts.reports) {
    if (report.node != node || report.promised <= facts.epoch) continue;
    if (newest == nullptr || report.promised > newest->promised) newest = &report;
  }
  return newest != nullptr && newest->usable ? newest : nullptr;
}

bool is_further(const CopyReport& a, const CopyReport& b) { return std::tie(a.last_term, a.last) > std::tie(b.last_term, b.last); }

/// Those that what was acknowledged may be on.
std::vector<std::string> holders(const ElectionFacts& facts) {
  if (facts.durability == Durability::kSyncAll) return facts.in_sync;
  std::vector<std::string> nodes = facts.copies;
  for (const std::string& node : facts.copies_before) {
    if (!contains(nodes, node)) nodes.push_back(node);
  }
  return nodes;
}

/// How many more of `set` must report, so that each of its majorities has one that did.
size_t lacking(const ElectionFacts& facts, const std::vector<std::string>& set) {
  const auto reported = static_cast<size_t>(
      std::count_if(set.begin(), set.end(), [&](const std::string& node) { return report_of(facts, node) != nullptr; }));
  const size_t majority = set.size() / 2 + 1;
  const size_t needed = set.empty() ? 0 : set.size() - majority + 1;
  return needed - std::min(needed, reported);
}

std::string listed(const std::vector<std::string>& nodes) {
  std::string text;
  for (const std::string& node : nodes) text += (text.empty() ? "" : ", ") + node;
  return text;
}

}  // namespace

Election elect(const ElectionFacts& facts) {
  Election election;
  election.epoch = facts.epoch.next();
  if (facts.durability == Durability::kBestEffort) {
    election.reason = "with best_effort only the primary knew what it had acknowledged: a copy is promoted by force only";
    return election;
  }
  const CopyReport* furthest = nullptr;
  for (const std::string& node : holders(facts)) {
    const CopyReport* const report = report_of(facts, node);
    if (report == nullptr) {
      election.missing.push_back(node);
    } else if (furthest == nullptr || is_further(*report, *furthest)) {
      furthest = report;
    }
  }
  for (const CopyReport& report : facts.reports) {
    const bool is_copy = contains(facts.copies, report.node) || contains(facts.copies_before, report.node);
    if (is_copy) election.epoch = std::max(election.epoch, report.promised.next());
  }
  size_t more = furthest == nullptr ? 1 : 0;
  if (facts.durability == Durability::kSyncQuorum) more = std::max({more, lacking(facts, facts.copies), lacking(facts, facts.copies_before)});
  if (more == 0) {
    election.winner = furthest->node;
  } else {
    election.reason = std::to_string(more) + " more of these must report: " + listed(election.missing);
  }
  return election;
}

}  // namespace ringbolt::core

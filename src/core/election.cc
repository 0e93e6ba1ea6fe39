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

std::string listed(const std::vector<std::string>& nodes) {
  std::string text;
  for (const std::string& node : nodes) text += (text.empty() ? "" : ", ") + node;
  return text;
}

}  // namespace

Election elect(const ElectionFacts& facts) {
  Election election;
  election.epoch = facts.epoch.next();
  for (const CopyReport& report : facts.reports) {
    if (contains(facts.copies, report.node)) election.epoch = std::max(election.epoch, report.promised.next());
  }
  if (facts.durability == Durability::kBestEffort) {
    election.reason = "with best_effort only the primary knew what it had acknowledged: a copy is promoted by force only";
    return election;
  }
  const bool by_majority = facts.durability == Durability::kSyncQuorum;
  const CopyReport* furthest = nullptr;
  size_t reported = 0;
  for (const std::string& node : facts.copies) {
    if (!by_majority && !contains(facts.in_sync, node)) continue;
    const CopyReport* const report = report_of(facts, node);
    if (report == nullptr) {
      election.missing.push_back(node);
      continue;
    }
    ++reported;
    if (furthest == nullptr || is_further(*report, *furthest)) furthest = report;
  }
  const size_t majority = facts.copies.size() / 2 + 1;
  const size_t needed = by_majority ? facts.copies.size() - majority + 1 : 1;
  if (reported >= needed) {
    election.winner = furthest->node;
  } else {
    election.reason = std::to_string(needed - reported) + " more of these must report: " + listed(election.missing);
  }
  return election;
}

}  // namespace ringbolt::core

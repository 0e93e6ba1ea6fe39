// Bodies of shrinking: events first, in halves, then one by one; then what the clients do and how large everything is; then the
// events' numbers.
#include "shrink.h"

#include <fmt/format.h>

#include <algorithm>

#include "child.h"

namespace ringbolt::sim {

namespace {

class Shrinker {
 public:
  Shrinker(const Plan& failing, std::string rule, uint64_t tries) : best_(failing), rule_(std::move(rule)), tries_(tries) {}

  /// Fewer events, then simpler ones, until nothing helps any more.
  Plan go(const std::function<void(const std::string&)>& progress) {
    for (bool smaller = true; smaller && tries_ > 0;) {
      smaller = drop_events() | simplify_settings() | simplify_events();
      progress(fmt::format("{} events, {} nodes, {} requests at a time, {} tries left", best_.events.size(), best_.nodes, best_.connections * best_.depth, tries_));
    }
    return best_;
  }

 private:
  /// Randomness is one stream, so what is left out changes what happens later: other seeds may break the rule where this one does not.
  bool fails(Plan& candidate) {
    for (uint64_t other = 0; other < kSeeds && tries_ > 0; ++other) {
      --tries_;
      if (other > 0) candidate.seed = best_.seed + other;
      const Outcome outcome = run_in_child(candidate);
      if (outcome.broken && outcome.broken->rule == rule_) return true;
    }
    return false;
  }

  bool accept(Plan candidate) {
    if (!fails(candidate)) return false;
    best_ = std::move(candidate);
    return true;
  }

  bool drop_events() {
    bool smaller = false;
    for (size_t part = std::max<size_t>(best_.events.size() / 2, 1); part > 0; part /= 2) {
      for (size_t at = 0; at < best_.events.size();) {
        Plan candidate = best_;
        const auto first = candidate.events.begin() + static_cast<ptrdiff_t>(at);
        candidate.events.erase(first, first + static_cast<ptrdiff_t>(std::min(part, candidate.events.size() - at)));
        if (accept(candidate)) {
          smaller = true;
        } else {
          at += part;
        }
      }
    }
    return smaller;
  }

  bool simplify_settings() {
    bool smaller = false;
    const auto set = [&](auto Plan::*member, auto value) {
      if (best_.*member == static_cast<std::remove_reference_t<decltype(best_.*member)>>(value)) return;
      Plan candidate = best_;
      candidate.*member = static_cast<std::remove_reference_t<decltype(best_.*member)>>(value);
      smaller = accept(candidate) || smaller;
    };
    const bool two = std::all_of(best_.events.begin(), best_.events.end(), [](const Event& e) { return e.node < 2 && e.other < 2; });
    if (two) set(&Plan::nodes, 2u);
    set(&Plan::network_factor, 1u);
    set(&Plan::connections, 1u);
    set(&Plan::depth, 1u);
    set(&Plan::cells_max, 8u);
    set(&Plan::aligned_percent, 100u);
    set(&Plan::fua_percent, 0u);
    set(&Plan::wal_bytes, kWalBytesMin);
    set(&Plan::wal_retain_percent, 50u);
    set(&Plan::volume_bytes, uint64_t{kBlockBytes});
    set(&Plan::volume_bytes, best_.volume_bytes / 4 / kBlockBytes * kBlockBytes == 0 ? uint64_t{kBlockBytes} : best_.volume_bytes / 4 / kBlockBytes * kBlockBytes);
    set(&Plan::duration, (best_.events.empty() ? 0 : best_.events.back().at) + io::kMillisecond);
    return smaller;
  }

  bool simplify_events() {
    bool smaller = false;
    for (size_t i = 0; i < best_.events.size(); ++i) {
      for (const auto& change : {+[](Event& e) { e.lasting = 0; }, +[](Event& e) { e.lasting /= 2; }, +[](Event& e) { e.amount = 0; },
                                 +[](Event& e) { e.amount /= 8 / 4 * 4; }, +[](Event& e) { e.other = e.node; }}) {
        Plan candidate = best_;
        change(candidate.events[i]);
        if (candidate.events[i] == best_.events[i]) continue;
        smaller = accept(candidate) || smaller;
      }
    }
    return smaller;
  }

  static constexpr uint64_t kSeeds = 3;
  Plan best_;
  std::string rule_;
  uint64_t tries_;
};

}  // namespace

Plan shrink(const Plan& failing, const std::string& rule, uint64_t tries_max, const std::function<void(const std::string&)>& progress) {
  return Shrinker(failing, rule, tries_max).go(progress);
}

}  // namespace ringbolt::sim

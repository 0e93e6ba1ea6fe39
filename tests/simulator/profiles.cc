// What each profile draws from a seed.
//
// Swarm: of all kinds of events a run has only some, a different choice in every run, so that rare combinations are not drowned by
// what happens all the time.
#include <fmt/format.h>

#include <algorithm>

#include "plan.h"

namespace ringbolt::sim {

namespace {

using io::kMillisecond;
using io::kSecond;

/// How often a kind of event is drawn, relative to the others, and how long it lasts.
struct Rate {
  Act act;
  uint32_t weight;
  io::SimRange lasting;
};

struct Profile {
  const char* name;
  const char* purpose;
  std::vector<Rate> rates;
  uint32_t events_min, events_max;
  bool quorum = true, best_effort = true;
};

constexpr io::SimRange kShort{0, 100 * kMillisecond};
constexpr io::SimRange kLong{0, 1500 * kMillisecond};

const std::vector<Rate>& all_rates() {
  static const std::vector<Rate> rates = {
      {Act::kKill, 10, kLong},
      {Act::kKillAtIo, 10, kShort},
      {Act::kPowerLoss, 6, kLong},
      {Act::kPowerLossAtIo, 6, kShort},
      {Act::kPowerLossOfAll, 3, kShort},
      {Act::kRestart, 4, kShort},
      {Act::kPause, 5, kLong},
      {Act::kSlow, 5, kLong},
      {Act::kClockJump, 2, {0, 10 * kSecond}},
      {Act::kPartition, 6, kLong},
      {Act::kPartitionOneWay, 6, kLong},
      {Act::kIsolate, 4, kLong},
      {Act::kCut, 4, {0, 0}},
      {Act::kCutAtSend, 6, {0, 0}},
      {Act::kSlowNetwork, 3, kLong},
      {Act::kReadErrors, 4, kLong},
      {Act::kWriteError, 4, {0, 0}},
      {Act::kFlushError, 3, {0, 0}},
      {Act::kFailIo, 4, kShort},
      {Act::kDiskFull, 3, kLong},
      {Act::kRotInLog, 5, kShort},
      {Act::kRotInSuperblock, 3, kShort},
      {Act::kNewDisk, 5, kLong},
      {Act::kHandOver, 6, {0, 0}},
      {Act::kFailOver, 6, {0, 0}},
      {Act::kRaiseEpoch, 4, {0, 0}},
      {Act::kRemoveReplica, 4, kLong},
      {Act::kRebuild, 6, {0, 200 * kMillisecond}},
      {Act::kVerify, 3, {0, 0}},
      {Act::kRepeatOrder, 4, {0, 0}},
  };
  return rates;
}

std::vector<Rate> some_rates(std::initializer_list<Act> acts) {
  std::vector<Rate> chosen;
  for (const Rate& rate : all_rates()) {
    if (std::find(acts.begin(), acts.end(), rate.act) != acts.end()) chosen.push_back(rate);
  }
  return chosen;
}

const std::vector<Profile>& all_profiles() {
  static const std::vector<Profile> all = {
      {"default", "everything", all_rates(), 2, 10},
      {"calm", "no faults: what is wrong then is wrong always", {}, 0, 0},
      {"crash", "processes and power",
       some_rates({Act::kKill, Act::kKillAtIo, Act::kPowerLoss, Act::kPowerLossAtIo, Act::kPowerLossOfAll, Act::kRestart}), 3, 12},
      {"network", "partitions, cuts, delays, hung processes",
       some_rates({Act::kPartition, Act::kPartitionOneWay, Act::kIsolate, Act::kCut, Act::kCutAtSend, Act::kSlowNetwork, Act::kPause, Act::kSlow, Act::kKill}), 3, 12},
      {"disk", "errors, rot, full and new disks",
       some_rates({Act::kReadErrors, Act::kWriteError, Act::kFlushError, Act::kFailIo, Act::kDiskFull, Act::kRotInLog, Act::kRotInSuperblock, Act::kNewDisk,
                   Act::kKill, Act::kPowerLoss}), 3, 10},
      {"roles", "primaries come and go",
       some_rates({Act::kHandOver, Act::kFailOver, Act::kRaiseEpoch, Act::kRemoveReplica, Act::kRepeatOrder, Act::kKill, Act::kKillAtIo, Act::kPartition,
                   Act::kIsolate}), 3, 12},
      {"rebuild", "copies that are made anew, and what gets in their way",
       some_rates({Act::kRebuild, Act::kNewDisk, Act::kKill, Act::kKillAtIo, Act::kPowerLoss, Act::kPowerLossAtIo, Act::kCut, Act::kCutAtSend, Act::kPartition, Act::kPause,
                   Act::kSlow, Act::kVerify, Act::kWriteError}), 3, 12},
  };
  return all;
}

/// The amount of an event: small numbers often, large ones too.
uint64_t draw_amount(io::SimRandom& random, Act act) {
  const uint64_t any = random.next() >> (32 + random.below(32));
  switch (act) {
    case Act::kPowerLoss: return any % 3;
    case Act::kKillAtIo: return (1 + any % 300) * 4 + random.below(2);
    case Act::kPowerLossAtIo: return (1 + any % 300) * 4 + random.below(3);
    case Act::kFailIo: return (1 + any % 300) * 4 + random.below(3);
    case Act::kCutAtSend: return (1 + any % 100) * 4 + random.below(3);
    case Act::kCut: return any % 100000;
    case Act::kSlow: return 2 + any % 100;
    case Act::kSlowNetwork: return 2 + any % 50;
    case Act::kDiskFull: return any % 32;
    default: return any;
  }
}

/// One of a few; the first is the usual one.
template <class T>
T pick(io::SimRandom& random, std::initializer_list<T> values) {
  return *(values.begin() + random.below(values.size()));
}

void draw_sizes(Plan& plan, io::SimRandom& random, const Profile& profile) {
  plan.nodes = pick<uint32_t>(random, {3, 3, 2});
  const uint64_t mode = random.below(8);
  if (mode < 3 && profile.quorum) plan.durability = Durability::kSyncQuorum;
  if (mode == 7 && profile.best_effort) plan.durability = Durability::kBestEffort;
  plan.wait_for_lost = plan.durability == Durability::kSyncAll && random.chance(1, 5);
  plan.volume_bytes = pick<uint64_t>(random, {1, 4, 16, 64, 64, 200}) * kBlockBytes;
  plan.wal_bytes = pick<uint64_t>(random, {8u << 20, 8u << 20, 16u << 20});
  plan.wal_retain_percent = pick<uint32_t>(random, {50, 50, 0, 90});
  plan.replica_timeout = pick<io::Nanos>(random, {400, 100, 200, 1000}) * kMillisecond;
  plan.chunk_bytes = pick<uint64_t>(random, {16, 1, 4, 64, 256}) * kBlockBytes;
  plan.chunks_in_flight = pick<uint32_t>(random, {2, 1, 4});
  plan.network_factor = pick<uint32_t>(random, {1, 1, 1, 20});
  plan.connections = static_cast<uint32_t>(1 + random.below(3));
  plan.depth = pick<uint32_t>(random, {1, 2, 4});
  plan.cells_max = pick<uint32_t>(random, {8, 8, 64, 256});
  plan.aligned_percent = pick<uint32_t>(random, {50, 100, 0});
  plan.fua_percent = pick<uint32_t>(random, {10, 0, 50});
  plan.pause_max = pick<io::Nanos>(random, {5000, 20000, 1000}) * io::kMicrosecond;
  plan.duration = pick<io::Nanos>(random, {600, 1200, 250}) * kMillisecond;
}

Event draw_event(const Plan& plan, io::SimRandom& random, const Rate& rate) {
  Event event;
  event.at = static_cast<io::Nanos>(random.below(static_cast<uint64_t>(plan.duration)));
  event.act = rate.act;
  event.node = static_cast<uint32_t>(random.below(plan.nodes));
  event.other = static_cast<uint32_t>(random.below(plan.nodes));
  event.amount = draw_amount(random, rate.act);
  event.lasting = random.between(rate.lasting);
  if (random.chance(1, 4)) event.lasting /= 20;
  return event;
}

void draw_events(Plan& plan, io::SimRandom& random, const Profile& profile) {
  std::vector<Rate> present;
  for (const Rate& rate : profile.rates) {
    if (random.chance(1, 2)) present.push_back(rate);
  }
  if (present.empty()) return;
  uint64_t weights = 0;
  for (const Rate& rate : present) weights += rate.weight;
  const uint64_t count = profile.events_min + random.below(profile.events_max - profile.events_min + 1);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t at = random.below(weights);
    size_t chosen = 0;
    while (at >= present[chosen].weight) at -= present[chosen++].weight;
    plan.events.push_back(draw_event(plan, random, present[chosen]));
  }
  // Two things at the same time find more than one after the other.
  for (size_t i = 1; i < plan.events.size(); ++i) {
    if (random.chance(1, 4)) plan.events[i].at = plan.events[i - 1].at + static_cast<io::Nanos>(random.below(2 * kMillisecond));
  }
  std::stable_sort(plan.events.begin(), plan.events.end(), [](const Event& a, const Event& b) { return a.at < b.at; });
}

}  // namespace

std::vector<std::pair<std::string, std::string>> profiles() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Profile& profile : all_profiles()) all.emplace_back(profile.name, profile.purpose);
  return all;
}

Result<Plan> draw_plan(const std::string& name, uint64_t seed) {
  const auto profile = std::find_if(all_profiles().begin(), all_profiles().end(), [&](const Profile& p) { return p.name == name; });
  if (profile == all_profiles().end()) {
    std::string names;
    for (const Profile& known : all_profiles()) names += std::string(names.empty() ? "" : ", ") + known.name;
    return make_error(Errc::kNotFound, fmt::format("no profile is called \"{}\"; there are: {}", name, names));
  }
  Plan plan;
  plan.seed = seed;
  plan.profile = name;
  // Apart from the world's, so that what happens in it does not depend on how many events were drawn.
  io::SimRandom random(seed * 0x9e3779b97f4a7c15 + 0x51);
  draw_sizes(plan, random, *profile);
  draw_events(plan, random, *profile);
  return plan;
}

}  // namespace ringbolt::sim

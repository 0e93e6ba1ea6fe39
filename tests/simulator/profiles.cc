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
  uint32_t together_percent = 25;  ///< of the events: at the same time as the one before
  void (*shape)(Plan&, io::SimRandom&) = nullptr;
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
      {Act::kHold, 4, {0, 200 * kMillisecond}},
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

void add(Plan& plan, io::Nanos at, Act act, uint32_t node, uint64_t amount, io::Nanos lasting, uint32_t other = 0) {
  plan.events.push_back({.at = at, .act = act, .node = node, .other = other, .amount = amount, .lasting = lasting});
}

// Of kHold: which file.
constexpr uint64_t kReadsOfLog = 0, kLog = 4, kBaseImage = 5, kSuperblock = 7;
constexpr uint64_t reads_of_log_at(uint64_t place) { return 12 + 48 * place; }

/// The log fills up and is emptied all the time.
void shape_for_checkpoints(Plan& plan, io::SimRandom& random) {
  plan.volume_bytes = (random.chance(1, 2) ? 64 : 200) * kBlockBytes;
  plan.wal_bytes = kWalBytesMin;
  plan.wal_retain_percent = random.chance(1, 4) ? 50 : 0;
  plan.pool_bytes = (random.chance(1, 4) ? 24u : 8u) << 20;
  plan.network_factor = 1;
  plan.connections = 1;
  plan.depth = 8;
  plan.cells_max = 256;
  plan.aligned_percent = 80;
  plan.fua_percent = 10;
  plan.pause_max = 200 * io::kMicrosecond;
  plan.duration = 150 * kMillisecond;
  const io::Nanos at = random.between({40 * kMillisecond, 100 * kMillisecond});
  const auto node = static_cast<uint32_t>(random.below(plan.nodes));
  if (random.chance(1, 2)) {
    // A checkpoint that cannot be recorded, and a crash.
    add(plan, at, Act::kHold, node, kSuperblock, 40 * kMillisecond);
    add(plan, at + random.between({5 * kMillisecond, 38 * kMillisecond}), random.chance(1, 2) ? Act::kKill : Act::kPowerLoss, node, random.below(3), 0);
  } else if (random.chance(1, 2)) {
    for (int i = 0; i < 3; ++i) add(plan, at + i * 15 * kMillisecond, Act::kHold, node, kReadsOfLog, 12 * kMillisecond);
  } else {
    for (int i = 0; i < 3; ++i) add(plan, at, Act::kHold, node, reads_of_log_at(random.below(plan.wal_bytes / (16 * kBlockBytes))), 80 * kMillisecond);
  }
}

/// Few blocks, small writes, and one thing after another.
void shape_for_heirs(Plan& plan, io::SimRandom& random) {
  plan.volume_bytes = (random.chance(1, 2) ? 1 : 4) * kBlockBytes;
  plan.wal_bytes = kWalBytesMin;
  plan.network_factor = 1;
  plan.connections = 2;
  plan.depth = 4;
  plan.cells_max = 8;
  plan.fua_percent = 30;
  plan.pause_max = kMillisecond;
  plan.duration = 600 * kMillisecond;
}

/// The heir records that it is one, and nobody is told.
void shape_for_hand_overs(Plan& plan, io::SimRandom& random) {
  shape_for_heirs(plan, random);
  plan.nodes = 3;
  plan.durability = Durability::kSyncAll;
  plan.wait_for_lost = false;
  plan.replica_timeout = 400 * kMillisecond;
  const io::Nanos at = random.between({80 * kMillisecond, 300 * kMillisecond});
  add(plan, at, Act::kHandOver, 1, 0, 0);
  add(plan, at + random.between({0, 20 * kMillisecond}), Act::kHold, 1, kSuperblock, 60 * kMillisecond);
  add(plan, at + random.between({20 * kMillisecond, 70 * kMillisecond}), Act::kCut, 0, 0, 0, 1);
}

/// More blocks than are written meanwhile.
void shape_for_copies(Plan& plan, io::SimRandom& random) {
  shape_for_heirs(plan, random);
  plan.volume_bytes = (random.chance(1, 2) ? 64 : 200) * kBlockBytes;
  plan.pause_max = 10 * kMillisecond;
}

/// A rebuild takes as long as it can, while its blocks are written and checkpointed.
void shape_for_lanes(Plan& plan, io::SimRandom& random) {
  plan.volume_bytes = 512 * kBlockBytes;
  plan.wal_bytes = kWalBytesMin;
  plan.wal_retain_percent = 0;
  plan.chunk_bytes = (random.chance(1, 2) ? 1 : 16) * kBlockBytes;
  plan.chunks_in_flight = 1;
  plan.connections = 1;
  plan.depth = 8;
  plan.cells_max = 256;
  plan.aligned_percent = 80;
  plan.pause_max = kMillisecond;
  plan.duration = 200 * kMillisecond;
  // What was read of the base image arrives late.
  const io::Nanos at = random.between({20 * kMillisecond, 60 * kMillisecond});
  add(plan, at, Act::kRebuild, 1, 0, 0);
  if (random.chance(1, 3)) {
    // So late that the replica's log has brought newer versions of many of its blocks, and they are in its base image already. Nobody writes them again.
    plan.volume_bytes = 128 * kBlockBytes;
    plan.chunk_bytes = 32 * kBlockBytes;
    plan.chunks_in_flight = 4;
    plan.requests_max = random.between({200, 600});
    plan.pause_max = 100 * io::kMicrosecond;
    plan.duration = 400 * kMillisecond;
    add(plan, at, Act::kHold, 0, kBaseImage, 250 * kMillisecond);
    return;
  }
  add(plan, at + random.between({0, 40 * kMillisecond}), Act::kHold, 0, kBaseImage, random.between({20 * kMillisecond, 100 * kMillisecond}));
}

/// A primary dies with records that only one copy has. That one becomes the primary, alone; after it, one that does not have them.
void shape_for_lone_heirs(Plan& plan, io::SimRandom& random, io::Nanos at) {
  add(plan, at, Act::kPartition, 0, 0, 300 * kMillisecond, 2);
  add(plan, at + random.between({0, 5 * kMillisecond}), Act::kHold, 0, kLog, 30 * kMillisecond);
  const io::Nanos death = at + random.between({6 * kMillisecond, 20 * kMillisecond});
  add(plan, death, Act::kIsolate, 1, 0, 300 * kMillisecond);
  add(plan, death, Act::kKill, 0, 0, random.between({40 * kMillisecond, 120 * kMillisecond}));
  add(plan, death + kMillisecond, Act::kFailOver, 0, 0, 0);
  add(plan, death + random.between({60 * kMillisecond, 200 * kMillisecond}), Act::kFailOver, 0, 0, 0);
}

/// A copy that is behind promises a new epoch long before the other one does; meanwhile it meets the old primary, which still has clients.
void shape_for_broken_promises(Plan& plan, io::SimRandom& random, io::Nanos at) {
  add(plan, at, Act::kPartition, 0, 0, random.between({60 * kMillisecond, 90 * kMillisecond}), 2);
  const io::Nanos then = at + random.between({20 * kMillisecond, 50 * kMillisecond});
  add(plan, then, Act::kPartition, 0, 0, 500 * kMillisecond, 1);
  add(plan, then, Act::kHold, 1, kSuperblock, random.between({150 * kMillisecond, 350 * kMillisecond}));
  add(plan, then + kMillisecond, Act::kFailOver, 0, 1, 0);  // and nobody kills it
}

void shape_for_terms(Plan& plan, io::SimRandom& random) {
  shape_for_heirs(plan, random);
  plan.nodes = 3;
  plan.durability = Durability::kSyncQuorum;
  plan.replica_timeout = 1000 * kMillisecond;
  const io::Nanos at = random.between({60 * kMillisecond, 200 * kMillisecond});
  random.chance(1, 2) ? shape_for_lone_heirs(plan, random, at) : shape_for_broken_promises(plan, random, at);
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
      {"checkpoints", "logs that fill up, and little memory",
       {{Act::kHold, 20, kShort}, {Act::kSlow, 4, kShort}, {Act::kKill, 6, kShort}, {Act::kPowerLoss, 6, kShort}, {Act::kPowerLossAtIo, 6, kShort},
        {Act::kPowerLossOfAll, 3, kShort}, {Act::kFailOver, 3, {0, 0}}, {Act::kCut, 3, {0, 0}}}, 4, 10, 25, shape_for_checkpoints},
      {"heirs", "primaries and their heirs fail at the same time",
       some_rates({Act::kKill, Act::kKillAtIo, Act::kPowerLoss, Act::kPowerLossOfAll, Act::kHold, Act::kFailOver, Act::kHandOver, Act::kRaiseEpoch,
                   Act::kIsolate, Act::kPartitionOneWay, Act::kCut, Act::kSlow}), 6, 16, 60, shape_for_heirs},
      {"hand-over", "hand-overs that are cut off",
       {{Act::kHandOver, 10, {0, 0}}, {Act::kHold, 10, kShort}, {Act::kCut, 5, {0, 0}}, {Act::kCutAtSend, 5, {0, 0}}, {Act::kKillAtIo, 5, kShort}}, 0, 8, 50,
       shape_for_hand_overs},
      {"power", "flushes that fail, and power that does",
       some_rates({Act::kFlushError, Act::kFailIo, Act::kPowerLoss, Act::kPowerLossAtIo, Act::kPowerLossOfAll}), 6, 14, 25, shape_for_heirs},
      {"terms", "primaries that begin a term alone, promises that are kept for long",
       some_rates({Act::kKill, Act::kHold, Act::kCut, Act::kSlow, Act::kPartitionOneWay}), 0, 4, 25, shape_for_terms},
      {"lanes", "clients write what is being rebuilt",
       {{Act::kRebuild, 10, {0, 0}}, {Act::kHold, 10, {0, 200 * kMillisecond}}, {Act::kSlow, 3, kShort}, {Act::kKill, 2, kShort}}, 0, 5, 50, shape_for_lanes},
      {"anew", "copies that have just been made anew fail, or the others do",
       some_rates({Act::kRebuild, Act::kPowerLoss, Act::kPowerLossOfAll, Act::kKill, Act::kIsolate, Act::kFailOver}), 5, 12, 25, shape_for_copies},
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

void draw_sizes(Plan& plan, io::SimRandom& random) {
  plan.nodes = pick<uint32_t>(random, {3, 3, 2});
  const uint64_t mode = random.below(8);
  if (mode < 3) plan.durability = Durability::kSyncQuorum;
  if (mode == 7) plan.durability = Durability::kBestEffort;
  plan.wait_for_lost = plan.durability == Durability::kSyncAll && random.chance(1, 5);
  plan.volume_bytes = pick<uint64_t>(random, {1, 4, 16, 64, 64, 200}) * kBlockBytes;
  plan.wal_bytes = pick<uint64_t>(random, {8u << 20, 8u << 20, 16u << 20});
  plan.wal_retain_percent = pick<uint32_t>(random, {50, 50, 0, 90});
  plan.replica_timeout = pick<io::Nanos>(random, {400, 100, 200, 1000}) * kMillisecond;
  plan.chunk_bytes = pick<uint64_t>(random, {16, 1, 4, 64, 256}) * kBlockBytes;
  plan.chunks_in_flight = pick<uint32_t>(random, {2, 1, 4});
  plan.network_factor = pick<uint32_t>(random, {1, 1, 1, 20});
  plan.pool_bytes = pick<uint64_t>(random, {24u << 20, 24u << 20, 8u << 20});
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

void sort_events(Plan& plan) {
  std::stable_sort(plan.events.begin(), plan.events.end(), [](const Event& a, const Event& b) { return a.at < b.at; });
}

void draw_events(Plan& plan, io::SimRandom& random, const Profile& profile) {
  std::vector<Rate> present;
  for (const Rate& rate : profile.rates) {
    if (random.chance(1, 2)) present.push_back(rate);
  }
  const size_t shaped = plan.events.size();
  if (present.empty()) return sort_events(plan);
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
  for (size_t i = shaped + 1; i < plan.events.size(); ++i) {
    if (random.chance(profile.together_percent, 100)) plan.events[i].at = plan.events[i - 1].at + static_cast<io::Nanos>(random.below(2 * kMillisecond));
  }
  sort_events(plan);
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
  draw_sizes(plan, random);
  if (profile->shape != nullptr) profile->shape(plan, random);
  draw_events(plan, random, *profile);
  return plan;
}

}  // namespace ringbolt::sim

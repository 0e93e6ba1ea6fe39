// What a pair counts while it works: every counter moves when it should, and none goes back, also from role to role.
#include <catch2/catch.hpp>
#include <numeric>

#include "orders.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

const ClientOpMetrics& of(const VolumeMetrics& m, ClientOp op) { return m.ops[static_cast<size_t>(op)]; }
uint64_t timed(const VolumeMetrics& m, DeviceStage stage) { return m.stages[static_cast<size_t>(stage)].count(); }
const DurationHistogram& of(const VolumeMetrics& m, RequestStage stage) { return m.request_stages[static_cast<size_t>(stage)]; }
constexpr std::array kStagesOfLogged = {RequestStage::kAdmission, RequestStage::kStaging, RequestStage::kCommit};
/// Of what is logged, all kinds together.
DurationHistogram durations_of_logged(const VolumeMetrics& m) {
  DurationHistogram sum;
  for (const ClientOp op : {ClientOp::kWrite, ClientOp::kWriteFua, ClientOp::kTrim, ClientOp::kZeroes}) sum.add(of(m, op).latency);
  return sum;
}
/// Each request was in each stage once, and was nowhere else.
void check_stages(const VolumeMetrics& m) {
  const DurationHistogram logged = durations_of_logged(m);
  uint64_t sum_ns = 0;
  for (const RequestStage stage : kStagesOfLogged) {
    CAPTURE(to_string(stage));
    CHECK(of(m, stage).count() == logged.count());
    sum_ns += of(m, stage).sum_ns();
  }
  CHECK(sum_ns == logged.sum_ns());
}

uint64_t requests(const VolumeMetrics& m) {
  return std::accumulate(m.ops.begin(), m.ops.end(), uint64_t{0}, [](uint64_t sum, const ClientOpMetrics& op) { return sum + op.latency.count(); });
}
uint64_t errors(const VolumeMetrics& m) {
  uint64_t sum = 0;
  for (const ClientOpMetrics& op : m.ops) sum = std::accumulate(op.errors.begin(), op.errors.end(), sum);
  return sum;
}

/// All that only grows, as one list.
std::vector<uint64_t> counters(const VolumeMetrics& m) {
  std::vector<uint64_t> all{m.wal_written_bytes, m.checkpointed_bytes, m.checkpoint_rounds};
  for (const ClientOpMetrics& op : m.ops) {
    all.insert(all.end(), {op.latency.count(), op.latency.sum_ns(), op.bytes});
    all.insert(all.end(), op.errors.begin(), op.errors.end());
  }
  for (const DurationHistogram& stage : m.stages) all.insert(all.end(), {stage.count(), stage.sum_ns()});
  for (const DurationHistogram& stage : m.request_stages) all.insert(all.end(), {stage.count(), stage.sum_ns()});
  return all;
}

void check_grown(const VolumeMetrics& before, const VolumeMetrics& now) {
  const std::vector<uint64_t> a = counters(before), b = counters(now);
  for (size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(b[i] >= a[i]);
  }
}

void start_pair(Cluster& c) {
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
}

}  // namespace

TEST_CASE("sim_metrics: under load every stage is timed on both copies, and requests are counted one by one", "[sim][metrics]") {
  for_seeds(1, 3, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().depth = 8;
    c.load.options().cells_max = 64;
    start_pair(c);
    VolumeMetrics before = c.volume(0).metrics();
    CHECK(requests(before) == 0);
    c.begin_load(0);
    for (int i = 0; i < 10; ++i) {
      c.run_for(100 * kMillisecond);
      const VolumeMetrics now = c.volume(0).metrics();
      check_grown(before, now);
      CHECK(now.requests_open <= 8);
      before = now;
    }
    REQUIRE(c.run_until([&] { return c.volume(1).metrics().checkpoint_rounds > 0 && c.volume(0).metrics().checkpoint_rounds > 0; }, 30 * kSecond));
    c.end_load();
    const VolumeMetrics primary = c.volume(0).metrics(), replica = c.volume(1).metrics();
    CHECK(requests(primary) == c.load.answered());
    CHECK(errors(primary) == 0);
    CHECK(primary.requests_open == 0);
    for (const ClientOp op : kClientOps) {
      CAPTURE(to_string(op));
      CHECK(of(primary, op).latency.count() > 0);
      CHECK((of(primary, op).bytes > 0) == (op != ClientOp::kFlush));
    }
    check_stages(primary);
    check_stages(replica);
    // A reply waits for the replica: no write is faster than the way there and back.
    CHECK(of(primary, ClientOp::kWriteFua).latency.sum_ns() > of(primary, ClientOp::kWriteFua).latency.count() * 10'000);
    for (const DeviceStage stage : {DeviceStage::kWalWrite, DeviceStage::kWalFlush, DeviceStage::kBaseWrite, DeviceStage::kBaseFlush}) {
      CAPTURE(to_string(stage));
      CHECK(timed(primary, stage) > 0);
      CHECK(timed(replica, stage) > 0);
    }
    CHECK(timed(primary, DeviceStage::kBaseRead) > 0);
    CHECK(primary.wal_written_bytes > of(primary, ClientOp::kWrite).bytes);
    CHECK(replica.wal_written_bytes > of(primary, ClientOp::kWrite).bytes);
    CHECK(primary.checkpointed_bytes > 0);
    // The replica was asked for nothing by clients.
    CHECK(requests(replica) == 0);
    CHECK(replica.replicas.empty());
    CHECK_FALSE(replica.unstable_bytes);
    REQUIRE(primary.replicas.size() == 1);
    CHECK(primary.replicas[0].id == "n2");
    CHECK(primary.replicas[0].round_trip.count() > 0);
    CHECK(primary.replicas[0].sent_bytes > of(primary, ClientOp::kWrite).bytes);
    CHECK(primary.replicas[0].connections == 1);
    REQUIRE(c.run_until([&] { return c.volume(0).metrics().unstable_bytes == 0u; }, 10 * kSecond));
    CHECK(c.volume(0).metrics().stable_lsn == c.status(0).wal_head);
    CHECK(c.volume(0).metrics().replicas[0].lag_seconds == 0.0);
  });
}

TEST_CASE("sim_metrics: a request's time is counted in the stage that it was spent in", "[sim][metrics]") {
  Cluster c({.seed = 4});
  start_pair(c);
  constexpr io::Nanos kHeld = 200 * kMillisecond;
  // Answered or not after a millisecond.
  const auto submit = [&c](uint64_t block, uint64_t bytes = kBlockBytes) { return c.request(0, RequestKind::kWrite, block * kBlockBytes, bytes, 1, false, kMillisecond); };
  const auto in_stage = [&c](RequestStage stage, const VolumeMetrics& before) { return static_cast<io::Nanos>(of(c.volume(0).metrics(), stage).sum_ns() - of(before, stage).sum_ns()); };
  const auto answered = [&c](uint64_t count) { return c.run_until([&] { return of(c.volume(0).metrics(), ClientOp::kWrite).latency.count() == count; }, 10 * kSecond); };

  SECTION("admission: it waits for a block at its edge") {
    const VolumeMetrics before = c.volume(0).metrics();
    const uint64_t hold = c.sim(0).disk().hold({.kind = io::SimOpKind::kRead, .path = "/base"});
    CHECK_FALSE(submit(7, 512));
    c.run_for(kHeld);
    c.sim(0).disk().release(hold);
    REQUIRE(answered(1));
    CHECK(in_stage(RequestStage::kAdmission, before) >= kHeld);
    CHECK(in_stage(RequestStage::kStaging, before) < kHeld / 4);
    CHECK(in_stage(RequestStage::kCommit, before) < kHeld / 4);
  }
  SECTION("staging: four frames are being written, so its own stays open; commit: the device takes its time with these") {
    const VolumeMetrics before = c.volume(0).metrics();
    const uint64_t hold = c.sim(0).disk().hold({.kind = io::SimOpKind::kWrite, .path = "/wal"});
    for (uint64_t block = 0; block < 6; ++block) CHECK_FALSE(submit(block));
    c.run_for(kHeld);
    c.sim(0).disk().release(hold);
    REQUIRE(answered(6));
    CHECK(in_stage(RequestStage::kAdmission, before) < kHeld / 4);
    CHECK(in_stage(RequestStage::kStaging, before) >= 2 * kHeld);
    CHECK(in_stage(RequestStage::kStaging, before) < 3 * kHeld);
    CHECK(in_stage(RequestStage::kCommit, before) >= 4 * kHeld);
    CHECK(in_stage(RequestStage::kCommit, before) < 5 * kHeld);
  }
  check_stages(c.volume(0).metrics());
  // What fails was in no stage, wherever it had been.
  const VolumeMetrics before = c.volume(0).metrics();
  c.sim(0).disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "/wal"}});
  CHECK(c.request(0, RequestKind::kWrite, 0, kBlockBytes, 1) == RequestError::kIo);
  const VolumeMetrics after = c.volume(0).metrics();
  CHECK(of(after, ClientOp::kWrite).latency.count() == of(before, ClientOp::kWrite).latency.count() + 1);
  for (const RequestStage stage : kStagesOfLogged) CHECK(of(after, stage) == of(before, stage));
}

TEST_CASE("sim_metrics: a replica that answers nothing lags by the time since it owes something", "[sim][metrics]") {
  Cluster c({.seed = 1, .replica_timeout = 2 * kSecond});
  start_pair(c);
  c.begin_load(0);
  c.run_for(200 * kMillisecond);
  c.world.net().partition("n1", "n2");
  c.run_for(kSecond);
  const auto lag = c.volume(0).metrics().replicas[0].lag_seconds;
  REQUIRE(lag);
  CHECK(*lag > 0.7);
  CHECK(*lag <= 1.1);
  CHECK(*c.volume(0).metrics().unstable_bytes > 0);
  CHECK(*c.volume(0).metrics().unstable_bytes <= *c.volume(0).metrics().unstable_limit_bytes);
  // Lost: there is no session that it could lag in.
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 20 * kSecond));
  CHECK_FALSE(c.volume(0).metrics().replicas[0].lag_seconds);
  c.world.net().heal_all();
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(c.volume(0).metrics().replicas[0].connections >= 2);
  REQUIRE(c.volume(0).metrics().replicas[0].lag_seconds);
  c.end_load();
}

TEST_CASE("sim_metrics: what a client was refused is counted, and a change of roles takes nothing back", "[sim][metrics]") {
  Cluster c({.seed = 2});
  start_pair(c);
  CHECK(c.request(0, RequestKind::kWrite, 0, kBlockBytes, 1, true) == RequestError::kNone);
  CHECK(c.request(1, RequestKind::kRead, 0, kBlockBytes, 0) == RequestError::kShutdown);
  CHECK(of(c.volume(1).metrics(), ClientOp::kRead).errors[static_cast<size_t>(ClientError::kShutdown)] == 1);
  const VolumeMetrics before = c.volume(0).metrics();
  CHECK(of(before, ClientOp::kWriteFua).latency.count() == 1);
  CHECK(of(before, ClientOp::kWriteFua).bytes == kBlockBytes);
  check_taken(c, give(c, 0, order(Role::kReplica, 2)));
  const VolumeMetrics after = c.volume(0).metrics();
  check_grown(before, after);
  CHECK(of(after, ClientOp::kWriteFua).latency.count() == 1);
  CHECK(after.requests_open == 0);
  CHECK_FALSE(after.stable_lsn);
}

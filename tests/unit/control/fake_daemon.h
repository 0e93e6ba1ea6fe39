// A Daemon without shards for tests of the admin server and of ringboltctl: answers come from a
// thread of its own, like a shard's, or are held back until the test lets them go.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "control/daemon.h"

namespace ringbolt::test {

inline VolumeStatus volume_status(const std::string& name) {
  VolumeStatus volume;
  volume.name = name;
  volume.uuid = "8e4f12aa-0000-4000-8000-000000000001";
  volume.size = uint64_t{1} << 30;
  volume.role = "primary";
  volume.durability = "sync_all";
  volume.epoch = 3;
  volume.mode = "publish_healthy";
  volume.healthy = true;
  volume.wal_tail = 1;
  volume.wal_head = 42;
  volume.written_lsn = 42;
  volume.durable_lsn = 40;
  volume.committed_lsn = 42;
  volume.wal_capacity_bytes = uint64_t{256} << 20;
  volume.wal_used_bytes = 1u << 20;
  volume.assigned = true;
  volume.role_applied = true;
  volume.shipper_configured = true;
  volume.shipper_connected = true;
  volume.clients = 1;
  ReplicaStatus replica;
  replica.id = "n2";
  replica.address = "127.0.0.1:20810";
  replica.connected = true;
  replica.in_sync = true;
  replica.session = SessionStatus{};
  replica.session->id = 7;
  replica.session->kind = "keepup";
  replica.session->phase = "running";
  replica.written_lsn = 42;
  replica.lag_bytes = 0;
  volume.replicas.push_back(replica);
  volume.why = {"assigned primary at epoch 3", "replica n2 is in keepup and in the in-sync set"};
  return volume;
}

class FakeDaemon : public Daemon {
 public:
  FakeDaemon() : thread_([this] { run(); }) {}
  ~FakeDaemon() override {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      held_ = false;  // every question is answered before the end
    }
    changed_.notify_all();
    thread_.join();
  }

  void volumes(std::function<void(std::vector<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    ++volumes_asked_;
    // The state at the time of the question, like a shard that is slow to hand over its answer.
    push([done = std::move(done), answer = answer_] { done(answer); });
  }
  void node(std::function<void(NodeStatus)> done) override {
    const std::lock_guard lock(mutex_);
    ++node_asked_;
    push([done = std::move(done)] {
      NodeStatus status;
      status.id = "n1";
      status.version = "0.1.0";
      status.shards = 2;
      done(status);
    });
  }
  /// Its volumes, each with a number of writes that grows from one question to the next.
  void metrics(std::function<void(NodeMetrics)> done) override {
    const std::lock_guard lock(mutex_);
    NodeMetrics metrics;
    metrics.id = "n1";
    metrics.version = "0.1.0";
    metrics.shards.resize(1);
    ++metrics_asked_;
    for (const VolumeStatus& status : answer_) {
      VolumeMetrics volume;
      volume.status = status;
      for (int i = 0; i < metrics_asked_; ++i) volume.ops[static_cast<size_t>(ClientOp::kWrite)].latency.add(100'000);
      metrics.volumes.push_back(std::move(volume));
    }
    push([done = std::move(done), metrics = std::move(metrics)] { done(metrics); });
  }
  /// Does what it is told to the volume of that name, or answers the error that the test has set.
  void assign(const std::string& volume, const AssignmentOrder& order,
              std::function<void(Result<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    orders_.emplace_back(volume, order);
    push([done = std::move(done), result = carry_out(volume, order)] { done(result); });
  }
  /// Notes the order in the volume of that name; nothing is rebuilt.
  void rebuild(const std::string& volume, const RebuildOrder& order, std::function<void(Result<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    rebuilds_.emplace_back(volume, order);
    push([done = std::move(done), result = carry_out(volume, order)] { done(result); });
  }
  /// Notes the question; how it goes on is what the test sets.
  void verify(const std::string& volume, const std::optional<std::string>& replica, std::function<void(Result<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    verifies_.emplace_back(volume, replica);
    push([done = std::move(done), result = begin_verify(volume, replica)] { done(result); });
  }
  /// Adds a volume of that name to the answers, or answers the error that the test has set.
  void create(const VolumeConfig& volume, std::function<void(Result<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    created_.push_back(volume);
    push([done = std::move(done), result = carry_out(volume)] { done(result); });
  }
  /// Takes it out of the answers; "/dev/kept" stays.
  void remove(const std::string& volume, bool force, std::function<void(Result<RemovedVolume>)> done) override {
    const std::lock_guard lock(mutex_);
    removed_.push_back(volume + (force ? " by force" : ""));
    push([done = std::move(done), result = carry_out(volume)] { done(result); });
  }
  /// Gives the volume of that name the size, or answers the error that the test has set.
  void resize(const std::string& volume, uint64_t bytes, std::function<void(Result<VolumeStatus>)> done) override {
    const std::lock_guard lock(mutex_);
    resized_.emplace_back(volume, bytes);
    push([done = std::move(done), result = carry_out(volume, bytes)] { done(result); });
  }
  [[nodiscard]] size_t volume_count() const override { return 0; }
  /// Puts nothing into force.
  void change(const Config&, const std::vector<ReplicaMove>& moves, std::function<void(std::vector<std::string>)> done) override {
    const std::lock_guard lock(mutex_);
    push([done = std::move(done), problems = std::vector<std::string>(moves.size())] { done(problems); });
  }
  void stop(std::function<void()> done) override {
    const std::lock_guard lock(mutex_);
    push(std::move(done));
  }

  /// While held no question is answered; they are when it is let go.
  void hold(bool held) {
    {
      const std::lock_guard lock(mutex_);
      held_ = held;
    }
    changed_.notify_all();
  }
  /// For questions from now on.
  void set_answer(std::vector<VolumeStatus> answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  /// For orders from now on.
  void refuse_orders(Error error) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(error);
  }
  /// All that it was ever given, in order.
  [[nodiscard]] std::vector<std::pair<std::string, AssignmentOrder>> orders() {
    const std::lock_guard lock(mutex_);
    return orders_;
  }
  [[nodiscard]] std::vector<std::pair<std::string, RebuildOrder>> rebuilds() {
    const std::lock_guard lock(mutex_);
    return rebuilds_;
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::optional<std::string>>> verifies() {
    const std::lock_guard lock(mutex_);
    return verifies_;
  }
  [[nodiscard]] std::vector<VolumeConfig> created() {
    const std::lock_guard lock(mutex_);
    return created_;
  }
  [[nodiscard]] std::vector<std::string> removed() {
    const std::lock_guard lock(mutex_);
    return removed_;
  }
  [[nodiscard]] std::vector<std::pair<std::string, uint64_t>> resized() {
    const std::lock_guard lock(mutex_);
    return resized_;
  }
  [[nodiscard]] int volumes_asked() const { return volumes_asked_; }
  [[nodiscard]] int node_asked() const { return node_asked_; }

 private:
  Result<VolumeStatus> carry_out(const std::string& name, const AssignmentOrder& order) {
    if (refusal_) return *refusal_;
    for (VolumeStatus& volume : answer_) {
      if (volume.name != name) continue;
      volume.role = to_string(order.role);
      volume.epoch = order.epoch.value();
      return volume;
    }
    return make_error(Errc::kNotFound, "there is no volume \"" + name + "\" on this node");
  }
  Result<VolumeStatus> carry_out(const std::string& name, const RebuildOrder& order) {
    if (refusal_) return *refusal_;
    for (VolumeStatus& volume : answer_) {
      if (volume.name != name) continue;
      for (ReplicaStatus& replica : volume.replicas) {
        if (replica.id != order.replica) continue;
        replica.rebuild_order = order.wanted ? RebuildOrderStatus::kOrdered : RebuildOrderStatus::kCancelled;
        return volume;
      }
      return make_error(Errc::kNotFound, "volume " + name + " has no replica \"" + order.replica + "\"");
    }
    return make_error(Errc::kNotFound, "there is no volume \"" + name + "\" on this node");
  }
  Result<VolumeStatus> begin_verify(const std::string& name, const std::optional<std::string>& replica) {
    if (refusal_) return *refusal_;
    for (const VolumeStatus& volume : answer_) {
      if (volume.name != name) continue;
      if (!replica || *replica == "n2") return volume;
      return make_error(Errc::kNotFound, "volume " + name + " has no replica \"" + *replica + "\"");
    }
    return make_error(Errc::kNotFound, "there is no volume \"" + name + "\" on this node");
  }
  Result<VolumeStatus> carry_out(const VolumeConfig& volume) {
    if (refusal_) return *refusal_;
    VolumeStatus status = volume_status(volume.name);
    status.size = volume.size_bytes;
    status.role = "none";
    status.replicas.clear();
    answer_.push_back(status);
    return status;
  }
  Result<VolumeStatus> carry_out(const std::string& name, uint64_t bytes) {
    if (refusal_) return *refusal_;
    for (VolumeStatus& volume : answer_) {
      if (volume.name != name) continue;
      volume.size = bytes;
      return volume;
    }
    return make_error(Errc::kNotFound, "there is no volume \"" + name + "\" on this node");
  }
  Result<RemovedVolume> carry_out(const std::string& name) {
    if (refusal_) return *refusal_;
    if (std::erase_if(answer_, [&](const VolumeStatus& one) { return one.name == name; }) > 0) return RemovedVolume{name, {"/dev/kept"}};
    return make_error(Errc::kNotFound, "there is no volume \"" + name + "\" on this node");
  }
  void push(std::function<void()> work) {
    work_.push_back(std::move(work));
    changed_.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return !held_ && (ended_ || !work_.empty()); });
      if (work_.empty()) return;
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::vector<VolumeStatus> answer_{volume_status("vol0"), volume_status("vol1")};
  std::optional<Error> refusal_;
  std::vector<std::pair<std::string, AssignmentOrder>> orders_;
  std::vector<std::pair<std::string, RebuildOrder>> rebuilds_;
  std::vector<VolumeConfig> created_;
  std::vector<std::string> removed_;
  std::vector<std::pair<std::string, uint64_t>> resized_;
  std::vector<std::pair<std::string, std::optional<std::string>>> verifies_;
  std::atomic<int> volumes_asked_{0};
  std::atomic<int> node_asked_{0};
  int metrics_asked_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool held_ = false;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace ringbolt::test

#include "shard/node_daemon.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "control/volume_places.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt {

namespace {

/// Of each shard, where the number of shards is ours to choose.
constexpr uint64_t kShardMemoryWanted = 32u << 20;

io::Nanos clock_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ShardLimits shard_limits(const Config& config) {
  return {.spin = config.spin_ns,
          .client_stall_timeout = config.nbd_stall_timeout_ns,
          .replica_timeout = config.replica_timeout_ns,
          .wait_for_lost_replicas = config.wait_for_lost_replicas,
          .wal_retain_percent = config.wal_retain_percent};
}

/// Calls `done` when every one of `count` parts has called the returned function.
std::function<void()> after_all(size_t count, std::function<void()> done) {
  auto left = std::make_shared<std::atomic<size_t>>(count);
  return [left, done = std::move(done)] {
    if (left->fetch_sub(1) == 1) done();
  };
}

/// What only this node can know to be wrong with an order.
Status check_order(const AssignmentOrder& order, const Config& config) {
  if (!order.replicas) return boost::outcome_v2::success();
  for (const core::ReplicaAddress& replica : *order.replicas) {
    if (replica.id == config.node_id) return make_error(Errc::kInvalid, fmt::format("replica \"{}\" is this node itself", replica.id));
    if (replica.address != config.replication_listen) continue;
    return make_error(Errc::kInvalid, fmt::format("replica \"{}\": {} is where this node itself listens", replica.id, replica.address));
  }
  return boost::outcome_v2::success();
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(const Config& config, Fatal fatal) {
  auto daemon = std::make_unique<NodeDaemon>(config, std::move(fatal));
  BOOST_OUTCOME_TRYV(daemon->start_all());
  return std::unique_ptr<Daemon>(std::move(daemon));
}

NodeDaemon::NodeDaemon(const Config& config, Fatal fatal)
    : config_(config), fatal_(std::move(fatal)), started_at_(clock_now()), connection_limit_(config.nbd_connections_max),
      catalog_(config.data_dir, files_) {
  set_limits(config);
}

NodeDaemon::~NodeDaemon() = default;

uint32_t NodeDaemon::shard_count() const {
  if (config_.shards > 0) return config_.shards;
  // One per core, but each needs enough memory to work with.
  const auto by_memory = static_cast<uint32_t>(std::min<uint64_t>(config_.memory_bytes / kShardMemoryWanted, kShardsMax));
  uint32_t count = std::clamp(std::thread::hardware_concurrency(), 1u, std::max(by_memory, 1u));
  const auto least = [this](uint32_t shards) { return least_shard_memory((table_.size() + shards - 1) / shards) * shards; };
  while (count > 1 && least(count) > config_.memory_bytes) --count;
  return count;
}

/// Of each of so many. Rounded down: what is configured is the most that all of them have.
uint64_t NodeDaemon::shard_memory(size_t shards) const { return config_.memory_bytes / shards / kShardMemoryStep * kShardMemoryStep; }

Status NodeDaemon::start_all() {
  BOOST_OUTCOME_TRYV(find_volumes());
  BOOST_OUTCOME_TRYV(start_shards());
  Status status = open_volumes();
  if (status.has_value()) status = start_listeners();
  if (status.has_value()) return status;
  // Leave nothing half open: what was opened is closed cleanly.
  std::promise<void> stopped;
  stop([&stopped] { stopped.set_value(); });
  stopped.get_future().wait();
  return status;
}

Status NodeDaemon::start_shards() {
  const uint32_t count = shard_count();
  for (uint32_t i = 0; i < count; ++i) {
    const ShardOptions options{i, shard_memory(count), config_.pin_shards, shard_limits(config_), config_.replication_tcp_congestion};
    auto shard = std::make_unique<Shard>(options, fatal_);
    BOOST_OUTCOME_TRYV(shard->start());
    shards_.push_back(std::move(shard));
  }
  return boost::outcome_v2::success();
}

repl::VolumeOptions NodeDaemon::options_of(const Entry& entry) const {
  const VolumeConfig& volume = entry->volume;
  repl::VolumeOptions options;
  options.store.name = volume.name;
  options.store.node_id = config_.node_id;
  options.store.directory = volume_directory(config_.data_dir, volume.name);
  options.store.base_path = volume.path;
  options.store.wal_path = volume.wal_path;
  options.store.volume_bytes = volume.size_bytes;
  options.store.wal_bytes = volume.wal_bytes;
  options.store.adopt_base = volume.role == Role::kPrimary;
  options.role = volume.role;
  options.durability = volume.durability;
  options.epoch = Epoch(volume.epoch);
  for (const ReplicaConfig& replica : volume.replicas) options.replicas.push_back({replica.id, replica.address});
  options.rebuild = rebuild_;
  // No configuration has to be corrected before the others can be served.
  options.keep_failed = entry->record.has_value();
  options.on_refusal = [this, entry](const std::string& refusal) { on_change(*entry, refusal); };
  return options;
}

void NodeDaemon::on_change(VolumeEntry& entry, const std::string& refusal) const {
  // Said again whenever the mode is published or the role is another one.
  const repl::Volume* const volume = shards_[entry.shard]->find_volume(entry.volume.name);
  {
    // Together: who is let in is told the size of now.
    const std::lock_guard lock(entry.mutex);
    if (volume != nullptr) entry.size_bytes = volume->size_bytes();
    entry.refusal = refusal;
  }
  if (volume != nullptr) entry.report.note(*volume);
}

Status NodeDaemon::open_volumes() {
  const std::vector<Entry> entries = table_.all();
  if (entries.empty()) return boost::outcome_v2::success();
  std::mutex mutex;
  Status first_error = boost::outcome_v2::success();
  std::promise<void> opened;
  const auto one_done = after_all(entries.size(), [&opened] { opened.set_value(); });
  for (const Entry& entry : entries) {
    Shard& shard = *shards_[entry->shard];
    shard.run([&] {
      shard.open_volume(options_of(entry), [&](const Status& status) {
        if (!status.has_value()) {
          const std::lock_guard lock(mutex);
          if (first_error.has_value()) first_error = status.error();
        }
        one_done();
      });
    });
  }
  opened.get_future().wait();
  return first_error;
}

Status NodeDaemon::start_listeners() {
  std::promise<Status> listening;
  shards_[0]->run([&] {
    Shard& shard = *shards_[0];
    const nbd::ListenerHost host{shard.io(), *this, *this, shard.client_log(), connection_limit_};
    const nbd::ListenerOptions options{.handshake_timeout = config_.nbd_handshake_timeout_ns, .tcp_congestion = config_.nbd_tcp_congestion};
    Status status = boost::outcome_v2::success();
    for (const std::string& address : config_.nbd_listen) {
      auto listener = std::make_unique<nbd::Listener>(host, options);
      status = listener->listen(address);
      if (!status.has_value()) break;
      listeners_.push_back(std::move(listener));
    }
    if (status.has_value()) {
      repl::CallRouter& router = *this;
      acceptor_ = std::make_unique<repl::PeerAcceptor>(shard.io(), router);
      status = acceptor_->listen(config_.replication_listen, config_.replication_tcp_congestion);
      if (!status.has_value()) acceptor_.reset();
    }
    listening.set_value(std::move(status));
  });
  return listening.get_future().get();
}

// --- from the listeners -----------------------------------------------------------------------------------

void NodeDaemon::list(std::vector<std::string>& names) {
  for (const Entry& entry : table_.all()) names.push_back(entry->volume.name);
}

nbd::ExportLookup NodeDaemon::find(std::string_view name) {
  nbd::ExportLookup lookup;
  // The default export is the only volume, if there is just one.
  const Entry entry = name.empty() ? table_.only() : table_.find(name);
  if (entry == nullptr) return lookup;
  lookup.name = entry->volume.name;
  lookup.shard = entry->shard;
  const std::lock_guard lock(entry->mutex);
  lookup.size_bytes = entry->size_bytes;
  lookup.reason = entry->refusal;
  lookup.status = entry->refusal.empty() ? nbd::ExportLookup::Status::kFound : nbd::ExportLookup::Status::kRefused;
  return lookup;
}

void NodeDaemon::attach(nbd::Client client) {
  const uint32_t shard = client.negotiated.shard;
  if (shard == 0) return shards_[0]->add_client(std::move(client));
  // std::function needs a copyable callable; the client is not.
  auto moved = std::make_shared<nbd::Client>(std::move(client));
  shards_[shard]->run([this, shard, moved] { shards_[shard]->add_client(std::move(*moved)); });
}

void NodeDaemon::route(repl::PeerCall call) {
  const Entry entry = table_.find(call.hello.volume_name);
  if (entry == nullptr || entry->shard == 0) return shards_[0]->take_call(call);
  const uint32_t shard = entry->shard;
  shards_[shard]->run([this, shard, call = std::move(call)] { shards_[shard]->take_call(call); });
}

// --- from the control thread --------------------------------------------------------------------------------

void NodeDaemon::volumes(std::function<void(std::vector<VolumeStatus>)> done) {
  auto entries = std::make_shared<const std::vector<Entry>>(table_.all());
  auto answers = std::make_shared<std::vector<VolumeStatus>>(entries->size());
  const auto one_done = after_all(shards_.size(), [answers, done = std::move(done)] {
    std::erase_if(*answers, [](const VolumeStatus& volume) { return volume.name.empty(); });  // deleted meanwhile
    done(std::move(*answers));
  });
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    shards_[shard]->run([this, shard, entries, answers, one_done] {
      for (size_t i = 0; i < entries->size(); ++i) {
        const VolumeEntry& entry = *(*entries)[i];
        if (entry.shard != shard) continue;
        if (const repl::Volume* volume = shards_[shard]->find_volume(entry.volume.name)) (*answers)[i] = entry.report.look(*volume);
      }
      one_done();
    });
  }
}

void NodeDaemon::node(std::function<void(NodeStatus)> done) {
  auto answer = std::make_shared<NodeStatus>();
  auto mutex = std::make_shared<std::mutex>();
  utsname host{};
  if (uname(&host) == 0) answer->kernel = host.release;
  answer->id = config_.node_id;
  answer->version = RINGBOLT_VERSION;
  answer->shards = shards_.size();
  answer->volumes = table_.size();
  answer->uptime_seconds = static_cast<uint64_t>((clock_now() - started_at_) / io::kSecond);
  const auto one_done = after_all(shards_.size(), [answer, done = std::move(done)] { done(*answer); });
  for (const auto& shard : shards_) {
    Shard* const asked = shard.get();
    asked->run([asked, answer, mutex, one_done] {
      {
        const std::lock_guard lock(*mutex);
        answer->connections += asked->clients();
        answer->memory_limit_bytes += asked->pool().limit_bytes();
        answer->memory_used_bytes += asked->pool().used_bytes();
      }
      one_done();
    });
  }
}

void NodeDaemon::metrics(std::function<void(NodeMetrics)> done) {
  auto answer = std::make_shared<NodeMetrics>();
  answer->id = config_.node_id;
  answer->version = RINGBOLT_VERSION;
  answer->memory_limit_bytes = config_.memory_bytes;
  answer->rebuilds_running = rebuild_->places.running();
  answer->rebuilds_parallel = rebuild_->parallel;
  answer->rebuild_rate_max = rebuild_->rate_max;
  // Each shard writes what is its own, so nobody locks.
  auto entries = std::make_shared<const std::vector<Entry>>(table_.all());
  answer->volumes.resize(entries->size());
  answer->shards.resize(shards_.size());
  const auto one_done = after_all(shards_.size(), [answer, done = std::move(done)] {
    std::erase_if(answer->volumes, [](const VolumeMetrics& volume) { return volume.status.name.empty(); });  // deleted meanwhile
    done(std::move(*answer));
  });
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    shards_[shard]->run([this, shard, entries, answer, one_done] {
      answer->shards[shard] = shards_[shard]->metrics();
      for (size_t i = 0; i < entries->size(); ++i) {
        VolumeEntry& entry = *(*entries)[i];
        if (entry.shard != shard) continue;
        const repl::Volume* const volume = shards_[shard]->find_volume(entry.volume.name);
        if (volume == nullptr) continue;
        VolumeMetrics& m = answer->volumes[i] = volume->metrics();
        m.status = entry.report.look(*volume);
        m.shard = shard;
      }
      one_done();
    });
  }
}

void NodeDaemon::give_order(const std::string& volume, GiveOrder give, OrderDone done) {
  const Entry entry = table_.find(volume);
  if (entry == nullptr) return done(make_error(Errc::kNotFound, fmt::format("there is no volume \"{}\" on this node", volume)));
  Shard* const owner = shards_[entry->shard].get();
  owner->run([owner, entry, volume, give = std::move(give), done = std::move(done)] {
    if (entry->being_deleted) return done(make_error(Errc::kBusy, fmt::format("volume {} is being deleted", volume)));
    repl::Volume* const ordered = owner->find_volume(volume);
    if (ordered == nullptr) return done(make_error(Errc::kNotFound, fmt::format("volume {} is not open", volume)));
    give(*ordered, [ordered, entry, done](const Status& status) {
      if (!status.has_value()) return done(status.error());
      done(entry->report.look(*ordered));
    });
  });
}

void NodeDaemon::assign(const std::string& volume, const AssignmentOrder& order, OrderDone done) {
  const Status checked = check_order(order, config_);
  const repl::AssignmentRequest request{order.role, order.epoch, order.durability, order.replicas, order.authority};
  const auto give = [checked, request](repl::Volume& assigned, std::function<void(Status)> answer) {
    if (checked.has_error()) return answer(checked);
    assigned.assign(request, std::move(answer));
  };
  give_order(volume, give, std::move(done));
}

void NodeDaemon::rebuild(const std::string& volume, const RebuildOrder& order, OrderDone done) {
  const auto give = [order](repl::Volume& ordered, std::function<void(Status)> answer) {
    ordered.rebuild(order.replica, order.wanted, std::move(answer));
  };
  give_order(volume, give, std::move(done));
}

void NodeDaemon::verify(const std::string& volume, const std::optional<std::string>& replica, OrderDone done) {
  const auto give = [replica](repl::Volume& ordered, const std::function<void(Status)>& answer) { ordered.verify(replica, answer); };
  give_order(volume, give, std::move(done));
}

void NodeDaemon::resize(const std::string& volume, uint64_t bytes, OrderDone done) {
  give_order(volume, [bytes](repl::Volume& ordered, std::function<void(Status)> answer) { ordered.resize(bytes, std::move(answer)); }, std::move(done));
}

void NodeDaemon::set_limits(const Config& config) {
  rebuild_->rate_max = config.rebuild_rate_max;
  rebuild_->parallel = config.rebuild_parallel;
  rebuild_->chunk_bytes = config.rebuild_chunk_bytes;
  rebuild_->in_flight = config.rebuild_in_flight;
  connection_limit_.set_max(config.nbd_connections_max);
}

void NodeDaemon::change(const Config& config, const std::vector<ReplicaMove>& moves, std::function<void(std::vector<std::string>)> done) {
  set_limits(config);
  // Each problem is written by the shard that has the volume.
  auto problems = std::make_shared<std::vector<std::string>>(moves.size(), "the volume is not open");
  const auto one_done = after_all(shards_.size(), [problems, done = std::move(done)] { done(std::move(*problems)); });
  for (size_t i = 0; i < shards_.size(); ++i) {
    shards_[i]->run([this, i, moves, problems, one_done, limits = shard_limits(config), handshake_timeout = config.nbd_handshake_timeout_ns] {
      shards_[i]->change(limits);
      if (i == 0) {
        for (const auto& listener : listeners_) listener->set_handshake_timeout(handshake_timeout);
      }
      for (size_t move = 0; move < moves.size(); ++move) {
        repl::Volume* const volume = shards_[i]->find_volume(moves[move].volume);
        if (volume == nullptr) continue;
        const Status moved = volume->move_replica(moves[move].replica, moves[move].address);
        (*problems)[move] = moved.has_value() ? std::string() : moved.error().message;
      }
      one_done();
    });
  }
}

void NodeDaemon::stop(std::function<void()> done) {
  // An order to create or remove a volume that is being carried out comes to its end first.
  orders_.run([this, done = std::move(done)] {
    stopping_ = true;
    stop_listeners([this, done] { stop_shards(done); });
  });
}

void NodeDaemon::stop_listeners(std::function<void()> done) {
  shards_[0]->run([this, done = std::move(done)] {
    const auto one_done = after_all(listeners_.size() + 1, [this, done] {
      // From inside a listener: they are destroyed in a message of their own.
      shards_[0]->run([this, done] {
        listeners_.clear();
        acceptor_.reset();
        done();
      });
    });
    for (const auto& listener : listeners_) listener->stop(one_done);
    if (acceptor_ != nullptr) {
      acceptor_->stop(one_done);
    } else {
      one_done();
    }
  });
}

void NodeDaemon::stop_shards(std::function<void()> done) {
  const auto one_done = after_all(shards_.size(), std::move(done));
  for (const auto& shard : shards_) {
    Shard* const stopping = shard.get();
    stopping->run([stopping, one_done] { stopping->stop_volumes(one_done); });
  }
}

}  // namespace ringbolt

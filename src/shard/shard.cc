#include "shard/shard.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <cstdlib>
#include <new>

#include "io/process_facts.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt {

namespace {

/// How long clients' requests in flight may take when the shard stops. Without an end, one that waits for
/// a replica that never comes would keep the process for ever.
constexpr io::Nanos kClientsPatience = 3 * io::kSecond;

struct ActionMessage final : io::Message {
  explicit ActionMessage(std::function<void()> to_run) : action(std::move(to_run)) {}
  void run() override {
    action();
    delete this;
  }
  std::function<void()> action;
};

/// Pins the calling thread to the `index`-th core that the process may use.
void pin_to_core(uint32_t index) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  const int count = CPU_COUNT(&allowed);
  if (count <= 1) return;
  int left = static_cast<int>(index) % count;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || left-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    if (pthread_setaffinity_np(pthread_self(), sizeof one, &one) != 0) log::warn({.shard = index}, "shard {}: cannot be pinned to core {}", index, core);
    return;
  }
}

}  // namespace

Shard::Shard(const ShardOptions& options, Fatal fatal) : options_(options), fatal_(std::move(fatal)) {}

Shard::~Shard() {
  if (!thread_.joinable()) return;
  ring_->stop();
  ring_left_.release();
  thread_.join();
}

Status Shard::start() {
  std::promise<Status> started;
  auto result = started.get_future();
  populator_ = std::make_unique<io::PagePopulator>();  // here: a pinned shard's would have to share its core
  thread_ = std::thread([this, &started] { main(started); });
  Status status = result.get();
  if (!status.has_value()) thread_.join();
  return status;
}

void Shard::main(std::promise<Status>& started) {
  pthread_setname_np(pthread_self(), fmt::format("shard-{}", options_.index).c_str());
  if (options_.pin) pin_to_core(options_.index);
  io::RingOptions ring_options;
  ring_options.spin = options_.limits.spin;
  ring_options.tcp_congestion = options_.tcp_congestion;
  ring_options.registered_bytes_max = options_.memory_bytes;
  auto ring = io::RingIo::create(ring_options);
  if (!ring.has_value()) {
    started.set_value(ring.error());
    return;
  }
  ring_ = std::move(ring.value());
  try {
    make_parts();
  } catch (const std::bad_alloc&) {
    checkpoint_memory_.reset();
    ring_->attach_pool(nullptr);
    pool_.reset();
    ring_.reset();
    started.set_value(make_error(Errc::kNoSpace, fmt::format("shard {}: no memory for {} MiB of buffers: lower node.memory",
                                                             options_.index, options_.memory_bytes >> 20)));
    return;
  }
  started.set_value(boost::outcome_v2::success());

  const Status ended = ring_->run({});
  if (!ended.has_value()) {
    // Operations are in flight that a broken ring never ends: the memory that they use must stay.
    fatal_(fmt::format("shard {}: {}", options_.index, ended.error().message));
    std::abort();
  }
  refusals_.reset();
  clients_.reset();
  client_log_.reset();
  claim_.reset();
  volumes_.clear();
  checkpoint_memory_.reset();
  ring_->attach_pool(nullptr);
  pool_.reset();
  ring_left_.acquire();
  ring_.reset();
}

/// Everything on the ring, in order of need. Throws std::bad_alloc.
void Shard::make_parts() {
  pool_ = std::make_unique<io::BufferPool>(options_.memory_bytes, [this](std::byte* data, size_t bytes) {
    ring_->register_chunk(data, bytes);
    note_growth();
  }, std::move(populator_));
  ring_->attach_pool(pool_.get());
  checkpoint_memory_ = std::make_unique<CheckpointMemory>(*pool_);
  nbd::ClientLog& client_lines = *this;
  client_log_ = std::make_unique<nbd::LimitedClientLog>(*ring_, client_lines);
  clients_ = std::make_unique<nbd::ConnectionSet>(*ring_, *pool_, *client_log_,
                                                  nbd::ConnectionOptions{.stall_timeout = options_.limits.client_stall_timeout});
  refusals_ = std::make_unique<repl::Refusals>(*ring_, *pool_);
}

/// Memory is made ready and registered as it comes into use: that may fail long after the start. Merely slower, told once.
void Shard::note_growth() {
  if (!ring_->registration_failure().empty() && !std::exchange(registration_told_, true)) {
    log::warn({.shard = options_.index}, "shard {}: {}", options_.index, ring_->registration_failure());
  }
  if (!pool_->populate_failure().empty() && !std::exchange(populating_told_, true)) {
    log::warn({.shard = options_.index}, "shard {}: memory cannot be made ready before it is needed, clients wait for it: {}", options_.index,
              pool_->populate_failure());
  }
}

void Shard::run(std::function<void()> action) { ring_->post(new ActionMessage(std::move(action))); }

void Shard::client_line(const nbd::ClientLine& line) {
  log::warn({.volume = line.volume, .client = line.address, .left_out = line.left_out}, "nbd: {}", line.words);
}

void Shard::open_volume(const repl::VolumeOptions& options, std::function<void(Status)> done) {
  // Here and not by the caller: they may have changed while the order was on its way.
  repl::VolumeOptions limited = options;
  limited.replica_timeout = options_.limits.replica_timeout;
  limited.wait_for_lost_replicas = options_.limits.wait_for_lost_replicas;
  limited.store.wal_retain_percent = options_.limits.wal_retain_percent;
  volumes_.push_back(std::make_unique<repl::Volume>(*ring_, *pool_, *checkpoint_memory_, limited));
  volumes_.back()->open(std::move(done));
}

void Shard::add_volume(const repl::VolumeOptions& options, std::function<void(Status)> done) {
  RINGBOLT_ASSERT(claim_ == nullptr);
  claim_ = std::make_unique<ReserveClaim>(*ring_, *pool_);
  claim_->start([this, added = repl::VolumeOptions(options), done = std::move(done)](std::shared_ptr<io::BufferReserve> reserve) mutable {
    run([this] { claim_.reset(); });  // not from inside
    if (reserve == nullptr) {
      return done(make_error(Errc::kBusy, fmt::format("volume {}: clients have had all memory of shard {} for {} s; try again, or give node.memory more",
                                                      added.store.name, options_.index, ReserveClaim::kPatience / io::kSecond)));
    }
    added.store.reserve = std::move(reserve);
    open_volume(added, [this, name = added.store.name, done](const Status& status) {
      const std::string& failure = find_volume(name)->open_failure();
      if (status.has_value() && !failure.empty()) return done(make_error(Errc::kIo, failure));
      done(status);
    });
  });
}

void Shard::close_volume(const std::string& name, std::function<void()> done) {
  repl::Volume* const volume = find_volume(name);
  if (volume == nullptr) return done();
  volume->stop([this, volume, done = std::move(done)](const Status& status) {
    if (!status.has_value()) log::error({.volume = volume->name()}, "closed with {}", status.error().message);
    // From inside the volume: it is destroyed in a message of its own.
    run([this, volume, done] {
      std::erase_if(volumes_, [volume](const auto& one) { return one.get() == volume; });
      done();
    });
  });
}

void Shard::change(const ShardLimits& limits) {
  options_.limits = limits;
  ring_->set_spin(limits.spin);
  clients_->set_stall_timeout(limits.client_stall_timeout);
  for (const auto& volume : volumes_) volume->change(limits.replica_timeout, limits.wait_for_lost_replicas, limits.wal_retain_percent);
}

repl::Volume* Shard::find_volume(const std::string& name) {
  for (const auto& volume : volumes_) {
    if (volume->name() == name) return volume.get();
  }
  return nullptr;
}

void Shard::add_client(nbd::Client client) {
  if (repl::Volume* volume = find_volume(client.negotiated.export_name)) {
    static_cast<void>(clients_->add(std::move(client), *volume));
    return;
  }
  // Deleted since the directory named its owner.
  client_log_->line({.words = "refused: there is no such volume any more", .address = client.address, .volume = client.negotiated.export_name});
  ring_->close_socket(client.socket);
}

void Shard::take_call(const repl::PeerCall& call) {
  if (repl::Volume* volume = find_volume(call.hello.volume_name)) return volume->take_call(call);
  refusals_->refuse(call, repl::Reason::kWrongVolume, Uuid{}, Epoch{}, fmt::format("no volume {} here", call.hello.volume_name));
}

ShardMetrics Shard::metrics() const {
  const auto seconds = [](io::Nanos time) { return static_cast<double>(time) / static_cast<double>(io::kSecond); };
  const io::RingCounters& counters = ring_->counters();
  ShardMetrics m;
  m.index = options_.index;
  m.turns = counters.turns;
  m.enters = counters.enters;
  m.submissions = counters.submitted;
  m.completions = counters.completions;
  m.doorbells = counters.doorbells;
  m.messages = counters.messages;
  m.seconds_asleep = seconds(counters.asleep);
  m.seconds_spinning = seconds(counters.spinning);
  m.seconds_working = seconds(ring_->running_time() - counters.asleep - counters.spinning);
  m.seconds_of_cpu = io::thread_cpu_seconds();
  m.allocated_bytes = io::thread_allocated_bytes();
  m.mailbox_messages = ring_->messages_waiting();
  m.pool_limit_bytes = pool_->limit_bytes();
  m.pool_used_bytes = pool_->used_bytes();
  m.pool_aside_bytes = pool_->aside_bytes();
  m.pool_waiting = pool_->waiters();
  m.pool_waits = pool_->waits();
  m.clients = clients_->count();
  m.volumes = volumes_.size();
  return m;
}

void Shard::stop_volumes(std::function<void()> done) {
  stopped_ = std::move(done);
  parts_stopping_ = volumes_.size() + 2;
  ring_->arm(stop_patience_, kClientsPatience);
  clients_->close_all([this] {
    begin_stop();
    part_stopped();
  });
}

/// When the clients are gone, or have had their time: then the volumes end what is left.
void Shard::begin_stop() {
  if (std::exchange(stop_begun_, true)) return;
  ring_->disarm(stop_patience_);
  refusals_->stop([this] { part_stopped(); });
  for (const auto& volume : volumes_) {
    volume->stop([this, name = volume->name()](const Status& status) {
      if (!status.has_value()) log::error({.volume = name}, "stopped with {}", status.error().message);
      part_stopped();
    });
  }
}

void Shard::part_stopped() {
  if (--parts_stopping_ == 0) stopped_();
}

}  // namespace ringbolt

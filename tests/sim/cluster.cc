// Bodies of Cluster.
#include "cluster.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "../unit/seed_stride.h"
#include "log/log.h"
#include "process.h"
#include "ringbolt/assert.h"

namespace ringbolt::sim {

using io::kMillisecond;
using io::kSecond;

struct Cluster::Boot final : Process {
  using Process::Process;
  /// What each position was when looked at last.
  uint64_t head = 0, written = 0, durable = 0, checkpoint = 0, committed = 0;
};

Cluster::Cluster(const ClusterOptions& options)
    : world(io::SimOptions{.seed = options.seed}),
      model(options.volume_bytes / kCellBytes),
      load(world, model, options.seed),
      options_(options), size_bytes_(options.volume_bytes) {
  log::set_level(std::getenv("RINGBOLT_TEST_LOG") != nullptr ? log::Level::kInfo
                                                             : log::Level::kError);
  for (size_t i = 0; i < options.nodes; ++i) {
    auto node = std::make_unique<Node>();
    node->id = "n" + std::to_string(i + 1);
    node->sim = &world.add_node(node->id);
    nodes_.push_back(std::move(node));
  }
}

Cluster::~Cluster() {
  load.lost();
  for (const auto& node : nodes_) {
    if (node->boot == nullptr) continue;
    node->sim->crash();
    node->boot.reset();
  }
  log::set_level(log::Level::kInfo);
}

void Cluster::configure_pair() {
  for (size_t i = 1; i < nodes_.size(); ++i) {
    nodes_[0]->assignment.replicas.push_back(i);
    nodes_[i]->assignment = Assignment{};
  }
  nodes_[0]->assignment.role = Role::kPrimary;
}

repl::VolumeOptions Cluster::volume_options(size_t index) const {
  const Node& node = *nodes_[index];
  const Assignment& a = node.assignment;
  repl::VolumeOptions o;
  o.store.name = "vol0";
  o.store.node_id = node.id;
  o.store.directory = directory();
  o.store.volume_bytes = options_.volume_bytes;
  o.store.wal_bytes = a.wal_bytes != 0 ? a.wal_bytes : options_.wal_bytes;
  o.store.adopt_base = a.role == Role::kPrimary;
  o.role = a.role;
  o.durability = options_.durability;
  o.epoch = a.epoch;
  o.replica_timeout = options_.replica_timeout;
  o.new_volume.bytes.fill(static_cast<uint8_t>(1 + options_.seed % 255));
  for (const size_t replica : a.replicas) o.replicas.push_back({name(replica), address(replica)});
  return o;
}

// --- starting and ending -------------------------------------------------------------------------

std::optional<Error> Cluster::try_start(size_t index) {
  Node& node = *nodes_[index];
  REQUIRE(node.boot == nullptr);
  node.stopped = false;
  node.boot = std::make_unique<Boot>(*node.sim, options_.pool_bytes);
  Boot& boot = *node.boot;
  static_cast<void>(boot.io->make_directory("/data"));
  repl::VolumeOptions options = volume_options(index);
  if (adjust_options) adjust_options(options);
  boot.volume = std::make_unique<repl::Volume>(*boot.io, *boot.pool, *boot.memory, options);
  std::optional<Status> opened;
  boot.volume->open([&opened](Status status) { opened = std::move(status); });
  REQUIRE(run_until([&] { return opened.has_value(); }, 60 * kSecond));
  if (!opened->has_value()) {
    ended(index);
    return opened->error();
  }
  repl::CallRouter& router = boot;
  boot.acceptor = std::make_unique<repl::PeerAcceptor>(*boot.io, router);
  REQUIRE(boot.acceptor->listen(address(index)).has_value());
  return std::nullopt;
}

void Cluster::start(size_t node) {
  // A killed predecessor's late writes keep the files busy for a while.
  for (int attempt = 0; attempt < 20; ++attempt) {
    const auto error = try_start(node);
    if (!error) return;
    INFO(error->message);
    REQUIRE(error->code == Errc::kBusy);
    run_for(200 * kMillisecond);
  }
  FAIL("the files stay busy");
}

void Cluster::start_all() {
  for (size_t i = nodes_.size(); i > 0; --i) start(i - 1);
}

Error Cluster::start_failing(size_t node) {
  const auto error = try_start(node);
  REQUIRE(error.has_value());
  return *error;
}

void Cluster::ended(size_t index) {
  if (load_at_ == index) abandon_load();
  nodes_[index]->boot.reset();
}

void Cluster::kill(size_t node) {
  nodes_[node]->sim->crash();
  ended(node);
}

void Cluster::power_loss(size_t node, io::SimPowerLoss mode) {
  nodes_[node]->sim->power_loss(mode);
  ended(node);
}

void Cluster::begin_stop(size_t index) {
  Node& node = *nodes_[index];
  Boot& boot = *node.boot;
  boot.acceptor->stop([&node, &boot] {
    boot.volume->stop([&node](const Status& status) {
      CHECK(status.has_value());
      node.stopped = true;
    });
  });
}

void Cluster::reap(size_t node) {
  REQUIRE(nodes_[node]->stopped);
  ended(node);
}

void Cluster::stop(size_t node) {
  REQUIRE(load_at_ != node);
  begin_stop(node);
  REQUIRE(run_until([&] { return stop_done(node); }, 60 * kSecond));
  reap(node);
}

// --- time ----------------------------------------------------------------------------------------

bool Cluster::run_until(const std::function<bool()>& done, io::Nanos limit) {
  return world.run_until(
      [&] {
        if (++steps_ % 256 == 0) check_invariants();
        return done();
      },
      limit);
}

void Cluster::run_for(io::Nanos duration) {
  static_cast<void>(run_until([] { return false; }, duration));
}

bool Cluster::wait_serving(size_t node, io::Nanos limit) {
  return run_until(
      [&] {
        return steps_ % 16 == 0 && status(node).role == "primary" && status(node).role_applied;
      },
      limit);
}

bool Cluster::wait_in_sync(size_t node, size_t replica, io::Nanos limit) {
  return run_until(
      [&] {
        if (steps_ % 16 != 0) return false;
        return replica_status(node, replica).in_sync && session_kind(node, replica) == "keepup";
      },
      limit);
}

void Cluster::check_invariants() {
  for (const auto& node : nodes_) {
    if (node->boot == nullptr || node->boot->volume == nullptr || node->stopped) continue;
    Boot& boot = *node->boot;
    const VolumeStatus s = boot.volume->status();
    if (!s.wal_head) continue;
    // While a replica cuts its tail its log is being read again.
    if (s.role == "replica" && *s.wal_head < *s.written_lsn) continue;
    INFO(node->id << " " << s.role << " checkpoint " << *s.checkpoint_lsn << " durable "
                  << *s.durable_lsn << " written " << *s.written_lsn << " head " << *s.wal_head);
    const bool ordered = *s.checkpoint_lsn <= *s.durable_lsn && *s.durable_lsn <= *s.written_lsn &&
                         *s.written_lsn <= *s.wal_head;
    if (!ordered) FAIL("positions out of order");
    // A copy that is being rebuilt has given up what it had, and begins where its primary's log ends now.
    const auto anew = [&] {
      const auto superblock = read_superblock(*node->sim, directory());
      return s.role == "replica" && superblock && superblock->rebuild_mark;
    };
    if (*s.checkpoint_lsn < boot.checkpoint && !anew()) FAIL("the checkpoint went back");
    boot.checkpoint = *s.checkpoint_lsn;
    if (s.committed_lsn) {
      if (s.role == "primary" && *s.committed_lsn < boot.committed) FAIL("committed went back");
      if (s.role == "primary") boot.committed = *s.committed_lsn;
      committed_seen_ = std::max(committed_seen_, Lsn(*s.committed_lsn));
    }
    if (s.role == "primary") {
      if (*s.wal_head < boot.head || *s.written_lsn < boot.written ||
          *s.durable_lsn < boot.durable) {
        FAIL("a position went back");
      }
      for (const ReplicaStatus& r : s.replicas) {
        if (r.written_lsn && *r.written_lsn > *s.wal_head) FAIL("a replica is beyond the head");
        if (r.written_lsn && *r.durable_lsn > *r.written_lsn) FAIL("durable beyond written");
      }
    }
    boot.head = *s.wal_head;
    boot.written = *s.written_lsn;
    boot.durable = *s.durable_lsn;
    if (boot.pool->used_bytes() > boot.pool->limit_bytes()) FAIL("the pool is beyond its limit");
  }
}

// --- clients -------------------------------------------------------------------------------------

void Cluster::begin_load(size_t node) {
  load_at_ = node;
  load.start(*nodes_[node]->boot->volume, *nodes_[node]->boot->pool);
}

void Cluster::end_load() {
  load.pause();
  REQUIRE(run_until([&] { return load.idle(); }, 60 * kSecond));
  load.lost();
  load_at_.reset();
}

void Cluster::abandon_load() {
  load.lost();
  load_at_.reset();
}

void Cluster::read_back(size_t node) {
  load.start(*nodes_[node]->boot->volume, *nodes_[node]->boot->pool);
  load.pause();
  std::optional<bool> ok;
  load.read_all({}, [&ok](bool result) { ok = result; });
  REQUIRE(run_until([&] { return ok.has_value(); }, 60 * kSecond));
  REQUIRE(*ok);
  load.lost();
  check_history();
}

void Cluster::read_recovered(size_t node) {
  check_history();
  load.start(*nodes_[node]->boot->volume, *nodes_[node]->boot->pool);
  load.pause();
  std::optional<bool> ok;
  load.read_all(
      [this](uint64_t cell, std::optional<uint64_t> value) { model.recovered(cell, value); },
      [&ok](bool result) { ok = result; });
  REQUIRE(run_until([&] { return ok.has_value(); }, 60 * kSecond));
  REQUIRE(*ok);
  load.lost();
  check_history();
}

void Cluster::note_size(uint64_t bytes) {
  size_bytes_ = bytes;
  model.grow(bytes / kCellBytes);
  load.grow();
}

void Cluster::check_history() {
  const std::string violation = model.check();
  INFO(violation);
  REQUIRE(violation.empty());
}

std::optional<RequestError> Cluster::request(size_t node, RequestKind kind, uint64_t offset,
                                             uint64_t length, uint64_t value, bool fua,
                                             io::Nanos limit) {
  struct Open {
    Request request;
    std::vector<std::byte> bytes;
    std::optional<RequestError> answer;
  };
  // Kept until the process ends: a request that stays open may be touched later.
  static std::vector<std::unique_ptr<Open>> all;
  all.push_back(std::make_unique<Open>());
  Open& open = *all.back();
  open.request.kind = kind;
  open.request.offset = offset;
  open.request.length = length;
  open.request.fua = fua;
  open.request.owner = &open;
  open.request.done = [](Request& r, RequestError error) {
    static_cast<Open*>(r.owner)->answer = error;
  };
  if (kind == RequestKind::kWrite) {
    open.bytes.resize(length);
    for (uint64_t at = 0; at + kCellBytes <= length; at += kCellBytes) {
      fill_cell(open.bytes.data() + at, value);
    }
    open.request.payload = open.bytes.data();
  }
  volume(node).submit(open.request);
  static_cast<void>(run_until([&] { return open.answer.has_value(); }, limit));
  return open.answer;
}

std::optional<uint64_t> Cluster::read_cell(size_t node, uint64_t cell) {
  const uint64_t offset = cell * kCellBytes;
  Request request;
  request.offset = offset;
  request.length = kCellBytes;
  request.buffer = pool(node).allocate(kBlockBytes);
  REQUIRE(request.buffer);
  std::optional<RequestError> answer;
  request.owner = &answer;
  request.done = [](Request& r, RequestError error) {
    *static_cast<std::optional<RequestError>*>(r.owner) = error;
  };
  volume(node).submit(request);
  REQUIRE(run_until([&] { return answer.has_value(); }, 20 * kSecond));
  REQUIRE(*answer == RequestError::kNone);
  const auto value = cell_value(request.buffer.data + offset % kBlockBytes);
  pool(node).release(request.buffer);
  return value;
}

// --- looking -------------------------------------------------------------------------------------

repl::Volume& Cluster::volume(size_t node) { return *nodes_[node]->boot->volume; }
io::BufferPool& Cluster::pool(size_t node) { return *nodes_[node]->boot->pool; }
VolumeStatus Cluster::status(size_t node) const { return nodes_[node]->boot->volume->status(); }

ReplicaStatus Cluster::replica_status(size_t node, size_t replica) const {
  for (const ReplicaStatus& r : status(node).replicas) {
    if (r.id == name(replica)) return r;
  }
  return {};
}

std::string Cluster::session_kind(size_t node, size_t replica) const {
  const ReplicaStatus r = replica_status(node, replica);
  return r.session && r.session->phase != "failed" ? r.session->kind : "";
}

CopyOnDisk Cluster::copy(size_t node) const {
  auto copy = read_copy(*nodes_[node]->sim, directory());
  REQUIRE(copy.has_value());
  return *copy;
}

std::vector<std::string> Cluster::in_sync_on_disk(size_t node) const {
  const auto superblock = read_superblock(*nodes_[node]->sim, directory());
  REQUIRE(superblock.has_value());
  return superblock->in_sync;
}

std::vector<std::byte> Cluster::image(size_t node) const {
  return nodes_[node]->sim->read_file(directory() + "/base", 0, size_bytes_);
}

void Cluster::check_logs() {
  for (size_t a = 0; a < nodes_.size(); ++a) {
    for (size_t b = a + 1; b < nodes_.size(); ++b) {
      const std::string difference = compare_logs(copy(a), copy(b));
      INFO(difference);
      REQUIRE(difference.empty());
    }
  }
}

void Cluster::check_images_equal(size_t a, size_t b) {
  const auto left = image(a), right = image(b);
  const auto ends = [this](size_t node) {
    const CopyOnDisk copy_there = copy(node);
    return fmt::format("{}: log to {}, checkpoint {}", name(node), copy_there.head().value(),
                       copy_there.superblock.checkpoint.value());
  };
  INFO(ends(a) << "; " << ends(b));
  size_t different = 0, first = 0;
  for (size_t at = 0; at < left.size(); at += kBlockBytes) {
    if (std::equal(left.begin() + static_cast<ptrdiff_t>(at),
                   left.begin() + static_cast<ptrdiff_t>(at + kBlockBytes),
                   right.begin() + static_cast<ptrdiff_t>(at))) {
      continue;
    }
    if (different++ == 0) first = at / kBlockBytes;
  }
  INFO(different << " blocks differ, the first is " << first);
  REQUIRE(different == 0);
}

void Cluster::check_base_committed(size_t node) {
  check_invariants();
  const std::string found =
      find_uncommitted_in_base(*nodes_[node]->sim, directory(), committed_seen_);
  INFO(found);
  REQUIRE(found.empty());
}

bool for_seeds(uint64_t first, uint64_t last, const std::function<void(uint64_t seed)>& story) {
  const auto number = [](const char* name) {
    const char* text = std::getenv(name);
    return text == nullptr ? uint64_t{0} : std::strtoull(text, nullptr, 10);
  };
  const uint64_t all = last;
  uint64_t stride = test::kSeedStride;
  if (const uint64_t more = number("RINGBOLT_SIM_SEEDS"); more > 0) {
    last = first + more - 1;
    stride = 1;
  }
  const uint64_t only = number("RINGBOLT_SIM_SEED");
  if (only > 0) first = last = only;
  for (uint64_t seed = first; seed <= last; seed += stride) {
    INFO("seed " << seed);
    story(seed);
  }
  return only == 0 && stride == 1 && last >= all;
}

}  // namespace ringbolt::sim

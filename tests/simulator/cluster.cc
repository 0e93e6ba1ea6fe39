// Bodies of Cluster.
#include "cluster.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::sim {

namespace {

io::SimOptions world_options(const Plan& plan) {
  io::SimOptions options{.seed = plan.seed};
  options.network.max *= plan.network_factor;
  options.connect_timeout = 3 * io::kSecond;
  return options;
}

}  // namespace

Cluster::Cluster(const Plan& of) : plan(of), world(world_options(of)), clients(world, of) {
  for (size_t i = 0; i < plan.nodes; ++i) {
    hosts.emplace_back();
    hosts.back().node = std::make_unique<Node>(world, fmt::format("n{}", i + 1));
    hosts.back().node->host().disk().set_locks(!defect(Defect::kLateWritesNotAwaited));
    fit.push_back(i);
  }
  hosts[0].role = Role::kPrimary;
}

Cluster::~Cluster() {
  clients.leave();
  for (Host& host : hosts) host.node->kill();
}

size_t Cluster::index_of(const std::string& id) const {
  for (size_t i = 0; i < size(); ++i) {
    if (this->id(i) == id) return i;
  }
  RINGBOLT_ASSERT(false);
  return 0;
}

std::vector<core::ReplicaAddress> Cluster::replicas_of(size_t index) const {
  std::vector<core::ReplicaAddress> replicas;
  for (size_t i = 0; i < size(); ++i) {
    if (i != index && hosts[i].member) replicas.push_back({id(i), hosts[i].node->address()});
  }
  return replicas;
}

size_t Cluster::members() const {
  return static_cast<size_t>(std::count_if(hosts.begin(), hosts.end(), [](const Host& host) { return host.member; }));
}

void Cluster::boot(size_t index) {
  Host& host = hosts[index];
  if (host.node->host().disk().flush_failed()) power_loss(index, io::SimPowerLoss::kRandom);  // fault_limits.h
  repl::VolumeOptions o;
  o.store.name = "vol0";
  o.store.node_id = id(index);
  o.store.directory = Node::directory();
  o.store.volume_bytes = plan.volume_bytes;
  o.store.wal_bytes = plan.wal_bytes;
  o.store.wal_retain_percent = plan.wal_retain_percent;
  o.store.adopt_base = host.role == Role::kPrimary;
  o.role = host.role;
  o.durability = plan.durability;
  o.epoch = host.epoch;
  o.replica_timeout = plan.replica_timeout;
  o.wait_for_lost_replicas = plan.wait_for_lost;
  o.rebuild->chunk_bytes = plan.chunk_bytes;
  o.rebuild->in_flight = plan.chunks_in_flight;
  o.new_volume.bytes.fill(static_cast<uint8_t>(1 + plan.seed % 255));
  if (host.role == Role::kPrimary) o.replicas = replicas_of(index);
  host.node->boot(o, plan.pool_bytes);
}

void Cluster::kill(size_t index) {
  if (clients.node() == hosts[index].node.get()) clients.leave();
  hosts[index].node->kill();
}

void Cluster::power_loss(size_t index, io::SimPowerLoss mode) {
  if (clients.node() == hosts[index].node.get()) clients.leave();
  // fault_limits.h: what tells rot from a torn tail stays.
  if (hosts[index].destroyed() && hosts[index].log_rotted) mode = io::SimPowerLoss::kKeepAll;
  hosts[index].node->power_loss(mode);
  hosts[index].lost_unflushed = true;
}

void Cluster::begin_stop(size_t index) {
  if (clients.node() == hosts[index].node.get()) clients.leave();
  hosts[index].node->begin_stop();
}

bool Cluster::is_failed(size_t index) const {
  return hosts[index].up() && hosts[index].node->volume().refusal().find("has failed here") != std::string::npos;
}

bool Cluster::is_damaged(size_t index) const {
  return hosts[index].up() && !hosts[index].node->volume().engine().state().copy.damage.empty();
}

bool Cluster::admits(size_t index) const { return hosts[index].up() && hosts[index].node->volume().refusal().empty(); }

bool Cluster::serves(size_t index) const {
  if (!admits(index)) return false;
  const VolumeStatus s = status(index);
  return s.role == "primary" && s.role_applied;
}

bool Cluster::in_step(size_t replica) const {
  for (const ReplicaStatus& r : status(primary).replicas) {
    // An order for a rebuild that is not carried out yet, or was cancelled, is not the end of it.
    if (r.id == id(replica)) return r.in_sync && r.rebuild_order == RebuildOrderStatus::kNone && r.session && r.session->kind == "keepup" && r.session->phase == "running";
  }
  return false;
}

std::vector<size_t> Cluster::fit_now() const {
  if (!clients.has_answered()) return fit;
  std::vector<size_t> now = {primary};
  if (const auto recorded = superblock(primary)) {
    for (const std::string& member : recorded->in_sync) now.push_back(index_of(member));
  }
  return now;
}

bool Cluster::whole() const {
  if (!serves(primary) || !clients.working() || clients.node() != hosts[primary].node.get()) return false;
  for (size_t i = 0; i < size(); ++i) {
    if (i == primary) continue;
    if (!hosts[i].member || !hosts[i].up() || is_failed(i) || !in_step(i)) return false;
  }
  return true;
}

}  // namespace ringbolt::sim

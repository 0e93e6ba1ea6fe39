#include "control/config_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "control/config_values.h"

namespace ringbolt {
namespace {

std::string text(const std::string& value) { return fmt::format("\"{}\"", value); }
std::string list(const std::vector<std::string>& values) {
  std::vector<std::string> parts;
  for (const std::string& value : values) parts.push_back(text(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}
std::string integer(const uint64_t& value) { return std::to_string(value); }
std::string small_integer(const uint32_t& value) { return std::to_string(value); }
std::string size(const uint64_t& bytes) { return text(format_size(bytes)); }
std::string duration(const int64_t& ns) { return text(format_duration(ns)); }
std::string percent(const uint32_t& value) { return text(fmt::format("{}%", value)); }
std::string flag(const bool& value) { return value ? "true" : "false"; }
std::string when_lost(const bool& wait) { return text(wait ? "wait" : "drop"); }
template <class T>
std::string word(const T& value) {
  return text(to_string(value));
}

template <class Owner, class Value>
Owner owner_of(Value Owner::*);

/// The key that a member of a struct holds.
template <auto kMember, auto kShow, class Owner = decltype(owner_of(kMember))>
constexpr ConfigField<Owner> key(const char* name, Effect effect, bool required = false) {
  return {name, effect, required, [](const Owner& owner) { return kShow(owner.*kMember); },
          [](Owner& into, const Owner& from) { into.*kMember = from.*kMember; }};
}

constexpr bool kRequired = true;

// What a shard, a listening socket or an opened file is made with waits for the next start.
constexpr ConfigField<Config> kConfig[] = {
    key<&Config::node_id, text>("node.id", Effect::kAtStart, kRequired),
    key<&Config::data_dir, text>("node.data_dir", Effect::kAtStart, kRequired),
    key<&Config::shards, small_integer>("node.shards", Effect::kAtStart),
    key<&Config::memory_bytes, size>("node.memory", Effect::kAtStart),
    key<&Config::spin_ns, duration>("node.spin", Effect::kAtReload),
    key<&Config::pin_shards, flag>("node.pin", Effect::kAtStart),
    // Of these two others are told at once.
    key<&Config::zone, text>("node.zone", Effect::kAtReload),
    key<&Config::host, text>("node.host", Effect::kAtReload),
    key<&Config::nbd_listen, list>("nbd.listen", Effect::kAtStart),
    // Those that are connected stay, also if they are more.
    key<&Config::nbd_connections_max, small_integer>("nbd.max_connections", Effect::kAtReload),
    key<&Config::nbd_handshake_timeout_ns, duration>("nbd.handshake_timeout", Effect::kAtReload),
    key<&Config::nbd_stall_timeout_ns, duration>("nbd.stall_timeout", Effect::kAtReload),
    key<&Config::nbd_tcp_congestion, text>("nbd.tcp_congestion", Effect::kAtStart),
    key<&Config::replication_listen, text>("replication.listen", Effect::kAtStart),
    key<&Config::replica_timeout_ns, duration>("replication.timeout", Effect::kAtReload),
    key<&Config::wait_for_lost_replicas, when_lost>("replication.when_lost", Effect::kAtReload),
    key<&Config::wal_retain_percent, percent>("replication.wal_retain", Effect::kAtReload),
    key<&Config::replication_tcp_congestion, text>("replication.tcp_congestion", Effect::kAtStart),
    key<&Config::admin_listen, text>("admin.listen", Effect::kAtStart),
    key<&Config::rebuild_rate_max, size>("rebuild.rate_max", Effect::kAtReload),
    // These two of rebuilds that begin from then on.
    key<&Config::rebuild_chunk_bytes, size>("rebuild.chunk", Effect::kAtReload),
    key<&Config::rebuild_in_flight, small_integer>("rebuild.in_flight", Effect::kAtReload),
    key<&Config::rebuild_parallel, small_integer>("rebuild.parallel", Effect::kAtReload),
    key<&Config::coordinator_endpoints, list>("coordinator.endpoints", Effect::kAtStart, kRequired),
    key<&Config::coordinator_cluster, text>("coordinator.cluster", Effect::kAtStart, kRequired),
    key<&Config::coordinator_lease_ns, duration>("coordinator.lease", Effect::kAtStart),
    key<&Config::coordinator_user, text>("coordinator.user", Effect::kAtStart),
    key<&Config::coordinator_password_file, text>("coordinator.password_file", Effect::kAtStart),
    key<&Config::coordinator_ca_file, text>("coordinator.ca_file", Effect::kAtStart),
    key<&Config::coordinator_cert_file, text>("coordinator.cert_file", Effect::kAtStart),
    key<&Config::coordinator_key_file, text>("coordinator.key_file", Effect::kAtStart),
    key<&Config::log_level, word<log::Level>>("log.level", Effect::kAtReload),
    // Who reads a log reads all of it in one way.
    key<&Config::log_format, word<log::Format>>("log.format", Effect::kAtStart),
};

// Roles, replicas and durability have an order of their own: an assignment, with an epoch (`ringboltctl assign`).
constexpr ConfigField<VolumeConfig> kVolume[] = {
    key<&VolumeConfig::name, text>("volume.name", Effect::kAtStart, kRequired),
    key<&VolumeConfig::size_bytes, size>("volume.size", Effect::kAtStart, kRequired),
    key<&VolumeConfig::wal_bytes, size>("volume.wal_size", Effect::kAtStart),
    key<&VolumeConfig::path, text>("volume.path", Effect::kAtStart),
    key<&VolumeConfig::wal_path, text>("volume.wal_path", Effect::kAtStart),
    key<&VolumeConfig::durability, word<Durability>>("volume.durability", Effect::kAtStart),
    key<&VolumeConfig::role, word<Role>>("volume.role", Effect::kAtStart),
    key<&VolumeConfig::epoch, integer>("volume.epoch", Effect::kAtStart),
};

constexpr ConfigField<ReplicaConfig> kReplica[] = {
    key<&ReplicaConfig::id, text>("volume.replica.id", Effect::kAtStart, kRequired),
    // Where a replica is found is no part of what it is.
    key<&ReplicaConfig::address, text>("volume.replica.address", Effect::kAtReload, kRequired),
};

}  // namespace

std::span<const ConfigField<Config>> config_fields() { return kConfig; }
std::span<const ConfigField<VolumeConfig>> volume_config_fields() { return kVolume; }
std::span<const ConfigField<ReplicaConfig>> replica_config_fields() { return kReplica; }

}  // namespace ringbolt

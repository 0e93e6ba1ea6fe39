#include "daemon/cluster_member.h"

#include <limits.h>
#include <unistd.h>

#include <array>

#include "control/config_values.h"
#include "coord/registration_id.h"
#include "io/durable_files.h"

namespace ringbolt {
namespace {

std::string machine_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name.front() != 0 ? std::string(name.data()) : std::string("localhost");
}

/// Where others find what listens on `address`: on every address of the host, then by the host's name.
std::string reachable(const std::string& address, const std::string& host) {
  Result<io::Address> parsed = parse_host_port(address);
  if (parsed.has_error()) return address;
  if (parsed.value().host == "0.0.0.0" || parsed.value().host == "::") parsed.value().host = host;
  return parsed.value().to_string();
}

}  // namespace

Result<std::optional<ClusterMember>> prepare_member(const Config& config) {
  if (config.coordinator_endpoints.empty()) return std::optional<ClusterMember>();
  ClusterMember member;
  const coord::Span lease = std::chrono::nanoseconds(config.coordinator_lease_ns);
  member.options = {.etcd = {}, .cluster = config.coordinator_cluster, .lease = lease, .data_dir = config.data_dir};
  BOOST_OUTCOME_TRY(member.options.etcd,
                    coord::read_etcd_options({config.coordinator_endpoints, config.coordinator_user, config.coordinator_password_file,
                                              {config.coordinator_ca_file, config.coordinator_cert_file, config.coordinator_key_file}, lease}));
  io::DurableFiles files;
  BOOST_OUTCOME_TRYV(files.make_directory(config.data_dir));
  BOOST_OUTCOME_TRY(member.registration, coord::registration_id(files, config.data_dir));
  member.incarnation = coord::random_id();
  return std::optional<ClusterMember>(std::move(member));
}

coord::NodeRecord node_record(const Config& config, const ClusterMember& member, const std::string& admin) {
  coord::NodeRecord record;
  record.id = config.node_id;
  record.incarnation = member.incarnation;
  record.registration = member.registration;
  record.host = config.host.empty() ? machine_name() : config.host;
  record.zone = config.zone;
  record.admin = reachable(admin, record.host);
  record.replication = reachable(config.replication_listen, record.host);
  for (const std::string& address : config.nbd_listen) {
    // A unix socket is of no use elsewhere.
    if (parse_host_port(address).has_value()) record.nbd.push_back(reachable(address, record.host));
  }
  record.version = RINGBOLT_VERSION;
  return record;
}

}  // namespace ringbolt

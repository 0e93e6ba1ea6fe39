// Fuzz target: the bodies of orders, an assignment's, a rebuild's, a comparison's, a deletion's and a new volume's, and the record that is kept of that. Any bytes give an order that keeps all limits, or
// one line that says what is wrong.
#include <cstdint>
#include <string_view>

#include "control/assignment_request.h"
#include "control/config_values.h"
#include "control/deletion_request.h"
#include "control/rebuild_request.h"
#include "control/volume_record.h"
#include "control/volume_request.h"
#include "ringbolt/assert.h"

namespace {

using namespace ringbolt;

void check_order(const AssignmentOrder& order) {
  RINGBOLT_ASSERT(order.epoch >= Epoch(1) && order.epoch.value() <= kEpochMax);
  RINGBOLT_ASSERT(order.authority == core::Authority::kAssigned || order.role == Role::kPrimary);
  if (!order.replicas) return;
  RINGBOLT_ASSERT(order.replicas->size() <= kReplicasMax);
  RINGBOLT_ASSERT(order.replicas->empty() || order.role == Role::kPrimary);
  for (size_t i = 0; i < order.replicas->size(); ++i) {
    const core::ReplicaAddress& replica = (*order.replicas)[i];
    RINGBOLT_ASSERT(check_node_id(replica.id).has_value() && check_peer_address(replica.address).has_value());
    for (size_t j = 0; j < i; ++j) {
      RINGBOLT_ASSERT((*order.replicas)[j].id != replica.id && (*order.replicas)[j].address != replica.address);
    }
  }
}

void check_volume(const VolumeConfig& volume) {
  RINGBOLT_ASSERT(check_volume_name(volume.name).has_value());
  RINGBOLT_ASSERT(volume.size_bytes >= kBlockBytes && volume.size_bytes <= kVolumeBytesMax && volume.size_bytes % kBlockBytes == 0);
  RINGBOLT_ASSERT(volume.wal_bytes >= kWalBytesMin && volume.wal_bytes <= kWalBytesMax && volume.wal_bytes % kBlockBytes == 0);
  RINGBOLT_ASSERT((volume.path.empty() || volume.path.front() == '/') && (volume.wal_path.empty() || volume.wal_path.front() == '/'));
  // What is kept of it is what it was.
  VolumeRecord record;
  record.volume = volume;
  const Result<VolumeRecord> kept = parse_volume_record(to_json(record));
  RINGBOLT_ASSERT(kept.has_value() && kept.value() == record);
}

void check_error(const Error& error, Errc code = Errc::kInvalid) {
  RINGBOLT_ASSERT(error.code == code && !error.message.empty());
  RINGBOLT_ASSERT(error.message.find('\n') == std::string::npos && error.message.size() < 1000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const Result<std::string> replica = parse_rebuild(body);
  if (replica.has_value()) {
    RINGBOLT_ASSERT(check_node_id(replica.value()).has_value());
  } else {
    check_error(replica.error());
  }
  const Result<std::optional<std::string>> compared = parse_verify(body);
  // Whatever is a rebuild's is a comparison's, too.
  RINGBOLT_ASSERT(!replica.has_value() || (compared.has_value() && compared.value() == replica.value()));
  if (compared.has_error()) check_error(compared.error());
  const Result<bool> forced = parse_deletion(body);
  if (forced.has_error()) check_error(forced.error());
  const Result<AssignmentOrder> order = parse_assignment(body);
  if (order.has_value()) {
    check_order(order.value());
  } else {
    check_error(order.error());
  }
  const Result<VolumeConfig> volume = parse_volume_request(body);
  if (volume.has_value()) {
    check_volume(volume.value());
  } else {
    check_error(volume.error());
  }
  const Result<VolumeRecord> record = parse_volume_record(body);
  if (record.has_value()) {
    check_volume(record.value().volume);
  } else {
    check_error(record.error(), Errc::kCorrupt);
  }
  return 0;
}

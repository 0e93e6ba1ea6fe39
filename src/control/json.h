// The admin API's JSON: field names and types are fixed by the interface, a number not known is null.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/daemon.h"
#include "control/error_codes.h"
#include "control/reload.h"
#include "control/status.h"
#include "control/volume_events.h"
#include "coord/status.h"

namespace ringbolt {

std::string to_json(const VolumeStatus& volume);
std::string to_json(const std::vector<VolumeStatus>& volumes);
std::string to_json(const NodeStatus& node);
std::string to_json(const RemovedVolume& removed);

/// Of GET /v1/volumes/NAME/why: the mode and the chain of facts behind it.
std::string why_json(const VolumeStatus& volume);

/// Of GET and POST /v1/volumes/NAME/verify.
std::string verify_json(const VolumeStatus& volume);

/// Of GET /v1/nodes. nullopt: there is no coordinator.
std::string nodes_json(const std::optional<coord::CoordinatorStatus>& coordinator);

/// Of POST /v1/node/reload.
std::string to_json(const ReloadReport& report);

/// The name and the data of an event of GET /v1/events.
const char* name_of(const Event& event);
std::string to_json(const Event& event);

/// `{"error": {"code": ..., "message": ...}}`
std::string error_json(ErrorCode code, std::string_view message);

}  // namespace ringbolt

// The text of GET /metrics: which families there are, what they are called, and what each of them shows. Pure.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "control/node_metrics.h"
#include "coord/status.h"
#include "io/process_facts.h"

namespace ringbolt {

/// How the configuration file was taken when it was last read again.
struct ReloadOutcome {
  bool successful = true;        ///< the one that the daemon started with was
  double successful_at = 0;      ///< seconds since 1970
};

/// What a volume's mode can be; the API's description has the same.
inline constexpr std::array<std::string_view, 6> kVolumeModes = {"allocated_only", "bootstrap_pending", "replica_ready", "publish_healthy", "degraded", "needs_rebuild"};

std::string metrics_text(const NodeMetrics& node, const io::ProcessFacts& process, const ReloadOutcome& reload,
                         const std::optional<coord::CoordinatorStatus>& coordinator = std::nullopt);

}  // namespace ringbolt

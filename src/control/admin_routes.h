// Which paths the admin API has, and which methods each of them takes. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringbolt {

enum class AdminResource : uint8_t {
  kPage, kOpenApi, kEvents, kMetrics, kHealth, kNode, kNodes, kReload, kVolumes, kVolume, kWhy, kAssignment, kRebuild, kRebuildOf, kVerify, kResize
};

struct AdminRoute {
  AdminResource resource;
  std::string volume;        ///< the NAME in the path; empty where there is none
  std::string replica;       ///< likewise REPLICA
  std::string_view methods;  ///< what the resource takes, as in an Allow header: "GET, HEAD"
  [[nodiscard]] bool takes(std::string_view method) const;
  /// Of the methods that it takes: whether that one orders something, and not only looks.
  [[nodiscard]] static bool is_order(std::string_view method) { return method != "GET" && method != "HEAD"; }
};

/// `path`: the segments of the request's target; nullopt if there is nothing there. NAME and REPLICA are
/// any text that is not empty: whether there are such is the daemon's to say.
std::optional<AdminRoute> find_route(const std::vector<std::string>& path);

/// All that there is: paths as in the API's description ("/v1/volumes/{name}"), and the methods of each.
struct AdminPath {
  std::string path;
  std::string_view methods;
};
std::vector<AdminPath> admin_paths();

}  // namespace ringbolt

#include "control/admin_routes.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ringbolt {
namespace {

constexpr std::string_view kRead = "GET, HEAD";
constexpr std::string_view kStream = "GET";
constexpr std::string_view kOrder = "POST";
constexpr std::string_view kReadOrOrder = "GET, HEAD, POST";
constexpr std::string_view kReadOrRemove = "GET, HEAD, DELETE";
constexpr std::string_view kRevoke = "DELETE";

struct Row {
  AdminResource resource;
  std::string_view methods;
  std::string_view path;  ///< segments separated by '/'; "*" stands for a name: first the volume's, then the replica's
};

constexpr Row kRows[] = {
    {AdminResource::kPage, kRead, ""},
    {AdminResource::kOpenApi, kRead, "openapi.json"},
    {AdminResource::kEvents, kStream, "v1/events"},
    {AdminResource::kMetrics, kRead, "metrics"},
    {AdminResource::kHealth, kRead, "healthz"},
    {AdminResource::kNode, kRead, "v1/node"},
    {AdminResource::kNodes, kRead, "v1/nodes"},
    {AdminResource::kReload, kOrder, "v1/node/reload"},
    {AdminResource::kVolumes, kReadOrOrder, "v1/volumes"},
    {AdminResource::kVolume, kReadOrRemove, "v1/volumes/*"},
    {AdminResource::kWhy, kRead, "v1/volumes/*/why"},
    {AdminResource::kAssignment, kOrder, "v1/volumes/*/assignment"},
    {AdminResource::kRebuild, kOrder, "v1/volumes/*/rebuild"},
    {AdminResource::kRebuildOf, kRevoke, "v1/volumes/*/rebuild/*"},
    {AdminResource::kVerify, kReadOrOrder, "v1/volumes/*/verify"},
    {AdminResource::kResize, kOrder, "v1/volumes/*/resize"},
};

using Names = std::array<std::string, 2>;

/// The names that stand for "*" in `pattern`, empty where it has none; nullopt if `path` is another one.
std::optional<Names> match(std::string_view pattern, const std::vector<std::string>& path) {
  if (path.empty()) return std::nullopt;
  Names names;
  size_t found = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    const size_t slash = pattern.find('/');
    const std::string_view expected = pattern.substr(0, slash);
    const bool is_name = expected == "*";
    if (is_name ? path[i].empty() : path[i] != expected) return std::nullopt;
    if (is_name) names[found++] = path[i];
    const bool last = slash == std::string_view::npos;
    if (last != (i + 1 == path.size())) return std::nullopt;
    if (!last) pattern.remove_prefix(slash + 1);
  }
  return names;
}

}  // namespace

bool AdminRoute::takes(std::string_view method) const {
  std::string_view rest = methods;
  while (!rest.empty()) {
    const size_t comma = rest.find(", ");
    if (rest.substr(0, comma) == method) return true;
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 2);
  }
  return false;
}

std::optional<AdminRoute> find_route(const std::vector<std::string>& path) {
  for (const Row& row : kRows) {
    if (const std::optional<Names> names = match(row.path, path)) return AdminRoute{row.resource, names->front(), names->back(), row.methods};
  }
  return std::nullopt;
}

std::vector<AdminPath> admin_paths() {
  std::vector<AdminPath> paths;
  for (const Row& row : kRows) {
    std::string path = "/";
    const char* name = "{name}";
    for (const char c : row.path) {
      if (c == '*') {
        path += std::exchange(name, "{replica}");
      } else {
        path += c;
      }
    }
    paths.push_back({std::move(path), row.methods});
  }
  return paths;
}

}  // namespace ringbolt

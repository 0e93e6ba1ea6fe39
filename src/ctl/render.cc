#include "ctl/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "ctl/table.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

/// The value under a dotted path such as "boundary.wal_head"; nullptr if there is none.
const json::value* find(const json::value& root, std::string_view path) {
  const json::value* at = &root;
  while (at != nullptr && !path.empty()) {
    const size_t dot = path.find('.');
    const std::string_view key = path.substr(0, dot);
    path.remove_prefix(dot == std::string_view::npos ? path.size() : dot + 1);
    const json::object* object = at->if_object();
    at = object == nullptr ? nullptr : object->if_contains(json::string_view(key.data(), key.size()));
  }
  return at;
}

std::optional<uint64_t> number(const json::value& root, std::string_view path) {
  const json::value* value = find(root, path);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  json::error_code error;
  const auto result = value->to_number<uint64_t>(error);
  return error ? std::nullopt : std::optional<uint64_t>(result);
}

std::string text(const json::value& root, std::string_view path) {
  const json::value* value = find(root, path);
  if (value == nullptr) return "?";
  if (value->is_null()) return "-";
  if (const json::string* string = value->if_string()) {
    return string->empty() ? "-" : std::string(string->data(), string->size());
  }
  if (const bool* flag = value->if_bool()) return *flag ? "yes" : "no";
  return value->is_number() ? json::serialize(*value) : "?";
}

bool flag(const json::value& root, std::string_view path) {
  const json::value* value = find(root, path);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::string bytes(const json::value& root, std::string_view path) {
  const std::optional<uint64_t> value = number(root, path);
  return value ? human_bytes(*value) : text(root, path);
}

/// The elements of an array; none if it is not one.
const json::array& elements(const json::value* value) {
  static const json::array kEmpty;
  const json::array* array = value == nullptr ? nullptr : value->if_array();
  return array == nullptr ? kEmpty : *array;
}

std::string replica_state(const json::value& replica) {
  if (flag(replica, "in_sync")) return flag(replica, "connected") ? "in sync" : "in sync, cut off";
  return flag(replica, "connected") ? "connected" : "cut off";
}

std::string session_words(const json::value& replica) {
  const json::value* session = find(replica, "session");
  if (session == nullptr || !session->is_object()) return "-";
  return fmt::format("{} {}", text(*session, "kind"), text(*session, "phase"));
}

/// The largest lag of any replica; "-" if none is known.
std::string worst_lag(const json::value& volume) {
  std::optional<uint64_t> worst;
  for (const json::value& replica : elements(find(volume, "replicas"))) {
    const std::optional<uint64_t> lag = number(replica, "lag_bytes");
    if (lag) worst = std::max(worst.value_or(0), *lag);
  }
  return worst ? human_bytes(*worst) : "-";
}

std::string replicas_in_sync(const json::value& volume) {
  const json::array& replicas = elements(find(volume, "replicas"));
  if (replicas.empty()) return "-";
  const auto in_sync = std::count_if(replicas.begin(), replicas.end(), [](const json::value& one) {
    return flag(one, "in_sync");
  });
  return fmt::format("{}/{}", in_sync, replicas.size());
}

std::string replica_text(const json::value& replica) {
  std::string result = field(
      "replica " + text(replica, "id"),
      fmt::format("{}, {}, written {}, durable {}, lag {}", text(replica, "address"),
                  replica_state(replica), text(replica, "written_lsn"),
                  text(replica, "durable_lsn"), bytes(replica, "lag_bytes")));
  const json::value* session = find(replica, "session");
  if (session == nullptr || !session->is_object()) return result;
  result += field(
      "  session",
      fmt::format("{}: {} {}, base {}, target {}, achieved {}", text(*session, "id"),
                  text(*session, "kind"), text(*session, "phase"), text(*session, "base_lsn"),
                  text(*session, "target_lsn"), text(*session, "achieved_lsn")));
  if (number(*session, "base_bytes_total").value_or(0) > 0) {
    result += field("  base copy",
                    fmt::format("{} of {}, {} skipped", bytes(*session, "base_bytes_done"),
                                bytes(*session, "base_bytes_total"),
                                bytes(*session, "base_bytes_skipped")));
  }
  if (text(*session, "reason") != "-") result += field("  reason", text(*session, "reason"));
  return result;
}

}  // namespace

std::string render_status(const json::value& volumes) {
  if (elements(&volumes).empty()) return "no volumes on this node\n";
  Table overview({{"VOLUME", false, true},
                  {"ROLE"},
                  {"EPOCH", true},
                  {"MODE"},
                  {"REPLICAS", true},
                  {"LAG", true}});
  Table replicas({{"REPLICA", false, true}, {"OF", false, true}, {"STATE"}, {"SESSION"},
                  {"LAG", true}});
  bool any_replica = false;
  for (const json::value& volume : elements(&volumes)) {
    overview.add_row({text(volume, "name"), text(volume, "role"), text(volume, "epoch"),
                      text(volume, "mode"), replicas_in_sync(volume), worst_lag(volume)});
    for (const json::value& replica : elements(find(volume, "replicas"))) {
      any_replica = true;
      replicas.add_row({text(replica, "id"), text(volume, "name"), replica_state(replica),
                        session_words(replica), bytes(replica, "lag_bytes")});
    }
  }
  const std::vector<std::string> lines = overview.lines();
  std::string result = lines[0] + "\n";
  size_t row = 1;
  for (const json::value& volume : elements(&volumes)) {
    result += lines[row++] + "\n";
    if (text(volume, "reason") != "-") result += field("  reason", text(volume, "reason"));
  }
  if (!any_replica) return result;
  result += "\n";
  for (const std::string& line : replicas.lines()) result += line + "\n";
  return result;
}

std::string render_volume(const json::value& volume) {
  std::string result = field("volume", text(volume, "name"));
  result += field("uuid", text(volume, "uuid"));
  result += field("size", fmt::format("{} ({} bytes)", bytes(volume, "size"), text(volume, "size")));
  result += field("role", fmt::format("{}, epoch {}", text(volume, "role"), text(volume, "epoch")));
  result += field("durability", text(volume, "durability"));
  result += field("mode", text(volume, "mode"));
  result += field("reason", text(volume, "reason"));
  result += field("healthy", text(volume, "healthy"));
  result += field("clients", text(volume, "clients"));
  result += field("wal", fmt::format("{} of {} used", bytes(volume, "wal.used_bytes"),
                                     bytes(volume, "wal.capacity_bytes")));
  result += field("positions",
                  fmt::format("tail {}, head {}, written {}, durable {}, committed {}, "
                              "checkpoint {}, target {}, achieved {}",
                              text(volume, "boundary.wal_tail"), text(volume, "boundary.wal_head"),
                              text(volume, "boundary.written_lsn"),
                              text(volume, "boundary.durable_lsn"),
                              text(volume, "boundary.committed_lsn"),
                              text(volume, "boundary.checkpoint_lsn"),
                              text(volume, "boundary.target_lsn"),
                              text(volume, "boundary.achieved_lsn")));
  result += field("readiness",
                  fmt::format("assigned {}, role applied {}, receiver ready {}, shipper "
                              "configured {}, shipper connected {}",
                              text(volume, "readiness.assigned"),
                              text(volume, "readiness.role_applied"),
                              text(volume, "readiness.receiver_ready"),
                              text(volume, "readiness.shipper_configured"),
                              text(volume, "readiness.shipper_connected")));
  for (const json::value& replica : elements(find(volume, "replicas"))) {
    result += replica_text(replica);
  }
  return result;
}

}  // namespace ringbolt::ctl

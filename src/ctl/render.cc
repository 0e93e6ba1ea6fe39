#include "ctl/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "ctl/pace.h"
#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {
namespace {

namespace json = boost::json;

std::string session_words(const json::value& replica) {
  const json::value* session = session_of(replica);
  if (session == nullptr) return "-";
  std::string words = fmt::format("{} {}", text(*session, "kind"), text(*session, "phase"));
  if (const std::optional<uint64_t> percent = percent_done(replica)) words += fmt::format(" {}%", *percent);
  return words;
}

/// A replica that only a rebuild brings back, and none is under way.
bool needs_rebuild(const json::value& replica) {
  const json::value* session = session_of(replica);
  if (session == nullptr || text(*session, "kind") != "rebuild") return false;
  return text(*session, "phase") == "idle" || text(*session, "phase") == "failed";
}

/// What a person can do about a replica, or what will be done; empty if there is nothing to say.
std::string replica_next_step(const json::value& volume, const json::value& replica) {
  const std::string order = text(replica, "rebuild_order");
  if (needs_rebuild(replica) && order == "cancelled") {
    return fmt::format("ringboltctl rebuild {} {} begins the rebuild that was cancelled; until then it does not count", text(volume, "name"),
                       text(replica, "id"));
  }
  if (needs_rebuild(replica)) return "it is rebuilt by itself as soon as that can begin, and does not count until that has ended";
  if (order == "ordered") return "a rebuild was ordered and begins soon";
  if (!flag(replica, "connected")) return fmt::format("see that {} runs there and can be reached", text(replica, "id"));
  return {};
}

/// What a person can do about the volume; empty if there is nothing to do.
std::string volume_next_step(const json::value& volume) {
  if (text(volume, "role") == "none") {
    return fmt::format("ringboltctl assign {} --role primary|replica --epoch N gives it a role", text(volume, "name"));
  }
  if (!flag(volume, "healthy")) return fmt::format("ringboltctl why {} tells how it came to this", text(volume, "name"));
  return {};
}

std::string optional_field(std::string_view title, const std::string& what) {
  return what.empty() || what == "-" ? std::string() : field(title, what);
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

std::string replica_text(const json::value& volume, const json::value& replica) {
  std::string result = field(
      "replica " + text(replica, "id"),
      fmt::format("{}, {}, written {}, durable {}, lag {}", text(replica, "address"),
                  replica_state(replica), text(replica, "written_lsn"),
                  text(replica, "durable_lsn"), bytes(replica, "lag_bytes")));
  const json::value* session = session_of(replica);
  if (session == nullptr) return result + optional_field("  next", replica_next_step(volume, replica));
  result += field(
      "  session",
      fmt::format("{}: {}, base {}, target {}, achieved {}", text(*session, "id"),
                  session_words(replica), text(*session, "base_lsn"),
                  text(*session, "target_lsn"), text(*session, "achieved_lsn")));
  if (text(*session, "kind") == "rebuild" && number(*session, "base_bytes_total").value_or(0) > 0) {
    result += field("  rebuild", rebuild_words(replica, std::nullopt));
  }
  if (flag(*session, "losing_ground")) result += field("  losing ground", kLosingGround);
  result += optional_field("  reason", text(*session, "reason"));
  return result + optional_field("  next", replica_next_step(volume, replica));
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
    result += optional_field("  reason", text(volume, "reason"));
    result += optional_field("  next", volume_next_step(volume));
  }
  if (!any_replica) return result;
  const std::vector<std::string> replica_lines = replicas.lines();
  result += "\n" + replica_lines[0] + "\n";
  row = 1;
  for (const json::value& volume : elements(&volumes)) {
    for (const json::value& replica : elements(find(volume, "replicas"))) {
      result += replica_lines[row++] + "\n";
      const json::value* session = session_of(replica);
      if (session != nullptr) result += optional_field("  reason", text(*session, "reason"));
      result += optional_field("  next", replica_next_step(volume, replica));
    }
  }
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
  result += optional_field("next", volume_next_step(volume));
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
    result += replica_text(volume, replica);
  }
  return result;
}

std::string render_why(const json::value& why) {
  std::string result = field("volume", fmt::format("{}, {} at epoch {}", text(why, "name"), text(why, "role"), text(why, "epoch")));
  result += field("mode", fmt::format("{}, {}", text(why, "mode"), flag(why, "healthy") ? "healthy" : "not healthy"));
  result += optional_field("reason", text(why, "reason"));
  size_t count = 0;
  for (const json::value& fact : elements(find(why, "facts"))) {
    const std::string words = fact.is_string() ? std::string(fact.get_string().data(), fact.get_string().size()) : "?";
    result += field(fmt::format("{} {}.", count == 0 ? "because" : "       ", count + 1), words);
    ++count;
  }
  return result;
}

}  // namespace ringbolt::ctl

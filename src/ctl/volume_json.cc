#include "ctl/volume_json.h"

#include <algorithm>
#include <boost/json.hpp>

#include "ctl/table.h"

namespace ringbolt::ctl {

namespace json = boost::json;

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

const json::array& elements(const json::value* value) {
  static const json::array kEmpty;
  const json::array* array = value == nullptr ? nullptr : value->if_array();
  return array == nullptr ? kEmpty : *array;
}

std::string replica_state(const json::value& replica) {
  if (flag(replica, "in_sync")) return flag(replica, "connected") ? "in sync" : "in sync, cut off";
  return flag(replica, "connected") ? "connected" : "cut off";
}

const json::value* session_of(const json::value& replica) {
  const json::value* session = find(replica, "session");
  return session != nullptr && session->is_object() ? session : nullptr;
}

std::optional<uint64_t> percent_done(const json::value& replica) {
  const json::value* session = session_of(replica);
  if (session == nullptr || text(*session, "phase") == "failed") return std::nullopt;
  const auto share = [](uint64_t done, uint64_t total) {
    return static_cast<uint64_t>(static_cast<double>(std::min(done, total)) / static_cast<double>(total) * 100);
  };
  const uint64_t bytes = number(*session, "base_bytes_total").value_or(0);
  // What is skipped is done: the log has brought something newer.
  const uint64_t bytes_done = number(*session, "base_bytes_done").value_or(0) + number(*session, "base_bytes_skipped").value_or(0);
  if (bytes > 0) return share(bytes_done, bytes);
  if (text(*session, "kind") != "catchup") return std::nullopt;
  const std::optional<uint64_t> from = number(*session, "base_lsn");
  const std::optional<uint64_t> to = number(*session, "target_lsn");
  const std::optional<uint64_t> now = number(replica, "written_lsn");
  if (!from || !to || !now || *to <= *from || *now < *from) return std::nullopt;
  return share(*now - *from, *to - *from);
}

}  // namespace ringbolt::ctl

#include "coord/node_record.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

namespace ringbolt::coord {
namespace {

namespace json = boost::json;

constexpr size_t kRecordBytesMax = 64u << 10;
constexpr size_t kTextBytesMax = 512;
constexpr size_t kAddressesMax = 64;
/// Free space is told again when it has changed by this part of all.
constexpr uint64_t kSpaceSteps = 32;

Error wrong(std::string_view what) { return make_error(Errc::kInvalid, fmt::format("no node's record: {}", what)); }

json::string json_text(std::string_view text) { return json::string(text.data(), text.size()); }

Status take(const json::value* value, std::string_view name, std::string& into) {
  if (value == nullptr) return boost::outcome_v2::success();
  if (!value->is_string() || value->get_string().size() > kTextBytesMax) return wrong(fmt::format("{} is no text of at most {} bytes", name, kTextBytesMax));
  into.assign(value->get_string().data(), value->get_string().size());
  return boost::outcome_v2::success();
}

Status take(const json::value* value, std::string_view name, uint64_t& into) {
  if (value == nullptr) return boost::outcome_v2::success();
  json::error_code error;
  into = value->to_number<uint64_t>(error);
  if (error) return wrong(fmt::format("{} is no number of bytes", name));
  return boost::outcome_v2::success();
}

Status take(const json::value* value, std::string_view name, std::vector<std::string>& into) {
  if (value == nullptr) return boost::outcome_v2::success();
  if (!value->is_array() || value->get_array().size() > kAddressesMax) return wrong(fmt::format("{} is no list of at most {}", name, kAddressesMax));
  for (const json::value& one : value->get_array()) {
    BOOST_OUTCOME_TRYV(take(&one, name, into.emplace_back()));
  }
  return boost::outcome_v2::success();
}

}  // namespace

std::string to_text(const NodeRecord& record) {
  json::array nbd;
  for (const std::string& address : record.nbd) nbd.push_back(json_text(address));
  return json::serialize(json::object{{"id", json_text(record.id)},
                                      {"incarnation", json_text(record.incarnation)},
                                      {"registration", json_text(record.registration)},
                                      {"admin", json_text(record.admin)},
                                      {"replication", json_text(record.replication)},
                                      {"nbd", std::move(nbd)},
                                      {"host", json_text(record.host)},
                                      {"zone", json_text(record.zone)},
                                      {"capacity_bytes", record.capacity_bytes},
                                      {"free_bytes", record.free_bytes},
                                      {"version", json_text(record.version)}});
}

Result<NodeRecord> parse_node_record(std::string_view text) {
  if (text.size() > kRecordBytesMax) return wrong(fmt::format("{} bytes", text.size()));
  json::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !value.is_object()) return wrong("not a JSON object");
  const json::object& object = value.get_object();
  NodeRecord record;
  const auto field = [&object](const char* name, auto& into) { return take(object.if_contains(name), name, into); };
  BOOST_OUTCOME_TRYV(field("id", record.id));
  BOOST_OUTCOME_TRYV(field("incarnation", record.incarnation));
  BOOST_OUTCOME_TRYV(field("registration", record.registration));
  BOOST_OUTCOME_TRYV(field("admin", record.admin));
  BOOST_OUTCOME_TRYV(field("replication", record.replication));
  BOOST_OUTCOME_TRYV(field("nbd", record.nbd));
  BOOST_OUTCOME_TRYV(field("host", record.host));
  BOOST_OUTCOME_TRYV(field("zone", record.zone));
  BOOST_OUTCOME_TRYV(field("capacity_bytes", record.capacity_bytes));
  BOOST_OUTCOME_TRYV(field("free_bytes", record.free_bytes));
  BOOST_OUTCOME_TRYV(field("version", record.version));
  if (record.id.empty() || record.incarnation.empty() || record.registration.empty()) return wrong("id, incarnation or registration is missing");
  return record;
}

bool worth_telling(const NodeRecord& told, const NodeRecord& now) {
  NodeRecord same_space = now;
  same_space.free_bytes = told.free_bytes;
  if (told != same_space) return true;
  const uint64_t change = told.free_bytes > now.free_bytes ? told.free_bytes - now.free_bytes : now.free_bytes - told.free_bytes;
  return change > now.capacity_bytes / kSpaceSteps;
}

}  // namespace ringbolt::coord

// As in config.cc the first error ends the reading, and travels as an exception inside this file.
#include "control/assignment_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "control/config_values.h"

namespace ringbolt {
namespace {

namespace json = boost::json;

constexpr std::string_view kOrderKeys[] = {"role", "epoch", "replicas", "durability", "promote", "force"};
constexpr std::string_view kReplicaKeys[] = {"id", "address"};

struct Bad {
  std::string message;
};

[[noreturn]] void fail(std::string message) { throw Bad{std::move(message)}; }

std::string_view view(json::string_view text) { return {text.data(), text.size()}; }

/// What a client sent, fit for a message.
std::string quoted(std::string_view text) {
  constexpr size_t kBytesMax = 64;
  std::string result = "\"";
  for (const char c : text.substr(0, kBytesMax)) result += c < 0x20 || c > 0x7e ? '?' : c;
  return result + (text.size() > kBytesMax ? "...\"" : "\"");
}

const char* kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "a boolean";
    case json::kind::int64: return "an integer";
    case json::kind::uint64: return "an integer";
    case json::kind::double_: return "a number with a fraction or out of range";
    case json::kind::string: return "a string";
    case json::kind::array: return "an array";
    case json::kind::object: return "an object";
  }
  return "an unknown type";
}

/// Listens to the parser and remembers each open object's keys. json::value would keep the last of two
/// equal ones in silence.
class DuplicateKeys {
 public:
  static constexpr size_t max_object_size = size_t(-1);
  static constexpr size_t max_array_size = size_t(-1);
  static constexpr size_t max_key_size = size_t(-1);
  static constexpr size_t max_string_size = size_t(-1);

  [[nodiscard]] const std::string& found() const { return found_; }

  bool on_object_begin(json::error_code&) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(size_t, json::error_code&) {
    open_.pop_back();
    return true;
  }
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    key_ += view(part);
    return true;
  }
  bool on_key(json::string_view part, size_t, json::error_code& error) {
    key_ += view(part);
    const auto [at, is_new] = open_.back().insert(std::exchange(key_, {}));
    if (is_new) return true;
    found_ = *at;
    error = json::error::syntax;  // ends the parsing; found() says why
    return false;
  }
  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t, json::error_code&) { return true; }
  bool on_string_part(json::string_view, size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, size_t, json::error_code&) { return true; }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, json::error_code&) { return true; }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { return true; }
  bool on_double(double, json::string_view, json::error_code&) { return true; }
  bool on_bool(bool, json::error_code&) { return true; }
  bool on_null(json::error_code&) { return true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  std::vector<std::set<std::string>> open_;
  std::string key_;
  std::string found_;
};

/// Fails unless the body is one JSON document without a key that is given twice in one object.
void check_syntax(std::string_view body) {
  json::basic_parser<DuplicateKeys> parser(json::parse_options{});
  json::error_code error;
  const size_t read = parser.write_some(false, body.data(), body.size(), error);
  if (!parser.handler().found().empty()) {
    fail(fmt::format("{} is given twice in one object, the second time before byte {}", quoted(parser.handler().found()), read));
  }
  if (error) fail(fmt::format("the body is not JSON: {} at byte {}", error.message(), read));
  if (read < body.size()) fail(fmt::format("the body has more than one JSON document, the second one from byte {}", read));
}

json::value parse_document(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    fail("the body is empty; an object with \"role\" and \"epoch\" is expected");
  }
  check_syntax(body);
  json::error_code error;
  json::value document = json::parse(json::string_view(body.data(), body.size()), error);
  if (error) fail(fmt::format("the body is not JSON: {}", error.message()));
  return document;
}

/// One object with the keys it may have; `where` ("", "replicas[0]") stands before messages.
class ObjectReader {
 public:
  ObjectReader(const json::value& value, std::string where, std::span<const std::string_view> keys)
      : where_(std::move(where)) {
    if (!value.is_object()) {
      fail(fmt::format("{}: expected an object, got {}", where_.empty() ? "the body" : where_, kind_name(value)));
    }
    object_ = &value.get_object();
    for (const auto& member : *object_) {
      const std::string_view key = view(member.key());
      if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
      fail(fmt::format("{}unknown key {}; the nearest known one is \"{}\"", where_.empty() ? "" : where_ + ": ", quoted(key),
                       nearest_word(key, keys)));
    }
  }

  [[noreturn]] void fail_at(std::string_view key, std::string_view message) const { fail(fmt::format("{}: {}", path(key), message)); }
  void require(std::string_view key, const Status& status) const {
    if (status.has_error()) fail_at(key, status.error().message);
  }
  [[nodiscard]] const json::value* find(std::string_view key) const {
    return object_->if_contains(json::string_view(key.data(), key.size()));
  }
  void require_key(std::string_view key) const {
    if (find(key) != nullptr) return;
    fail(fmt::format("{} has no \"{}\", which is required", where_.empty() ? "the body" : where_, key));
  }

  [[nodiscard]] std::string text(std::string_view key) const {
    const json::value& value = *find(key);
    if (!value.is_string()) fail_type(key, "a string", value);
    return std::string(view(value.get_string()));
  }
  [[nodiscard]] bool flag(std::string_view key) const {
    const json::value* value = find(key);
    if (value == nullptr) return false;
    if (!value->is_bool()) fail_type(key, "true or false", *value);
    return value->get_bool();
  }
  [[nodiscard]] uint64_t natural(std::string_view key, uint64_t min, uint64_t max) const {
    const json::value& value = *find(key);
    const std::string expected = fmt::format("an integer from {} to {}", min, max);
    const int64_t* small = value.if_int64();
    const uint64_t* large = value.if_uint64();
    if (small == nullptr && large == nullptr) fail_type(key, expected, value);
    if (small != nullptr && *small < 0) fail_at(key, fmt::format("expected {}, got {}", expected, *small));
    const uint64_t number = small != nullptr ? static_cast<uint64_t>(*small) : *large;
    if (number < min || number > max) fail_at(key, fmt::format("expected {}, got {}", expected, number));
    return number;
  }
  /// A word out of `meanings`.
  template <class T>
  [[nodiscard]] T word(std::string_view key, std::initializer_list<T> meanings) const {
    const std::string word = text(key);
    std::string known;
    for (const T meaning : meanings) {
      if (word == to_string(meaning)) return meaning;
      known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", to_string(meaning));
    }
    fail_at(key, fmt::format("{} is none of {}", quoted(word), known));
  }
  [[nodiscard]] const json::array& array(std::string_view key) const {
    const json::value& value = *find(key);
    if (!value.is_array()) fail_type(key, "an array of objects", value);
    return value.get_array();
  }

 private:
  [[nodiscard]] std::string path(std::string_view key) const {
    return where_.empty() ? std::string(key) : fmt::format("{}.{}", where_, key);
  }
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected, const json::value& got) const {
    fail_at(key, fmt::format("expected {}, got {}", expected, kind_name(got)));
  }

  const json::object* object_ = nullptr;
  std::string where_;
};

core::ReplicaAddress read_replica(const json::value& value, const std::vector<core::ReplicaAddress>& before) {
  const ObjectReader in(value, fmt::format("replicas[{}]", before.size()), kReplicaKeys);
  in.require_key("id");
  in.require_key("address");
  core::ReplicaAddress replica{in.text("id"), in.text("address")};
  in.require("id", check_node_id(replica.id));
  in.require("address", check_peer_address(replica.address));
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].id == replica.id) in.fail_at("id", fmt::format("{} is already replicas[{}]", quoted(replica.id), i));
    if (before[i].address == replica.address) {
      in.fail_at("address", fmt::format("{} is already the address of replicas[{}]", quoted(replica.address), i));
    }
  }
  return replica;
}

std::vector<core::ReplicaAddress> read_replicas(const ObjectReader& in, Role role) {
  const json::array& array = in.array("replicas");
  if (array.size() > kReplicasMax) {
    in.fail_at("replicas", fmt::format("{} replicas, at most {} are allowed", array.size(), kReplicasMax));
  }
  if (!array.empty() && role != Role::kPrimary) {
    in.fail_at("replicas", fmt::format("only a primary has replicas; the role is \"{}\"", to_string(role)));
  }
  std::vector<core::ReplicaAddress> replicas;
  for (const json::value& element : array) replicas.push_back(read_replica(element, replicas));
  return replicas;
}

core::Authority read_authority(const ObjectReader& in, Role role) {
  const bool promote = in.flag("promote");
  const bool force = in.flag("force");
  if (promote && role != Role::kPrimary) {
    in.fail_at("promote", fmt::format("only to primary is there a promotion; the role is \"{}\"", to_string(role)));
  }
  if (force && !promote) in.fail_at("force", "only a promotion can be forced: it needs \"promote\": true");
  if (force) return core::Authority::kForced;
  // Said as a promotion or not: an operator does not know by himself whether the copy has everything.
  return role == Role::kPrimary ? core::Authority::kPromoted : core::Authority::kAssigned;
}

AssignmentOrder read_order(const json::value& document) {
  const ObjectReader in(document, "", kOrderKeys);
  in.require_key("role");
  in.require_key("epoch");
  AssignmentOrder order;
  order.role = in.word("role", {Role::kPrimary, Role::kReplica, Role::kNone});
  order.epoch = Epoch(in.natural("epoch", 1, kEpochMax));
  if (in.find("durability") != nullptr) {
    order.durability = in.word("durability", {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll});
  }
  if (in.find("replicas") != nullptr) order.replicas = read_replicas(in, order.role);
  order.authority = read_authority(in, order.role);
  return order;
}

}  // namespace

Result<AssignmentOrder> parse_assignment(std::string_view body) {
  try {
    return read_order(parse_document(body));
  } catch (const Bad& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

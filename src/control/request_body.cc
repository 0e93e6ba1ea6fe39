#include "control/request_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <set>
#include <utility>
#include <vector>

#include "control/config_values.h"

namespace ringbolt::request_body {
namespace {

namespace json = boost::json;

std::string_view view(json::string_view text) { return {text.data(), text.size()}; }

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

}  // namespace

void fail(std::string message) { throw BadBody{std::move(message)}; }

std::string quoted(std::string_view text) {
  constexpr size_t kBytesMax = 64;
  std::string result = "\"";
  for (const char c : text.substr(0, kBytesMax)) result += c < 0x20 || c > 0x7e ? '?' : c;
  return result + (text.size() > kBytesMax ? "...\"" : "\"");
}

json::value parse_document(std::string_view body, std::string_view expected) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    fail(fmt::format("the body is empty; {} is expected", expected));
  }
  check_syntax(body);
  json::error_code error;
  json::value document = json::parse(json::string_view(body.data(), body.size()), error);
  if (error) fail(fmt::format("the body is not JSON: {}", error.message()));
  return document;
}

ObjectReader::ObjectReader(const json::value& value, std::string where, std::span<const std::string_view> keys) : where_(std::move(where)) {
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

void ObjectReader::fail_at(std::string_view key, std::string_view message) const { fail(fmt::format("{}: {}", path(key), message)); }

void ObjectReader::require(std::string_view key, const Status& status) const {
  if (status.has_error()) fail_at(key, status.error().message);
}

const json::value* ObjectReader::find(std::string_view key) const { return object_->if_contains(json::string_view(key.data(), key.size())); }

void ObjectReader::require_key(std::string_view key) const {
  if (find(key) != nullptr) return;
  fail(fmt::format("{} has no \"{}\", which is required", where_.empty() ? "the body" : where_, key));
}

std::string ObjectReader::text(std::string_view key) const {
  const json::value& value = *find(key);
  if (!value.is_string()) fail_type(key, "a string", value);
  return std::string(view(value.get_string()));
}

bool ObjectReader::flag(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr) return false;
  if (!value->is_bool()) fail_type(key, "true or false", *value);
  return value->get_bool();
}

uint64_t ObjectReader::natural(std::string_view key, uint64_t min, uint64_t max) const {
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

const json::array& ObjectReader::array(std::string_view key) const {
  const json::value& value = *find(key);
  if (!value.is_array()) fail_type(key, "an array of objects", value);
  return value.get_array();
}

std::string ObjectReader::path(std::string_view key) const { return where_.empty() ? std::string(key) : fmt::format("{}.{}", where_, key); }

void ObjectReader::fail_type(std::string_view key, std::string_view expected, const json::value& got) const {
  fail_at(key, fmt::format("expected {}, got {}", expected, kind_name(got)));
}

}  // namespace ringbolt::request_body

// An answer is read by functions that end with an exception (BadAnswer) at the first thing that is wrong, which travels no
// further than this file.
#include "coord/etcd_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "coord/base64.h"

namespace ringbolt::coord::etcd {
namespace {

namespace json = boost::json;

constexpr size_t kQuotedBytesMax = 300;

// --- requests -----------------------------------------------------------------------------------------------

json::string text_of(std::string_view text) { return json::string(text.data(), text.size()); }
json::string bytes_of(std::string_view bytes) { return text_of(to_base64(bytes)); }
json::string number_of(int64_t number) { return text_of(std::to_string(number)); }

/// The first key that does not begin with `prefix`: the last byte that can be raised, raised. "\0": there is none, all keys.
std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

json::object range_of(const Range& range) {
  json::object body{{"key", bytes_of(range.prefix && range.key.empty() ? std::string(1, '\0') : range.key)}};
  if (range.prefix) body["range_end"] = bytes_of(end_of_prefix(range.key));
  return body;
}

json::object put_of(const std::string& key, const std::string& value, LeaseId lease) {
  json::object body{{"key", bytes_of(key)}, {"value", bytes_of(value)}};
  if (lease != 0) body["lease"] = number_of(lease);
  return body;
}

json::object compare_of(const Compare& compare) {
  const auto equal = [&](const char* target, const char* field) {
    return json::object{{"key", bytes_of(compare.key)}, {"result", "EQUAL"}, {"target", target}, {field, number_of(compare.number)}};
  };
  switch (compare.of) {
    case Compare::Of::kCreated: return equal("CREATE", "create_revision");
    case Compare::Of::kModified: return equal("MOD", "mod_revision");
    case Compare::Of::kLease: break;
  }
  return equal("LEASE", "lease");
}

json::object range_request_of(const Range& range) {
  json::object body = range_of(range);
  if (range.limit != 0) body["limit"] = number_of(range.limit);
  return body;
}

json::object step_of(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kPut: return {{"request_put", put_of(step.range.key, step.value, step.lease)}};
    case Step::Kind::kRemove: return {{"request_delete_range", range_of(step.range)}};
    case Step::Kind::kRange: break;
  }
  return {{"request_range", range_request_of(step.range)}};
}

template <class Things, class Make>
json::array array_of(const Things& things, const Make& make) {
  json::array all;
  for (const auto& thing : things) all.push_back(make(thing));
  return all;
}

// --- answers ------------------------------------------------------------------------------------------------

struct BadAnswer {
  std::string message;
};

[[noreturn]] void bad(std::string message) { throw BadAnswer{std::move(message)}; }

/// Fit for a message: bounded; what is not printable is the log's to see to.
std::string quoted(std::string_view text) {
  std::string result(text.substr(0, kQuotedBytesMax));
  if (text.size() > kQuotedBytesMax) result += "...";
  return result;
}

json::value parse(std::string_view body) {
  json::error_code error;
  json::value value = json::parse(json::string_view(body.data(), body.size()), error);
  if (error) bad(fmt::format("the answer is not JSON: {}", error.message()));
  return value;
}

const json::object& object(const json::value& value, const char* what) {
  if (!value.is_object()) bad(fmt::format("{} is no object", what));
  return value.get_object();
}

const json::object& object_in(const json::object& in, const char* name) {
  static const json::object kEmpty;
  const json::value* const value = in.if_contains(name);
  return value == nullptr ? kEmpty : object(*value, name);
}

const json::array& array_in(const json::object& in, const char* name) {
  static const json::array kEmpty;
  const json::value* const value = in.if_contains(name);
  if (value == nullptr) return kEmpty;
  if (!value->is_array()) bad(fmt::format("{} is no array", name));
  return value->get_array();
}

std::string_view text_in(const json::object& in, const char* name) {
  const json::value* const value = in.if_contains(name);
  if (value == nullptr) return {};
  if (!value->is_string()) bad(fmt::format("{} is no text", name));
  return {value->get_string().data(), value->get_string().size()};
}

template <class Number>
Number number_in(const json::object& in, const char* name) {
  const json::value* const value = in.if_contains(name);
  if (value == nullptr) return 0;
  if (value->is_int64() && std::in_range<Number>(value->get_int64())) return static_cast<Number>(value->get_int64());
  if (value->is_uint64() && std::in_range<Number>(value->get_uint64())) return static_cast<Number>(value->get_uint64());
  Number number = 0;
  const std::string_view text = value->is_string() ? text_in(in, name) : std::string_view();
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size()) bad(fmt::format("{} is no number that is possible there", name));
  return number;
}

/// A revision or the like, of which none is negative.
int64_t natural_in(const json::object& in, const char* name) {
  const auto number = number_in<int64_t>(in, name);
  if (number < 0) bad(fmt::format("{} is negative", name));
  return number;
}

bool flag_in(const json::object& in, const char* name) {
  const json::value* const value = in.if_contains(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) bad(fmt::format("{} is neither true nor false", name));
  return value->get_bool();
}

std::string bytes_in(const json::object& in, const char* name) {
  std::optional<std::string> bytes = from_base64(text_in(in, name));
  if (!bytes) bad(fmt::format("{} is not Base64", name));
  return std::move(*bytes);
}

/// Every answer of etcd's has one; what has none is somebody else's.
Stamp stamp_in(const json::object& in) {
  const json::value* const value = in.if_contains("header");
  if (value == nullptr) bad("the answer has no header");
  const json::object& header = object(*value, "header");
  return {number_in<uint64_t>(header, "member_id"), number_in<uint64_t>(header, "raft_term"), natural_in(header, "revision")};
}

Entry entry_of(const json::object& in) {
  return {bytes_in(in, "key"),           bytes_in(in, "value"),    natural_in(in, "create_revision"), natural_in(in, "mod_revision"),
          number_in<int64_t>(in, "lease")};
}

std::vector<Entry> entries_in(const json::object& in) {
  std::vector<Entry> entries;
  for (const json::value& one : array_in(in, "kvs")) entries.push_back(entry_of(object(one, "an entry")));
  return entries;
}

Lease lease_of(const json::object& in) {
  const Lease lease{stamp_in(in), natural_in(in, "ID"), natural_in(in, "TTL")};
  // What is put under lease 0 stays for ever.
  if (lease.id == 0) bad("the answer names no lease");
  return lease;
}

template <class T, class Read>
Reply<T> reading(const Read& read) {
  try {
    return read();
  } catch (const BadAnswer& wrong) {
    return Failure{Trouble::kBadAnswer, wrong.message, true};
  }
}

// --- refusals -----------------------------------------------------------------------------------------------

/// Of gRPC, as far as they make a difference.
enum GrpcCode : int64_t {
  kCancelled = 1, kInvalidArgument = 3, kDeadlineExceeded = 4, kNotFound = 5, kPermissionDenied = 7, kResourceExhausted = 8,
  kAborted = 10, kUnavailable = 14, kUnauthenticated = 16
};

Refusal refusal_of(int64_t code, std::string_view message) {
  const auto says = [&](std::string_view words) { return message.find(words) != std::string_view::npos; };
  Refusal refusal{{Trouble::kRefused, message.empty() ? fmt::format("an error without words, of code {}", code) : quoted(message), false}};
  refusal.token_refused = says("invalid auth token") || says("revision of auth store is old");
  if (refusal.token_refused || code == kUnauthenticated || code == kPermissionDenied || says("authentication failed") || says("user name is empty") ||
      says("authentication is not enabled")) {
    refusal.failure.trouble = Trouble::kDenied;
  } else if (code == kNotFound && says("lease not found")) {
    refusal.failure.trouble = Trouble::kNotFound;
  } else if (code == kUnavailable || code == kDeadlineExceeded || code == kCancelled || code == kAborted) {
    // A member that lost its leader does not know what becomes of what it handed on.
    refusal.failure.trouble = Trouble::kUnreachable;
    refusal.failure.may_have_happened = true;
  } else if (code == kResourceExhausted && says("too many requests")) {
    refusal.failure.trouble = Trouble::kBusy;
  }
  return refusal;
}

/// In a stream.
Refusal refusal_in(const json::object& error) {
  // Of etcd 3.6 the gateway calls it another name.
  return refusal_of(number_in<int64_t>(error, error.contains("grpc_code") ? "grpc_code" : "code"), text_in(error, "message"));
}

WatchMessage watch_message(std::string_view line) {
  const json::value value = parse(line);
  const json::object& message = object(value, "a message");
  if (const json::value* const error = message.if_contains("error")) {
    return {0, {}, false, WatchEnd{refusal_in(object(*error, "error")).failure, 0}};
  }
  const json::object& result = object_in(message, "result");
  WatchMessage read{stamp_in(result).revision, {}, flag_in(result, "created"), std::nullopt};
  if (flag_in(result, "canceled")) {
    const Revision compacted = natural_in(result, "compact_revision");
    const std::string_view reason = text_in(result, "cancel_reason");
    read.end = WatchEnd{{compacted > 0 ? Trouble::kRefused : Trouble::kDenied,
                         compacted > 0 ? fmt::format("what was to be watched is compacted up to revision {}", compacted)
                                       : fmt::format("the watch was cancelled{}{}", reason.empty() ? "" : ": ", quoted(reason))},
                        compacted};
    return read;
  }
  for (const json::value& one : array_in(result, "events")) {
    const json::object& event = object(one, "an event");
    read.events.push_back({entry_of(object_in(event, "kv")), text_in(event, "type") == "DELETE"});
  }
  return read;
}

}  // namespace

std::string range_body(const Range& range) { return json::serialize(range_request_of(range)); }

std::string transaction_body(const Transaction& transaction) {
  return json::serialize(json::object{{"compare", array_of(transaction.compares, compare_of)},
                                      {"success", array_of(transaction.then, step_of)},
                                      {"failure", array_of(transaction.otherwise, step_of)}});
}

std::string grant_body(int64_t seconds) { return json::serialize(json::object{{"TTL", number_of(seconds)}}); }
std::string lease_body(LeaseId id) { return json::serialize(json::object{{"ID", number_of(id)}}); }

std::string watch_body(const Range& range, Revision from) {
  json::object create = range_of(range);
  create["start_revision"] = number_of(from);
  create["progress_notify"] = true;
  return json::serialize(json::object{{"create_request", create}});
}

std::string authenticate_body(const std::string& user, const std::string& password) {
  return json::serialize(json::object{{"name", text_of(user)}, {"password", text_of(password)}});
}

Reply<Entries> read_range(std::string_view body) {
  return reading<Entries>([&] {
    const json::value value = parse(body);
    const json::object& answer = object(value, "the answer");
    return Entries{stamp_in(answer), entries_in(answer), flag_in(answer, "more")};
  });
}

Reply<Stamp> read_stamp(std::string_view body) {
  return reading<Stamp>([&] {
    const json::value value = parse(body);
    return stamp_in(object(value, "the answer"));
  });
}

Reply<TransactionReply> read_transaction(std::string_view body, const Transaction& asked) {
  return reading<TransactionReply>([&] {
    const json::value value = parse(body);
    const json::object& answer = object(value, "the answer");
    TransactionReply reply{stamp_in(answer), flag_in(answer, "succeeded"), {}};
    const std::vector<Step>& steps = reply.held ? asked.then : asked.otherwise;
    const json::array& responses = array_in(answer, "responses");
    if (responses.size() != steps.size()) bad(fmt::format("{} responses to {} steps", responses.size(), steps.size()));
    for (size_t i = 0; i < steps.size(); ++i) {
      const json::object& response = object(responses[i], "a response");
      reply.entries.push_back(steps[i].kind == Step::Kind::kRange ? entries_in(object_in(response, "response_range")) : std::vector<Entry>());
    }
    return reply;
  });
}

Reply<Lease> read_grant(std::string_view body) {
  return reading<Lease>([&] {
    const json::value value = parse(body);
    return lease_of(object(value, "the answer"));
  });
}

Reply<Lease> read_renewal(std::string_view body) {
  return reading<Lease>([&]() -> Reply<Lease> {
    const json::value value = parse(body.substr(0, body.find('\n')));
    const json::object& answer = object(value, "the answer");
    if (const json::value* const error = answer.if_contains("error")) return refusal_in(object(*error, "error")).failure;
    return lease_of(object_in(answer, "result"));
  });
}

Reply<std::string> read_token(std::string_view body) {
  return reading<std::string>([&] {
    const json::value value = parse(body);
    const std::string_view token = text_in(object(value, "the answer"), "token");
    // It goes into a header.
    const bool possible = !token.empty() && token.size() <= 4096 && token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+/=") == std::string_view::npos;
    if (!possible) bad("the token is no possible one");
    return std::string(token);
  });
}

Refusal read_refusal(unsigned status, std::string_view body) {
  try {
    const json::value value = parse(body);
    const json::object& answer = object(value, "the answer");
    const json::value* const error = answer.if_contains("error");
    if (error != nullptr && error->is_object()) return refusal_in(error->get_object());
    const std::string_view message = text_in(answer, "message");
    return refusal_of(number_in<int64_t>(answer, "code"), message.empty() ? text_in(answer, "error") : message);
  } catch (const BadAnswer&) {
    // Of a proxy, or of another server altogether: the status is all that there is to say.
    const bool elsewhere = status >= 500;
    return {{elsewhere ? Trouble::kUnreachable : Trouble::kBadAnswer, fmt::format("HTTP status {}, and no words of etcd's", status), elsewhere}};
  }
}

Reply<std::vector<WatchMessage>> WatchReader::feed(std::string_view piece) {
  return reading<std::vector<WatchMessage>>([&] {
    std::vector<WatchMessage> messages;
    for (;;) {
      const size_t end = piece.find('\n');
      if (rest_.size() + std::min(end, piece.size()) > kAnswerBytesMax) bad(fmt::format("a message of more than {} bytes", kAnswerBytesMax));
      rest_ += piece.substr(0, end);
      if (end == std::string_view::npos) return messages;
      piece.remove_prefix(end + 1);
      const std::string line = std::exchange(rest_, {});
      if (!line.empty()) messages.push_back(watch_message(line));
    }
  });
}

}  // namespace ringbolt::coord::etcd

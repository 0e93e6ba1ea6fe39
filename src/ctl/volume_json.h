// A volume's JSON, as the API returns it, read for showing: a field that is missing or of another type (a daemon of
// another version) is "?", a null "-". Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringbolt::ctl {

/// The value under a dotted path such as "boundary.wal_head"; nullptr if there is none.
const boost::json::value* find(const boost::json::value& root, std::string_view path);
/// The number there; empty if there is none.
std::optional<uint64_t> number(const boost::json::value& root, std::string_view path);
/// What there is, in words.
std::string text(const boost::json::value& root, std::string_view path);
/// True if it is there and true.
bool flag(const boost::json::value& root, std::string_view path);
/// A number of bytes, for people.
std::string bytes(const boost::json::value& root, std::string_view path);
/// The elements of an array; none if it is not one.
const boost::json::array& elements(const boost::json::value* value);

/// "in sync", "cut off", ...
std::string replica_state(const boost::json::value& replica);
/// The replica's session; nullptr if it has none.
const boost::json::value* session_of(const boost::json::value& replica);
/// How much of a catch-up or rebuild is done, in percent; nullopt if it cannot be said.
std::optional<uint64_t> percent_done(const boost::json::value& replica);

}  // namespace ringbolt::ctl

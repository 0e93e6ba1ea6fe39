// Errors as values. One alias, so that the library behind it can change in one place
// (std::expected is not available to clang 14 with libstdc++ 12, hence Boost.Outcome).
#pragma once

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/all_narrow.hpp>
#include <boost/outcome/try.hpp>
#include <string>
#include <utility>

namespace ringbolt {

/// What a caller can decide on. One enumerator per different reaction, not per cause.
enum class Errc : uint8_t {
  kInvalid,        ///< the input is wrong; the message says what and where
  kNotFound,       ///< no such volume, file, ...
  kExists,         ///< already there
  kBusy,           ///< somebody else holds it; trying later can help
  kNotPermitted,   ///< the host does not allow it; the message says the remedy
  kNoSpace,        ///< device or budget is full
  kIo,             ///< the device or the network failed
  kCorrupt,        ///< checksummed bytes are not what was written
  kUnsupported,    ///< a format, version or feature that this build does not know
  kStaleEpoch,     ///< fenced by a higher epoch; the message names it
  kSuperseded,     ///< what was asked later took its place
};

/// A reason for people (`message`, one line, says what and where) and one for code (`code`).
struct Error {
  Errc code;
  std::string message;
};

/// A value or an Error. Use has_value(), value(), error() and BOOST_OUTCOME_TRY only.
template <class T>
using Result =
    boost::outcome_v2::basic_result<T, Error, boost::outcome_v2::policy::all_narrow>;

using Status = Result<void>;

inline Error make_error(Errc code, std::string message) { return Error{code, std::move(message)}; }

}  // namespace ringbolt

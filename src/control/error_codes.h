// Every `error.code` that the admin API answers with. Scripts and openapi.json depend on the names; a test holds the
// document against this list.
#pragma once

#include <array>
#include <cstdint>

namespace ringbolt {

enum class ErrorCode : uint8_t {
  kBadRequest,        ///< not a request that can be read
  kHeaderTooLarge,
  kBodyTooLarge,
  kNotFound,          ///< no such resource, volume or replica
  kMethodNotAllowed,
  kForbidden,         ///< orders are not taken from web pages
  kInvalid,           ///< the order cannot be meant
  kInvalidConfig,     ///< the configuration file cannot be read, or is wrong
  kStaleEpoch,        ///< the order is of an epoch that is over
  kSuperseded,        ///< another order took its place before it was done
  kRefused,           ///< this copy must not do that now
  kExists,            ///< there is such a volume, or one of its files is in use, already
  kUnsupported,
  kFailed,            ///< it was tried
  kStarting,          ///< the daemon is not ready yet
  kStopping,
  kBusy,              ///< too much of this kind at once
  kUnavailable,       ///< the daemon's shards did not answer in time
  kUnfinished,        ///< the order is still being carried out
};

inline constexpr std::array kErrorCodes = {
    ErrorCode::kBadRequest, ErrorCode::kHeaderTooLarge, ErrorCode::kBodyTooLarge, ErrorCode::kNotFound,
    ErrorCode::kMethodNotAllowed, ErrorCode::kForbidden, ErrorCode::kInvalid, ErrorCode::kInvalidConfig, ErrorCode::kStaleEpoch,
    ErrorCode::kSuperseded, ErrorCode::kRefused, ErrorCode::kExists, ErrorCode::kUnsupported, ErrorCode::kFailed,
    ErrorCode::kStarting, ErrorCode::kStopping, ErrorCode::kBusy, ErrorCode::kUnavailable, ErrorCode::kUnfinished,
};

constexpr const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBadRequest: return "bad_request";
    case ErrorCode::kHeaderTooLarge: return "header_too_large";
    case ErrorCode::kBodyTooLarge: return "body_too_large";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kMethodNotAllowed: return "method_not_allowed";
    case ErrorCode::kForbidden: return "forbidden";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kInvalidConfig: return "invalid_config";
    case ErrorCode::kStaleEpoch: return "stale_epoch";
    case ErrorCode::kSuperseded: return "superseded";
    case ErrorCode::kRefused: return "refused";
    case ErrorCode::kExists: return "exists";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kFailed: return "failed";
    case ErrorCode::kStarting: return "starting";
    case ErrorCode::kStopping: return "stopping";
    case ErrorCode::kBusy: return "busy";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kUnfinished: return "unfinished";
  }
  return "unknown";
}

}  // namespace ringbolt

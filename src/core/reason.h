// Why a session ended or something was refused: the fixed vocabulary of wire, engine, logs and API.
#pragma once

#include <cstdint>

namespace ringbolt::core {

/// Numbers are on the wire.
enum class Reason : uint16_t {
  kNone = 0,
  kEpochMismatch = 1,
  kTransportLost = 2,
  kProgressStalled = 3,
  kDeadlineExceeded = 4,
  kPinLost = 5,
  kSnapshotUnavailable = 6,
  kLocalWalCorrupt = 7,
  kLocalExtentCorrupt = 8,
  kSuperseded = 9,
  kCancelled = 10,
  kWrongVolume = 11,
  kProtocolViolation = 12,
  kNotReady = 13,
  kHandedOver = 14,  ///< the primary left, and this copy has everything
};
inline constexpr uint16_t kReasonLast = 14;

const char* to_string(Reason reason);

}  // namespace ringbolt::core

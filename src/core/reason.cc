#include "core/reason.h"

namespace ringbolt::core {

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone: return "";
    case Reason::kEpochMismatch: return "epoch_mismatch";
    case Reason::kTransportLost: return "transport_lost";
    case Reason::kProgressStalled: return "progress_stalled";
    case Reason::kDeadlineExceeded: return "deadline_exceeded";
    case Reason::kPinLost: return "pin_lost";
    case Reason::kSnapshotUnavailable: return "snapshot_unavailable";
    case Reason::kLocalWalCorrupt: return "local_wal_corrupt";
    case Reason::kLocalExtentCorrupt: return "local_extent_corrupt";
    case Reason::kSuperseded: return "superseded";
    case Reason::kCancelled: return "cancelled";
    case Reason::kWrongVolume: return "wrong_volume";
    case Reason::kProtocolViolation: return "protocol_violation";
    case Reason::kNotReady: return "not_ready";
    case Reason::kHandedOver: return "handed_over";
  }
  return "unknown";
}

}  // namespace ringbolt::core

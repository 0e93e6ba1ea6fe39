// What simulated disks and networks have in common: numbers that the trace hash tells kinds of events apart by, and what buffers hold
// that nobody should look at yet.
#pragma once

#include <cstdint>

namespace ringbolt::io {

/// Each byte of a buffer that waits for data.
inline constexpr int kPoison = 0xa5;

enum SimTrace : uint64_t {
  kTraceComplete = 100,
  kTraceTurn,
  kTraceCrash,
  kTracePowerLoss,
  kTraceBoot,
  kTraceSubmit = 200,  ///< plus 16 times the kind of operation
  kTraceLand,
  kTraceFinish,
  kTraceOrphan,
  kTraceOpen,
  kTraceListen = 300,
  kTraceConnect,
  kTraceConnected,
  kTracePartition,
  kTraceSend = 320,
  kTraceDeliver,
  kTraceEnd,
  kTraceReset,
  kTraceReceive,
};

}  // namespace ringbolt::io

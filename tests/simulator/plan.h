// What happens to a cluster in one run: the sizes and options of the cluster, and a list of events. Drawn from a seed before
// the run begins, so it can be printed, kept in a file, edited, and made smaller; everything else follows from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/sim_world.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt::sim {

/// One kind of event: what the fault schedule, an operator, or a clock may do. `node` and `other` are nodes, `amount` is what
/// the list says, `lasting` is how long it lasts, or until when what it did is put right.
// name, text form
#define RINGBOLT_ACTS(X)                                                                                    \
  X(kKill, "kill")                    /* kill -9; started again after `lasting` */                          \
  X(kKillAtIo, "kill-at-io")          /* at its (amount / 4)th disk operation from now on; % 4: see below */ \
  X(kPowerLoss, "power-loss")         /* amount: what is left of what was not flushed (SimPowerLoss) */     \
  X(kPowerLossAtIo, "power-loss-at-io") /* likewise; amount % 4 is a SimPowerLoss */                        \
  X(kFailIo, "fail-io")               /* its (amount / 4)th disk operation fails; % 4: see below */         \
  X(kPowerLossOfAll, "power-loss-of-all")                                                                   \
  X(kRestart, "restart")              /* a clean stop, and a start */                                       \
  X(kPause, "pause")                  /* SIGSTOP for `lasting` */                                           \
  X(kSlow, "slow")                    /* disk and process `amount` times slower for `lasting` */            \
  X(kClockJump, "clock-jump")         /* its monotonic clock goes forward by `lasting` */                   \
  X(kPartition, "partition")          /* of node and other, for `lasting` */                                \
  X(kPartitionOneWay, "partition-one-way")                                                                  \
  X(kIsolate, "isolate")              /* of node and everybody, for `lasting` */                            \
  X(kCut, "cut")                      /* their connections, after `amount` more bytes */                    \
  X(kCutAtSend, "cut-at-send")        /* node's connections, at its (amount / 4)th message; % 4: see below */ \
  X(kSlowNetwork, "slow-network")     /* `amount` times slower for `lasting` */                             \
  X(kReadErrors, "read-errors")       /* in one place of a file, for `lasting` */                           \
  X(kWriteError, "write-error")       /* of the next write in one place */                                  \
  X(kFlushError, "flush-error")       /* of the next flush of a file */                                     \
  X(kDiskFull, "disk-full")           /* but for `amount` blocks, for `lasting` */                          \
  X(kHold, "hold")                    /* what one file is asked waits for `lasting`; see below */      \
  X(kRotInLog, "rot-in-log")          /* a bit of block `amount`; started again after `lasting` */          \
  X(kRotInSuperblock, "rot-in-superblock")                                                                  \
  X(kNewDisk, "new-disk")             /* the process dies, and its disk is empty after `lasting` */         \
  X(kHandOver, "hand-over")           /* the role of the primary, to node */                                \
  X(kFailOver, "fail-over")           /* from the primary, whatever it does, to who may be promoted */      \
  X(kRaiseEpoch, "raise-epoch")                                                                             \
  X(kRemoveReplica, "remove-replica") /* and added again after `lasting` */                                 \
  X(kRebuild, "rebuild")              /* ordered; cancelled after `lasting` if that is not 0 */             \
  X(kVerify, "verify")                                                                                      \
  X(kRepeatOrder, "repeat-order")     /* the `amount`th assignment that was given before, once more */

// kill-at-io: 0 at once, 1 a little later. fail-io: 0 once, 1 it and all that follow until `lasting` is over, 2 once, as if the device
// were full. hold: % 4: which file; / 4 % 3: 0 reads only; / 12 % 4: 1 only in its (amount / 48)th place. cut-at-send: 0 before it, 1 in the middle of it, 2 after it.

enum class Act : uint8_t {
#define RINGBOLT_NAME(name, text) name,
  RINGBOLT_ACTS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

inline constexpr size_t kActs = 0
#define RINGBOLT_COUNT(name, text) +1
    RINGBOLT_ACTS(RINGBOLT_COUNT)
#undef RINGBOLT_COUNT
    ;

const char* to_string(Act act);

struct Event {
  io::Nanos at = 0;  ///< since the beginning
  Act act = Act::kKill;
  uint32_t node = 0;
  uint32_t other = 0;
  uint64_t amount = 0;
  io::Nanos lasting = 0;
  bool operator==(const Event&) const = default;
};

struct Plan {
  uint64_t seed = 1;  ///< of what is not in the plan: latencies, what clients do, torn writes
  std::string profile = "default";

  uint32_t nodes = 3;  ///< each a member of the volume; the first is its primary at the beginning
  Durability durability = Durability::kSyncAll;
  bool wait_for_lost = false;
  uint64_t volume_bytes = 256u << 10;
  uint64_t wal_bytes = kWalBytesMin;
  uint32_t wal_retain_percent = 50;
  io::Nanos replica_timeout = 400 * io::kMillisecond;
  uint64_t chunk_bytes = 64u << 10;
  uint32_t chunks_in_flight = 2;
  uint32_t network_factor = 1;  ///< times the world's usual delays
  uint64_t pool_bytes = 24u << 20;

  uint32_t connections = 2, depth = 4;  ///< of clients; requests of each
  uint32_t cells_max = 64;              ///< per request, 512 bytes each
  uint32_t aligned_percent = 50, fua_percent = 10;
  io::Nanos pause_max = 2 * io::kMillisecond;  ///< between an answer and the next request
  uint64_t requests_max = 0;                   ///< while there are faults; 0: as many as it comes to

  io::Nanos duration = io::kSecond;  ///< events happen in it, then all faults are put right
  bool whole_first = false;          ///< the time of the events begins when everybody has everything
  std::vector<Event> events;         ///< in order of time
};

/// What the profile draws from the seed. Errors: kNotFound, the message names the profiles.
Result<Plan> draw_plan(const std::string& profile, uint64_t seed);
/// "default" first, with what each is for.
std::vector<std::pair<std::string, std::string>> profiles();

/// One line per setting and event, read back by parse_plan(). The form of regression tests in tests/simulator/scenarios.
std::string print_plan(const Plan& plan);
/// Errors: kInvalid, with line and reason.
Result<Plan> parse_plan(const std::string& text);
std::string describe(const Event& event);

}  // namespace ringbolt::sim

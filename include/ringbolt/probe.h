// What simulations see of the code, and what they can spoil in it: *marks*, rare branches that say that they were reached, and
// *defects*, mistakes that can be switched on to see whether the simulator finds them.
//
// Nothing is left of either without RINGBOLT_SIMULATION, which only the simulator's own build of these sources defines: mark() is
// empty and defect() is false for the compiler. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringbolt {

// name, what happened
#define RINGBOLT_MARKS(X)                                                             \
  X(kWalWrapped, "the log wrapped")                                                   \
  X(kWalFull, "a record found no space in the log")                                   \
  X(kTornTailCut, "recovery cut a torn tail")                                         \
  X(kDamageFound, "recovery found damage")                                            \
  X(kSlotSpoiled, "a superblock slot was not valid at a start")                       \
  X(kLateWritesWaited, "a start waited for a killed predecessor's writes")            \
  X(kNewerThanCheckpoint, "a checkpointed block had a newer version already")         \
  X(kCheckpointWaited, "a checkpoint waited for a read or base write of its block")   \
  X(kBaseFull, "the base image's device was full")                                    \
  X(kFlushFailed, "a flush of the log failed")                                        \
  X(kWriteFailed, "a write of the log failed")                                        \
  X(kEdgesRead, "a request that is not aligned read the blocks at its edges")         \
  X(kTermRaised, "an epoch was raised in place")                                      \
  X(kHandedOver, "a primary handed over")                                             \
  X(kFenced, "a primary was fenced")                                                  \
  X(kEpochRefused, "a call of an old epoch was refused")                              \
  X(kReplicaDropped, "a replica left the in-sync set")                                \
  X(kReplicaAdded, "a replica entered the in-sync set")                               \
  X(kCatchUp, "a catch-up began")                                                     \
  X(kTailCut, "a copy cut its tail")                                                  \
  X(kRebuild, "a rebuild began")                                                      \
  X(kRebuildCompleted, "a rebuild was completed")                                     \
  X(kWalWins, "a base block was left out, as the log had a newer one")                \
  X(kPinLost, "a session's part of the log was reused")                               \
  X(kSessionRefused, "a message of another session was refused")                      \
  X(kVerified, "copies were compared")

// name, what is wrong then. Each is one line somewhere in the code; tests/simulator/defects.cc says how many seeds may be needed.
#define RINGBOLT_DEFECTS(X)                                                           \
  X(kNone, "nothing")

enum class Mark : uint8_t {
#define RINGBOLT_NAME(name, words) name,
  RINGBOLT_MARKS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

enum class Defect : uint8_t {
#define RINGBOLT_NAME(name, words) name,
  RINGBOLT_DEFECTS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

#define RINGBOLT_COUNT(name, words) +1
inline constexpr size_t kMarks = 0 RINGBOLT_MARKS(RINGBOLT_COUNT);
inline constexpr size_t kDefects = 0 RINGBOLT_DEFECTS(RINGBOLT_COUNT);
#undef RINGBOLT_COUNT

#ifdef RINGBOLT_SIMULATION

struct Probe {
  uint64_t reached[kMarks] = {};
  Defect defect = Defect::kNone;
};
inline Probe probe;

inline void mark(Mark reached) { ++probe.reached[static_cast<size_t>(reached)]; }
inline bool defect(Defect which) { return probe.defect == which; }

#else

inline void mark(Mark) {}
constexpr bool defect(Defect) { return false; }

#endif

}  // namespace ringbolt

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
#define RINGBOLT_MARKS(X)                                                                         \
  X(kWalWrapped, "the log wrapped")                                                               \
  X(kWalFull, "a record found no space in the log")                                               \
  X(kFrameDetached, "a frame left the window while it was being sent")                            \
  X(kTornTailCut, "recovery cut a torn frame")                                                    \
  X(kDeadRecords, "recovery found records of a discarded term")                                   \
  X(kChainBroken, "recovery found a frame that does not continue the chain")                      \
  X(kDamageFound, "recovery found less than was flushed")                                         \
  X(kDamageProven, "recovery found damage proven by a later frame")                               \
  X(kSlotSpoiled, "a superblock slot was not valid at a start")                                   \
  X(kSuperblockFailed, "a write of the superblock failed")                                        \
  X(kLateWritesWaited, "a start waited for a killed predecessor's writes")                        \
  X(kNewerThanCheckpoint, "a checkpointed block had a newer version already")                     \
  X(kCheckpointWaited, "a checkpoint waited for reads or base writes")                            \
  X(kCheckpointPaused, "a checkpoint was stopped before its end")                                 \
  X(kReuseWaited, "space in the log waited for a read of it")                                     \
  X(kBaseFull, "the base image's device was full")                                                \
  X(kFlushFailed, "a flush of the log failed")                                                    \
  X(kWriteFailed, "a write of the log failed")                                                    \
  X(kReadFromLog, "a block was read from the log's device")                                       \
  X(kReadQueued, "a read waited for others")                                                      \
  X(kReadWaited, "a read waited for the commit of what it saw")                                   \
  X(kEdgesRead, "a request that is not aligned read the blocks at its edges")                     \
  X(kEdgesMerged, "a large write that is not aligned was completed in place")                     \
  X(kOverlapWaited, "a request waited for one that is not logged yet")                            \
  X(kZeroRecord, "zeros were logged")                                                             \
  X(kDurableWait, "a request waited for a flush everywhere")                                      \
  X(kWindowFull, "a request waited for what is not flushed everywhere")                           \
  X(kNoMemory, "a request waited for memory")                                                     \
  X(kTermRaised, "an epoch was raised in place")                                                  \
  X(kForced, "a copy was made primary by force")                                                  \
  X(kPromised, "a promise was recorded")                                                          \
  X(kPrimaryRefused, "a start as primary was refused")                                            \
  X(kHandedOver, "a primary handed over")                                                         \
  X(kHandOverFailed, "a hand-over was not confirmed")                                             \
  X(kDrainTimedOut, "a primary left before it could hand over")                                   \
  X(kFenced, "a primary was fenced")                                                              \
  X(kFencedByAnswer, "a primary was fenced by what a replica answered")                           \
  X(kEpochRefused, "a message of an old epoch was refused")                                       \
  X(kCallRefused, "a call of an old epoch was refused")                                           \
  X(kReplicaDropped, "a replica left the in-sync set, as it owed too long")                       \
  X(kReplicaAdded, "a replica entered the in-sync set")                                           \
  X(kProofTimedOut, "a replica did not prove in time that it has everything")                     \
  X(kReplicaSilent, "a replica did not answer")                                                   \
  X(kPrimarySilent, "a primary was silent")                                                       \
  X(kReplicaWaits, "a replica waited for space or memory")                                        \
  X(kTransportLost, "a session ended with its connection")                                        \
  X(kCatchUp, "a catch-up began")                                                                 \
  X(kReadBack, "the log was read back for a replica")                                             \
  X(kFrameSliced, "a part of a frame was sent")                                                   \
  X(kPinLost, "a session's part of the log was reused")                                           \
  X(kTailCut, "a copy cut its tail")                                                              \
  X(kCutRefused, "a copy could not cut below what its base image holds")                          \
  X(kRebuild, "a rebuild began")                                                                  \
  X(kRebuiltMemberLeaves, "a member of the set left it to be rebuilt")                            \
  X(kRebuildObstructed, "a rebuild waited for another one")                                       \
  X(kRebuildSuperseded, "a rebuild was superseded by another one")                                \
  X(kRebuildFailed, "a rebuild failed")                                                           \
  X(kRebuildCompleted, "a rebuild was completed")                                                 \
  X(kBarrierWaited, "a rebuild waited for its barrier")                                           \
  X(kWalWins, "a base block was left out, as the log had a newer one")                            \
  X(kSessionRefused, "a message of another session was refused")                                  \
  X(kVerified, "copies were compared")

// name, what is wrong then. Each is one line somewhere in the code; tests/simulator/defects.cc says how many seeds may be needed.
#define RINGBOLT_DEFECTS(X)                                                                       \
  X(kNone, "nothing")                                                                             \
  X(kFlushNotAwaited, "FLUSH and FUA are answered when all is written")                           \
  X(kFlushCoversMore, "a flush counts for what was written while it ran")                         \
  X(kFlushErrorIgnored, "a flush that failed counts")                                             \
  X(kTornTailTaken, "recovery does not check payloads")                                           \
  X(kStaleFrames, "recovery checks neither chain nor term")                                       \
  X(kZerosNotIndexed, "zeros are logged, but not entered in the dirty index")                     \
  X(kNewerEntryCleared, "a checkpoint clears an entry that became newer meanwhile")               \
  X(kOlderVersionDropped, "a checkpoint leaves out a block that has a version beyond the round")  \
  X(kBaseNotFlushed, "a checkpoint is recorded before the base image is flushed")                 \
  X(kBaseLimitNotAnnounced, "a checkpoint begins before its limit is recorded")                   \
  X(kReusedUnrecorded, "space in the log is reused before the checkpoint is recorded")            \
  X(kSuperblockNotFlushed, "a change of the superblock is not flushed")                           \
  X(kOneSlot, "a change of the superblock is written to one slot, always the same")               \
  X(kLateWritesNotAwaited, "a start does not wait for a killed predecessor's writes")             \
  X(kEdgesTooEarly, "a write that is not aligned does not wait for one that it overlaps")         \
  X(kReadsUncommitted, "a read is answered before what it saw is committed")                      \
  X(kReadsBeforeTerm, "reads are answered before the term record is committed")                   \
  X(kLocalNotAwaited, "a write counts before it is written here")                                 \
  X(kMajorityTooSmall, "a majority is one copy too small")                                        \
  X(kTermNotDurable, "a term's first record is written before the term is durable")               \
  X(kAckAtReceipt, "a replica acknowledges what it has received")                                 \
  X(kDurableIsWritten, "a replica calls flushed what is written")                                 \
  X(kCheckpointBeyondStable, "a replica's checkpoint goes beyond what is stable")                 \
  X(kRebuildingCounts, "a replica that is being rebuilt counts")                                  \
  X(kNoProof, "a replica enters the in-sync set without proof")                                   \
  X(kLeftUnrecorded, "a replica counts no more before the set without it is recorded")            \
  X(kStaleEpoch, "a replica takes records of an epoch that is over")                              \
  X(kForkIgnored, "where logs have parted is not looked at")                                      \
  X(kTwoHeirs, "a hand-over that is not confirmed is tried with the next replica")                \
  X(kRecordSkipped, "a catch-up leaves out a record")                                             \
  X(kNoRebuildMark, "a rebuild begins without the mark")                                          \
  X(kBaseOverLog, "a base block is written over a newer one of the log")                          \
  X(kBitsLate, "the log's blocks are known to the base lane after their checkpoint only")         \
  X(kNoBarrier, "a rebuild is complete before its barrier")                                       \
  X(kRebuiltBaseNotFlushed, "the rebuild mark goes before the base image is flushed")

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

// The superblock: what a copy of a volume knows about itself, in two slots that hold the same.
//
// Each version is written to one slot, flushed, written to the other, flushed; only then is it called
// durable (SuperblockWriter). So a slot that cannot be read, whether its write was cut off or it
// decayed long after, never takes back anything that somebody relies on: the other one has it, too.
// The newest valid slot counts. Exactly one writer, so that no path can bring back an older value of
// another path's field.
//
//   offset  size  field (little-endian); slot 0 at byte 0, slot 1 at byte 65536 of the file
//        0     8  magic "RBSUPER1"
//        8     4  format version (3)
//       12     4  checksum: CRC32C of the 8192 bytes with this field zero
//       16     8  generation
//       24    24  feature bits: compatible, read-only-compatible, incompatible (u64 each)
//       48    16  volume UUID (zero: not told yet, a blank replica)
//       64    64  node id, zero-padded
//      128   256  volume name, zero-padded
//      384     8  volume bytes
//      392     8  WAL bytes
//      400     4  block bytes (4096)
//      404     4  flags: 1 clean shutdown, 2 rebuild mark (base image unusable), 4 base seeded,
//                8 being made (WAL and base image are not there yet)
//      408     8  epoch: the highest this copy has promised to
//      416     8  incarnation of the last opening for writing in that epoch (0: none)
//      424     8  checkpoint Lsn
//      432     8  first Lsn of the tail frame
//      440     8  tail frame's block in the WAL
//      448     4  checksum of the frame before the tail frame
//      452     4  term count (0 .. 64)
//      456     8  durable Lsn when this was written
//      464     4  in-sync count (0 .. 8)
//      468     4  zero
//      472     8  base limit: the base image may hold records up to this Lsn (>= checkpoint Lsn)
//      480     8  cuts: how often this copy's log was cut
//      488     8  handed over: the last primary left this copy everything up to this Lsn (0: it did not)
//      496     8  log key: frames with another one are none of this log's
//      504     8  volume bytes as it was made (0: it was not grown since)
//      512  1536  term history: epoch, incarnation, first Lsn (u64 each), oldest first
//     2048   512  in-sync set: node ids, 64 bytes each
//     2560    64  epoch holder: node id of the primary that the epoch is promised to (empty: unknown)
//     2624  1472  zero
//     4096     1  assignment: 0 none (then the rest of it says nothing), 1 present
//     4097     1  its role: 0 none, 1 primary, 2 replica
//     4098     1  its durability: 0 best_effort, 1 sync_quorum, 2 sync_all
//     4099     1  its replica count (0 .. 8)
//     4100     4  zero
//     4104    16  its version, its epoch (u64 each)
//     4120     8  zero
//     4128  1536  its replicas: node id (64 bytes), address (128 bytes) each
//     5664  2528  zero (room for later sections)
//
// Version rule: magic, version and checksum keep their places and meaning in every version that has
// this magic, so that damage and a version of the future can be told apart. A reader refuses versions
// that it does not know. Texts are zero-padded and end within their field.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/assignment.h"
#include "core/term_history.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"
#include "volume/wal_format.h"

namespace ringbolt {

using StoredAssignment = core::Assignment;

struct Superblock {
  static constexpr uint64_t kMagic = 0x3152455055534252;  // "RBSUPER1"
  static constexpr uint32_t kVersion = 3;
  static constexpr uint32_t kSlotBytes = 2 * kBlockBytes;
  static constexpr uint64_t kSlotOffset[2] = {0, 65536};
  static constexpr uint64_t kFileBytes = 131072;
  static constexpr size_t kNodeIdBytesMax = 63;
  static constexpr size_t kNameBytesMax = 255;
  static constexpr size_t kAddressBytesMax = 127;

  uint64_t generation = 0;
  Uuid volume;
  std::string node_id;
  std::string name;
  uint64_t volume_bytes = 0;
  uint64_t made_bytes = 0;  ///< what `volume_bytes` was before it was grown at run time; 0: it was not
  uint64_t wal_bytes = 0;
  bool clean_shutdown = false;
  bool rebuild_mark = false;
  bool base_seeded = false;
  bool being_made = false;
  Epoch epoch;
  Incarnation incarnation;
  Lsn checkpoint;
  Lsn base_limit;  ///< beyond the checkpoint after a crash in the middle of one
  Lsn tail_first{1};
  uint64_t tail_block = 0;
  uint32_t tail_previous_checksum = 0;
  Lsn durable;
  /// Goes up with each cut of the log, and each rebuild. Frames carry it: one of before a cut proves nothing
  /// about what was written after it.
  uint64_t cuts = 0;
  /// Random, new whenever the log begins anew (a rebuild). Frames carry it, too: what has another one lies
  /// where the log once was, or is a client's data, and is none of it, whatever its Lsns and its chain say.
  uint64_t log_key = 0;
  core::TermHistory history;
  std::vector<std::string> in_sync;  ///< node ids of replicas, at most kReplicasMax
  /// Who called first as primary of `epoch`: no other caller may have that epoch. Empty: unknown.
  std::string epoch_holder;
  /// The last primary left this copy, and no other, everything up to here. Lsn 0: it did not, or somebody wrote since.
  Lsn handed_over;
  /// The last one delivered at run time.
  std::optional<StoredAssignment> assignment;

  [[nodiscard]] LogMark log_mark() const { return {log_key, cuts}; }

  /// Whether `text` can be stored as a node id: 1 .. kNodeIdBytesMax bytes, no zero byte.
  [[nodiscard]] static bool is_node_id(std::string_view text);
  /// Why `assignment` cannot be stored; null if it can.
  [[nodiscard]] static const char* problem_of(const StoredAssignment& assignment);

  /// Fills `slot` (kSlotBytes). Requires: texts and counts within their limits, no problem_of().
  void encode(std::byte* slot) const;
  /// Total: any bytes. kNotFound: no superblock there (magic); kCorrupt: damaged; kUnsupported:
  /// unknown version or incompatible features; the message says what.
  static Result<Superblock> decode(const std::byte* slot);
};

/// What the two slots say together.
struct SuperblockSlots {
  std::optional<Superblock> newest;  ///< empty: none was ever made here
  /// The slot that the next version is to be written to first: never the only good one.
  uint32_t write_first = 0;
  std::string damage;  ///< of a slot that is not used; empty if there is none
};

/// `slots`: kSlotBytes each; null where the device could not read it. Errors: kCorrupt (there was a
/// superblock, and neither slot is any good), kUnsupported.
Result<SuperblockSlots> read_superblock_slots(const std::byte* const (&slots)[2]);

}  // namespace ringbolt

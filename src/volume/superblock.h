// The superblock: what a copy of a volume knows about itself. Two slots, written alternately, each
// with a generation and a checksum; the newer valid one counts. Exactly one writer
// (SuperblockWriter), so that no path can bring back an older value of another path's field.
//
//   offset  size  field (little-endian); slot 0 at byte 0, slot 1 at byte 65536 of the file
//        0     8  magic "RBSUPER1"
//        8     4  format version (1)
//       12     4  checksum: CRC32C of the 4096 bytes with this field zero
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
//      480    32  zero
//      512  1536  term history: epoch, incarnation, first Lsn (u64 each), oldest first
//     2048   512  in-sync set: node ids, 64 bytes each
//     2560  1536  zero (room for later sections)
#pragma once

#include <string>
#include <vector>

#include "core/term_history.h"
#include "io/buffer_pool.h"
#include "io/io.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt {

struct Superblock {
  static constexpr uint64_t kMagic = 0x3152455055534252;  // "RBSUPER1"
  static constexpr uint32_t kVersion = 1;
  static constexpr uint32_t kSlotBytes = kBlockBytes;
  static constexpr uint64_t kSlotOffset[2] = {0, 65536};
  static constexpr uint64_t kFileBytes = 131072;
  static constexpr size_t kNodeIdBytesMax = 63;
  static constexpr size_t kNameBytesMax = 255;

  uint64_t generation = 0;
  Uuid volume;
  std::string node_id;
  std::string name;
  uint64_t volume_bytes = 0;
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
  core::TermHistory history;
  std::vector<std::string> in_sync;  ///< node ids of replicas, at most kReplicasMax

  /// Fills `slot` (kSlotBytes).
  void encode(std::byte* slot) const;
  /// Total: any bytes. kNotFound: no superblock there (magic); kCorrupt: damaged; kUnsupported:
  /// unknown version or incompatible features; the message says what.
  static Result<Superblock> decode(const std::byte* slot);
};

/// Somebody who waits until a change is durable. Intrusive.
class SuperblockWaiter {
 public:
  using Function = void (*)(SuperblockWaiter&);
  explicit SuperblockWaiter(Function function) : function_(function) {}
  SuperblockWaiter(const SuperblockWaiter&) = delete;
  SuperblockWaiter& operator=(const SuperblockWaiter&) = delete;
  [[nodiscard]] bool waiting() const { return waiting_; }

 private:
  friend class SuperblockWriter;
  Function function_;
  uint64_t version_ = 0;
  SuperblockWaiter* next_ = nullptr;
  bool waiting_ = false;
};

template <auto Method>
class SuperblockWaiterOf : public SuperblockWaiter {
 public:
  using Owner = typename io::detail::MemberClass<decltype(Method)>::type;
  explicit SuperblockWaiterOf(Owner& owner) : SuperblockWaiter(&SuperblockWaiterOf::call), owner_(&owner) {}

 private:
  static void call(SuperblockWaiter& waiter) { (static_cast<SuperblockWaiterOf&>(waiter).owner_->*Method)(); }
  Owner* owner_;
};

/// Writes the superblock of one volume. Changes are made in memory with change() and become durable
/// together with the next write of a slot (write, then flush); several changes share one write.
class SuperblockWriter {
 public:
  /// Called once if a write or flush fails; nothing becomes durable any more.
  using Failed = void (*)(void* owner, int error);

  SuperblockWriter(io::Io& io, Failed on_failed, void* owner);
  ~SuperblockWriter();
  SuperblockWriter(const SuperblockWriter&) = delete;
  SuperblockWriter& operator=(const SuperblockWriter&) = delete;

  /// Takes over what was read (or made) and the file that it is in.
  void open(io::File file, const Superblock& current);

  [[nodiscard]] const Superblock& current() const { return current_; }
  /// The copy in memory, for changing; the change is written soon.
  Superblock& change();
  /// Calls `waiter` when everything changed before this call is durable (at once, from a later turn's
  /// completion, never from inside). At most one wait per waiter. After a failure it is never called.
  void wait(SuperblockWaiter& waiter);
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  void start();
  void on_written(int32_t result);
  void on_flushed(int32_t result);
  void fail(int32_t result);

  io::Io& io_;
  Failed failed_callback_;
  void* owner_;
  io::File file_;
  Superblock current_;
  uint64_t changed_version_ = 0;
  uint64_t writing_version_ = 0;
  uint64_t durable_version_ = 0;
  bool failed_ = false;
  SuperblockWaiter* first_ = nullptr;
  SuperblockWaiter* last_ = nullptr;
  std::byte* slot_ = nullptr;  // kSlotBytes, aligned
  io::DeferredOf<&SuperblockWriter::start> start_{*this};
  io::Op<&SuperblockWriter::on_written> write_{*this};
  io::Op<&SuperblockWriter::on_flushed> flush_{*this};
};

}  // namespace ringbolt

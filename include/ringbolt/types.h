// The words of the project as types: positions, identities, limits. No I/O, no dependencies.
//
// Every kind of position has its own type and none converts into another, because most replication
// bugs begin with one number standing for two things (a commit position used as a checkpoint, ...).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace ringbolt {

/// Unit of tracking, logging and checksumming, in bytes.
inline constexpr uint32_t kBlockBytes = 4096;

/// A `uint64_t` that cannot be mixed up with another kind of `uint64_t`.
template <class Tag>
class Position {
 public:
  constexpr Position() = default;
  constexpr explicit Position(uint64_t value) : value_(value) {}
  [[nodiscard]] constexpr uint64_t value() const { return value_; }
  constexpr auto operator<=>(const Position&) const = default;
  [[nodiscard]] constexpr Position next() const { return Position(value_ + 1); }
  [[nodiscard]] constexpr Position plus(uint64_t count) const { return Position(value_ + count); }
  [[nodiscard]] constexpr uint64_t minus(Position other) const { return value_ - other.value_; }

 private:
  uint64_t value_ = 0;
};

/// Position in one volume's WAL: dense, +1 per record, the first record is Lsn 1. Every Lsn held by
/// ringbolt is a *prefix end*: "all records up to and including this one". `Lsn()` (value 0) is the
/// empty prefix; where a position may be unknown the type is `std::optional<Lsn>`, never Lsn 0.
using Lsn = Position<struct LsnTag>;

/// Index of a 4 KiB block within a volume.
using Lba = Position<struct LbaTag>;

/// Term of an assignment, granted by whoever assigns roles; a higher one fences a lower one.
using Epoch = Position<struct EpochTag>;

/// How often a node opened the volume for writing within an epoch; starts at 1.
using Incarnation = Position<struct IncarnationTag>;

/// Identifies one opening of the volume for writing: within a term an Lsn names exactly one record.
struct Term {
  Epoch epoch;
  Incarnation incarnation;
  constexpr auto operator<=>(const Term&) const = default;
};

/// Identifies the primary's contract with one replica; unique within a primary's term, starts at 1.
using SessionId = Position<struct SessionIdTag>;

/// 16 random bytes (RFC 9562 version 4); all zero means "not assigned yet".
struct Uuid {
  std::array<uint8_t, 16> bytes{};
  constexpr auto operator<=>(const Uuid&) const = default;
  [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }
  /// Lower-case 8-4-4-4-12 text form.
  [[nodiscard]] std::string to_string() const;
  /// A fresh version 4 UUID from the kernel's random source. Control thread only.
  static Uuid random();
};

enum class Durability : uint8_t { kBestEffort, kSyncQuorum, kSyncAll };
enum class Role : uint8_t { kNone, kPrimary, kReplica };

/// Names as they appear in configuration, API and logs.
const char* to_string(Durability durability);
const char* to_string(Role role);

// Limits. Each queue and buffer in ringbolt is bounded by one of these or by configuration.

/// Largest NBD request (the protocol's customary maximum), bytes.
inline constexpr uint32_t kRequestBytesMax = 32u << 20;
/// Largest WAL frame including its header block, and largest pool buffer, bytes.
inline constexpr uint32_t kFrameBytesMax = 512u << 10;
/// Largest payload of one frame and so of one logged write, bytes: 127 blocks.
inline constexpr uint32_t kFramePayloadBytesMax = kFrameBytesMax - kBlockBytes;

/// Memory of a shard comes in such steps, and is at least this much: 8 MiB, and 2 MiB for each of its
/// volumes, half of which the volume has for itself (io/memory_share.h).
inline constexpr uint64_t kShardMemoryStep = 8u << 20;
constexpr uint64_t least_shard_memory(uint64_t volumes) {
  const uint64_t wanted = volumes * (2u << 20);
  return (wanted + kShardMemoryStep - 1) / kShardMemoryStep * kShardMemoryStep + (wanted == 0 ? kShardMemoryStep : 0);
}
/// Largest block count of one zero or trim record (they carry no payload): 16 MiB.
inline constexpr uint32_t kZeroRecordBlocksMax = 4096;
/// Largest volume, bytes: the dirty index holds block numbers in 32 bits.
inline constexpr uint64_t kVolumeBytesMax = uint64_t{1} << 44;
/// Smallest WAL, bytes.
inline constexpr uint64_t kWalBytesMin = 8u << 20;
/// Largest WAL, bytes: the records in it at the same time must be told apart by 32 bits of their Lsns.
inline constexpr uint64_t kWalBytesMax = uint64_t{1} << 36;
/// Replicas of one volume besides the primary.
inline constexpr uint32_t kReplicasMax = 8;

}  // namespace ringbolt

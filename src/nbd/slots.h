// The records of a connection: a client's command, the pieces that it is cut into, and the parts of
// replies that wait to be sent; with the pool and the queue that hold them. All intrusive: a
// command costs no allocation once a connection has reached its depth.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "io/buffer_pool.h"
#include "nbd/protocol.h"
#include "ringbolt/assert.h"
#include "volume/request.h"

namespace ringbolt::nbd {

class Connection;

/// A contiguous part of the reply stream: a header and possibly data behind it. Base of what
/// carries it, which is given back when the part has been sent.
struct ReplyPart {
  enum class Carrier : uint8_t { kCommand, kPiece };
  /// A chunk header with the largest fixed payload that we send (an error with its offset).
  static constexpr size_t kHeaderBytesMax = kChunkHeaderBytes + 16;

  explicit ReplyPart(Carrier which) : carrier(which) {}
  [[nodiscard]] uint32_t bytes() const { return header_bytes + data_bytes; }
  void set_header(const std::byte* end) {
    header_bytes = static_cast<uint8_t>(end - header.data());
  }

  ReplyPart* next_part = nullptr;
  Carrier carrier;
  uint8_t header_bytes = 0;
  std::array<std::byte, kHeaderBytesMax> header{};
  const std::byte* data = nullptr;
  uint32_t data_bytes = 0;
  uint32_t sent_bytes = 0;
  int64_t answered_at = 0;
};

struct Piece;

/// One request of the client, from its header to its last reply.
struct Command : ReplyPart {
  enum class Phase : uint8_t {
    kIssue,    ///< a read with pieces still to be given to the volume
    kPayload,  ///< a write whose payload is arriving
    kDrain,    ///< a write that failed already: the rest of its payload is thrown away
    kWait,     ///< everything is with the volume
  };
  Command() : ReplyPart(Carrier::kCommand) {}

  Command* next_free = nullptr;
  Command* next_stream = nullptr;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
  uint32_t issued_bytes = 0;  ///< of length: handed to the volume, or drained
  uint32_t pieces_open = 0;   ///< with the volume
  uint32_t error = kErrorNone;
  uint64_t error_offset = 0;  ///< where the first failed piece of a read began
  bool error_has_offset = false;
  uint16_t code = 0;
  Phase phase = Phase::kIssue;
  bool fua = false;
  bool dont_fragment = false;
  bool no_hole = false;           ///< zeros that must be allocated: they are written as data
  bool is_stream = false;         ///< a read of several pieces under one simple reply header
  bool header_queued = false;     ///< is_stream: the reply has begun and can only be completed
  bool abandoned = false;         ///< its payload will never be complete: nothing to answer
  Piece* first_unsent = nullptr;  ///< is_stream: pieces in order of offset
  Piece* last_unsent = nullptr;

  /// Of a volume that is not served here any more nothing is answered, the connection just ends. For a client an error is final,
  /// also for what runs on its disk; a request that the end of a connection leaves open is asked again where the volume is
  /// served next, in a moment by this daemon's successor, or elsewhere.
  [[nodiscard]] bool is_unanswered() const { return error == kErrorShutdown; }
  void append_piece(Piece* piece);
  Piece* pop_piece();
};

/// One request to the volume, and the part of the reply that it becomes if it is a read.
struct Piece : ReplyPart {
  Piece() : ReplyPart(Carrier::kPiece) {}

  Piece* next_free = nullptr;
  Piece* next_in_stream = nullptr;
  Connection* connection = nullptr;
  Command* command = nullptr;
  uint32_t pinned_bytes =
      0;  ///< of request.buffer: counted against the connection's bound on reads
  bool with_volume = false;
  bool finished = false;  ///< is_stream: the volume is done with it
  Request request;
};

inline void Command::append_piece(Piece* piece) {
  piece->next_in_stream = nullptr;
  if (last_unsent == nullptr) {
    first_unsent = piece;
  } else {
    last_unsent->next_in_stream = piece;
  }
  last_unsent = piece;
}

inline Piece* Command::pop_piece() {
  Piece* piece = first_unsent;
  first_unsent = piece->next_in_stream;
  if (first_unsent == nullptr) last_unsent = nullptr;
  piece->next_in_stream = nullptr;
  return piece;
}

/// Up to `slots_max` records that never move. Grows in small steps, so that an idle connection is
/// small and a busy one stops allocating once it has reached its depth.
template <class Slot>
class SlotPool {
 public:
  explicit SlotPool(uint32_t slots_max) : slots_max_(slots_max) {
    blocks_.reserve((slots_max + kBlockSlots - 1) / kBlockSlots);
  }

  /// Null if all are in use.
  Slot* take() {
    if (free_ == nullptr && !grow()) return nullptr;
    Slot* slot = free_;
    free_ = slot->next_free;
    slot->next_free = nullptr;
    ++used_;
    return slot;
  }
  /// The slot must be in its initial state again, apart from links.
  void give_back(Slot* slot) {
    RINGBOLT_ASSERT(used_ > 0);
    --used_;
    slot->next_free = free_;
    free_ = slot;
  }
  [[nodiscard]] uint32_t used() const { return used_; }

  template <class Function>
  void for_each(Function function) {
    for (const auto& block : blocks_) {
      for (Slot& slot : *block) function(slot);
    }
  }

 private:
  static constexpr uint32_t kBlockSlots = 16;
  using Block = std::array<Slot, kBlockSlots>;

  bool grow() {
    if (blocks_.size() * kBlockSlots >= slots_max_) return false;
    blocks_.push_back(std::make_unique<Block>());
    for (Slot& slot : *blocks_.back()) {
      slot.next_free = free_;
      free_ = &slot;
    }
    return true;
  }

  uint32_t slots_max_;
  uint32_t used_ = 0;
  Slot* free_ = nullptr;
  std::vector<std::unique_ptr<Block>> blocks_;
};

/// First in, first out; parts are linked through themselves.
class PartQueue {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] ReplyPart* front() const { return first_; }
  void push(ReplyPart* part) {
    part->next_part = nullptr;
    (first_ == nullptr ? first_ : last_->next_part) = part;
    last_ = part;
  }
  ReplyPart* pop() {
    ReplyPart* part = first_;
    first_ = part->next_part;
    part->next_part = nullptr;
    return part;
  }
  /// Moves everything of `other` to the end.
  void splice(PartQueue& other) {
    if (other.empty()) return;
    (first_ == nullptr ? first_ : last_->next_part) = other.first_;
    last_ = other.last_;
    other.first_ = nullptr;
  }

 private:
  ReplyPart* first_ = nullptr;
  ReplyPart* last_ = nullptr;
};

}  // namespace ringbolt::nbd

// What a client protocol (NBD first) asks of a volume, and the interface it asks through. Sits
// between src/nbd and src/volume; knows neither.
#pragma once

#include <cstdint>
#include <string>

#include "io/memory_share.h"
#include "ringbolt/duration_histogram.h"
#include "ringbolt/types.h"

namespace ringbolt {

enum class RequestKind : uint8_t { kRead, kWrite, kFlush, kZero, kTrim, kCache };

/// Whether it makes records.
constexpr bool is_logged(RequestKind kind) { return kind == RequestKind::kWrite || kind == RequestKind::kZero || kind == RequestKind::kTrim; }

/// Outcome of a request, in the words of the NBD protocol's error list. kShutdown: the volume is not served here any more, and
/// whether the request was carried out is not known; the client is not told so, but sent away.
enum class RequestError : uint8_t { kNone, kIo, kInvalid, kNoSpace, kShutdown };

/// One client request, or one piece of a large one. Owned by the connection, intrusive, pooled: it
/// must stay at its place from submit() until `done` is called. One thread: the volume's shard.
struct Request {
  RequestKind kind = RequestKind::kRead;
  /// Write, zero, trim: the reply means stable storage on every copy that counts.
  bool fua = false;
  /// Bytes, any alignment, inside the volume (the connection checks the range first).
  /// kRead, kWrite, kCache: length 1 .. kFramePayloadBytesMax such that the blocks touched are at
  /// most kFramePayloadBytesMax / kBlockBytes; kZero, kTrim: any length >= 1; kFlush: both 0.
  uint64_t offset = 0;
  uint64_t length = 0;

  /// kRead: pool buffer for all blocks touched; the volume fills whole blocks, so the first wanted
  /// byte is at `buffer.data + offset % kBlockBytes`. Stays the connection's.
  /// kWrite: pool memory that the payload lies in, or empty. The volume keeps it or gives it back as soon
  /// as the payload is logged, and sets it empty; what is still set when `done` is called is the
  /// connection's. If `payload` is `buffer.data + kBlockBytes + offset % kBlockBytes`, and there is room
  /// for all blocks touched, it becomes a frame of the log as it is, without a copy.
  io::Buffer buffer;
  /// What `buffer` is charged to, if anything.
  io::MemoryShare* share = nullptr;
  /// kWrite: the bytes.
  const std::byte* payload = nullptr;
  /// kWrite, set by the volume: the payload's bytes are no longer needed. If it is not set when
  /// submit() returns, the bytes must stay until `done`; or `payload` may be pointed at a copy of them,
  /// in `buffer`.
  bool payload_consumed = false;

  /// Gives `buffer` back, if there is one.
  void release_buffer(io::BufferPool& pool) {
    if (!buffer) return;
    if (share != nullptr) {
      share->release(buffer);
    } else {
      pool.release(buffer);
    }
    buffer = {};
  }

  /// Set by the connection; called once, possibly from inside submit().
  void (*done)(Request& request, RequestError error) = nullptr;
  void* owner = nullptr;

  // Private to the volume.
  Request* next = nullptr;
  Request* previous = nullptr;
  Lsn wait_lsn;
  int64_t submitted_at = 0;
  int64_t logged_at = 0;  ///< all its records have their place in the log
  int64_t sealed_at = 0;  ///< if `sealed`: the last of them has left for the device and the replicas
  uint64_t progress = 0;
  uint8_t step = 0;
  bool sealed = false;
  RequestError error = RequestError::kNone;
  uint32_t reads_pending = 0;
  uint32_t reader_generation = 0;
};

/// Called on the volume's shard when clients must go: the volume is no longer served here.
struct ClientObserver {
  virtual ~ClientObserver() = default;
  /// The connection closes itself soon (not from inside this call). Requests in flight are answered first, but never with
  /// kShutdown.
  virtual void on_volume_gone(const std::string& reason) = 0;
  ClientObserver* next_observer = nullptr;
  ClientObserver* previous_observer = nullptr;
};

/// A volume as a client protocol sees it. Lives as long as its shard runs. Thread: the owner shard.
class BlockService {
 public:
  virtual ~BlockService() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual uint64_t size_bytes() const = 0;
  /// Empty if clients may attach, else why not, for people ("vol0 is a replica here; ...").
  [[nodiscard]] virtual std::string refusal() const = 0;
  /// Announces a client; it is told by on_volume_gone() when the volume stops being served.
  virtual void attach(ClientObserver& client) = 0;
  virtual void detach(ClientObserver& client) = 0;
  /// What clients' payloads that are not logged yet, and replies that are not sent yet, are charged to.
  [[nodiscard]] virtual io::MemoryShare& payload_memory() = 0;
  [[nodiscard]] virtual io::MemoryShare& reply_memory() = 0;
  /// How long replies take to leave, from the answer until the client's socket has taken them. For whoever watches.
  [[nodiscard]] virtual DurationHistogram& reply_times() = 0;
  /// Takes the request; `done` is called when the answer is known. Never refuses for lack of space,
  /// memory or window: the request waits inside. The caller bounds how many it has open.
  virtual void submit(Request& request) = 0;
};

}  // namespace ringbolt

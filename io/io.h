// The seam. Everything above io/ reaches files, sockets, time and its own event loop through this
// interface and through nothing else. Two implementations: RingIo (io_uring, ring_io.h) and SimIo
// (deterministic, virtual time, injectable faults, sim_io.h).
//
// A virtual interface rather than a template parameter: an indirect call costs about 2 ns against
// microseconds per operation, and it keeps the layers above in ordinary .cc files that compile once.
//
// One Io belongs to one thread (the shard); no member may be called from another one.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "io/completion.h"
#include "ringbolt/result.h"

namespace ringbolt::io {

/// Nanoseconds; of the monotonic clock where a point in time is meant.
using Nanos = int64_t;
inline constexpr Nanos kMicrosecond = 1000;
inline constexpr Nanos kMillisecond = 1000 * kMicrosecond;
inline constexpr Nanos kSecond = 1000 * kMillisecond;

/// An open file or block device. A value; closing it is explicit.
struct File {
  int32_t fd = -1;
  [[nodiscard]] bool is_open() const { return fd >= 0; }
};

/// A listening or connected stream socket. A value that may be handed to another shard of the same
/// process when nothing is pending on it.
struct Socket {
  int32_t fd = -1;
  [[nodiscard]] bool is_open() const { return fd >= 0; }
};

struct FileInfo {
  File file;
  uint64_t bytes = 0;            ///< size of the file or device now
  bool created = false;          ///< open_file made it
  bool is_block_device = false;
};

struct OpenOptions {
  bool create = false;        ///< create if missing (and make its directory entry durable)
  uint64_t resize_bytes = 0;  ///< if not 0: a regular file that is shorter is extended to this (sparse)
};

/// Called once after `delay`; re-armable. Intrusive: must outlive its being armed.
class Timer {
 public:
  using Function = void (*)(Timer&);
  explicit Timer(Function function) : function_(function) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  [[nodiscard]] bool armed() const { return heap_index_ != kNotArmed; }

  /// Private to the implementations of io::Io.
  static constexpr uint32_t kNotArmed = UINT32_MAX;
  void fire() { function_(*this); }
  Nanos deadline_ = 0;
  uint64_t sequence_ = 0;
  uint32_t heap_index_ = kNotArmed;

 private:
  Function function_;
};

/// Work for the end of the present turn of the loop: where batches are sealed and coalesced replies
/// and acknowledgements are sent. Queued at most once at a time; runs once, then may queue again.
class Deferred {
 public:
  using Function = void (*)(Deferred&);
  explicit Deferred(Function function) : function_(function) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  [[nodiscard]] bool queued() const { return queued_; }

  /// Private to the implementations of io::Io.
  void run() { function_(*this); }
  Deferred* next_ = nullptr;
  Deferred* previous_ = nullptr;
  bool queued_ = false;

 private:
  Function function_;
};

/// `io::TimerOf<&Shipper::on_heartbeat> heartbeat_{*this};` with `void on_heartbeat()`.
template <auto Method>
class TimerOf : public Timer {
 public:
  using Owner = typename detail::MemberClass<decltype(Method)>::type;
  explicit TimerOf(Owner& owner) : Timer(&TimerOf::call), owner_(&owner) {}

 private:
  static void call(Timer& timer) { (static_cast<TimerOf&>(timer).owner_->*Method)(); }
  Owner* owner_;
};

/// `io::DeferredOf<&Connection::flush_replies> send_{*this};` with `void flush_replies()`.
template <auto Method>
class DeferredOf : public Deferred {
 public:
  using Owner = typename detail::MemberClass<decltype(Method)>::type;
  explicit DeferredOf(Owner& owner) : Deferred(&DeferredOf::call), owner_(&owner) {}

 private:
  static void call(Deferred& deferred) { (static_cast<DeferredOf&>(deferred).owner_->*Method)(); }
  Owner* owner_;
};

class Io {
 public:
  virtual ~Io() = default;

  // --- time, chance, and the loop --------------------------------------------------------------

  /// Monotonic time; constant within a turn of the loop is allowed.
  [[nodiscard]] virtual Nanos now() const = 0;
  /// What nobody can guess. For what is rare: it is a system call.
  [[nodiscard]] virtual uint64_t random() = 0;
  /// Arms `timer` to fire once after `delay` (>= 0). An armed timer is moved.
  virtual void arm(Timer& timer, Nanos delay) = 0;
  /// Disarms; no-op if not armed. After it the timer does not fire.
  virtual void disarm(Timer& timer) = 0;
  /// Runs `deferred` at the end of this turn, before the loop submits and sleeps.
  virtual void defer(Deferred& deferred) = 0;
  /// Takes `deferred` out of the queue; no-op if not queued.
  virtual void undefer(Deferred& deferred) = 0;

  // --- files -----------------------------------------------------------------------------------
  // All file I/O is O_DIRECT: addresses, offsets and lengths are multiples of kBlockBytes; length is
  // 1 .. kFrameBytesMax unless said otherwise. Transfers are complete or fail: short transfers,
  // EINTR and EAGAIN are finished inside. Order between operations in flight is not defined.

  /// Opens for reading and writing, O_DIRECT, close-on-exec, and takes `flock(LOCK_EX)` on the very
  /// descriptor that the operations will use: after a `kill -9` the predecessor's writes may still
  /// be in flight in the kernel, and this lock stays held until they have landed.
  /// Errors: kNotFound, kBusy (locked: try again), kNotPermitted, kNoSpace, kIo, kInvalid (not a
  /// file or device; alignment over 4 KiB needed), each message naming the path. Blocking; start-up
  /// and role changes only.
  virtual Result<FileInfo> open_file(const std::string& path, const OpenOptions& options) = 0;
  /// Creates the directory and missing parents, durably. Blocking.
  virtual Status make_directory(const std::string& path) = 0;
  /// Nothing may be pending on it.
  virtual void close_file(File file) = 0;
  /// Result: `length`. Reading past the end of a regular file fails with -EIO.
  virtual void read(File file, void* data, uint32_t length, uint64_t offset, Completion& done) = 0;
  /// Result: `length`. Done means completed by the device, not flushed.
  virtual void write(File file, const void* data, uint32_t length, uint64_t offset,
                     Completion& done) = 0;
  /// fdatasync. Result 0. Covers exactly the writes that completed before this call. Unlike the
  /// others it is never tried again inside, whatever the error: a second try may succeed although the
  /// first one lost data.
  virtual void flush(File file, Completion& done) = 0;
  /// Makes [offset, offset + bytes) read as zeros and gives the space back where possible
  /// (hole punch; BLKDISCARD is not enough on devices: they are zeroed). `bytes` any multiple of a
  /// block. Result 0. Needs a flush to be durable, like a write.
  virtual void zero(File file, uint64_t offset, uint64_t bytes, Completion& done) = 0;

  // --- sockets ---------------------------------------------------------------------------------
  // At most one receive and one send in flight per socket. TCP sockets have TCP_NODELAY and keepalive.

  /// `address`: "host:port" (numeric or resolvable; "[v6]:port") or "unix:/path" (a stale socket
  /// file is replaced, a live one is kBusy). Blocking; start-up only.
  virtual Result<Socket> listen(const std::string& address) = 0;
  /// TCP's congestion control of those who connect to `listener` from now on. Nothing on a unix socket. Blocking; start-up only.
  /// kUnsupported: this kernel has none of that name; kNotPermitted: it is not for every user.
  virtual Status set_congestion_control(Socket listener, const std::string& name) = 0;
  /// Address it really listens on, e.g. with port 0 resolved, in the form that connect() takes.
  virtual std::string local_address(Socket listener) = 0;
  /// Who is at the other end of a connected socket, for log lines, in the form of local_address(). Of a unix
  /// socket: where it listens, as whoever connects to one has no address. Empty if it is gone already.
  virtual std::string peer_address(Socket socket) = 0;
  /// Result: the new socket's fd.
  virtual void accept(Socket listener, Completion& done) = 0;
  /// Result: the new socket's fd. `address` as in listen(); a host name is looked up without blocking
  /// the loop, each time anew.
  virtual void connect(const std::string& address, Completion& done) = 0;
  /// Result: bytes received, 1 .. length; with `exactly` always `length` unless the stream ends
  /// first (then what came, 0 .. length-1). 0: the peer closed. `data` need not be aligned.
  virtual void receive(Socket socket, void* data, uint32_t length, bool exactly,
                       Completion& done) = 0;
  /// Sends all bytes of `iov` (1 .. 64 entries) or fails. `iov` and the bytes must stay until done;
  /// the implementation may modify `iov`. Result: total bytes.
  virtual void send(Socket socket, std::span<iovec> iov, Completion& done) = 0;
  /// Ends both directions: pending and later receives and sends complete soon (0 or -errno).
  virtual void shutdown(Socket socket) = 0;
  /// Nothing may be pending on it.
  virtual void close_socket(Socket socket) = 0;
  /// Asks that a pending accept or connect end soon; it completes once either way, with
  /// -ECANCELED or with its result.
  virtual void cancel(Completion& pending) = 0;
};

}  // namespace ringbolt::io

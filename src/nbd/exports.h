// What the NBD front end asks of the layer that knows the volumes: which exports there are, who
// takes a client over once the handshake is done, how many clients there may be, and where
// complaints go. Implemented by the shard layer (and by tests). No I/O here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/io.h"

namespace ringbolt::nbd {

/// Answer to "may a client have this export, and what is it?".
struct ExportLookup {
  enum class Status : uint8_t {
    kFound,
    kUnknown,  ///< no such export
    kRefused,  ///< known, but not for clients now (a replica, not ready); `reason` says why
  };
  Status status = Status::kUnknown;
  std::string name;         ///< kFound: the real name (a client may have asked for "", the default)
  std::string description;  ///< kFound: for people; may be empty
  std::string reason;       ///< kRefused: one line for people
  uint64_t size_bytes = 0;  ///< kFound
  uint32_t shard = 0;       ///< kFound: who owns the volume; only HandOver looks at it
};

/// The exports of the whole daemon as the listener's shard may know them without asking another
/// shard. An answer may be stale a moment later: who takes the client over looks again.
class ExportDirectory {
 public:
  virtual ~ExportDirectory() = default;
  /// Names in a fixed order; a volume that refuses clients is listed too.
  virtual void list(std::vector<std::string>& names) = 0;
  /// `name` comes from the wire: any bytes, up to the protocol's 4096.
  virtual ExportLookup find(std::string_view name) = 0;
};

/// What the handshake agreed on.
struct Negotiated {
  std::string export_name;  ///< ExportLookup::name
  uint32_t shard = 0;       ///< ExportLookup::shard
  bool structured_replies = false;
  bool base_allocation = false;  ///< the client may ask for block status
};

/// Bounds the clients of the whole process, those in the handshake included. Any thread.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(uint32_t connections_max) : max_(connections_max) {}
  ConnectionLimit(const ConnectionLimit&) = delete;
  ConnectionLimit& operator=(const ConnectionLimit&) = delete;

  /// Connections that there are stay, also if they are more. Thread: any.
  void set_max(uint32_t connections_max) { max_.store(connections_max, std::memory_order_relaxed); }

 private:
  friend class ConnectionPermit;
  bool acquire() {
    uint32_t used = used_.load(std::memory_order_relaxed);
    while (used < max_.load(std::memory_order_relaxed)) {
      if (used_.compare_exchange_weak(used, used + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  void release() { used_.fetch_sub(1, std::memory_order_relaxed); }
  std::atomic<uint32_t> max_;
  std::atomic<uint32_t> used_{0};
};

/// The right to one connection; gives itself back when it goes. The limit must outlive it.
class ConnectionPermit {
 public:
  ConnectionPermit() = default;
  /// Empty if the limit is reached.
  explicit ConnectionPermit(ConnectionLimit& limit) : limit_(limit.acquire() ? &limit : nullptr) {}
  ConnectionPermit(ConnectionPermit&& other) noexcept
      : limit_(std::exchange(other.limit_, nullptr)) {}
  ConnectionPermit& operator=(ConnectionPermit&& other) noexcept {
    std::swap(limit_, other.limit_);
    return *this;
  }
  ~ConnectionPermit() {
    if (limit_ != nullptr) limit_->release();
  }
  explicit operator bool() const { return limit_ != nullptr; }

 private:
  ConnectionLimit* limit_ = nullptr;
};

/// A client that finished its handshake: all that its connection needs, in one movable value.
/// Nothing is pending on the socket. Whoever holds it must close the socket or pass it on.
struct Client {
  io::Socket socket;
  Negotiated negotiated;
  std::vector<std::byte> leftover;  ///< requests that arrived behind the last option, <= 16 KiB
  ConnectionPermit permit;
  std::string address;  ///< for log lines: described_address()
};

/// How log lines name whoever is at the other end of a socket.
std::string described_address(io::Io& io, io::Socket socket);

/// Takes a client to the shard that owns its volume: at once into the ConnectionSet of this shard,
/// or with a message into that of another one.
class HandOver {
 public:
  virtual ~HandOver() = default;
  virtual void attach(Client client) = 0;
};

/// What there is to say of a client.
struct ClientLine {
  std::string_view words;          ///< for people; whatever they quote from a client is printable already
  std::string_view address;        ///< described_address() of the client; empty: there is none yet
  std::string_view volume = {};    ///< that it is a client of; empty: of none yet
  uint64_t left_out = 0;           ///< lines that were left out before this one
};

/// Where one line per misbehaving client goes.
class ClientLog {
 public:
  virtual ~ClientLog() = default;
  virtual void client_line(const ClientLine& line) = 0;
};

/// Lets through a burst and then one line per second, and says how many it left out: clients must
/// not be able to flood the log. One per shard.
class LimitedClientLog {
 public:
  static constexpr uint32_t kBurstLines = 10;

  LimitedClientLog(io::Io& io, ClientLog& log) : io_(io), log_(log) {}
  /// `line.left_out` is filled in here.
  void line(ClientLine line);

 private:
  io::Io& io_;
  ClientLog& log_;
  uint32_t lines_left_ = kBurstLines;
  uint64_t lines_left_out_ = 0;
  io::Nanos refilled_at_ = 0;
};

/// Bytes of a client for a log line: printable ASCII, everything else as '?', cut at 64 bytes.
std::string printable(std::string_view bytes);

}  // namespace ringbolt::nbd

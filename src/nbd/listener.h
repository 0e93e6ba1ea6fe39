// One listening address: accepts clients, leads each through the handshake within a deadline, and
// hands it over. Bounded: in clients (ConnectionLimit, shared by the whole process), in clients
// that have not finished their handshake (the oldest must go), in memory per client.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "io/io.h"
#include "nbd/exports.h"
#include "nbd/handshake.h"

namespace ringbolt::nbd {

struct ListenerOptions {
  io::Nanos handshake_timeout = 10 * io::kSecond;
  /// Clients in the handshake at once. When one more comes, the oldest is closed: whoever opens
  /// many connections and stays silent gets in nobody's way but its own.
  uint32_t handshakes_max = 1024;
  /// Of clients, where they come over TCP; empty: the host's.
  std::string tcp_congestion{};
};

/// What listeners of one shard share. All must outlive them.
struct ListenerHost {
  io::Io& io;
  ExportDirectory& directory;
  HandOver& hand_over;
  LimitedClientLog& log;
  ConnectionLimit& limit;
};

class Listener;

/// One client in its handshake.
class HandshakeSession {
 public:
  HandshakeSession(Listener& listener, io::Socket socket, std::string address, ConnectionPermit permit);
  ~HandshakeSession();
  HandshakeSession(const HandshakeSession&) = delete;
  HandshakeSession& operator=(const HandshakeSession&) = delete;

  void start(io::Nanos timeout);
  /// Ends it soon, from the end of a turn. Idempotent.
  void close(std::string_view reason);
  [[nodiscard]] bool closing() const { return closing_; }

  std::list<std::unique_ptr<HandshakeSession>>::iterator place;  ///< the listener's

 private:
  static constexpr size_t kInputBytes = 4096;

  void advance();
  void on_received(int32_t result);
  void on_sent(int32_t result);
  void on_deadline();
  void on_turn_end();

  Listener& listener_;
  const io::Socket socket_;
  std::string address_;
  ConnectionPermit permit_;
  Handshake handshake_;
  bool closing_ = false;
  bool finished_ = false;  // the handshake came to its good end: hand over
  std::array<std::byte, kInputBytes> input_;
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  std::vector<std::byte> sending_;
  iovec iov_{};
  io::Op<&HandshakeSession::on_received> receive_{*this};
  io::Op<&HandshakeSession::on_sent> send_{*this};
  io::TimerOf<&HandshakeSession::on_deadline> deadline_{*this};
  io::DeferredOf<&HandshakeSession::on_turn_end> turn_{*this};
};

class Listener {
 public:
  Listener(ListenerHost host, ListenerOptions options);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// Listens on `address` (as io::Io::listen) and begins to accept. Once. Blocking; start-up only.
  Status listen(const std::string& address);
  /// Where it listens, e.g. with port 0 resolved.
  [[nodiscard]] std::string local_address() const;
  /// Of clients that come from now on.
  void set_handshake_timeout(io::Nanos timeout) { options_.handshake_timeout = timeout; }
  /// Accepts no more, closes clients in their handshake, closes the socket, then calls `stopped`,
  /// once, possibly at once.
  void stop(std::function<void()> stopped);

 private:
  friend class HandshakeSession;
  /// Pause after an accept that failed for lack of descriptors or memory.
  static constexpr io::Nanos kAcceptPause = 100 * io::kMillisecond;

  void arm_accept();
  void on_accepted(int32_t result);
  void on_accept_error(int32_t error);
  void make_room();
  void on_session_gone(HandshakeSession& session);
  void report_if_stopped();

  ListenerHost host_;
  ListenerOptions options_;
  io::Socket socket_;
  bool stopping_ = false;
  std::function<void()> stopped_;
  std::list<std::unique_ptr<HandshakeSession>> sessions_;  // in order of arrival
  uint32_t sessions_closing_ = 0;
  io::Op<&Listener::on_accepted> accept_{*this};
  io::TimerOf<&Listener::arm_accept> pause_{*this};
};

}  // namespace ringbolt::nbd

// The admin API over HTTP/1.1, on the control thread. Sits between the network and `Daemon`; knows
// no shard. Everything a client can make grow is bounded here: connections, header and body size, the time
// a request may take to arrive, an answer to be produced, a reply to be read.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "control/daemon.h"
#include "ringbolt/result.h"

namespace ringbolt {

struct AdminLimits {
  uint32_t connections = 128;
  uint32_t header_bytes = 8u << 10;
  uint32_t body_bytes = 64u << 10;
  /// From the end of one request (or the connection's start) to the end of the next.
  std::chrono::milliseconds request_time{10'000};
  /// For the client to read the reply.
  std::chrono::milliseconds reply_time{10'000};
  /// For the daemon to answer; after it the client gets 503.
  std::chrono::milliseconds answer_time{5'000};
  /// After an error reply that ends the connection: how long what the client still sends is read
  /// and dropped (closing at once would reset the connection and destroy the reply).
  std::chrono::milliseconds drain_time{2'000};
};

/// Thread: all members on the thread that runs `io`.
/// Requires: `io` outlives the Daemon given to serve(), whose shards post answers to it.
class AdminServer {
 public:
  explicit AdminServer(boost::asio::io_context& io, AdminLimits limits = {});
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  /// Binds and accepts from now on; until serve() every request is answered 503 "starting".
  /// `address`: HOST:PORT. Errors: one line that names the address.
  Status listen(const std::string& address);
  /// Where it really listens, port 0 resolved. Requires: listen() succeeded.
  [[nodiscard]] std::string local_address() const;

  /// Answers from `daemon` from now on. Requires: it lives until unserve() or this object's end.
  void serve(Daemon& daemon);
  /// Answers 503 "stopping" from now on; `daemon` is not called any more.
  void unserve();

  /// Closes the listener and every connection. Their handlers run once more on `io`.
  void close();

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace ringbolt

// One HTTP/1.1 connection of the admin API. The header knows no Beast, which is heavy: only admin_http.cc
// compiles it.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>

#include "control/admin_api.h"

namespace ringbolt {

/// Reads a request, has it answered by the AdminApi, writes the reply, again. Keeps itself alive while it
/// is open. Thread: all members on the thread that runs the socket's executor.
class AdminConnection {
 public:
  virtual ~AdminConnection() = default;
  virtual void start() = 0;
  /// At once; what it has ordered goes on. Does not call `on_end`.
  virtual void close() = 0;
  /// It has nothing to do before its client sends something: it may be given up for another one.
  [[nodiscard]] virtual bool waits_for_client() const = 0;
};

/// `on_end` is called when the connection has ended by itself.
std::shared_ptr<AdminConnection> make_admin_connection(std::shared_ptr<AdminApi> api, boost::asio::ip::tcp::socket socket,
                                                       std::function<void(AdminConnection*)> on_end);

}  // namespace ringbolt

// The admin API over HTTP/1.1, on the control thread: listens, and keeps the number of connections within
// its bound. What a connection does is in admin_http, what a request means in admin_api.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "control/admin_limits.h"
#include "control/daemon.h"
#include "control/reload.h"
#include "coord/status.h"
#include "ringbolt/result.h"

namespace ringbolt {

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

  /// Answers from these from now on; `coordinator` is null if there is none. Requires: they live until unserve() or this object's end.
  void serve(Daemon& daemon, Reloader& reloader, const coord::CoordinatorView* coordinator = nullptr);
  /// Answers 503 "stopping" from now on; none of them is called any more.
  void unserve();

  /// The configuration was read again, and is valid or not: for GET /metrics.
  void note_reload(bool successful);

  /// Closes the listener and every connection. Their handlers run once more on `io`.
  void close();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ringbolt

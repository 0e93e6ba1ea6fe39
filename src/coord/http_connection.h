// One HTTP/1.1 connection to a member of the coordinator, plain or TLS, that is used for one request after another. Every
// step has a bound in time, every answer one in size.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "coord/endpoint.h"
#include "io/resolver.h"
#include "ringbolt/result.h"

namespace boost::asio::ssl {
class context;
}

namespace ringbolt::coord {

/// Certificates; each may be empty.
struct TlsFiles {
  std::string ca;         ///< whom to trust; empty: whom the host trusts
  std::string cert, key;  ///< who this is
};

using Tls = std::shared_ptr<boost::asio::ssl::context>;
/// Reads the files, which blocks. Errors: kInvalid, which one cannot be used and why.
Result<Tls> make_tls(const TlsFiles& files);

struct HttpPost {
  std::string path, body;
  std::string token;  ///< of an Authorization header; empty: none
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};

struct HttpFailure {
  std::string what;           ///< "cannot connect: Connection refused"
  bool maybe_sent = false;    ///< the request may have arrived
};

using HttpOutcome = std::variant<HttpAnswer, HttpFailure>;

/// Thread: all members on the thread that runs the io_context.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;

  /// Requires: nothing else is going on. `done` is called once, later, unless close() comes before. `limit`: for all of it.
  virtual void exchange(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(HttpOutcome)> done) = 0;
  /// An answer without an end: `on_text` is called with pieces of the body for as long as it lasts, then `done`, with an empty
  /// body if it ended well. `limit`: until it begins. A host that is gone is noticed, one that only says nothing is not.
  virtual void stream(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(std::string_view)> on_text,
                      std::function<void(HttpOutcome)> done) = 0;
  /// Ends what is going on, in silence.
  virtual void close() = 0;
  /// It is connected, idle, and the other end has not closed it.
  [[nodiscard]] virtual bool reusable() = 0;
};

/// Requires: `io` and `resolver` outlive its last operation. `tls`: of an endpoint with TLS.
std::shared_ptr<HttpConnection> make_http_connection(boost::asio::io_context& io, io::Resolver& resolver, const Endpoint& endpoint, Tls tls);

/// Posts what it looked up to `io`.
std::unique_ptr<io::Resolver> make_resolver(boost::asio::io_context& io);

}  // namespace ringbolt::coord

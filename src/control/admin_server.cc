// Callbacks rather than coroutines: clang 14 cannot compile C++20 coroutines against libstdc++.
#include "control/admin_server.h"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <algorithm>
#include <array>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "control/config_values.h"
#include "control/http_target.h"
#include "control/json.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

struct Reply {
  http::status status = http::status::ok;
  std::string body;
};

Reply error_reply(http::status status, std::string_view code, std::string_view message) {
  return {status, error_json(code, message)};
}

/// One kind of question to the daemon. At most one is open at a time, whatever clients do: who asks
/// meanwhile waits for the next one, because the answer under way may be older than the question.
template <class Answer>
class Question {
 public:
  using Waiter = std::function<void(const Answer&)>;
  using Ticket = uint64_t;
  /// Asks the daemon and arranges for on_answer() to be called on the control thread; or returns
  /// false because there is no daemon to ask (any more). Who waits then runs into its time limit.
  using Ask = std::function<bool()>;

  explicit Question(Ask ask) : ask_(std::move(ask)) {}

  Ticket add(Waiter waiter) {
    const Ticket ticket = next_ticket_++;
    next_.emplace(ticket, std::move(waiter));
    if (!open_) open();
    return ticket;
  }
  /// The waiter of `ticket` is not called any more.
  void remove(Ticket ticket) {
    current_.erase(ticket);
    next_.erase(ticket);
  }
  void on_answer(const Answer& answer) {
    RINGBOLT_ASSERT(open_);
    open_ = false;
    const std::map<Ticket, Waiter> answered = std::exchange(current_, {});
    if (!next_.empty()) open();
    for (const auto& [ticket, waiter] : answered) waiter(answer);
  }

 private:
  void open() {
    open_ = ask_();
    if (open_) current_ = std::exchange(next_, {});
  }

  Ask ask_;
  bool open_ = false;
  Ticket next_ticket_ = 1;
  std::map<Ticket, Waiter> current_;  ///< wait for the open question
  std::map<Ticket, Waiter> next_;     ///< wait for the one after it
};

}  // namespace

class AdminSession;

class AdminServer::Impl : public std::enable_shared_from_this<AdminServer::Impl> {
 public:
  Impl(asio::io_context& io, AdminLimits limits)
      : io_(io), limits_(limits), acceptor_(io), accept_retry_(io) {}

  Status listen(const std::string& address);
  void accept();
  void close();
  void remove(AdminSession* session);
  /// Ends the connection that has been waiting longest for its client; false if there is none.
  bool evict();
  void on_accepted(error_code error, tcp::socket socket);

  asio::io_context& io_;
  const AdminLimits limits_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_retry_;
  std::list<std::shared_ptr<AdminSession>> sessions_;  ///< oldest first
  Daemon* daemon_ = nullptr;
  bool stopping_ = false;

  // An answer can come when this object is gone (the daemon lives longer): hence weak pointers.
  // The io_context itself is there by contract.
  Question<std::vector<VolumeStatus>> volumes_{[this] {
    if (daemon_ == nullptr) return false;
    daemon_->volumes([weak = weak_from_this(), &io = io_](std::vector<VolumeStatus> answer) {
      asio::post(io, [weak, answer = std::move(answer)] {
        if (const auto self = weak.lock()) self->volumes_.on_answer(answer);
      });
    });
    return true;
  }};
  Question<NodeStatus> node_{[this] {
    if (daemon_ == nullptr) return false;
    daemon_->node([weak = weak_from_this(), &io = io_](NodeStatus answer) {
      asio::post(io, [weak, answer = std::move(answer)] {
        if (const auto self = weak.lock()) self->node_.on_answer(answer);
      });
    });
    return true;
  }};
};

/// One client connection: read a request, find the answer, write it, again.
class AdminSession : public std::enable_shared_from_this<AdminSession> {
 public:
  AdminSession(std::shared_ptr<AdminServer::Impl> server, tcp::socket socket)
      : server_(std::move(server)), stream_(std::move(socket)), answer_timer_(server_->io_) {}

  void start() { read(); }
  void close() {
    error_code ignored;  // it is closed either way
    stream_.socket().close(ignored);
    answer_timer_.cancel();
  }
  [[nodiscard]] bool waits_for_client() const { return waits_for_client_; }

 private:
  void read();
  void on_read(error_code error);
  void route();
  void on_answer_timeout(error_code error, uint64_t request);
  void reply(const Reply& reply);
  void on_written(error_code error);
  void drain();
  void finish() { server_->remove(this); }

  template <class Answer, class Render>
  void ask(Question<Answer>& question, Render render);

  std::shared_ptr<AdminServer::Impl> server_;
  beast::tcp_stream stream_;
  asio::steady_timer answer_timer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<char, 4096> drained_{};
  size_t drained_bytes_ = 0;
  uint64_t requests_ = 0;
  bool waits_for_client_ = false;
  bool broken_request_ = false;
  /// Takes this session's waiter out of the question it waits for; empty if it waits for none.
  std::function<void()> forget_;
};

namespace {

bool is_parse_error(const error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_method).category();
}

Reply parse_error_reply(const error_code& error, const AdminLimits& limits) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return error_reply(http::status::request_header_fields_too_large, "header_too_large",
                       fmt::format("the header is larger than {} bytes", limits.header_bytes));
  }
  if (error == http::error::body_limit) {
    return error_reply(http::status::payload_too_large, "body_too_large",
                       fmt::format("the body is larger than {} bytes", limits.body_bytes));
  }
  return error_reply(http::status::bad_request, "bad_request",
                     fmt::format("not an HTTP/1.1 request: {}", error.message()));
}

}  // namespace

void AdminSession::read() {
  parser_.emplace();
  parser_->header_limit(server_->limits_.header_bytes);
  parser_->body_limit(server_->limits_.body_bytes);
  waits_for_client_ = true;
  stream_.expires_after(server_->limits_.request_time);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](error_code error, size_t) { self->on_read(error); });
}

void AdminSession::on_read(error_code error) {
  waits_for_client_ = false;
  ++requests_;
  stream_.expires_never();
  // The client left between requests or in the middle of one, was too slow, or was evicted.
  if (error == http::error::end_of_stream || error == http::error::partial_message) return finish();
  if (error && !is_parse_error(error)) return finish();
  if (error) {
    broken_request_ = true;
    return reply(parse_error_reply(error, server_->limits_));
  }
  const auto& request = parser_->get();
  if (request.version() >= 11 && request.find(http::field::host) == request.end()) {
    return reply(error_reply(http::status::bad_request, "bad_request",
                             "an HTTP/1.1 request needs a Host header"));
  }
  route();
}

void AdminSession::route() {
  const auto& request = parser_->get();
  const auto target = request.target();
  const Result<std::vector<std::string>> parsed =
      parse_target(std::string_view(target.data(), target.size()));
  if (parsed.has_error()) {
    return reply(error_reply(http::status::bad_request, "bad_request", parsed.error().message));
  }
  const std::vector<std::string>& path = parsed.value();
  const bool health = path == std::vector<std::string>{"healthz"};
  const bool node = path == std::vector<std::string>{"v1", "node"};
  const bool volumes = path.size() >= 2 && path[0] == "v1" && path[1] == "volumes";
  const bool volume = volumes && path.size() == 3 && !path[2].empty();
  if (!health && !node && !volume && !(volumes && path.size() == 2)) {
    return reply(error_reply(http::status::not_found, "not_found", "no such resource"));
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    return reply(error_reply(http::status::method_not_allowed, "method_not_allowed",
                             "only GET and HEAD are possible here"));
  }
  if (server_->daemon_ == nullptr) {
    return reply(error_reply(http::status::service_unavailable,
                             server_->stopping_ ? "stopping" : "starting",
                             server_->stopping_ ? "the daemon is stopping"
                                                : "the daemon is starting"));
  }
  if (health) {
    // Healthy means that every shard answers, not only that this thread runs.
    return ask(server_->node_, [](const NodeStatus&) {
      return Reply{http::status::ok, "{\"status\":\"ok\"}"};
    });
  }
  if (node) {
    return ask(server_->node_, [](const NodeStatus& status) {
      return Reply{http::status::ok, to_json(status)};
    });
  }
  if (!volume) {
    return ask(server_->volumes_, [](const std::vector<VolumeStatus>& all) {
      return Reply{http::status::ok, to_json(all)};
    });
  }
  ask(server_->volumes_, [name = path[2]](const std::vector<VolumeStatus>& all) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const VolumeStatus& one) { return one.name == name; });
    if (found != all.end()) return Reply{http::status::ok, to_json(*found)};
    // A name that no volume can have is not repeated: it may not even be text.
    return error_reply(http::status::not_found, "not_found",
                       check_volume_name(name).has_value()
                           ? fmt::format("there is no volume \"{}\" on this node", name)
                           : std::string("there is no volume of that name on this node"));
  });
}

template <class Answer, class Render>
void AdminSession::ask(Question<Answer>& question, Render render) {
  answer_timer_.expires_after(server_->limits_.answer_time);
  answer_timer_.async_wait([self = shared_from_this(), request = requests_](error_code error) {
    self->on_answer_timeout(error, request);
  });
  // A weak pointer: a daemon that never answers must not keep connections alive.
  const auto ticket = question.add([weak = weak_from_this(), render](const Answer& answer) {
    const auto self = weak.lock();
    if (!self) return;
    self->forget_ = nullptr;
    self->answer_timer_.cancel();
    self->reply(render(answer));
  });
  forget_ = [&question, ticket] { question.remove(ticket); };
}

void AdminSession::on_answer_timeout(error_code error, uint64_t request) {
  // The timer may expire just before it is cancelled: then `error` is unset, but the request was
  // answered, and forget_ is empty or belongs to a later one.
  if (error || !forget_ || request != requests_) return;
  std::exchange(forget_, nullptr)();
  reply(error_reply(http::status::service_unavailable, "unavailable",
                    "the daemon's shards did not answer in time"));
}

void AdminSession::reply(const Reply& reply) {
  const auto& request = parser_->get();
  const bool keep_alive = !broken_request_ && request.keep_alive() && !server_->stopping_;
  response_.emplace(reply.status, broken_request_ ? 11 : request.version());
  response_->set(http::field::server, "ringboltd/" RINGBOLT_VERSION);
  response_->set(http::field::content_type, "application/json");
  response_->set(http::field::cache_control, "no-store");
  if (reply.status == http::status::method_not_allowed) {
    response_->set(http::field::allow, "GET, HEAD");
  }
  response_->keep_alive(keep_alive);
  response_->body() = reply.body + "\n";
  response_->prepare_payload();
  serializer_.emplace(*response_);
  stream_.expires_after(server_->limits_.reply_time);
  auto done = [self = shared_from_this()](error_code error, size_t) { self->on_written(error); };
  if (!broken_request_ && request.method() == http::verb::head) {
    http::async_write_header(stream_, *serializer_, std::move(done));
  } else {
    http::async_write(stream_, *serializer_, std::move(done));
  }
}

void AdminSession::on_written(error_code error) {
  if (error) return finish();
  if (response_->keep_alive()) return read();
  error_code ignored;  // the peer may have gone already
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream_.expires_after(server_->limits_.drain_time);
  waits_for_client_ = true;
  drain();
}

void AdminSession::drain() {
  constexpr size_t kDrainedBytesMax = 1u << 20;
  stream_.async_read_some(asio::buffer(drained_),
                          [self = shared_from_this()](error_code error, size_t bytes) {
                            self->drained_bytes_ += bytes;
                            if (error || self->drained_bytes_ > kDrainedBytesMax) {
                              return self->finish();
                            }
                            self->drain();
                          });
}

Status AdminServer::Impl::listen(const std::string& address) {
  BOOST_OUTCOME_TRY(const io::Address parsed, parse_host_port(address));
  const auto failed = [&](const char* what, const error_code& error) {
    return make_error(error == asio::error::address_in_use ? Errc::kBusy : Errc::kIo,
                      fmt::format("admin: {} {}: {}", what, address, error.message()));
  };
  error_code error;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(parsed.host, std::to_string(parsed.port),
                                      tcp::resolver::passive, error);
  if (error) return failed("cannot resolve", error);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed("cannot listen on", error);
  accept();
  return boost::outcome_v2::success();
}

void AdminServer::Impl::accept() {
  acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
    self->on_accepted(error, std::move(socket));
  });
}

void AdminServer::Impl::on_accepted(error_code error, tcp::socket socket) {
  if (!acceptor_.is_open()) return;
  if (error) {
    // Out of descriptors or the like: it would fail again at once, so not at once.
    RINGBOLT_LOG_LIMITED(kWarn, "admin: cannot accept a connection: {}", error.message());
    accept_retry_.expires_after(std::chrono::milliseconds(100));
    accept_retry_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled && self->acceptor_.is_open()) self->accept();
    });
    return;
  }
  // Full of connections that wait for their clients: the newest one is the likeliest to be of use.
  // Full of connections at work: the new one is closed, its client may come again.
  if (sessions_.size() < limits_.connections || evict()) {
    sessions_.push_back(std::make_shared<AdminSession>(shared_from_this(), std::move(socket)));
    sessions_.back()->start();
  } else {
    RINGBOLT_LOG_LIMITED(kWarn, "admin: connection refused, {} are at work already",
                         sessions_.size());
  }
  accept();
}

bool AdminServer::Impl::evict() {
  const auto idle = std::find_if(sessions_.begin(), sessions_.end(), [](const auto& session) {
    return session->waits_for_client();
  });
  if (idle == sessions_.end()) return false;
  const std::shared_ptr<AdminSession> session = *idle;
  sessions_.erase(idle);
  session->close();
  return true;
}

void AdminServer::Impl::remove(AdminSession* session) {
  sessions_.remove_if([&](const auto& one) { return one.get() == session; });
}

void AdminServer::Impl::close() {
  error_code ignored;  // it is closed either way
  acceptor_.close(ignored);
  accept_retry_.cancel();
  for (const auto& session : std::exchange(sessions_, {})) session->close();
}

AdminServer::AdminServer(asio::io_context& io, AdminLimits limits)
    : impl_(std::make_shared<Impl>(io, limits)) {}

AdminServer::~AdminServer() { close(); }

Status AdminServer::listen(const std::string& address) { return impl_->listen(address); }

std::string AdminServer::local_address() const {
  const tcp::endpoint endpoint = impl_->acceptor_.local_endpoint();
  return io::Address{io::Address::Kind::kTcp, endpoint.address().to_string(), endpoint.port(), {}}
      .to_string();
}

void AdminServer::serve(Daemon& daemon) {
  impl_->daemon_ = &daemon;
  impl_->stopping_ = false;
}

void AdminServer::unserve() {
  impl_->daemon_ = nullptr;
  impl_->stopping_ = true;
}

void AdminServer::close() { impl_->close(); }

}  // namespace ringbolt

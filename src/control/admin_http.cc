// Callbacks rather than coroutines: clang 14 cannot compile C++20 coroutines against libstdc++.
#include "control/admin_http.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <utility>

#include "control/json.h"
#include "log/log.h"

namespace ringbolt {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

bool is_parse_error(const error_code& error) {
  return error.category() == http::make_error_code(http::error::bad_method).category();
}

AdminReply error_reply(http::status status, ErrorCode code, std::string_view message) {
  return {static_cast<unsigned>(status), error_json(code, message)};
}

AdminReply parse_error_reply(const error_code& error, const AdminLimits& limits) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return error_reply(http::status::request_header_fields_too_large, ErrorCode::kHeaderTooLarge,
                       fmt::format("the header is larger than {} bytes", limits.header_bytes));
  }
  if (error == http::error::body_limit) {
    return error_reply(http::status::payload_too_large, ErrorCode::kBodyTooLarge,
                       fmt::format("the body is larger than {} bytes", limits.body_bytes));
  }
  if (error == http::error::partial_message) {
    return error_reply(http::status::bad_request, ErrorCode::kBadRequest, "the request ends before its header or body is complete");
  }
  return error_reply(http::status::bad_request, ErrorCode::kBadRequest, fmt::format("not an HTTP/1.1 request: {}", error.message()));
}

class HttpConnection final : public AdminConnection, public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::shared_ptr<AdminApi> api, tcp::socket socket, std::function<void(AdminConnection*)> on_end)
      : api_(std::move(api)), stream_(std::move(socket)), answer_timer_(stream_.get_executor()), on_end_(std::move(on_end)) {}

  void start() override { read(); }
  void close() override {
    error_code ignored;  // it is closed either way
    stream_.socket().close(ignored);
    answer_timer_.cancel();
    if (events_ != nullptr) events_->close();
  }
  [[nodiscard]] bool waits_for_client() const override { return waits_for_client_; }

 private:
  void read();
  void on_read(error_code error);
  void answer();
  void on_answer(const AdminReply& answer);
  void on_answer_timeout(error_code error, uint64_t request);
  void reply(const AdminReply& reply);
  void on_written(error_code error);
  void drain();
  void finish();

  // A stream of events, after which the connection ends.
  void begin_stream(const AdminReply& reply);
  void send_events();
  void on_events_sent(error_code error);
  void end_stream();
  void watch_client();

  std::shared_ptr<AdminApi> api_;
  beast::tcp_stream stream_;
  asio::steady_timer answer_timer_;
  std::function<void(AdminConnection*)> on_end_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<char, 4096> drained_{};
  size_t drained_bytes_ = 0;
  uint64_t requests_ = 0;
  bool waits_for_client_ = false;
  bool broken_request_ = false;
  std::optional<AdminWait> wait_;  ///< for an answer that is to come

  std::shared_ptr<EventStream> events_;
  std::optional<http::response<http::empty_body>> stream_header_;
  std::optional<http::response_serializer<http::empty_body>> stream_serializer_;
  std::string event_text_;  ///< being sent
  bool sending_ = false;
  bool stream_ended_ = false;
};

void HttpConnection::read() {
  parser_.emplace();
  parser_->header_limit(api_->limits().header_bytes);
  parser_->body_limit(api_->limits().body_bytes);
  waits_for_client_ = true;
  stream_.expires_after(api_->limits().request_time);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](error_code error, size_t) { self->on_read(error); });
}

void HttpConnection::on_read(error_code error) {
  waits_for_client_ = false;
  ++requests_;
  stream_.expires_never();
  // The client left between requests, was too slow, or was evicted.
  if (error == http::error::end_of_stream) return finish();
  if (error && !is_parse_error(error)) return finish();
  if (error) {
    broken_request_ = true;
    return reply(parse_error_reply(error, api_->limits()));
  }
  const auto& request = parser_->get();
  if (request.version() >= 11 && request.find(http::field::host) == request.end()) {
    return reply(error_reply(http::status::bad_request, ErrorCode::kBadRequest, "an HTTP/1.1 request needs a Host header"));
  }
  answer();
}

void HttpConnection::answer() {
  auto& request = parser_->get();
  const AdminRequest asked{std::string(request.method_string()), std::string(request.target()), std::move(request.body()),
                           request.find(http::field::origin) != request.end()};
  // A weak pointer: a daemon that never answers must not keep connections alive.
  auto outcome = api_->handle(asked, [weak = weak_from_this()](const AdminReply& answer) {
    if (const auto self = weak.lock()) self->on_answer(answer);
  });
  if (const AdminReply* now = std::get_if<AdminReply>(&outcome)) return reply(*now);
  wait_ = std::move(std::get<AdminWait>(outcome));
  answer_timer_.expires_after(wait_->limit);
  answer_timer_.async_wait([self = shared_from_this(), request = requests_](error_code error) {
    self->on_answer_timeout(error, request);
  });
}

void HttpConnection::on_answer(const AdminReply& answer) {
  wait_.reset();
  answer_timer_.cancel();
  reply(answer);
}

void HttpConnection::on_answer_timeout(error_code error, uint64_t request) {
  // The timer may expire just before it is cancelled: then `error` is unset, but the request was
  // answered, and wait_ is empty or belongs to a later one.
  if (error || !wait_ || request != requests_) return;
  const AdminWait wait = *std::exchange(wait_, std::nullopt);
  wait.forget();
  reply(wait.overdue);
}

void HttpConnection::reply(const AdminReply& reply) {
  if (reply.stream != nullptr) return begin_stream(reply);
  const auto& request = parser_->get();
  const bool keep_alive = !broken_request_ && request.keep_alive() && !api_->stopping();
  response_.emplace(http::int_to_status(reply.status), broken_request_ ? 11 : request.version());
  response_->set(http::field::server, "ringboltd/" RINGBOLT_VERSION);
  const auto set = [this](auto field, std::string_view value) { response_->set(field, beast::string_view(value.data(), value.size())); };
  set(http::field::content_type, reply.type);
  set(http::field::cache_control, "no-store");
  set("X-Content-Type-Options", "nosniff");
  if (!reply.policy.empty()) set("Content-Security-Policy", reply.policy);
  if (!reply.allow.empty()) set(http::field::allow, reply.allow);
  response_->keep_alive(keep_alive);
  response_->body() = reply.body + "\n";
  response_->prepare_payload();
  serializer_.emplace(*response_);
  stream_.expires_after(api_->limits().reply_time);
  auto done = [self = shared_from_this()](error_code error, size_t) { self->on_written(error); };
  if (!broken_request_ && request.method() == http::verb::head) {
    http::async_write_header(stream_, *serializer_, std::move(done));
  } else {
    http::async_write(stream_, *serializer_, std::move(done));
  }
}

void HttpConnection::on_written(error_code error) {
  if (error) return finish();
  if (response_->keep_alive()) return read();
  error_code ignored;  // the peer may have gone already
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream_.expires_after(api_->limits().drain_time);
  waits_for_client_ = true;
  drain();
}

void HttpConnection::drain() {
  constexpr size_t kDrainedBytesMax = 1u << 20;
  stream_.async_read_some(asio::buffer(drained_), [self = shared_from_this()](error_code error, size_t bytes) {
    self->drained_bytes_ += bytes;
    if (error || self->drained_bytes_ > kDrainedBytesMax) return self->finish();
    self->drain();
  });
}

void HttpConnection::finish() {
  close();  // else an operation that is still open would keep the connection
  on_end_(this);
}

// --- a stream of events -------------------------------------------------------------------------

void HttpConnection::begin_stream(const AdminReply& reply) {
  events_ = reply.stream;
  error_code ignored;  // then the kernel takes more: only that much later is a reader missed that does not read
  stream_.socket().set_option(asio::socket_base::send_buffer_size(static_cast<int>(api_->limits().stream_socket_bytes)), ignored);
  stream_header_.emplace(http::status::ok, parser_->get().version());
  stream_header_->set(http::field::server, "ringboltd/" RINGBOLT_VERSION);
  stream_header_->set(http::field::content_type, beast::string_view(reply.type.data(), reply.type.size()));
  stream_header_->set(http::field::cache_control, "no-store");
  stream_header_->set("X-Content-Type-Options", "nosniff");
  stream_header_->keep_alive(false);
  stream_header_->chunked(parser_->get().version() >= 11);
  stream_serializer_.emplace(*stream_header_);
  events_->on_ready([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->send_events();
  });
  watch_client();
  sending_ = true;
  stream_.expires_after(api_->limits().reply_time);
  http::async_write_header(stream_, *stream_serializer_, [self = shared_from_this()](error_code error, size_t) { self->on_events_sent(error); });
}

void HttpConnection::send_events() {
  if (events_->closed()) return;
  if (events_->overrun()) {
    RINGBOLT_LOG_LIMITED(kWarn, "admin: the reader of an event stream is too far behind, its connection is closed");
    return finish();
  }
  if (sending_ || stream_ended_) return;
  constexpr size_t kBytesAtOnce = 64u << 10;
  event_text_ = events_->take(kBytesAtOnce);
  if (event_text_.empty()) {
    if (events_->ended()) end_stream();
    return;
  }
  sending_ = true;
  stream_.expires_after(api_->limits().reply_time);
  auto done = [self = shared_from_this()](error_code error, size_t) { self->on_events_sent(error); };
  if (stream_header_->chunked()) {
    asio::async_write(stream_, http::make_chunk(asio::buffer(event_text_)), std::move(done));
  } else {
    asio::async_write(stream_, asio::buffer(event_text_), std::move(done));
  }
}

void HttpConnection::on_events_sent(error_code error) {
  sending_ = false;
  if (error == beast::error::timeout) {
    RINGBOLT_LOG_LIMITED(kWarn, "admin: the reader of an event stream does not read, its connection is closed");
  }
  if (events_->closed()) return;
  if (error) return finish();
  send_events();
}

/// Everything was sent. The client is given time to see that, as after an error reply.
void HttpConnection::end_stream() {
  stream_ended_ = true;
  answer_timer_.expires_after(api_->limits().drain_time);
  answer_timer_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->finish();
  });
  auto done = [self = shared_from_this()](error_code error, size_t) {
    if (error) return self->finish();
    error_code ignored;  // the peer may have gone already
    self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    self->waits_for_client_ = true;
  };
  if (!stream_header_->chunked()) return done({}, 0);
  stream_.expires_after(api_->limits().reply_time);
  asio::async_write(stream_, http::make_chunk_last(), std::move(done));
}

/// The only way to see that the client has gone while there is nothing to send. What it says is dropped.
void HttpConnection::watch_client() {
  stream_.expires_never();
  stream_.async_read_some(asio::buffer(drained_), [self = shared_from_this()](error_code error, size_t) {
    if (self->events_->closed()) return;
    if (error) return self->finish();
    self->watch_client();
  });
}

}  // namespace

std::shared_ptr<AdminConnection> make_admin_connection(std::shared_ptr<AdminApi> api, tcp::socket socket,
                                                       std::function<void(AdminConnection*)> on_end) {
  return std::make_shared<HttpConnection>(std::move(api), std::move(socket), std::move(on_end));
}

}  // namespace ringbolt

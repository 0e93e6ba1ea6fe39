// The only place that knows Beast and OpenSSL here: both take long to compile.
#include "coord/http_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "coord/etcd_codec.h"

namespace ringbolt::coord {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr uint32_t kHeaderBytesMax = 16u << 10;
// A host that is gone ends a stream after about this long.
constexpr int kKeepAliveSeconds = 5;
constexpr int kKeepAliveProbes = 3;

/// Where an answer to a look-up finds its connection, if that is still wanted.
struct LookUp final : io::Resolver::Question {
  std::function<void(const Result<std::vector<io::SocketAddress>>&)> done;
  void run() override { done(addresses); }
};

std::vector<tcp::endpoint> endpoints_of(const std::vector<io::SocketAddress>& addresses) {
  std::vector<tcp::endpoint> endpoints;
  for (const io::SocketAddress& address : addresses) {
    tcp::endpoint endpoint;
    endpoint.resize(address.length);
    std::memcpy(endpoint.data(), address.get(), address.length);
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

class BeastConnection final : public HttpConnection, public std::enable_shared_from_this<BeastConnection> {
 public:
  BeastConnection(asio::io_context& io, io::Resolver& resolver, const Endpoint& endpoint, Tls tls)
      : resolver_(resolver), endpoint_(endpoint), tls_(std::move(tls)), socket_(io), timer_(io) {
    if (tls_ != nullptr) tls_stream_.emplace(socket_, *tls_);
  }

  void exchange(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(HttpOutcome)> done) override {
    on_text_ = nullptr;
    begin(post, limit, std::move(done));
  }
  void stream(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(std::string_view)> on_text,
              std::function<void(HttpOutcome)> done) override {
    on_text_ = std::move(on_text);
    begin(post, limit, std::move(done));
  }
  void close() override {
    done_ = nullptr;
    on_text_ = nullptr;
    shut();
  }
  [[nodiscard]] bool reusable() override {
    if (!connected_ || done_) return false;
    char byte = 0;
    const ssize_t got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    // Nothing is to come without a request: neither the end nor bytes.
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

 private:
  using Step = void (BeastConnection::*)();

  void begin(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(HttpOutcome)> done);
  void connect(const std::vector<tcp::endpoint>& endpoints);
  void on_connected();
  void handshake();
  void send();
  void receive();
  void read_answer();
  void on_head();
  void receive_text();
  void finish_answer();
  void on_time_limit();
  void shut();
  void end(HttpOutcome outcome);
  void fail(const char* step, const std::string& why);

  /// What an operation of `step` ends with: `next`, or the failure. Nothing once nobody waits for it any more.
  auto then(const char* step, Step next) {
    return [self = shared_from_this(), step, next, exchange = exchanges_](error_code error, auto&&...) {
      if (!self->done_ || self->exchanges_ != exchange) return;
      if (error) return self->fail(step, error.message());
      (self.get()->*next)();
    };
  }
  /// Calls `operation` with the stream that the endpoint has.
  template <class Operation>
  void on_stream(const Operation& operation) {
    if (tls_stream_) {
      operation(*tls_stream_);
    } else {
      operation(socket_);
    }
  }

  io::Resolver& resolver_;
  const Endpoint endpoint_;
  const Tls tls_;
  tcp::socket socket_;
  std::optional<ssl::stream<tcp::socket&>> tls_stream_;
  asio::steady_timer timer_;
  std::vector<tcp::endpoint> endpoints_;
  bool connected_ = false;
  bool maybe_sent_ = false;
  uint64_t exchanges_ = 0;
  const char* step_ = "";  ///< for people: what it is at
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> answer_;
  std::optional<http::response_parser<http::buffer_body>> stream_answer_;
  std::array<char, 16u << 10> text_{};
  std::function<void(std::string_view)> on_text_;
  std::function<void(HttpOutcome)> done_;  ///< empty: idle
};

void BeastConnection::begin(const HttpPost& post, std::chrono::milliseconds limit, std::function<void(HttpOutcome)> done) {
  done_ = std::move(done);
  maybe_sent_ = false;
  const uint64_t exchange = ++exchanges_;
  request_ = {http::verb::post, beast::string_view(post.path.data(), post.path.size()), 11};
  request_.set(http::field::host, endpoint_.address.to_string());
  request_.set(http::field::user_agent, "ringboltd/" RINGBOLT_VERSION);
  request_.set(http::field::content_type, "application/json");
  if (!post.token.empty()) request_.set(http::field::authorization, post.token);
  // A member that has lost its leader then says so at once, instead of keeping the request until it has one.
  request_.set("Grpc-Metadata-hasleader", "true");
  request_.body() = post.body;
  request_.prepare_payload();
  timer_.expires_after(limit);
  timer_.async_wait([self = shared_from_this(), exchange](error_code cancelled) {
    // One that was due already is not cancelled any more.
    if (!cancelled && self->done_ && self->exchanges_ == exchange) self->on_time_limit();
  });
  if (connected_) return send();
  step_ = "looking up its name";
  const Result<std::vector<io::SocketAddress>> numeric = io::resolve_numeric(endpoint_.address);
  if (numeric.has_value()) return connect(endpoints_of(numeric.value()));
  auto question = std::make_unique<LookUp>();
  question->address = endpoint_.address;
  question->done = [weak = weak_from_this(), exchange](const Result<std::vector<io::SocketAddress>>& found) {
    const auto self = weak.lock();
    if (!self || !self->done_ || self->exchanges_ != exchange) return;
    if (found.has_error()) return self->fail("its name cannot be looked up", found.error().message);
    self->connect(endpoints_of(found.value()));
  };
  resolver_.ask(std::move(question));
}

void BeastConnection::connect(const std::vector<tcp::endpoint>& endpoints) {
  step_ = "connecting";
  endpoints_ = endpoints;
  asio::async_connect(socket_, endpoints_, then("cannot connect", &BeastConnection::on_connected));
}

void BeastConnection::on_connected() {
  error_code ignored;  // without them it only is slower, and a host that is gone is noticed later
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [fd = socket_.native_handle()](int option, int value) { ::setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value); };
  set(TCP_KEEPIDLE, kKeepAliveSeconds);
  set(TCP_KEEPINTVL, kKeepAliveSeconds);
  set(TCP_KEEPCNT, kKeepAliveProbes);
  tls_stream_ ? handshake() : send();
}

void BeastConnection::handshake() {
  step_ = "agreeing on TLS";
  const std::string& host = endpoint_.address.host;
  // A name that does not fit there is not announced; who it is gets checked either way.
  if (io::resolve_numeric(endpoint_.address).has_error()) SSL_set_tlsext_host_name(tls_stream_->native_handle(), host.c_str());
  tls_stream_->set_verify_callback(ssl::host_name_verification(host));
  tls_stream_->async_handshake(ssl::stream_base::client, then("TLS failed", &BeastConnection::send));
}

void BeastConnection::send() {
  step_ = "sending";
  connected_ = true;
  maybe_sent_ = true;
  on_stream([this](auto& stream) { http::async_write(stream, request_, then("cannot send", &BeastConnection::receive)); });
}

void BeastConnection::receive() {
  step_ = "waiting for its answer";
  buffer_.consume(buffer_.size());
  if (on_text_) {
    stream_answer_.emplace();
    stream_answer_->header_limit(kHeaderBytesMax);
    stream_answer_->body_limit(boost::none);
    on_stream([this](auto& stream) { http::async_read_header(stream, buffer_, *stream_answer_, then("no answer", &BeastConnection::on_head)); });
    return;
  }
  answer_.emplace();
  answer_->header_limit(kHeaderBytesMax);
  read_answer();
}

void BeastConnection::read_answer() {
  answer_->body_limit(etcd::kAnswerBytesMax);
  on_stream([this](auto& stream) { http::async_read(stream, buffer_, *answer_, then("no answer", &BeastConnection::finish_answer)); });
}

void BeastConnection::finish_answer() {
  const bool keep = answer_->keep_alive();
  HttpAnswer answer{answer_->get().result_int(), std::move(answer_->get().body())};
  if (!keep) shut();
  end(std::move(answer));
}

/// Of a stream.
void BeastConnection::on_head() {
  if (stream_answer_->get().result_int() == 200) {
    timer_.cancel();
    return receive_text();
  }
  // A refusal is an answer like any other.
  answer_.emplace(std::move(*stream_answer_));
  read_answer();
}

void BeastConnection::receive_text() {
  auto& answer = *stream_answer_;
  if (answer.is_done()) {
    shut();
    return end(HttpAnswer{answer.get().result_int(), {}});
  }
  answer.get().body().data = text_.data();
  answer.get().body().size = text_.size();
  on_stream([this](auto& stream) {
    http::async_read_some(stream, buffer_, *stream_answer_, [self = shared_from_this(), exchange = exchanges_](error_code error, size_t) {
      if (!self->done_ || self->exchanges_ != exchange) return;
      if (error && error != http::error::need_buffer) return self->fail("the stream broke off", error.message());
      const std::string_view text(self->text_.data(), self->text_.size() - self->stream_answer_->get().body().size);
      const auto on_text = self->on_text_;  // it may close this, and so end itself
      if (!text.empty()) on_text(text);
      if (self->done_) self->receive_text();
    });
  });
}

void BeastConnection::on_time_limit() {
  const std::string what = fmt::format("no answer in time ({})", step_);
  shut();
  end(HttpFailure{what, maybe_sent_});
}

void BeastConnection::fail(const char* step, const std::string& why) {
  shut();
  end(HttpFailure{fmt::format("{}: {}", step, why), maybe_sent_});
}

void BeastConnection::shut() {
  error_code ignored;  // it is closed either way
  socket_.close(ignored);
  timer_.cancel();
  connected_ = false;
}

void BeastConnection::end(HttpOutcome outcome) {
  timer_.cancel();
  on_text_ = nullptr;
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
}

/// One line of what OpenSSL says.
Error tls_error(const std::string& file, const error_code& error) {
  return make_error(Errc::kInvalid, fmt::format("coordinator: {} cannot be used for TLS: {}", file, error.message()));
}

}  // namespace

Result<Tls> make_tls(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1, error);
  if (error) return tls_error("OpenSSL", error);
  context->set_verify_mode(ssl::verify_peer, error);
  if (error) return tls_error("OpenSSL", error);
  if (files.ca.empty()) {
    context->set_default_verify_paths(error);
    if (error) return tls_error("what this host trusts", error);
  } else {
    context->load_verify_file(files.ca, error);
    if (error) return tls_error(files.ca, error);
  }
  if (files.cert.empty()) return context;
  context->use_certificate_chain_file(files.cert, error);
  if (error) return tls_error(files.cert, error);
  context->use_private_key_file(files.key, ssl::context::pem, error);
  if (error) return tls_error(files.key, error);
  return context;
}

std::shared_ptr<HttpConnection> make_http_connection(asio::io_context& io, io::Resolver& resolver, const Endpoint& endpoint, Tls tls) {
  return std::make_shared<BeastConnection>(io, resolver, endpoint, std::move(tls));
}

std::unique_ptr<io::Resolver> make_resolver(asio::io_context& io) {
  return std::make_unique<io::Resolver>(&io::resolve, [&io](io::Message* answered) {
    // Shared, because a posted function must be copyable, and may never be run.
    const std::shared_ptr<io::Message> owned(answered);
    asio::post(io, [owned] { owned->run(); });
  });
}

}  // namespace ringbolt::coord

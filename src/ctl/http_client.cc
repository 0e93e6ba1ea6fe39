// The one place of ringboltctl that knows Beast.
#include "ctl/http_client.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace ringbolt::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr uint64_t kReplyBytesMax = uint64_t{64} << 20;

http::verb verb_of(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet: return http::verb::get;
    case HttpMethod::kPost: return http::verb::post;
    case HttpMethod::kDelete: return http::verb::delete_;
  }
  return http::verb::get;
}

/// Runs one asynchronous step to its end: Beast's time limits exist for asynchronous ones only.
template <class Start>
error_code run_step(asio::io_context& io, Start start) {
  error_code result;
  start(result);
  io.restart();
  io.run();
  return result;
}

}  // namespace

std::variant<HttpReply, HttpFailure> http_ask(const io::Address& address, const HttpRequest& request) {
  asio::io_context io;
  bool maybe_sent = false;
  const auto failed = [&](const error_code& error) {
    return HttpFailure{fmt::format("no answer from {}: {}", address.to_string(), error.message()), maybe_sent};
  };
  error_code error;
  asio::ip::tcp::resolver resolver(io);
  const auto endpoints = resolver.resolve(address.host, std::to_string(address.port), error);
  if (error) return failed(error);

  beast::tcp_stream stream(io);
  error = run_step(io, [&](error_code& result) {
    stream.expires_after(request.step_time);
    stream.async_connect(endpoints, [&](error_code ec, const auto&) { result = ec; });
  });
  if (error) return failed(error);

  http::request<http::string_body> message(verb_of(request.method), request.target, 11);
  message.set(http::field::host, address.to_string());
  message.set(http::field::user_agent, "ringboltctl/" RINGBOLT_VERSION);
  if (!request.body.empty()) {
    message.set(http::field::content_type, "application/json");
    message.body() = request.body;
  }
  message.keep_alive(false);
  message.prepare_payload();
  maybe_sent = true;
  error = run_step(io, [&](error_code& result) {
    stream.expires_after(request.step_time);
    http::async_write(stream, message, [&](error_code ec, size_t) { result = ec; });
  });
  if (error) return failed(error);

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kReplyBytesMax);
  error = run_step(io, [&](error_code& result) {
    stream.expires_after(request.answer_time);
    http::async_read(stream, buffer, parser, [&](error_code ec, size_t) { result = ec; });
  });
  if (error) return failed(error);
  return HttpReply{parser.get().result_int(), std::move(parser.get().body())};
}

}  // namespace ringbolt::ctl

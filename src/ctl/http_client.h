// One HTTP request to a daemon's admin API, with a time limit. Blocking; used by ringboltctl.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>

#include "io/address.h"

namespace ringbolt::ctl {

enum class HttpMethod : uint8_t { kGet, kPost, kDelete };

struct HttpRequest {
  std::string target;
  HttpMethod method = HttpMethod::kGet;
  std::string body = {};  ///< of an order: JSON; empty: none
  /// For the reply to come, once the request has been sent.
  std::chrono::milliseconds answer_time{15'000};
  /// For each of the steps before: to connect, to send.
  std::chrono::milliseconds step_time{15'000};
};

struct HttpReply {
  unsigned status = 0;
  std::string body;
};

/// No complete HTTP reply came.
struct HttpFailure {
  std::string message;
  /// The request may have arrived, so what it ordered may have been done.
  bool maybe_sent = false;
};

/// Sends `request` to `address`, once: never again by itself.
std::variant<HttpReply, HttpFailure> http_ask(const io::Address& address, const HttpRequest& request);

}  // namespace ringbolt::ctl

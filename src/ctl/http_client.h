// One HTTP request to a daemon's admin API, with a time limit. Blocking; used by ringboltctl.
#pragma once

#include <chrono>
#include <string>

#include "io/address.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl {

struct HttpReply {
  unsigned status = 0;
  std::string body;
};

/// GET `target` from `address`. Errors: kIo, with a message, if no complete HTTP reply came within
/// `time` for each of the steps resolve, connect, send, receive.
Result<HttpReply> http_get(const io::Address& address, const std::string& target,
                           std::chrono::milliseconds time = std::chrono::seconds(15));

}  // namespace ringbolt::ctl

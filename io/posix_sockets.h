// The blocking part of sockets for the real Io: listening, socket options, addresses in text.
#pragma once

#include <string>

#include "io/address.h"
#include "ringbolt/result.h"

namespace ringbolt::io {

/// See Io::listen. Returns the descriptor.
Result<int> listen_on(const std::string& address);

/// See Io::local_address; empty if the descriptor has none.
std::string local_address_of(int fd);

/// No Nagle delay. No-op on sockets that are not TCP.
void set_no_delay(int fd);

}  // namespace ringbolt::io

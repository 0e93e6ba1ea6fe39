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

/// See Io::peer_address.
std::string peer_address_of(int fd);

/// What every connected stream gets, no-op where it is not TCP: no Nagle delay, and keepalive, so that
/// a peer whose host vanished without a word does not hold its connection for ever.
void set_stream_options(int fd);

/// Errors as errno: ENOENT, EPERM. Nothing (0) on a unix socket.
int set_congestion_control(int fd, const std::string& name);

/// A peer's host that answers nothing is given up after about idle + probes * interval seconds.
inline constexpr int kKeepaliveIdleSeconds = 30;
inline constexpr int kKeepaliveIntervalSeconds = 10;
inline constexpr int kKeepaliveProbes = 3;

}  // namespace ringbolt::io

// Socket addresses as they are written in configuration and on the wire, and their resolution.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt::io {

/// "host:port", "[v6]:port" or "unix:/path", taken apart.
struct Address {
  enum class Kind : uint8_t { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  std::string host;  ///< without brackets
  uint16_t port = 0;
  std::string path;  ///< of kUnix
  bool operator==(const Address&) const = default;
  /// In the form that parse_address() takes.
  [[nodiscard]] std::string to_string() const;
};

/// Errors: kInvalid with the reason.
Result<Address> parse_address(std::string_view text);

/// What bind() and connect() take.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// All socket addresses behind a name, at least one, in the resolver's order. Blocking for names
/// that are not numeric. Errors: kNotFound (no such host), kInvalid (path too long).
Result<std::vector<SocketAddress>> resolve(const Address& address);

/// The same for what needs no looking up: numeric addresses and paths. Never blocks. Errors: kNotFound
/// (a name), kInvalid.
Result<std::vector<SocketAddress>> resolve_numeric(const Address& address);

/// The written form of a socket's own address (after bind or accept).
std::string to_text(const SocketAddress& address);

}  // namespace ringbolt::io

// Bodies of address.h.
#include "io/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>

namespace ringbolt::io {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";

Error invalid(std::string_view text, const char* reason) {
  return make_error(Errc::kInvalid, "address \"" + std::string(text) + "\": " + reason);
}

Result<std::vector<SocketAddress>> look_up(const Address& address, int flags);

}  // namespace

std::string Address::to_string() const {
  if (kind == Kind::kUnix) return std::string(kUnixPrefix) + path;
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> parse_address(std::string_view text) {
  Address address;
  if (text.substr(0, kUnixPrefix.size()) == kUnixPrefix) {
    address.kind = Address::Kind::kUnix;
    address.path = std::string(text.substr(kUnixPrefix.size()));
    if (address.path.empty() || address.path.front() != '/') {
      return invalid(text, "\"unix:\" needs an absolute path");
    }
    if (address.path.find('\0') != std::string::npos) return invalid(text, "NUL in the path");
    if (address.path.size() >= sizeof(sockaddr_un::sun_path)) {
      return invalid(text, "the path is longer than a socket's may be");
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid(text, "expected HOST:PORT or unix:/PATH");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (!host.empty() && host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return invalid(text, "expected [V6-ADDRESS]:PORT");
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return invalid(text, "no IPv6 address in []");
  } else if (host.find(':') != std::string_view::npos) {
    return invalid(text, "an IPv6 address needs brackets: [ADDRESS]:PORT");
  }
  if (host.empty()) return invalid(text, "the host is missing (0.0.0.0 listens on all)");
  if (host.find_first_of(" \t\r\n[]/") != std::string_view::npos ||
      host.find('\0') != std::string_view::npos) {
    return invalid(text, "the host has a character that no host has");
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) {
    return invalid(text, "the port is not a number from 0 to 65535");
  }
  address.host = std::string(host);
  return address;
}

Result<std::vector<SocketAddress>> resolve(const Address& address) {
  return look_up(address, AI_NUMERICSERV);
}

Result<std::vector<SocketAddress>> resolve_numeric(const Address& address) {
  return look_up(address, AI_NUMERICSERV | AI_NUMERICHOST);
}

namespace {

Result<std::vector<SocketAddress>> look_up(const Address& address, int flags) {
  std::vector<SocketAddress> found;
  if (address.kind == Address::Kind::kUnix) {
    sockaddr_un local{};
    if (address.path.size() >= sizeof(local.sun_path)) {
      return invalid(address.to_string(), "the path is longer than a socket's may be");
    }
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, address.path.data(), address.path.size());
    SocketAddress& result = found.emplace_back();
    std::memcpy(&result.storage, &local, sizeof(local));
    result.length =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.path.size() + 1);
    return found;
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const std::string port = std::to_string(address.port);
  const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) {
    return make_error(Errc::kNotFound,
                      "host \"" + address.host + "\": " + std::string(gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& result = found.emplace_back();
    std::memcpy(&result.storage, at->ai_addr, at->ai_addrlen);
    result.length = at->ai_addrlen;
  }
  if (found.empty())
    return make_error(Errc::kNotFound, "host \"" + address.host + "\": no address");
  return found;
}

}  // namespace

std::string to_text(const SocketAddress& address) {
  Address text;
  char host[INET6_ADDRSTRLEN] = {};
  switch (address.family()) {
    case AF_UNIX: {
      const auto* local = reinterpret_cast<const sockaddr_un*>(&address.storage);
      text.kind = Address::Kind::kUnix;
      const size_t room = address.length > offsetof(sockaddr_un, sun_path)
                              ? address.length - offsetof(sockaddr_un, sun_path)
                              : 0;
      text.path.assign(local->sun_path, strnlen(local->sun_path, room));
      break;
    }
    case AF_INET6: {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
      inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
      text.host = host;
      text.port = ntohs(v6->sin6_port);
      break;
    }
    default: {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
      inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
      text.host = host;
      text.port = ntohs(v4->sin_port);
      break;
    }
  }
  return text.to_string();
}

}  // namespace ringbolt::io

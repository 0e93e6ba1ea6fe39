// Bodies of posix_sockets.h.
#include "io/posix_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "io/posix_files.h"

namespace ringbolt::io {

namespace {

constexpr int kBacklog = 4096;  // the kernel cuts it to net.core.somaxconn

// Whether somebody accepts on the socket file. Non-blocking: a full backlog answers EAGAIN.
bool somebody_listens(const SocketAddress& address) {
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return true;  // cannot tell: rather refuse than take over
  const bool connected = ::connect(probe, address.get(), address.length) == 0;
  const bool alive = connected || errno != ECONNREFUSED;
  ::close(probe);
  return alive;
}

// The socket file of a process that is gone stays behind and would make bind() fail for ever.
Status remove_stale(const Address& address, const SocketAddress& resolved) {
  struct stat status {};
  if (::lstat(address.path.c_str(), &status) != 0) {
    if (errno == ENOENT) return boost::outcome_v2::success();
    return errno_error(errno, address.path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return make_error(Errc::kExists, address.path + ": exists and is not a socket");
  }
  if (somebody_listens(resolved)) {
    return make_error(Errc::kBusy, address.to_string() + ": another process listens there");
  }
  if (::unlink(address.path.c_str()) != 0) return errno_error(errno, address.path + ": unlink");
  return boost::outcome_v2::success();
}

Result<int> listen_at(const Address& address, const SocketAddress& resolved) {
  const std::string text = address.to_string();
  const int fd = ::socket(resolved.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno_error(errno, text + ": socket");
  const int on = 1;
  bool good = true;
  if (resolved.family() != AF_UNIX) {
    good = ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
  }
  if (good && resolved.family() == AF_INET6) {
    good = ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0;
  }
  good = good && ::bind(fd, resolved.get(), resolved.length) == 0 && ::listen(fd, kBacklog) == 0;
  if (!good) {
    const int error = errno;
    ::close(fd);
    return errno_error(error, text + ": listen");
  }
  return fd;
}

}  // namespace

Result<int> listen_on(const std::string& text) {
  BOOST_OUTCOME_TRY(const Address address, parse_address(text));
  BOOST_OUTCOME_TRY(const auto candidates, resolve(address));
  if (address.kind == Address::Kind::kUnix) {
    BOOST_OUTCOME_TRY(remove_stale(address, candidates.front()));
  }
  Result<int> result = listen_at(address, candidates.front());
  for (size_t i = 1; i < candidates.size() && !result.has_value(); ++i) {
    result = listen_at(address, candidates[i]);
  }
  return result;
}

std::string local_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) {
    return {};
  }
  return to_text(address);
}

std::string peer_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) return {};
  // Of the two ends of a unix stream the one that listened has a name, and the accepted socket shares it.
  const bool named = address.length > offsetof(sockaddr_un, sun_path);
  return address.family() == AF_UNIX && !named ? local_address_of(fd) : to_text(address);
}

void set_stream_options(int fd) {
  struct Option {
    int level, name, value;
  };
  static constexpr Option kOptions[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                                        {SOL_SOCKET, SO_KEEPALIVE, 1},
                                        {IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds},
                                        {IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds},
                                        {IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes}};
  for (const Option& option : kOptions) {
    // Fails on unix sockets, whose peers cannot vanish, and on ones that the peer reset meanwhile,
    // which the next operation reports.
    static_cast<void>(::setsockopt(fd, option.level, option.name, &option.value, sizeof(option.value)));
  }
}

int set_congestion_control(int fd, const std::string& name) {
  int domain = 0;
  socklen_t length = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return errno;
  if (domain == AF_UNIX) return 0;
  return ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size())) == 0 ? 0 : errno;
}

}  // namespace ringbolt::io

// A preloaded library that sets TCP_NODELAY on every connection that a server accepts.
//
// qemu before 8.1 does not, so at depth its NBD replies wait for the client's delayed acknowledgements. What is measured
// beside ringbolt is to be measured at its best, not with that.
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace {

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

/// Of other families than TCP it is refused, which does no harm.
int without_delay(int connection) {
  const int one = 1;
  if (connection >= 0) setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return connection;
}

}  // namespace

extern "C" {

int accept(int listener, sockaddr* address, socklen_t* bytes) {
  static const auto real = next<int (*)(int, sockaddr*, socklen_t*)>("accept");
  return without_delay(real(listener, address, bytes));
}

int accept4(int listener, sockaddr* address, socklen_t* bytes, int flags) {
  static const auto real = next<int (*)(int, sockaddr*, socklen_t*, int)>("accept4");
  return without_delay(real(listener, address, bytes, flags));
}

}  // extern "C"

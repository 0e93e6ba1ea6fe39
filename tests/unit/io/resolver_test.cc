// Host names are looked up off the loop: a name server that does not answer delays nobody but the
// connect that asked, neither the loop nor its end.
#include "io/resolver.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "io/ring_io.h"
#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

/// A name server that keeps everybody waiting until it is told to answer. Shared, since the resolver's
/// threads may outlive a test.
class SlowNames {
 public:
  Resolver::Resolve function() {
    return [state = state_](const Address& address) -> Result<std::vector<SocketAddress>> {
      std::unique_lock lock(state->mutex);
      ++state->asked;
      state->changed.notify_all();
      state->changed.wait(lock, [&] { return state->answers; });
      if (address.host == "unknown") return make_error(Errc::kNotFound, "no such host");
      return resolve_numeric({Address::Kind::kTcp, "127.0.0.1", address.port, ""});
    };
  }
  void answer() {
    const std::lock_guard lock(state_->mutex);
    state_->answers = true;
    state_->changed.notify_all();
  }
  void wait_asked(int count) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->asked >= count; });
  }
  int asked() {
    const std::lock_guard lock(state_->mutex);
    return state_->asked;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    int asked = 0;
    bool answers = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

std::unique_ptr<RingIo> make_ring(SlowNames& names) {
  RingOptions options;
  options.resolve = names.function();
  Result<std::unique_ptr<RingIo>> made = RingIo::create(options);
  if (!made.has_value()) FAIL(made.error().message);
  return std::move(made.value());
}

std::string named(RingIo& io, Socket listener, const std::string& host) {
  const std::string numeric = io.local_address(listener);
  return host + numeric.substr(numeric.rfind(':'));
}

template <class Done>
void run_until(RingIo& io, const Done& done) {
  REQUIRE(io.run([&] {
            if (done()) io.stop();
          }).has_value());
}

void run_turns(RingIo& ring, int turns) {
  struct Ticks {
    explicit Ticks(RingIo& on) : io(on) { io.arm(timer, 0); }
    void on_tick() {
      ++count;
      io.arm(timer, kMillisecond);
    }
    RingIo& io;
    TimerOf<&Ticks::on_tick> timer{*this};
    int count = 0;
  } ticks(ring);
  run_until(ring, [&] { return ticks.count >= turns; });
  ring.disarm(ticks.timer);
}

}  // namespace

TEST_CASE("resolver: the loop goes on while a name is looked up, and the connect follows", "[io][resolver]") {
  SlowNames names;
  const auto io = make_ring(names);
  const auto listener = io->listen("127.0.0.1:0");
  REQUIRE(listener.has_value());
  Awaited accept, connect, unknown;
  io->accept(listener.value(), accept);
  io->connect(named(*io, listener.value(), "somewhere"), connect);
  io->connect("unknown:1", unknown);
  CHECK(io->pending_operations() == 3);
  run_turns(*io, 20);  // while the name server is silent
  names.wait_asked(2);
  CHECK(connect.pending());
  CHECK(unknown.pending());
  names.answer();
  run_until(*io, [&] { return accept.done && connect.done && unknown.done; });
  CHECK(accept.result >= 0);
  CHECK(connect.result >= 0);
  CHECK(unknown.result == -EHOSTUNREACH);
  CHECK(io->pending_operations() == 0);
  io->close_socket({accept.result});
  io->close_socket({connect.result});
  io->close_socket(listener.value());
}

TEST_CASE("resolver: numeric addresses and paths ask nobody", "[io][resolver]") {
  const TemporaryDirectory directory;
  SlowNames names;
  const auto io = make_ring(names);
  for (const std::string& address : {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + directory.path() + "/s"}) {
    INFO(address);
    const auto listener = io->listen(address);
    if (!listener.has_value()) continue;  // a host without IPv6
    Awaited accept, connect;
    io->accept(listener.value(), accept);
    io->connect(io->local_address(listener.value()), connect);
    run_until(*io, [&] { return accept.done && connect.done; });
    CHECK(connect.result >= 0);
    io->close_socket({accept.result});
    io->close_socket({connect.result});
    io->close_socket(listener.value());
  }
  CHECK(names.asked() == 0);
}

TEST_CASE("resolver: a cancelled connect does not wait for its name, and is not woken by it", "[io][resolver]") {
  SlowNames names;
  const auto io = make_ring(names);
  Awaited connect;
  io->connect("somewhere:1", connect);
  names.wait_asked(1);
  io->cancel(connect);
  CHECK(connect.pending());  // never from inside
  run_until(*io, [&] { return connect.done; });
  CHECK(connect.result == -ECANCELED);
  CHECK(io->pending_operations() == 0);
  // The same completion in use for another name when the first answer comes.
  connect.done = false;
  io->connect("unknown:1", connect);
  names.answer();
  run_until(*io, [&] { return connect.done; });
  CHECK(connect.result == -EHOSTUNREACH);
  CHECK(connect.calls == 2);
}

TEST_CASE("resolver: destruction waits for no name server and calls nobody", "[io][resolver]") {
  SlowNames names;
  Awaited connects[6];  // more than there are threads
  {
    const auto io = make_ring(names);
    for (Awaited& connect : connects) io->connect("somewhere:1", connect);
    names.wait_asked(4);
  }
  for (const Awaited& connect : connects) {
    CHECK_FALSE(connect.pending());
    CHECK(connect.calls == 0);
  }
  names.answer();
}

TEST_CASE("resolver: nothing is posted after it is gone", "[io][resolver]") {
  SlowNames names;
  // Held by the resolver's threads as well, so that their end can be seen.
  const auto posts = std::make_shared<std::atomic<int>>(0);
  auto resolver = std::make_unique<Resolver>(names.function(), [posts](Message* message) {
    ++*posts;
    message->discard();
  });
  struct Unheard final : Resolver::Question {
    void run() override { delete this; }
  };
  for (int i = 0; i < 6; ++i) resolver->ask(std::make_unique<Unheard>());
  names.wait_asked(4);
  resolver.reset();
  names.answer();
  while (posts.use_count() > 1) std::this_thread::yield();
  CHECK(posts->load() == 0);
}

TEST_CASE("resolver: a cancelled connect tries no further address", "[io][resolver]") {
  // One that lets nobody in: its backlog is full, so that connecting to it takes minutes.
  const int full = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int inside = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  REQUIRE(::bind(full, address, length) == 0);
  REQUIRE(::listen(full, 0) == 0);
  REQUIRE(::getsockname(full, address, &length) == 0);
  REQUIRE(::connect(inside, address, length) == 0);

  const int open = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in second = at;
  second.sin_port = 0;
  auto* const second_address = reinterpret_cast<sockaddr*>(&second);
  REQUIRE(::bind(open, second_address, length) == 0);
  REQUIRE(::listen(open, 10) == 0);
  REQUIRE(::getsockname(open, second_address, &length) == 0);

  RingOptions options;
  options.resolve = [&](const Address&) -> Result<std::vector<SocketAddress>> {
    std::vector<SocketAddress> both(2);
    std::memcpy(&both[0].storage, &at, sizeof at);
    std::memcpy(&both[1].storage, &second, sizeof second);
    both[0].length = both[1].length = sizeof at;
    return both;
  };
  auto made = RingIo::create(options);
  REQUIRE(made.has_value());
  RingIo& io = *made.value();
  Awaited connect;
  io.connect("somewhere:1", connect);
  // Until it is in the kernel: the doorbell is the first submission.
  while (io.counters().submitted < 2) run_turns(io, 2);
  run_turns(io, 5);
  REQUIRE(connect.pending());
  io.cancel(connect);
  run_until(io, [&] { return connect.done; });
  CHECK(connect.result == -ECANCELED);
  for (const int fd : {full, inside, open}) ::close(fd);
}

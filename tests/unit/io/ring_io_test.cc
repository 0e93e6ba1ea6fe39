// RingIo beyond the common contract: threads, sleeping, registered memory, tearing down.
#include "io/ring_io.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <thread>
#include <vector>

#include "io/buffer_pool.h"
#include "io/posix_sockets.h"
#include "io_bed.h"

namespace ringbolt::io {

/// Brings about what the kernel does when it is short of memory.
struct RingIoProbe {
  /// What was prepared is submitted; then the kernel takes no more before completions are taken out.
  static void spill(RingIo& io) {
    io.enter();
    io.spill();
  }
};

}  // namespace ringbolt::io

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

std::unique_ptr<RingIo> make_ring(const RingOptions& options = {}) {
  Result<std::unique_ptr<RingIo>> made = RingIo::create(options);
  if (!made.has_value()) FAIL(made.error().message);
  return std::move(made.value());
}

struct Counting : Message {
  explicit Counting(std::atomic<int>& target) : count(target) {}
  void run() override {
    ++count;
    delete this;
  }
  std::atomic<int>& count;
};

struct Discarded : Message {
  explicit Discarded(int& target) : count(target) {}
  void run() override {}
  void discard() override { ++count; }
  int& count;
};

}  // namespace

TEST_CASE("ring_io: messages from other threads are all run, whether the loop sleeps or not",
          "[ring_io]") {
  const Nanos spin = GENERATE(0, 20 * kMicrosecond);
  constexpr int kThreads = 3;
  constexpr int kEach = 3000;
  const auto io = make_ring({.spin = spin});
  std::atomic<int> count{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        io->post(new Counting(count));
        // Now and then wait until the loop has nothing left to do, so that it goes to sleep.
        if (i % 100 == 0) {
          while (count.load() < i) std::this_thread::yield();
        }
      }
    });
  }
  // No timer is armed: a lost wake-up hangs here for good.
  REQUIRE(io->run([&] {
              if (count.load() == kThreads * kEach) io->stop();
            }).has_value());
  for (std::thread& thread : threads) thread.join();
  CHECK(count.load() == kThreads * kEach);
  if (spin == 0) CHECK(io->counters().spins_paid + io->counters().spins_unpaid == 0);
}

TEST_CASE("ring_io: a sleeping loop is woken by stop from another thread", "[ring_io]") {
  const auto io = make_ring({.spin = 0});
  for (int round = 0; round < 20; ++round) {
    std::thread stopper([&] { io->stop(); });
    REQUIRE(io->run(nullptr).has_value());
    stopper.join();
  }
}

TEST_CASE("ring_io: an idle loop sleeps instead of spinning", "[ring_io]") {
  const auto io = make_ring();
  struct Ticks {
    explicit Ticks(RingIo& ring) : io(ring) { io.arm(timer, kMillisecond); }
    void on_tick() {
      if (++count == 200) {
        io.stop();
      } else {
        io.arm(timer, kMillisecond);
      }
    }
    RingIo& io;
    TimerOf<&Ticks::on_tick> timer{*this};
    int count = 0;
  } ticks(*io);
  REQUIRE(io->run(nullptr).has_value());
  // Waking for a timer is nothing that spinning helps with: it is given up but for probes.
  CHECK(io->counters().sleeps >= 150);
  CHECK(io->counters().spins_unpaid <= 60);
}

TEST_CASE("ring_io: the loop's time is divided into work, spinning and sleep, and messages are counted", "[ring_io]") {
  const auto io = make_ring({.spin = 100 * kMicrosecond});
  struct Phases {
    explicit Phases(RingIo& ring) : io(ring) { io.arm(timer, 20 * kMillisecond); }
    void on_timer() {
      if (++count == 1) return begin_work();
      io.stop();
    }
    /// A turn that takes its time, by the processor's clock: nothing else on this machine makes it shorter.
    void begin_work() {
      const Nanos begin = time_of(CLOCK_MONOTONIC);
      while (time_of(CLOCK_MONOTONIC) - begin < 30 * kMillisecond) {
      }
      io.arm(timer, 20 * kMillisecond);
    }
    static Nanos time_of(clockid_t clock) {
      timespec time{};
      clock_gettime(clock, &time);
      return time.tv_sec * kSecond + time.tv_nsec;
    }
    RingIo& io;
    TimerOf<&Phases::on_timer> timer{*this};
    int count = 0;
  } phases(*io);
  struct Counted : Message {
    explicit Counted(RingIo& ring, std::vector<uint64_t>& seen) : io(ring), waiting(seen) {}
    void run() override {
      waiting.push_back(io.messages_waiting());
      delete this;
    }
    RingIo& io;
    std::vector<uint64_t>& waiting;
  };
  std::vector<uint64_t> waiting;
  for (int i = 0; i < 3; ++i) io->post(new Counted(*io, waiting));
  CHECK(io->running_time() == 0);
  CHECK(io->messages_waiting() == 3);
  REQUIRE(io->run(nullptr).has_value());
  CHECK(waiting == std::vector<uint64_t>{2, 1, 0});
  const RingCounters& counters = io->counters();
  CHECK(counters.messages == 4);  // the stop is one, too
  CHECK(counters.spinning > 0);
  CHECK(counters.asleep >= 30 * kMillisecond);  // of 40, some of it spent spinning
  CHECK(io->running_time() - counters.asleep - counters.spinning >= 30 * kMillisecond);
}

TEST_CASE("ring_io: transfers from the pool use registered memory, others do not", "[ring_io]") {
  const TemporaryDirectory directory;
  const auto io = make_ring({.registered_bytes_max = 2 * BufferPool::kChunkBytes});
  BufferPool pool(2 * BufferPool::kChunkBytes,
                  [&](std::byte* data, size_t bytes) { io->register_chunk(data, bytes); });
  io->attach_pool(&pool);
  const auto info =
      io->open_file(directory.path() + "/a", {.create = true, .resize_bytes = 4 * kFrameBytesMax});
  REQUIRE(info.has_value());
  // So many that the second chunk comes into use.
  std::vector<Buffer> buffers;
  for (int i = 0; i < 20; ++i) buffers.push_back(pool.allocate(kFrameBytesMax));
  if (io->registration_failure().find("cannot lock") == 0) {
    WARN(io->registration_failure());  // an ordinary user's limit; the fallback is tested below
    for (const Buffer& held : buffers) pool.release(held);
    io->close_file(info.value().file);
    return;
  }
  REQUIRE(io->registration_failure() == "");
  const Buffer buffer = buffers.back();
  std::memset(buffer.data, 0x42, buffer.bytes);
  const auto run = [&](Awaited& op) {
    REQUIRE(io->run([&] {
                if (op.done) io->stop();
              }).has_value());
    op.done = false;
    return op.result;
  };
  Awaited op;
  io->write(info.value().file, buffer.data, buffer.bytes, 0, op);
  CHECK(run(op) == static_cast<int32_t>(buffer.bytes));
  CHECK(io->counters().fixed == 1);
  std::memset(buffers.front().data, 0, buffer.bytes);
  io->read(info.value().file, buffers.front().data, buffer.bytes, 0, op);
  CHECK(run(op) == static_cast<int32_t>(buffer.bytes));
  CHECK(io->counters().fixed == 2);
  CHECK(std::memcmp(buffers.front().data, buffer.data, buffer.bytes) == 0);
  Block other(kBlockBytes);
  io->read(info.value().file, other.data(), kBlockBytes, kBlockBytes, op);
  CHECK(run(op) == static_cast<int32_t>(kBlockBytes));
  CHECK(io->counters().fixed == 2);
  CHECK(other.all(0x42));
  io->close_file(info.value().file);
}

TEST_CASE("ring_io: a pool larger than what is registered works and says why", "[ring_io]") {
  const TemporaryDirectory directory;
  const auto io = make_ring();
  BufferPool pool(1, [&](std::byte* data, size_t bytes) { io->register_chunk(data, bytes); });
  const auto info =
      io->open_file(directory.path() + "/a", {.create = true, .resize_bytes = kBlockBytes});
  REQUIRE(info.has_value());
  const Buffer buffer = pool.allocate(kBlockBytes);
  Awaited op;
  io->read(info.value().file, buffer.data, kBlockBytes, 0, op);
  REQUIRE(io->run([&] {
              if (op.done) io->stop();
            }).has_value());
  CHECK(op.result == static_cast<int32_t>(kBlockBytes));
  CHECK(io->counters().fixed == 0);
  io->close_file(info.value().file);
}

TEST_CASE("ring_io: memory waiters run when memory is released in a turn", "[ring_io]") {
  const auto io = make_ring({.spin = 0});
  BufferPool pool(1);
  io->attach_pool(&pool);
  std::vector<Buffer> all;
  while (const Buffer buffer = pool.allocate(kFrameBytesMax)) all.push_back(buffer);
  pool.run_waiters();
  struct Stopper : PoolWaiter {
    explicit Stopper(RingIo& ring) : PoolWaiter(&Stopper::on_memory), io(ring) {}
    static void on_memory(PoolWaiter& waiter) { static_cast<Stopper&>(waiter).io.stop(); }
    RingIo& io;
  } stopper(*io);
  pool.wait(stopper);
  struct Releaser {
    Releaser(RingIo& io, BufferPool& memory, Buffer held) : pool(memory), buffer(held) {
      io.arm(timer, kMillisecond);
    }
    void on_timer() { pool.release(buffer); }
    BufferPool& pool;
    Buffer buffer;
    TimerOf<&Releaser::on_timer> timer{*this};
  } releaser(*io, pool, all[0]);
  REQUIRE(io->run(nullptr).has_value());  // hangs if the waiter is forgotten
  CHECK_FALSE(stopper.queued());
}

TEST_CASE("ring_io: destruction takes back what is pending and calls nobody", "[ring_io]") {
  const TemporaryDirectory directory;
  Awaited accept;
  Awaited connect;
  Awaited receive;
  Awaited send;
  std::vector<std::unique_ptr<Awaited>> writes;
  std::vector<std::unique_ptr<Block>> blocks;
  std::string memory(16, '?');
  std::string large(64u << 20, 'x');
  iovec part{large.data(), large.size()};
  int sockets[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  int discarded = 0;
  Discarded message(discarded);
  int file = -1;
  {
    const auto io = make_ring();
    const auto info = io->open_file(directory.path() + "/a",
                                    {.create = true, .resize_bytes = 64 * kFrameBytesMax});
    REQUIRE(info.has_value());
    file = info.value().file.fd;
    const auto listener = io->listen("127.0.0.1:0");
    REQUIRE(listener.has_value());
    io->accept(listener.value(), accept);
    io->connect("nonsense", connect);
    io->receive({sockets[0]}, memory.data(), 16, true, receive);
    io->send({sockets[0]}, {&part, 1}, send);
    for (uint64_t i = 0; i < 64; ++i) {
      blocks.push_back(std::make_unique<Block>(kFrameBytesMax, 3));
      writes.push_back(std::make_unique<Awaited>());
      io->write(info.value().file, blocks.back()->data(), kFrameBytesMax, i * kFrameBytesMax,
                *writes.back());
    }
    CHECK(io->pending_operations() == 68);
    io->post(&message);
  }
  CHECK(discarded == 1);
  for (const Awaited* op : {&accept, &connect, &receive, &send}) {
    CHECK(op->calls == 0);
    CHECK_FALSE(op->pending());
  }
  for (const auto& op : writes) {
    CHECK(op->calls == 0);
    CHECK_FALSE(op->pending());
  }
  ::close(file);
  ::close(sockets[0]);
  ::close(sockets[1]);
}

TEST_CASE("ring_io: more operations than the queues hold all complete once", "[ring_io]") {
  // Completions overflow their queue as well, and submissions are refused until they are taken out.
  const TemporaryDirectory directory;
  const auto io = make_ring({.submission_entries = 4, .completion_entries = 8});
  constexpr uint64_t kCount = 400;
  const auto info = io->open_file(directory.path() + "/a",
                                  {.create = true, .resize_bytes = kCount * kBlockBytes});
  REQUIRE(info.has_value());
  int sockets[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  Block block(kBlockBytes, 5);
  struct Sender {
    Sender(RingIo& ring, int socket) : io(ring), fd(socket) {}
    void on_sent(int32_t result) {
      ok = ok && result == 1;
      // Submits from inside a callback, with the queues full.
      if (++count < 1000) start();
    }
    void start() {
      part = {&byte, 1};
      io.send({fd}, {&part, 1}, send);
    }
    RingIo& io;
    int fd;
    char byte = 'x';
    iovec part{};
    Op<&Sender::on_sent> send{*this};
    int count = 0;
    bool ok = true;
  } sender(*io, sockets[0]);
  std::vector<std::unique_ptr<Awaited>> writes;
  for (uint64_t i = 0; i < kCount; ++i) {
    writes.push_back(std::make_unique<Awaited>());
    io->write(info.value().file, block.data(), kBlockBytes, i * kBlockBytes, *writes.back());
    if (i == kCount / 2) sender.start();
  }
  std::string got(1000, '?');
  Awaited receive;
  io->receive({sockets[1]}, got.data(), 1000, true, receive);
  REQUIRE(io->run([&] {
              if (io->pending_operations() == 0) io->stop();
            }).has_value());
  for (const auto& write : writes) {
    CHECK(write->calls == 1);
    CHECK(write->result == static_cast<int32_t>(kBlockBytes));
  }
  CHECK(sender.ok);
  CHECK(sender.count == 1000);
  CHECK(receive.calls == 1);
  CHECK(receive.result == 1000);
  CHECK(got == std::string(1000, 'x'));
  io->close_file(info.value().file);
  ::close(sockets[0]);
  ::close(sockets[1]);
}

TEST_CASE("ring_io: files that are no files are refused by name", "[ring_io]") {
  const auto io = make_ring();
  const auto null = io->open_file("/dev/null", {});
  REQUIRE_FALSE(null.has_value());
  CHECK(null.error().code == Errc::kInvalid);
  CHECK(null.error().message.find("/dev/null") != std::string::npos);
  const auto directory = io->open_file("/proc", {});
  REQUIRE_FALSE(directory.has_value());
  CHECK(directory.error().code == Errc::kInvalid);
}

TEST_CASE("ring_io: a link to nothing is refused by name, and nothing is made of it", "[ring_io]") {
  const auto io = make_ring();
  const TemporaryDirectory directory;
  const std::string link = directory.path() + "/link";
  REQUIRE(::symlink((directory.path() + "/nothing").c_str(), link.c_str()) == 0);
  for (const bool create : {false, true}) {
    const auto opened = io->open_file(link, {.create = create, .resize_bytes = kBlockBytes});
    REQUIRE(opened.has_error());
    CHECK(opened.error().code == Errc::kNotFound);
    CHECK(opened.error().message.find(link) != std::string::npos);
  }
  CHECK(::access((directory.path() + "/nothing").c_str(), F_OK) != 0);
}

TEST_CASE("ring_io: a socket path that is a file is left alone", "[ring_io]") {
  const TemporaryDirectory directory;
  const auto io = make_ring();
  const std::string path = directory.path() + "/a";
  const auto info = io->open_file(path, {.create = true});
  REQUIRE(info.has_value());
  const auto listener = io->listen("unix:" + path);
  REQUIRE_FALSE(listener.has_value());
  CHECK(listener.error().code == Errc::kExists);
  CHECK(access(path.c_str(), F_OK) == 0);
  io->close_file(info.value().file);
}

TEST_CASE("ring_io: both ends of a TCP connection have no delay, and keepalive for peers that vanish", "[ring_io]") {
  const auto bed = make_bed("ring");
  const Pair pair = connect_pair(*bed, bed->tcp_address());
  for (const Socket socket : {pair.client, pair.server}) {
    const auto option = [&](int level, int name) {
      int value = -1;
      socklen_t length = sizeof value;
      REQUIRE(getsockopt(socket.fd, level, name, &value, &length) == 0);
      return value;
    };
    CHECK(option(IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == kKeepaliveIdleSeconds);
    CHECK(option(IPPROTO_TCP, TCP_KEEPINTVL) == kKeepaliveIntervalSeconds);
    CHECK(option(IPPROTO_TCP, TCP_KEEPCNT) == kKeepaliveProbes);
  }
  close_pair(*bed, pair);
}

TEST_CASE("ring_io: completions that had to be taken out early are delivered once, in order", "[ring_io]") {
  const bool destroyed_first = GENERATE(false, true);
  constexpr size_t kCount = 20;
  auto io = make_ring({.spin = 0});
  int sockets[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  struct Send {
    Send(std::vector<int>& all, int name) : order(all), number(name) {}
    void on_sent(int32_t result) { order.push_back(result == 1 ? number : -1); }
    std::vector<int>& order;
    int number;
    char byte = 'x';
    iovec part{};
    Op<&Send::on_sent> op{*this};
  };
  std::vector<int> order;
  std::vector<std::unique_ptr<Send>> sends;
  const auto send = [&] {
    sends.push_back(std::make_unique<Send>(order, static_cast<int>(sends.size())));
    Send& one = *sends.back();
    one.part = {&one.byte, 1};
    io->send({sockets[0]}, {&one.part, 1}, one.op);
  };
  for (size_t i = 0; i < kCount; ++i) send();
  RingIoProbe::spill(*io);
  CHECK(order.empty());  // never from inside a submitting member
  CHECK(io->pending_operations() == kCount);
  send();
  if (destroyed_first) {
    io.reset();
    CHECK(order.empty());
  } else {
    REQUIRE(io->run([&] {
                if (io->pending_operations() == 0) io->stop();
              }).has_value());
    REQUIRE(order.size() == kCount + 1);
    for (size_t i = 0; i <= kCount; ++i) CHECK(order[i] == static_cast<int>(i));
  }
  for (const auto& one : sends) CHECK_FALSE(one->op.pending());
  ::close(sockets[0]);
  ::close(sockets[1]);
}

TEST_CASE("ring_io: a timer armed late in a long turn does not fire early", "[ring_io]") {
  const auto io = make_ring({.spin = 0});
  const auto clock = [] {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
  };
  struct Late {
    explicit Late(RingIo& ring) : io(ring) {}
    void on_fire() {
      fired = true;
      io.stop();
    }
    RingIo& io;
    bool fired = false;
    TimerOf<&Late::on_fire> timer{*this};
  } late(*io);
  Nanos armed_at = -1;
  REQUIRE(io->run([&] {
              if (armed_at >= 0) return;
              while (clock() - io->now() < 5 * kMillisecond) {
              }
              armed_at = clock();
              io->arm(late.timer, 2 * kMillisecond);
            }).has_value());
  CHECK(late.fired);
  CHECK(clock() - armed_at >= 2 * kMillisecond);
}

namespace {

/// Ends a loop that sleeps although it has work.
struct Limit {
  explicit Limit(RingIo& ring) : io(ring) { io.arm(timer, 20 * kSecond); }
  ~Limit() { io.disarm(timer); }
  void on_limit() {
    reached = true;
    io.stop();
  }
  RingIo& io;
  bool reached = false;
  TimerOf<&Limit::on_limit> timer{*this};
};

}  // namespace

TEST_CASE("ring_io: no sleep while memory waiters or failed operations are left over", "[ring_io]") {
  const auto io = make_ring({.spin = 0});
  Limit limit(*io);
  SECTION("more rounds of waiters than one turn has") {
    BufferPool pool(1);
    io->attach_pool(&pool);
    struct Again : PoolWaiter {
      Again(RingIo& ring, BufferPool& memory) : PoolWaiter(&Again::on_memory), io(ring), pool(memory) {}
      static void on_memory(PoolWaiter& waiter) {
        auto& self = static_cast<Again&>(waiter);
        if (++self.rounds == 50) return self.io.stop();
        self.pool.release(self.pool.allocate(1));
        self.pool.wait(self);
      }
      RingIo& io;
      BufferPool& pool;
      int rounds = 0;
    } again(*io, pool);
    pool.wait(again);
    pool.release(pool.allocate(1));
    REQUIRE(io->run(nullptr).has_value());
    CHECK(again.rounds == 50);
    io->attach_pool(nullptr);
  }
  SECTION("an operation that failed at the end of a turn") {
    Awaited connect;
    bool begun = false;
    REQUIRE(io->run([&] {
                if (!begun) io->connect("nonsense", connect);
                begun = true;
                if (connect.done) io->stop();
              }).has_value());
    CHECK(connect.result == -EINVAL);
  }
  CHECK_FALSE(limit.reached);
}

TEST_CASE("ring_io: TCP's congestion control is chosen for those who connect, and for connections that are made", "[ring_io]") {
  const auto of = [](Socket socket) {
    std::array<char, 16> name{};
    socklen_t length = name.size();
    REQUIRE(::getsockopt(socket.fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &length) == 0);
    return std::string(name.data());
  };
  const std::string chosen = "reno";  // every kernel has it
  RingOptions options{.spin = 0};
  SECTION("for those who connect") {}
  SECTION("and for connections that are made") { options.tcp_congestion = chosen; }
  SECTION("one that there is not: no connection is made with another instead") { options.tcp_congestion = "psychic"; }
  const auto io = make_ring(options);
  Limit limit(*io);
  const auto listener = io->listen("127.0.0.1:0");
  REQUIRE(listener.has_value());
  const std::string before = of(listener.value());
  const Status unknown = io->set_congestion_control(listener.value(), "psychic");
  REQUIRE(unknown.has_error());
  CHECK(unknown.error().code == Errc::kUnsupported);
  CHECK_THAT(unknown.error().message, Catch::Matchers::Contains("tcp_congestion \"psychic\"") && Catch::Matchers::Contains("this kernel has none of that name"));
  CHECK(of(listener.value()) == before);
  REQUIRE(io->set_congestion_control(listener.value(), chosen).has_value());
  Awaited connected, accepted;
  bool begun = false;
  const bool possible = options.tcp_congestion != "psychic";
  REQUIRE(io->run([&] {
              if (!std::exchange(begun, true)) {
                io->accept(listener.value(), accepted);
                io->connect(io->local_address(listener.value()), connected);
              }
              if (connected.done && !possible && !accepted.done) io->cancel(accepted);
              if (connected.done && accepted.done) io->stop();
            }).has_value());
  CHECK_FALSE(limit.reached);
  if (possible) {
    REQUIRE(accepted.result >= 0);
    REQUIRE(connected.result >= 0);
    CHECK(of(Socket{accepted.result}) == chosen);
    CHECK(of(Socket{connected.result}) == (options.tcp_congestion.empty() ? before : chosen));
    io->close_socket(Socket{accepted.result});
    io->close_socket(Socket{connected.result});
  } else {
    CHECK(connected.result == -ENOENT);
  }
  io->close_socket(listener.value());
}

TEST_CASE("ring_io: a unix socket has no congestion control, and none is missed", "[ring_io]") {
  const auto io = make_ring({.spin = 0});
  const TemporaryDirectory directory;
  const auto listener = io->listen("unix:" + directory.path() + "/socket");
  REQUIRE(listener.has_value());
  CHECK(io->set_congestion_control(listener.value(), "psychic").has_value());
  io->close_socket(listener.value());
}

// Bodies of io_bed.h.
#include "io_bed.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>

#include "io/ring_io.h"
#include "io/sim_io.h"

namespace ringbolt::io::test {

namespace {

constexpr Nanos kTooLong = 60 * kSecond;

class RingBed final : public Bed {
 public:
  RingBed() {
    Result<std::unique_ptr<RingIo>> made = RingIo::create({});
    if (!made.has_value()) FAIL(made.error().message);
    io_ = std::move(made.value());
  }
  Io& io() override { return *io_; }
  bool run_until(const std::function<bool()>& done) override {
    timed_out_ = false;
    io_->arm(limit_, kTooLong);
    const Status status = io_->run([&] {
      if (done()) io_->stop();
    });
    io_->disarm(limit_);
    if (!status.has_value()) FAIL(status.error().message);
    return !timed_out_;
  }
  std::string directory() override { return directory_.path(); }
  std::string tcp_address() override { return "127.0.0.1:0"; }

 private:
  void on_limit() {
    timed_out_ = true;
    io_->stop();
  }
  TemporaryDirectory directory_;
  std::unique_ptr<RingIo> io_;
  TimerOf<&RingBed::on_limit> limit_{*this};
  bool timed_out_ = false;
};

class SimBed final : public Bed {
 public:
  explicit SimBed(uint64_t seed) : world_({.seed = seed}), node_(world_.add_node("n1")) {
    io_ = node_.create_io();
    REQUIRE(io_->make_directory("/data").has_value());
  }
  Io& io() override { return *io_; }
  bool run_until(const std::function<bool()>& done) override {
    return world_.run_until(done, 1000 * kSecond);
  }
  std::string directory() override { return "/data"; }
  std::string tcp_address() override { return "127.0.0.1:0"; }

 private:
  SimWorld world_;
  SimNode& node_;
  std::unique_ptr<SimIo> io_;
};

}  // namespace

std::unique_ptr<Bed> make_bed(const std::string& kind) {
  if (kind == "ring") return std::make_unique<RingBed>();
  return std::make_unique<SimBed>(std::stoull(kind.substr(kind.find(':') + 1)));
}

std::vector<std::string> bed_kinds() {
  return {"ring", "sim:1", "sim:2", "sim:3", "sim:4", "sim:5"};
}

TemporaryDirectory::TemporaryDirectory() {
  // Not /tmp, which may be a tmpfs without direct I/O.
  const char* parent = std::getenv("TMPDIR");
  std::string name = std::string(parent != nullptr ? parent : "/var/tmp") + "/ringbolt-test-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) FAIL("mkdtemp " << name << ": " << std::strerror(errno));
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) WARN("cannot remove " << path_ << ": " << error.message());
}

int32_t await(Bed& bed, Awaited& op) {
  if (!bed.run_until([&] { return op.done; })) return -ETIME;
  op.done = false;
  return op.result;
}

Pair connect_pair(Bed& bed, const std::string& address) {
  Pair pair;
  auto listener = bed.io().listen(address);
  if (!listener.has_value()) FAIL(listener.error().message);
  pair.listener = listener.value();
  Awaited accepted;
  Awaited connected;
  bed.io().accept(pair.listener, accepted);
  bed.io().connect(bed.io().local_address(pair.listener), connected);
  REQUIRE(bed.run_until([&] { return accepted.done && connected.done; }));
  REQUIRE(accepted.result >= 0);
  REQUIRE(connected.result >= 0);
  pair.server.fd = accepted.result;
  pair.client.fd = connected.result;
  return pair;
}

void close_pair(Bed& bed, const Pair& pair) {
  bed.io().close_socket(pair.client);
  bed.io().close_socket(pair.server);
  bed.io().close_socket(pair.listener);
}

std::string pattern(size_t count, uint32_t salt) {
  std::string text(count, '\0');
  uint32_t state = salt * 2654435761u + 1;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

}  // namespace ringbolt::io::test

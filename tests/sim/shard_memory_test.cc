// One shard's memory shared by clients, volumes and replicas (io/memory_share.h), with everything real
// above the simulated io: NBD connections, volumes, replication. Whatever some do, the others go on.
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "log/log.h"
#include "nbd/connection_set.h"
#include "nbd/listener.h"
#include "repl/peer_acceptor.h"
#include "repl/volume.h"
#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {
namespace {

using io::kMillisecond;
using io::kSecond;
using nbd::kErrorNone;

constexpr uint64_t kVolumeBytes = 16u << 20;

/// A node with one shard: volumes, their clients and their peers.
class ShardNode final : public nbd::ClientLog, public nbd::HandOver, public repl::CallRouter {
 public:
  ShardNode(io::SimWorld& world, const std::string& name, uint64_t pool_bytes)
      : world_(world), name_(name), node(world.add_node(name)), io(node.create_io()), pool(pool_bytes) {
    io->attach_pool(&pool);
    memory_ = std::make_unique<CheckpointMemory>(pool);
    REQUIRE(io->make_directory("/data").has_value());
    log_ = std::make_unique<nbd::LimitedClientLog>(*io, *this);
    set = std::make_unique<nbd::ConnectionSet>(*io, pool, *log_, nbd::ConnectionOptions{});
  }
  ~ShardNode() override {
    if (!dead_) node.crash();
    listener_.reset();
    set.reset();
    acceptor_.reset();
    volumes_.clear();
    memory_.reset();
    io->attach_pool(nullptr);
  }

  repl::VolumeOptions options(const std::string& volume, Role role) const {
    repl::VolumeOptions o;
    o.store.name = volume;
    o.store.node_id = name_;
    o.store.directory = "/data/" + volume;
    o.store.volume_bytes = kVolumeBytes;
    o.store.wal_bytes = kWalBytesMin;
    o.store.adopt_base = role == Role::kPrimary;
    o.role = role;
    o.new_volume.bytes.fill(static_cast<uint8_t>(volume.back()));
    return o;
  }
  void open(const repl::VolumeOptions& options) {
    volumes_[options.store.name] = std::make_unique<repl::Volume>(*io, pool, *memory_, options);
    std::optional<bool> opened;
    volume(options.store.name).open([&](const Status& status) { opened = status.has_value(); });
    REQUIRE(world_.run_until([&] { return opened.has_value(); }, 60 * kSecond));
    REQUIRE(*opened);
    directory_.add(options.store.name, kVolumeBytes);
  }
  void listen() {
    listener_ = std::make_unique<nbd::Listener>(nbd::ListenerHost{*io, directory_, *this, *log_, limit_},
                                                nbd::ListenerOptions{});
    REQUIRE(listener_->listen(name_ + ":10809").has_value());
    repl::CallRouter& router = *this;
    acceptor_ = std::make_unique<repl::PeerAcceptor>(*io, router);
    REQUIRE(acceptor_->listen(name_ + ":7000").has_value());
  }
  void wait_serving(const std::string& name) {
    REQUIRE(world_.run_until([&] { return volume(name).refusal().empty(); }, 10 * kSecond));
  }
  repl::Volume& volume(const std::string& name) { return *volumes_.at(name); }
  void crash() {
    node.crash();
    dead_ = true;
  }

 private:
  io::SimWorld& world_;
  std::string name_;

 public:
  io::SimNode& node;
  std::unique_ptr<io::SimIo> io;
  io::BufferPool pool;
  std::unique_ptr<nbd::ConnectionSet> set;
  std::vector<std::string> lines;

 private:
  void client_line(const nbd::ClientLine& line) override { lines.emplace_back(line.words); }
  void attach(nbd::Client client) override {
    repl::Volume& of = volume(client.negotiated.export_name);
    set->add(std::move(client), of);
  }
  void route(repl::PeerCall call) override { volume(call.hello.volume_name).take_call(call); }

  bool dead_ = false;
  std::unique_ptr<CheckpointMemory> memory_;
  std::unique_ptr<nbd::LimitedClientLog> log_;
  FakeDirectory directory_;
  nbd::ConnectionLimit limit_{4096};
  std::map<std::string, std::unique_ptr<repl::Volume>> volumes_;
  std::unique_ptr<nbd::Listener> listener_;
  std::unique_ptr<repl::PeerAcceptor> acceptor_;
};

struct Quiet {
  Quiet() { log::set_level(log::Level::kError); }
  ~Quiet() { log::set_level(log::Level::kInfo); }
};

/// `count` clients of `volume` on the node "server".
std::vector<std::unique_ptr<NbdClient>> crowd(io::SimWorld& world, io::SimIo& io, size_t count, const std::string& volume) {
  std::vector<std::unique_ptr<NbdClient>> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<NbdClient>(world, io));
    clients.back()->attach(false, false, volume);
  }
  return clients;
}

/// What one of many clients writes where.
struct Writes {
  size_t clients;
  uint64_t depth;
  uint32_t bytes;
  uint64_t offset;  // of the first
};

/// All at once, again and again, each client in a region of its own; then reads it back.
void write_and_check(io::SimWorld& world, io::SimIo& io, const Writes& w, uint64_t rounds) {
  auto clients = crowd(world, io, w.clients, "vol0");
  const uint64_t region = kVolumeBytes / w.clients;
  std::vector<std::string> written(w.clients, std::string(region, '\0'));
  const uint64_t places = (region - w.offset) / w.bytes;
  for (uint64_t round = 0; round < rounds; ++round) {
    for (size_t c = 0; c < w.clients; ++c) {
      for (uint64_t i = 0; i < w.depth; ++i) {
        // More requests than places: then the same bytes again, so that their order does not matter.
        const uint64_t at = w.offset + i % places * w.bytes;
        const std::string data = pattern(w.bytes, round * 1000 + i % places);
        written[c].replace(at, w.bytes, data);
        clients[c]->write(round * w.depth + i, c * region + at, data);
      }
    }
    for (auto& client : clients) {
      for (uint64_t i = 0; i < w.depth; ++i) REQUIRE(client->wait(round * w.depth + i).error == kErrorNone);
    }
  }
  for (size_t c = 0; c < w.clients; ++c) {
    REQUIRE(clients[c]->do_read(c * region, static_cast<uint32_t>(region)).data == written[c]);
  }
}

TEST_CASE("shard memory: any number of large writes gets through a small pool", "[repl][nbd][memory]") {
  const auto writes = GENERATE(Writes{8, 32, 64u << 10, 512},        // each needs its edges read and merged
                               Writes{4, 16, 256u << 10, 0},         // as nbdcopy does
                               Writes{1, 128, 500u << 10, 0},        // whole buffers
                               Writes{16, 64, 9000, 100});           // small ones that are copied
  Quiet quiet;
  io::SimWorld world({.seed = 7});
  ShardNode server(world, "server", 8u << 20);
  server.open(server.options("vol0", Role::kPrimary));
  server.listen();
  server.wait_serving("vol0");
  const auto client_io = world.add_node("client").create_io();
  INFO(writes.clients << " clients, " << writes.depth << " x " << writes.bytes << " at " << writes.offset);
  write_and_check(world, *client_io, writes, 4);
}

/// Is a client of that volume served, whatever it does?
void check_served(io::SimWorld& world, NbdClient& client, uint64_t seed) {
  const io::Nanos begin = world.now();
  const std::string small = pattern(5000, seed), large = pattern(700'000, seed + 1);
  CHECK(client.do_write(1000, small) == kErrorNone);
  CHECK(client.do_write(1u << 20, large) == kErrorNone);
  CHECK(client.do_write((4u << 20) + 512, large) == kErrorNone);
  CHECK(client.do_plain(nbd::kCommandFlush, 0, 0).error == kErrorNone);
  CHECK(client.do_read(1000, 5000).data == small);
  CHECK(client.do_read(1u << 20, 700'000).data == large);
  CHECK(client.do_read((4u << 20) + 512, 700'000).data == large);
  CHECK(world.now() - begin < 2 * kSecond);
}

TEST_CASE("shard memory: a blocked volume takes nothing from other volumes, replicas and readers", "[repl][nbd][memory]") {
  Quiet quiet;
  io::SimWorld world({.seed = 11});
  // On "server": vol0 and vol1 are primaries, vol2 is a replica of "other". On "lost": vol0's replica.
  ShardNode server(world, "server", 8u << 20);
  ShardNode other(world, "other", 32u << 20);
  auto lost = std::make_unique<ShardNode>(world, "lost", 32u << 20);
  repl::VolumeOptions vol0 = server.options("vol0", Role::kPrimary);
  vol0.replicas.push_back({"lost", "lost:7000"});
  vol0.wait_for_lost_replicas = true;
  vol0.replica_timeout = kSecond;
  repl::VolumeOptions vol2 = other.options("vol2", Role::kPrimary);
  vol2.replicas.push_back({"server", "server:7000"});
  vol2.replica_timeout = kSecond;
  lost->open(lost->options("vol0", Role::kReplica));
  lost->listen();
  server.open(server.options("vol2", Role::kReplica));
  server.open(server.options("vol1", Role::kPrimary));
  server.open(vol0);
  server.listen();
  other.open(vol2);
  other.listen();
  for (const char* name : {"vol0", "vol1"}) server.wait_serving(name);
  other.wait_serving("vol2");
  const auto client_io = world.add_node("client").create_io();
  const auto client = [&](const std::string& volume) { return std::move(crowd(world, *client_io, 1, volume)[0]); };
  auto healthy = client("vol1");
  auto reader = client("vol0");
  check_served(world, *reader, 1);
  const auto in_sync = [&] { return other.volume("vol2").status().replicas.at(0).in_sync; };
  REQUIRE(world.run_until(in_sync, 10 * kSecond));

  // vol0's replica vanishes, and its clients write everything that they may: of all sizes, in turn.
  lost->crash();
  auto writers = crowd(world, *client_io, 8, "vol0");
  for (uint64_t i = 0; i < 120; ++i) {
    for (auto& writer : writers) {
      const uint32_t sizes[] = {4096, 1000, 65536, 500'000, 9000};
      const uint32_t bytes = sizes[i % 5];
      writer->write(i, i * 4096 + i % 3 * 512, std::string(bytes, 'w'));
    }
  }
  // Others ask for what these have written: an answer would be one that a crash could take back.
  auto waiting_readers = crowd(world, *client_io, 4, "vol0");
  for (auto& waiting : waiting_readers) {
    for (uint64_t i = 0; i < 60; ++i) waiting->read(i, 0, 1u << 20);
  }
  world.run_for(5 * kSecond);
  for (auto& writer : writers) CHECK(writer->received.empty());

  // Everybody else goes on: another volume, and a replica here.
  for (uint64_t round = 0; round < 12; ++round) check_served(world, *healthy, round);
  NbdClient other_client(world, *client_io);
  for (uint64_t i = 0; i < 100; ++i) {
    std::optional<RequestError> answered;
    Request request;
    const std::string data = pattern(400 * 1024, i);
    request.kind = RequestKind::kWrite;
    request.offset = i % 30 * (400 * 1024);
    request.length = data.size();
    request.payload = reinterpret_cast<const std::byte*>(data.data());
    request.owner = &answered;
    request.done = [](Request& done, RequestError error) { *static_cast<std::optional<RequestError>*>(done.owner) = error; };
    other.volume("vol2").submit(request);
    REQUIRE(world.run_until([&] { return answered.has_value(); }, 10 * kSecond));
    REQUIRE(*answered == RequestError::kNone);
    REQUIRE(in_sync());
  }
  // Reads of vol0 that depend on nothing unanswered are served, too.
  const std::string before = pattern(700'000, 2);
  CHECK(reader->do_read((4u << 20) + 512, 700'000).data == before);
  server.crash();
  other.crash();
}

}  // namespace
}  // namespace ringbolt::test

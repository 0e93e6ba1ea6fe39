// The whole data path on the real ring, real files and loopback: clients, NBD connections, primary,
// WAL and checkpoints on one shard, the replica on another. In the steady state neither shard's thread
// allocates, whatever the clients ask for.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <thread>

#include "blocking_client.h"
#include "log/log.h"
#include "nbd/protocol.h"
#include "shard_node.h"
#include "tests/unit/io/io_bed.h"
#include "thread_allocations.h"

namespace ringbolt::test {
namespace {

constexpr uint32_t kBatch = 32;
constexpr uint64_t kVolumeBytes = 32u << 20;
constexpr uint32_t kLargeBytes = 64u << 10;

struct QuietLog {
  QuietLog() { log::set_level(log::Level::kWarn); }
  ~QuietLog() { log::set_level(log::Level::kInfo); }
};

/// Two clients that each keep a batch of requests in flight, of all kinds or of one.
class Load {
 public:
  explicit Load(const std::string& address) : clients_{{address, false}, {address, true}} {}

  /// `only`: a percentile of queue_one(), to have all requests of one kind.
  void serve(uint64_t requests, std::optional<uint32_t> only = std::nullopt) {
    for (uint64_t end = replied() + requests; replied() < end;) {
      for (BlockingClient& client : clients_) {
        for (uint32_t i = 0; i < kBatch; ++i) queue_one(client, only.value_or(static_cast<uint32_t>(random_() % 1000)));
        client.send_queued();
      }
      for (BlockingClient& client : clients_) client.take_replies();
    }
  }
  /// Records one at a time: every one in a frame of its own.
  void log_singly(uint64_t requests) {
    for (uint64_t i = 0; i < requests; ++i) {
      clients_[0].queue(nbd::kCommandWriteZeroes, i % 1000 * kBlockBytes, kBlockBytes);
      clients_[0].send_queued();
      clients_[0].take_replies();
    }
  }
  [[nodiscard]] uint64_t replied() const { return clients_[0].replied() + clients_[1].replied(); }
  [[nodiscard]] uint64_t failed() const { return clients_[0].failed() + clients_[1].failed(); }

 private:
  void queue_one(BlockingClient& client, uint32_t permille) {
    using namespace nbd;
    const uint64_t block = random_() % ((kVolumeBytes - kLargeBytes) / kBlockBytes) * kBlockBytes;
    const uint16_t fua = random_() % 20 == 0 ? kCommandFlagFua : 0;
    const std::string_view bytes(payload_);
    if (permille < 350) {
      client.queue(kCommandRead, block, kBlockBytes);
    } else if (permille < 360) {
      client.queue(kCommandRead, block + 700, kLargeBytes / 2);
    } else if (permille < 800) {
      client.queue(kCommandWrite, block, kBlockBytes, fua, bytes.substr(0, kBlockBytes));
    } else if (permille < 900) {
      client.queue(kCommandWrite, block + 512, 1000, fua, bytes.substr(0, 1000));
    } else if (permille < 910) {
      client.queue(kCommandWrite, block, kLargeBytes, fua, bytes.substr(0, kLargeBytes));
    } else if (permille < 940) {
      client.queue(kCommandWriteZeroes, block, 2 * kBlockBytes, fua);
    } else if (permille < 950) {
      client.queue(kCommandWriteZeroes, block + 100, kBlockBytes, static_cast<uint16_t>(fua | kCommandFlagNoHole));
    } else if (permille < 970) {
      client.queue(kCommandTrim, block, kLargeBytes, fua);
    } else if (permille < 990) {
      client.queue(kCommandCache, block, kBlockBytes);
    } else {
      client.queue(kCommandFlush, 0, 0);
    }
  }

  BlockingClient clients_[2];
  std::mt19937_64 random_{7};
  std::string payload_ = pattern();
  static std::string pattern() { return io::test::pattern(kLargeBytes); }
};

}  // namespace

TEST_CASE("steady state: no allocation in 100000 requests of all kinds, with a replica", "[shard][steady_state]") {
  const QuietLog quiet;
  const io::test::TemporaryDirectory directory;
  ShardNode replica({.id = "n2", .directory = directory.path() + "/n2", .role = Role::kReplica});
  ShardNode primary({.id = "n1", .directory = directory.path() + "/n1", .replicas = {{"n2", replica.peer_address()}}});
  // The first write waits for the replica: from here on it counts.
  Load load(primary.nbd_address());
  // Until every pool and table has its full size: as many frames in memory as there may be, the most
  // requests of each kind, laps of the WAL.
  load.log_singly(1'500);
  for (const uint32_t kind : {0u, 355u, 400u, 850u, 905u, 920u, 945u, 960u, 995u}) load.serve(20 * kBatch, kind);
  load.serve(20'000);
  REQUIRE(primary.status().replicas.at(0).in_sync);
  const auto counted = [](ShardNode& node) { return node.on_shard([] { return thread_allocated_bytes().value_or(UINT64_MAX); }); };
  const uint64_t checkpoint = primary.status().checkpoint_lsn.value_or(0);
  const uint64_t primary_before = counted(primary), replica_before = counted(replica);
  REQUIRE(primary_before != UINT64_MAX);

  load.serve(100'000);

  CHECK(counted(primary) - primary_before == 0);
  CHECK(counted(replica) - replica_before == 0);
  CHECK(load.failed() == 0);
  // All of it was part of what was counted.
  CHECK(primary.status().checkpoint_lsn.value_or(0) > checkpoint + 10'000);
  CHECK(primary.status().replicas.at(0).in_sync);
  CHECK(primary.status().durable_lsn.value_or(0) > checkpoint + 10'000);
}

}  // namespace ringbolt::test

// Starts that fail and stops that have nobody to wait for.
#include <catch2/catch.hpp>
#include <future>

#include "blocking_client.h"
#include "log/log.h"
#include "nbd/protocol.h"
#include "shard_node.h"
#include "tests/unit/io/io_bed.h"

namespace ringbolt::test {
namespace {

TEST_CASE("shard: a stop ends although a client's write can never be answered", "[shard]") {
  log::set_level(log::Level::kError);
  const io::test::TemporaryDirectory directory;
  auto node = std::make_unique<ShardNode>(ShardNodeOptions{
      .directory = directory.path() + "/n1",
      // In sync by definition, as the volume is new; never there.
      .replicas = {{"n2", "127.0.0.1:1"}},
  });
  BlockingClient client(node->nbd_address(), false);
  client.queue(nbd::kCommandWrite, 0, 4096, 0, std::string(4096, 'x'));
  client.send_queued();
  // The volume has it, and waits.
  while (!node->on_shard([&] { return node->shard().clients() == 1; })) {
  }
  node.reset();  // must return: the test's own time limit is the judge
  CHECK(client.take_until_end() == 0);  // an error would be the last word; unanswered, the write is asked again
  log::set_level(log::Level::kInfo);
}

TEST_CASE("shard: memory that cannot be had is an error with a remedy, not the end of the process", "[shard]") {
  Shard shard({.memory_bytes = uint64_t{1} << 50, .limits = {.spin = 0, .client_stall_timeout = io::kSecond}}, [](const std::string& reason) { FAIL(reason); });
  const Status started = shard.start();
  REQUIRE(started.has_error());
  CHECK_THAT(started.error().message, Catch::Contains("lower node.memory"));
}

}  // namespace
}  // namespace ringbolt::test

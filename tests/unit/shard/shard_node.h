// A node of one shard in this process, on the real ring, real files and loopback: a volume, its
// listeners, and access to the shard's thread. Two of them make a replicated pair.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include "nbd/listener.h"
#include "repl/peer_acceptor.h"
#include "shard/shard.h"

namespace ringbolt::test {

struct ShardNodeOptions {
  std::string id = "n1";
  std::string directory = {};
  Role role = Role::kPrimary;
  std::vector<core::ReplicaAddress> replicas = {};
  uint64_t volume_bytes = 32u << 20;
  uint64_t memory_bytes = 32u << 20;
  io::Nanos spin = 20 * io::kMicrosecond;
  io::Nanos replica_timeout = 60 * io::kSecond;
};

/// Its volume is "vol0". Ports are the kernel's choice.
class ShardNode final : private nbd::ExportDirectory, private nbd::HandOver, private repl::CallRouter {
 public:
  explicit ShardNode(const ShardNodeOptions& options);
  /// Stops cleanly: clients, volume, thread.
  ~ShardNode() override;

  [[nodiscard]] const std::string& nbd_address() const { return nbd_address_; }
  [[nodiscard]] const std::string& peer_address() const { return peer_address_; }
  [[nodiscard]] Shard& shard() { return shard_; }

  /// Runs `function` on the shard's thread, waits for it and returns what it returned. Allocates
  /// nothing on that thread.
  template <class Function>
  auto on_shard(const Function& function) {
    std::invoke_result_t<Function> result{};
    std::binary_semaphore done(0);
    shard_.run([&] {
      result = function();
      done.release();
    });
    done.acquire();
    return result;
  }
  [[nodiscard]] VolumeStatus status();

 private:
  /// Runs `begin` on the shard's thread and waits until it, or what it started, calls its argument.
  void wait_for(const std::function<void(std::function<void()> done)>& begin);
  void list(std::vector<std::string>& names) override { names.emplace_back("vol0"); }
  nbd::ExportLookup find(std::string_view name) override;
  void attach(nbd::Client client) override { shard_.add_client(std::move(client)); }
  void route(repl::PeerCall call) override { shard_.take_call(call); }
  Status listen();

  const ShardNodeOptions options_;
  nbd::ConnectionLimit limit_{64};
  std::unique_ptr<nbd::Listener> listener_;
  std::unique_ptr<repl::PeerAcceptor> acceptor_;
  std::string nbd_address_, peer_address_;
  Shard shard_;  // last: its thread uses all of the above
};

}  // namespace ringbolt::test

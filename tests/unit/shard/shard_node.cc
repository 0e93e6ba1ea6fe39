#include "shard_node.h"

#include <catch2/catch.hpp>

#include "ringbolt/assert.h"

namespace ringbolt::test {

namespace {

/// A test that goes on with a broken shard would say nothing.
void on_fatal(const std::string& reason) {
  UNSCOPED_INFO(reason);
  RINGBOLT_ASSERT(false);
}

}  // namespace

ShardNode::ShardNode(const ShardNodeOptions& options)
    : options_(options), shard_({.memory_bytes = options.memory_bytes,
                                .limits = {.spin = options.spin, .client_stall_timeout = 30 * io::kSecond, .replica_timeout = options.replica_timeout}},
                               on_fatal) {
  const Status started = shard_.start();
  if (!started.has_value()) FAIL(started.error().message);
  repl::VolumeOptions volume;
  volume.store.name = "vol0";
  volume.store.node_id = options.id;
  volume.store.directory = options.directory;
  volume.store.volume_bytes = options.volume_bytes;
  volume.store.wal_bytes = kWalBytesMin;
  volume.role = options.role;
  volume.replicas = options.replicas;
  Status opened = boost::outcome_v2::success();
  wait_for([&](std::function<void()> done) {
    shard_.open_volume(volume, [&opened, done](const Status& status) {
      opened = status;
      done();
    });
  });
  if (!opened.has_value()) FAIL(opened.error().message);
  Status listening = boost::outcome_v2::success();
  wait_for([&](const std::function<void()>& done) {
    listening = listen();
    done();
  });
  if (!listening.has_value()) FAIL(listening.error().message);
}

Status ShardNode::listen() {
  nbd::ExportDirectory& directory = *this;
  nbd::HandOver& hand_over = *this;
  repl::CallRouter& router = *this;
  listener_ = std::make_unique<nbd::Listener>(nbd::ListenerHost{shard_.io(), directory, hand_over, shard_.client_log(), limit_},
                                              nbd::ListenerOptions{});
  BOOST_OUTCOME_TRYV(listener_->listen("127.0.0.1:0"));
  nbd_address_ = listener_->local_address();
  acceptor_ = std::make_unique<repl::PeerAcceptor>(shard_.io(), router);
  BOOST_OUTCOME_TRYV(acceptor_->listen("127.0.0.1:0"));
  peer_address_ = acceptor_->local_address();
  return boost::outcome_v2::success();
}

ShardNode::~ShardNode() {
  wait_for([&](const std::function<void()>& done) { listener_->stop(done); });
  wait_for([&](const std::function<void()>& done) { acceptor_->stop(done); });
  wait_for([&](const std::function<void()>& done) {
    listener_.reset();
    acceptor_.reset();
    shard_.stop_volumes(done);
  });
}

void ShardNode::wait_for(const std::function<void(std::function<void()> done)>& begin) {
  std::promise<void> ended;
  shard_.run([&] { begin([&ended] { ended.set_value(); }); });
  ended.get_future().wait();
}

nbd::ExportLookup ShardNode::find(std::string_view name) {
  nbd::ExportLookup lookup;
  if (name != "vol0") return lookup;
  lookup.name = "vol0";
  lookup.size_bytes = options_.volume_bytes;
  lookup.reason = shard_.find_volume("vol0")->refusal();
  lookup.status = lookup.reason.empty() ? nbd::ExportLookup::Status::kFound : nbd::ExportLookup::Status::kRefused;
  return lookup;
}

VolumeStatus ShardNode::status() {
  return on_shard([this] { return shard_.find_volume("vol0")->status(); });
}

}  // namespace ringbolt::test

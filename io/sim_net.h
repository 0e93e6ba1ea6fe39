// The simulated network of one world: listeners by address string, connections as two byte streams
// with delay, bounded buffering, partitions, cuts, and the resets that crashes cause.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "io/io.h"
#include "io/sim_world.h"

namespace ringbolt::io {

class SimNet {
 public:
  explicit SimNet(SimWorld& world) : world_(world) {}
  SimNet(const SimNet&) = delete;
  SimNet& operator=(const SimNet&) = delete;

  // --- for tests; nodes by name ----------------------------------------------------------------

  /// Nothing passes between the two until heal(); what is sent is held, not lost.
  void partition(const std::string& a, const std::string& b);
  void partition_one_way(const std::string& from, const std::string& to);
  void heal(const std::string& a, const std::string& b);
  void heal_all();
  /// A connect that can be established is, although it was cancelled: the cancellation comes too late.
  void set_cancels_late(bool late) { cancels_late_ = late; }
  /// Resets every connection that was made to `address` once `after_bytes` more bytes were
  /// delivered on it (both directions together).
  void cut(const std::string& address, uint64_t after_bytes = 0);
  /// Likewise, the connections between two nodes.
  void cut_between(const std::string& a, const std::string& b, uint64_t after_bytes = 0);
  /// What was to be cut later stays.
  void forget_cuts();
  /// Likewise, one connection.
  void cut_connection(uint64_t id, uint64_t after_bytes);
  /// Calls `then` when `node` has submitted `count` more sends, with the connection and the bytes of the last one, none of which
  /// is on its way yet. One at a time for a node: the newest counts. Null: none.
  using SendAction = std::function<void(uint64_t connection, uint64_t bytes)>;
  void after_sends(const std::string& node, uint64_t count, SendAction then) { tripwires_[node] = {count, std::move(then)}; }
  /// Sends that it has submitted since the beginning.
  [[nodiscard]] uint64_t sends(const std::string& node) const {
    const auto at = sends_.find(node);
    return at == sends_.end() ? 0 : at->second;
  }
  /// Established and not closed by both sides.
  [[nodiscard]] size_t connections() const { return links_.size(); }

  // --- for SimIo and SimNode -------------------------------------------------------------------

  struct Caller {
    std::string node;
    uint64_t io_id = 0;
    uint64_t op_id = 0;
  };
  Result<Socket> listen(const std::string& node, const std::string& address);
  [[nodiscard]] std::string local_address(int32_t fd) const;
  [[nodiscard]] std::string peer_address(int32_t fd);
  void accept(const Caller& caller, int32_t fd);
  void connect(const Caller& caller, const std::string& address);
  void receive(const Caller& caller, int32_t fd, std::byte* data, uint32_t length, bool exactly);
  void send(const Caller& caller, int32_t fd, std::span<iovec> iov);
  void shutdown(int32_t fd);
  void close(int32_t fd);
  void cancel(uint64_t io_id, uint64_t op_id);
  /// One of several SimIos of a running node ended: its operations are forgotten.
  void forget_io(uint64_t io_id);
  void on_boot(const std::string& node);
  void on_crash(const std::string& node);
  void on_power_loss(const std::string& node);

 private:
  struct Listener;
  struct Chunk {
    enum class Kind : uint8_t { kData, kEnd, kReset };
    Nanos arrival = 0;
    Kind kind = Kind::kData;
    std::string data;
  };
  struct Receive {
    Caller caller;
    std::byte* data = nullptr;
    uint32_t length = 0;
    uint32_t done = 0;
    bool exactly = false;
  };
  struct Send {
    Caller caller;
    std::span<iovec> iov;
    size_t index = 0;
    size_t offset = 0;
    uint32_t done = 0;
  };
  /// One end of a connection, and the stream that leaves it.
  struct Side {
    std::string node;
    int32_t fd = -1;
    bool shut = false;    ///< shutdown() was called here, or close
    bool closed = false;  ///< the descriptor is gone
    bool ended = false;   ///< the peer's end of stream arrived
    bool reset = false;
    std::string inbox;
    std::optional<Receive> receive;
    std::optional<Send> send;
    std::deque<Chunk> outgoing;
    size_t outgoing_bytes = 0;
    Nanos last_arrival = 0;
  };
  struct Link {
    uint64_t id = 0;
    std::string address;
    Side side[2];  ///< 0 connected, 1 accepted
    std::optional<uint64_t> cut_after;
  };
  using LinkPointer = std::shared_ptr<Link>;
  struct Listener {
    std::string node;
    std::string address;
    std::string key;
    std::deque<LinkPointer> backlog;
    std::deque<Caller> accepts;
  };
  struct Connecting {
    Caller caller;
    std::string address;
    std::string key;
    LinkPointer link;  ///< set once the listener has it
  };

  [[nodiscard]] static std::string key_of(const std::string& node, const std::string& address);
  [[nodiscard]] bool blocked(const std::string& from, const std::string& to) const;
  [[nodiscard]] std::pair<LinkPointer, int> find(int32_t fd);
  [[nodiscard]] LinkPointer find_link(uint64_t id) const;
  void check_connecting(uint64_t id);
  void resume_all();
  void offer(Listener& listener);
  void later(const LinkPointer& link, int side, void (SimNet::*what)(const LinkPointer&, int));
  void push_chunk(const LinkPointer& link, int from, Chunk::Kind kind, std::string data);
  void pump(const LinkPointer& link, int from);
  void deliver(const LinkPointer& link, int from);
  void deliver_data(const LinkPointer& link, int to, std::string& data);
  void try_receive(const LinkPointer& link, int at);
  void reset_side(const LinkPointer& link, int at);
  void reset_link(const LinkPointer& link);
  void cut_link(const LinkPointer& link, uint64_t after_bytes);
  void end_side(const LinkPointer& link, int at, bool with_reset);
  void drop_process(const std::string& node, bool silently);
  void forget_if_over(const LinkPointer& link);
  void complete(const Caller& caller, int32_t result);

  SimWorld& world_;
  std::map<int32_t, Listener> listeners_;
  std::map<std::string, int32_t> listening_;  // key -> listener's fd
  std::map<std::string, std::string> homes_;  // key -> node that listened there last
  std::map<int32_t, std::pair<uint64_t, int>> sockets_;
  std::map<uint64_t, LinkPointer> links_;
  std::map<uint64_t, Connecting> connecting_;  // by op id
  std::set<std::pair<std::string, std::string>> partitions_;
  std::set<std::string> without_power_;
  std::map<std::string, std::pair<uint64_t, SendAction>> tripwires_;
  std::map<std::string, uint64_t> sends_;
  uint32_t next_port_ = 40000;
  bool cancels_late_ = false;
};

}  // namespace ringbolt::io

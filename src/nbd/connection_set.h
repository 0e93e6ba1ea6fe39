// All NBD connections of one shard: makes them, looks after stalled peers, closes them at the end.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "nbd/connection.h"

namespace ringbolt::nbd {

class ConnectionSet final : public ConnectionHost {
 public:
  /// How often busy connections are looked at. Nothing is armed while all clients are idle.
  static constexpr io::Nanos kSweepPeriod = io::kSecond / 4;

  /// All of them must outlive the set.
  ConnectionSet(io::Io& io, io::BufferPool& pool, LimitedClientLog& log, ConnectionOptions options);
  ~ConnectionSet() override;
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;

  /// Serves a client of `service` from now on. Returns false, with the socket closed and a log
  /// line, if the volume refuses clients by now or the set is closing.
  bool add(Client client, BlockService& service);

  /// Takes no more clients; lets requests in flight finish and answers them; then calls `emptied`,
  /// once, possibly at once. Bounded in time by the volumes' answers and, for clients that do not
  /// read them, by Connection::kStallUnderPressure.
  void close_all(std::function<void()> emptied);

  /// Of all connections, from now on.
  void set_stall_timeout(io::Nanos timeout) { options.stall_timeout = timeout; }

  [[nodiscard]] size_t count() const { return connections_.size(); }

 private:
  void on_connection_busy() override;
  void on_connection_gone(Connection& connection) override;
  void on_sweep();
  void arm_sweep();
  void report_if_empty();

  std::vector<std::unique_ptr<Connection>> connections_;
  bool closing_ = false;
  std::function<void()> emptied_;
  io::Nanos sweep_due_ = 0;
  io::TimerOf<&ConnectionSet::on_sweep> sweep_{*this};
};

}  // namespace ringbolt::nbd

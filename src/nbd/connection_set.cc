// Ownership and supervision of connections. See connection_set.h.
#include "nbd/connection_set.h"

namespace ringbolt::nbd {

ConnectionSet::ConnectionSet(io::Io& io_in, io::BufferPool& pool_in, LimitedClientLog& log_in,
                             ConnectionOptions options_in)
    : ConnectionHost(io_in, pool_in, log_in, options_in) {}

ConnectionSet::~ConnectionSet() { io.disarm(sweep_); }

bool ConnectionSet::add(Client client, BlockService& service) {
  std::string refusal = closing_ ? "the server is stopping" : service.refusal();
  if (!refusal.empty()) {
    log.line({"refused the NBD client of " + service.name() + " at " + client.address + ": " + refusal, client.address, service.name()});
    io.close_socket(client.socket);
    return false;
  }
  connections_.push_back(std::make_unique<Connection>(*this, service, std::move(client)));
  Connection& connection = *connections_.back();
  connection.index_in_set = connections_.size() - 1;
  connection.start();
  return true;
}

void ConnectionSet::close_all(std::function<void()> emptied) {
  RINGBOLT_ASSERT(!closing_);
  closing_ = true;
  emptied_ = std::move(emptied);
  for (const auto& connection : connections_) connection->drain(true);
  report_if_empty();
}

void ConnectionSet::on_connection_busy() {
  if (!sweep_.armed()) arm_sweep();
}

void ConnectionSet::arm_sweep() {
  sweep_due_ = io.now() + kSweepPeriod;
  io.arm(sweep_, kSweepPeriod);
}

void ConnectionSet::on_sweep() {
  const io::Nanos now = io.now();
  // A sweep that comes late comes from a process that was stopped or starved. What clients sent and took
  // meanwhile may still be unseen, so the time counts against nobody.
  const io::Nanos late = now - sweep_due_;
  const io::Nanos lost = late > kSweepPeriod ? late : 0;
  bool again = false;
  // check_stall() never destroys a connection: those that it fails go at the end of the turn.
  for (const auto& connection : connections_) {
    if (connection->check_stall(now, lost)) again = true;
  }
  if (again && !sweep_.armed()) arm_sweep();
}

void ConnectionSet::on_connection_gone(Connection& connection) {
  const size_t index = connection.index_in_set;
  RINGBOLT_ASSERT(index < connections_.size() && connections_[index].get() == &connection);
  const std::unique_ptr<Connection> gone = std::move(connections_[index]);
  if (index + 1 != connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->index_in_set = index;
  }
  connections_.pop_back();
  report_if_empty();
}

void ConnectionSet::report_if_empty() {
  if (!closing_ || !connections_.empty() || !emptied_) return;
  // Moved out first: the callback may destroy the set.
  const std::function<void()> emptied = std::exchange(emptied_, nullptr);
  emptied();
}

}  // namespace ringbolt::nbd

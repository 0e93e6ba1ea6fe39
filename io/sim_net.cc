// Bodies of SimNet: addresses, connecting, partitions, what crashes do. The streams themselves are
// in sim_net_stream.cc.
#include "io/sim_net.h"

#include <cerrno>

#include "io/sim_io.h"
#include "io/sim_trace.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

namespace {
constexpr size_t kBacklogMax = 1024;
}  // namespace

std::string SimNet::key_of(const std::string& node, const std::string& address) {
  return address.rfind("unix:", 0) == 0 ? node + "|" + address : address;
}

bool SimNet::blocked(const std::string& from, const std::string& to) const {
  return partitions_.count({from, to}) > 0 || without_power_.count(to) > 0;
}

void SimNet::complete(const Caller& caller, int32_t result) {
  world_.finish(caller.io_id, caller.op_id, result);
}

// --- listening and accepting ---------------------------------------------------------------------

Result<Socket> SimNet::listen(const std::string& node, const std::string& address) {
  std::string actual = address;
  const bool local = address.rfind("unix:", 0) == 0;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size() || colon == 0) {
    return make_error(Errc::kInvalid, address + ": not HOST:PORT or unix:PATH");
  }
  if (!local && address.substr(colon) == ":0") {
    actual = address.substr(0, colon + 1) + std::to_string(next_port_++);
  }
  const std::string key = key_of(node, actual);
  if (listening_.count(key) > 0) return make_error(Errc::kBusy, actual + ": in use");
  const int32_t fd = world_.next_fd();
  listening_[key] = fd;
  homes_[key] = node;
  listeners_[fd] = {node, actual, key, {}, {}};
  world_.trace(kTraceListen, static_cast<uint64_t>(fd));
  return Socket{fd};
}

std::string SimNet::local_address(int32_t fd) const {
  const auto at = listeners_.find(fd);
  RINGBOLT_ASSERT(at != listeners_.end());
  return at->second.address;
}

std::string SimNet::peer_address(int32_t fd) {
  const auto [link, at] = find(fd);
  const bool accepted = at == 1 && link->address.rfind("unix:", 0) != 0;
  return accepted ? link->side[0].node + ":" + std::to_string(link->id) : link->address;
}

void SimNet::accept(const Caller& caller, int32_t fd) {
  const auto at = listeners_.find(fd);
  RINGBOLT_ASSERT(at != listeners_.end());
  at->second.accepts.push_back(caller);
  offer(at->second);
}

void SimNet::offer(Listener& listener) {
  while (!listener.backlog.empty() && !listener.accepts.empty()) {
    const LinkPointer link = listener.backlog.front();
    listener.backlog.pop_front();
    const Caller caller = listener.accepts.front();
    listener.accepts.pop_front();
    Side& side = link->side[1];
    side.fd = world_.next_fd();
    sockets_[side.fd] = {link->id, 1};
    complete(caller, side.fd);
  }
}

// --- connecting ----------------------------------------------------------------------------------

void SimNet::connect(const Caller& caller, const std::string& address) {
  const uint64_t id = caller.op_id;
  connecting_[id] = {caller, address, key_of(caller.node, address), nullptr};
  world_.trace(kTraceConnect, id);
  world_.after(world_.random().between(world_.options().network),
               [this, id] { check_connecting(id); });
  world_.after(world_.options().connect_timeout, [this, id] {
    const auto at = connecting_.find(id);
    if (at == connecting_.end()) return;
    const Connecting timed_out = at->second;
    connecting_.erase(at);
    if (timed_out.link) end_side(timed_out.link, 0, true);
    complete(timed_out.caller, -ETIMEDOUT);
  });
}

// The request arrives at the listener, later its answer at the caller. Where a partition or a dark
// host is in the way nothing happens: resume_all() comes here again.
void SimNet::check_connecting(uint64_t id) {
  const auto at = connecting_.find(id);
  if (at == connecting_.end()) return;
  Connecting& connecting = at->second;
  const auto home = homes_.find(connecting.key);
  const std::string target = home == homes_.end() ? std::string() : home->second;
  const bool blocked_out = blocked(connecting.caller.node, target);
  const bool blocked_back = blocked(target, connecting.caller.node);
  if (connecting.link) {
    if (blocked_back) return;
    const LinkPointer link = connecting.link;
    const Caller caller = connecting.caller;
    connecting_.erase(at);
    Side& side = link->side[0];
    if (side.reset) {
      complete(caller, -ECONNREFUSED);
      end_side(link, 0, true);
      return;
    }
    side.fd = world_.next_fd();
    sockets_[side.fd] = {link->id, 0};
    world_.trace(kTraceConnected, link->id);
    if (world_.narrating()) world_.narrate(side.node + ": connected to " + link->address + " (" + std::to_string(link->id) + ")");
    complete(caller, side.fd);
    return;
  }
  if (blocked_out || blocked_back) return;
  const auto fd = listening_.find(connecting.key);
  if (fd == listening_.end() || listeners_[fd->second].backlog.size() >= kBacklogMax) {
    const Caller caller = connecting.caller;
    connecting_.erase(at);
    complete(caller, -ECONNREFUSED);
    return;
  }
  auto link = std::make_shared<Link>();
  link->id = world_.next_id();
  link->address = connecting.address;
  link->side[0].node = connecting.caller.node;
  link->side[1].node = target;
  links_[link->id] = link;
  connecting.link = link;
  Listener& listener = listeners_[fd->second];
  listener.backlog.push_back(link);
  offer(listener);
  world_.after(world_.random().between(world_.options().network),
               [this, id] { check_connecting(id); });
}

void SimNet::cancel(uint64_t io_id, uint64_t op_id) {
  if (const auto at = connecting_.find(op_id); at != connecting_.end()) {
    if (cancels_late_) return;
    const Connecting cancelled = at->second;
    connecting_.erase(at);
    if (cancelled.link) end_side(cancelled.link, 0, true);
    complete(cancelled.caller, -ECANCELED);
    return;
  }
  for (auto& [fd, listener] : listeners_) {
    const size_t removed = std::erase_if(listener.accepts, [&](const Caller& caller) {
      return caller.io_id == io_id && caller.op_id == op_id;
    });
    if (removed == 0) continue;
    world_.finish(io_id, op_id, -ECANCELED);
    return;
  }
}

// --- partitions and cuts -------------------------------------------------------------------------

void SimNet::partition(const std::string& a, const std::string& b) {
  partition_one_way(a, b);
  partition_one_way(b, a);
}

void SimNet::partition_one_way(const std::string& from, const std::string& to) {
  world_.trace(kTracePartition, world_.node(from).index(), world_.node(to).index());
  if (world_.narrating()) world_.narrate(from + " does not reach " + to);
  partitions_.insert({from, to});
}

void SimNet::heal(const std::string& a, const std::string& b) {
  partitions_.erase({a, b});
  partitions_.erase({b, a});
  if (world_.narrating()) world_.narrate(a + " and " + b + " reach each other");
  resume_all();
}

void SimNet::heal_all() {
  if (world_.narrating() && !partitions_.empty()) world_.narrate("everybody reaches everybody");
  partitions_.clear();
  resume_all();
}

void SimNet::resume_all() {
  for (const auto& [id, link] : links_) {
    later(link, 0, &SimNet::deliver);
    later(link, 1, &SimNet::deliver);
  }
  for (const auto& [id, connecting] : connecting_) {
    world_.after(world_.random().between(world_.options().network),
                 [this, op_id = id] { check_connecting(op_id); });
  }
}

void SimNet::cut_link(const LinkPointer& link, uint64_t after_bytes) {
  if (after_bytes == 0) {
    reset_link(link);
  } else {
    link->cut_after = after_bytes;
  }
}

void SimNet::cut(const std::string& address, uint64_t after_bytes) {
  const auto links = links_;  // a copy: cutting may remove
  for (const auto& [id, link] : links) {
    if (link->address == address) cut_link(link, after_bytes);
  }
}

void SimNet::forget_cuts() {
  for (const auto& [id, link] : links_) link->cut_after.reset();
}

void SimNet::cut_connection(uint64_t id, uint64_t after_bytes) {
  if (const LinkPointer link = find_link(id)) cut_link(link, after_bytes);
}

void SimNet::cut_between(const std::string& a, const std::string& b, uint64_t after_bytes) {
  const auto links = links_;
  for (const auto& [id, link] : links) {
    const std::string& from = link->side[0].node;
    const std::string& to = link->side[1].node;
    if ((from == a && to == b) || (from == b && to == a)) cut_link(link, after_bytes);
  }
}

// --- crashes -------------------------------------------------------------------------------------

void SimNet::forget_io(uint64_t io_id) {
  for (auto& [fd, listener] : listeners_) {
    std::erase_if(listener.accepts, [&](const Caller& caller) { return caller.io_id == io_id; });
  }
  for (auto at = connecting_.begin(); at != connecting_.end();) {
    if (at->second.caller.io_id != io_id) {
      ++at;
      continue;
    }
    const LinkPointer link = at->second.link;
    at = connecting_.erase(at);
    if (link) end_side(link, 0, true);
  }
  for (const auto& [id, link] : links_) {
    for (Side& side : link->side) {
      if (side.receive && side.receive->caller.io_id == io_id) side.receive.reset();
      if (side.send && side.send->caller.io_id == io_id) side.send.reset();
    }
  }
}

void SimNet::drop_process(const std::string& node, bool silently) {
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    if (at->second.node != node) {
      ++at;
      continue;
    }
    listening_.erase(at->second.key);
    at = listeners_.erase(at);
  }
  for (auto at = connecting_.begin(); at != connecting_.end();) {
    at = at->second.caller.node == node ? connecting_.erase(at) : std::next(at);
  }
  const auto links = links_;  // a copy: ending may remove
  for (const auto& [id, link] : links) {
    for (int at = 0; at < 2; ++at) {
      Side& side = link->side[at];
      if (side.node != node || side.closed) continue;
      side.receive.reset();
      side.send.reset();
      if (!silently) {
        // The kernel of the host closes what the process had: an end of stream or a reset, and what
        // was not on the wire yet may be lost with it.
        const bool with_reset = !side.inbox.empty() || world_.random().chance(1, 2);
        end_side(link, at, with_reset);
        continue;
      }
      const size_t lost = world_.random().below(side.outgoing.size() + 1);
      side.outgoing.resize(side.outgoing.size() - lost);
      sockets_.erase(side.fd);
      side.closed = true;
      side.shut = true;
      forget_if_over(link);
    }
  }
}

void SimNet::on_crash(const std::string& node) { drop_process(node, false); }

void SimNet::on_power_loss(const std::string& node) {
  without_power_.insert(node);
  drop_process(node, true);
}

void SimNet::on_boot(const std::string& node) {
  if (without_power_.erase(node) > 0) resume_all();
}

}  // namespace ringbolt::io

// The streams of simulated connections: pieces in flight, what a receiver gets, how they end.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/sim_net.h"
#include "io/sim_trace.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

std::pair<SimNet::LinkPointer, int> SimNet::find(int32_t fd) {
  const auto at = sockets_.find(fd);
  RINGBOLT_ASSERT(at != sockets_.end());
  return {links_.at(at->second.first), at->second.second};
}

SimNet::LinkPointer SimNet::find_link(uint64_t id) const {
  const auto at = links_.find(id);
  return at == links_.end() ? nullptr : at->second;
}

void SimNet::later(const LinkPointer& link, int side,
                   void (SimNet::*what)(const LinkPointer&, int)) {
  world_.after(world_.random().between({0, kMicrosecond}), [this, id = link->id, side, what] {
    if (const LinkPointer found = find_link(id)) (this->*what)(found, side);
  });
}

// --- operations ----------------------------------------------------------------------------------

void SimNet::receive(const Caller& caller, int32_t fd, std::byte* data, uint32_t length,
                     bool exactly) {
  const auto [link, at] = find(fd);
  Side& side = link->side[at];
  RINGBOLT_ASSERT(!side.receive);
  std::memset(data, kPoison, length);
  side.receive = Receive{caller, data, length, 0, exactly};
  try_receive(link, at);
}

void SimNet::send(const Caller& caller, int32_t fd, std::span<iovec> iov) {
  const auto [link, at] = find(fd);
  Side& side = link->side[at];
  RINGBOLT_ASSERT(!side.send);
  side.send = Send{caller, iov, 0, 0, 0};
  // Not at once: a caller that changes the bytes after this call would be found out.
  later(link, at, &SimNet::pump);
  ++sends_[side.node];
  const auto tripwire = tripwires_.find(side.node);
  if (tripwire == tripwires_.end() || tripwire->second.second == nullptr || --tripwire->second.first > 0) return;
  uint64_t bytes = 0;
  for (const iovec& part : iov) bytes += part.iov_len;
  // Not from inside: a cut completes operations of whoever sends.
  world_.after(0, [then = std::exchange(tripwire->second.second, nullptr), id = link->id, bytes] { then(id, bytes); });
}

void SimNet::shutdown(int32_t fd) {
  if (const auto found = listeners_.find(fd); found != listeners_.end()) {
    for (const Caller& caller : found->second.accepts) complete(caller, -EINVAL);
    found->second.accepts.clear();
    return;
  }
  const auto [link, at] = find(fd);
  Side& side = link->side[at];
  if (side.shut) return;
  side.shut = true;
  if (side.send) {
    const Caller caller = side.send->caller;
    side.send.reset();
    complete(caller, -EPIPE);
  }
  if (!side.reset) push_chunk(link, at, Chunk::Kind::kEnd, {});
  try_receive(link, at);
}

void SimNet::close(int32_t fd) {
  if (const auto found = listeners_.find(fd); found != listeners_.end()) {
    RINGBOLT_ASSERT(found->second.accepts.empty());
    const std::deque<LinkPointer> backlog = std::move(found->second.backlog);
    listening_.erase(found->second.key);
    listeners_.erase(found);
    for (const LinkPointer& link : backlog) end_side(link, 1, true);
    return;
  }
  const auto [link, at] = find(fd);
  RINGBOLT_ASSERT(!link->side[at].receive && !link->side[at].send);
  end_side(link, at, !link->side[at].inbox.empty());
}

// --- streams -------------------------------------------------------------------------------------

void SimNet::push_chunk(const LinkPointer& link, int from, Chunk::Kind kind, std::string data) {
  Side& side = link->side[from];
  const Nanos delay = world_.random().between(world_.options().network);
  side.last_arrival = std::max(side.last_arrival, world_.now() + delay);
  side.outgoing_bytes += data.size();
  side.outgoing.push_back({side.last_arrival, kind, std::move(data)});
  world_.after(side.last_arrival - world_.now(), [this, id = link->id, from] {
    if (const LinkPointer found = find_link(id)) deliver(found, from);
  });
}

// Takes bytes from the sender as far as the connection has room for them.
void SimNet::pump(const LinkPointer& link, int from) {
  Side& side = link->side[from];
  if (!side.send) return;
  Send& send = *side.send;
  if (side.reset || side.shut) {
    const Caller caller = send.caller;
    side.send.reset();
    complete(caller, side.reset ? -ECONNRESET : -EPIPE);
    return;
  }
  const size_t held = side.outgoing_bytes + link->side[1 - from].inbox.size();
  size_t room = world_.options().socket_buffer_bytes;
  room = room > held ? room - held : 0;
  std::string data;
  while (send.index < send.iov.size() && room > 0) {
    const iovec& part = send.iov[send.index];
    const size_t bytes = std::min(room, part.iov_len - send.offset);
    data.append(static_cast<const char*>(part.iov_base) + send.offset, bytes);
    room -= bytes;
    send.offset += bytes;
    send.done += static_cast<uint32_t>(bytes);
    if (send.offset < part.iov_len) break;
    ++send.index;
    send.offset = 0;
  }
  while (send.index < send.iov.size() && send.iov[send.index].iov_len == 0) ++send.index;
  if (!data.empty()) {
    world_.trace(kTraceSend, link->id, static_cast<uint64_t>(from), data.size());
    push_chunk(link, from, Chunk::Kind::kData, std::move(data));
  }
  if (send.index < send.iov.size()) return;  // goes on when the receiver made room
  const Caller caller = send.caller;
  const auto total = static_cast<int32_t>(send.done);
  side.send.reset();
  complete(caller, total);
}

void SimNet::deliver(const LinkPointer& link, int from) {
  Side& source = link->side[from];
  const int to = 1 - from;
  while (!source.outgoing.empty() && source.outgoing.front().arrival <= world_.now()) {
    if (blocked(source.node, link->side[to].node)) return;
    Chunk chunk = std::move(source.outgoing.front());
    source.outgoing.pop_front();
    source.outgoing_bytes -= chunk.data.size();
    world_.trace(kTraceDeliver, link->id, static_cast<uint64_t>(from), chunk.data.size());
    switch (chunk.kind) {
      case Chunk::Kind::kData:
        deliver_data(link, to, chunk.data);
        break;
      case Chunk::Kind::kEnd:
        link->side[to].ended = true;
        try_receive(link, to);
        break;
      case Chunk::Kind::kReset:
        reset_side(link, to);
        break;
    }
  }
  forget_if_over(link);
}

void SimNet::deliver_data(const LinkPointer& link, int to, std::string& data) {
  Side& side = link->side[to];
  bool cut = false;
  if (link->cut_after) {
    const size_t part = std::min<uint64_t>(*link->cut_after, data.size());
    *link->cut_after -= part;
    cut = *link->cut_after == 0;
    data.resize(part);
  }
  if (side.closed || side.shut) {
    // Nobody reads here any more; the sender learns it.
    if (!side.reset) push_chunk(link, to, Chunk::Kind::kReset, {});
    side.reset = true;
  } else if (!side.reset) {
    side.inbox += data;
    try_receive(link, to);
  }
  if (cut) reset_link(link);
}

void SimNet::try_receive(const LinkPointer& link, int at) {
  Side& side = link->side[at];
  if (!side.receive) return;
  Receive& receive = *side.receive;
  size_t bytes = std::min<size_t>(side.inbox.size(), receive.length - receive.done);
  if (bytes > 1 && !receive.exactly && world_.random().chance(1, 2)) {
    bytes = 1 + world_.random().below(bytes);
  }
  if (bytes > 0) {
    std::memcpy(receive.data + receive.done, side.inbox.data(), bytes);
    side.inbox.erase(0, bytes);
    receive.done += static_cast<uint32_t>(bytes);
    world_.trace(kTraceReceive, link->id, static_cast<uint64_t>(at), bytes);
    later(link, 1 - at, &SimNet::pump);  // there is room again
  }
  const bool over = side.ended || side.shut || side.reset;
  const bool enough = receive.exactly ? receive.done == receive.length : receive.done > 0;
  if (!enough && !over) return;
  const Caller caller = receive.caller;
  auto result = static_cast<int32_t>(receive.done);
  if (!enough && side.reset && !side.shut && !side.ended) result = -ECONNRESET;
  side.receive.reset();
  complete(caller, result);
}

// --- ends ----------------------------------------------------------------------------------------

void SimNet::reset_side(const LinkPointer& link, int at) {
  Side& side = link->side[at];
  if (side.reset && !side.receive && !side.send) return;
  world_.trace(kTraceReset, link->id, static_cast<uint64_t>(at));
  side.reset = true;
  side.outgoing.clear();
  side.outgoing_bytes = 0;
  try_receive(link, at);
  pump(link, at);
}

void SimNet::reset_link(const LinkPointer& link) {
  link->cut_after.reset();
  if (world_.narrating()) world_.narrate(link->side[0].node + " to " + link->address + " (" + std::to_string(link->id) + "): reset");
  for (int at = 0; at < 2; ++at) {
    if (!link->side[at].closed) reset_side(link, at);
    link->side[at].outgoing.clear();
    link->side[at].outgoing_bytes = 0;
  }
  forget_if_over(link);
}

// The descriptor goes away: by close(), with its process, or with a connect that was given up.
void SimNet::end_side(const LinkPointer& link, int at, bool with_reset) {
  Side& side = link->side[at];
  world_.trace(kTraceEnd, link->id, static_cast<uint64_t>(at), with_reset ? 1 : 0);
  if (with_reset && !side.reset) {
    // What was not on the wire yet is lost.
    while (!side.outgoing.empty() && world_.random().chance(1, 2)) {
      side.outgoing_bytes -= side.outgoing.back().data.size();
      side.outgoing.pop_back();
    }
    push_chunk(link, at, Chunk::Kind::kReset, {});
  } else if (!side.shut && !side.reset) {
    push_chunk(link, at, Chunk::Kind::kEnd, {});
  }
  side.shut = true;
  side.closed = true;
  side.inbox.clear();
  if (side.fd >= 0) sockets_.erase(side.fd);
  forget_if_over(link);
}

void SimNet::forget_if_over(const LinkPointer& link) {
  for (const Side& side : link->side) {
    if (!side.closed || !side.outgoing.empty()) return;
  }
  links_.erase(link->id);
}

}  // namespace ringbolt::io

// Bodies of memory_host.h.
#include "memory_host.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "bench/counted/uncounted.h"
#include "ringbolt/assert.h"

namespace ringbolt::bench {

namespace {

constexpr int32_t kFirstListener = 1 << 20;  // beyond the ends of connections

}  // namespace

void MemoryHost::read(io::File file, void* data, uint32_t length, uint64_t offset, io::Completion& done) {
  const Uncounted device;
  MemoryIo::read(file, data, length, offset, done);
}

void MemoryHost::write(io::File file, const void* data, uint32_t length, uint64_t offset, io::Completion& done) {
  const Uncounted device;
  MemoryIo::write(file, data, length, offset, done);
}

void MemoryHost::zero(io::File file, uint64_t offset, uint64_t bytes, io::Completion& done) {
  const Uncounted device;
  MemoryIo::zero(file, offset, bytes, done);
}

MemoryHost::Listener& MemoryHost::listener(io::Socket socket) {
  RINGBOLT_ASSERT(socket.fd >= kFirstListener);
  return network_.listeners_[static_cast<size_t>(socket.fd - kFirstListener)];
}

/// Until finish().
void MemoryHost::wait(io::Completion& done) {
  RINGBOLT_ASSERT(!done.state().pending);
  done.state().pending = true;
}

void MemoryHost::finish(io::Completion*& waiting, int32_t result) {
  io::Completion& done = *std::exchange(waiting, nullptr);
  done.state().pending = false;
  queue(done, result);
}

Result<io::Socket> MemoryHost::listen(const std::string& address) {
  network_.listeners_.push_back({address, this});
  return io::Socket{kFirstListener + static_cast<int32_t>(network_.listeners_.size()) - 1};
}

std::string MemoryHost::local_address(io::Socket socket) { return listener(socket).address; }

void MemoryHost::join(Listener& listener, MemoryNetwork::Caller caller) {
  const auto fd = static_cast<int32_t>(network_.ends_.size());
  network_.ends_.push_back({caller.host});
  network_.ends_.push_back({listener.host});
  caller.host->finish(caller.connect, fd);
  listener.host->finish(listener.accept, fd + 1);
}

void MemoryHost::accept(io::Socket socket, io::Completion& done) {
  Listener& own = listener(socket);
  wait(done);
  own.accept = &done;
  if (own.callers.empty()) return;
  const MemoryNetwork::Caller caller = own.callers.front();
  own.callers.pop_front();
  join(own, caller);
}

void MemoryHost::connect(const std::string& address, io::Completion& done) {
  const auto at = std::ranges::find_if(network_.listeners_, [&](const Listener& one) { return one.host != nullptr && one.address == address; });
  if (at == network_.listeners_.end()) return queue(done, -ECONNREFUSED);
  wait(done);
  if (at->accept != nullptr) return join(*at, {this, &done});
  at->callers.push_back({this, &done});
}

void MemoryHost::receive(io::Socket socket, void* data, uint32_t length, bool exactly, io::Completion& done) {
  End& own = end(socket.fd);
  if (own.down) return queue(done, 0);
  wait(done);
  own.receive = &done;
  own.to = static_cast<std::byte*>(data);
  own.wanted = length;
  own.received = 0;
  own.exactly = exactly;
  transfer(end(socket.fd ^ 1), own);
}

void MemoryHost::send(io::Socket socket, std::span<iovec> iov, io::Completion& done) {
  End& own = end(socket.fd);
  if (own.down) return queue(done, -EPIPE);
  wait(done);
  own.send = &done;
  own.from = iov;
  own.sent = 0;
  transfer(own, end(socket.fd ^ 1));
}

void MemoryHost::transfer(End& sender, End& receiver) {
  if (sender.send == nullptr || receiver.receive == nullptr) return;
  const Uncounted kernel;
  while (!sender.from.empty() && receiver.received < receiver.wanted) {
    iovec& part = sender.from.front();
    const size_t bytes = std::min<size_t>(part.iov_len, receiver.wanted - receiver.received);
    std::memcpy(receiver.to + receiver.received, part.iov_base, bytes);
    receiver.received += static_cast<uint32_t>(bytes);
    sender.sent += static_cast<uint32_t>(bytes);
    part.iov_base = static_cast<std::byte*>(part.iov_base) + bytes;
    part.iov_len -= bytes;
    if (part.iov_len == 0) sender.from = sender.from.subspan(1);
  }
  if (sender.from.empty()) sender.host->finish(sender.send, static_cast<int32_t>(sender.sent));
  if (receiver.received == receiver.wanted || !receiver.exactly) receiver.host->finish(receiver.receive, static_cast<int32_t>(receiver.received));
}

void MemoryHost::shutdown(io::Socket socket) {
  for (End* one : {&end(socket.fd), &end(socket.fd ^ 1)}) {
    one->down = true;
    if (one->receive != nullptr) one->host->finish(one->receive, static_cast<int32_t>(one->received));
    if (one->send != nullptr) one->host->finish(one->send, -EPIPE);
  }
}

void MemoryHost::close_socket(io::Socket socket) {
  if (socket.fd < kFirstListener) return shutdown(socket);
  Listener& own = listener(socket);
  own.host = nullptr;
  for (MemoryNetwork::Caller& caller : own.callers) caller.host->finish(caller.connect, -ECONNRESET);
  own.callers.clear();
}

void MemoryHost::cancel(io::Completion& pending) {
  for (Listener& one : network_.listeners_) {
    if (one.accept == &pending) return finish(one.accept, -ECANCELED);
    const auto at = std::ranges::find(one.callers, &pending, &MemoryNetwork::Caller::connect);
    if (at == one.callers.end()) continue;
    MemoryNetwork::Caller caller = *at;
    one.callers.erase(at);
    return finish(caller.connect, -ECANCELED);
  }
}

}  // namespace ringbolt::bench

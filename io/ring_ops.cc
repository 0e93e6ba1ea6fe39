// RingIo: the operations. Each is described by its Completion's State; issue() turns that into a
// submission entry, and a transfer that came back short changes the State and is issued again.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "io/address.h"
#include "io/posix_sockets.h"
#include "io/ring_internal.h"
#include "ringbolt/assert.h"
#include "ringbolt/types.h"

namespace ringbolt::io {

namespace {

// What zero() writes where nothing better is to be had. Never written to, so it costs no memory.
alignas(kBlockBytes) std::byte g_zeros[kFrameBytesMax];

// A connect in progress: all addresses of the name, tried in order.
struct ConnectAttempt {
  std::vector<SocketAddress> addresses;
  size_t index = 0;
};

ConnectAttempt* attempt_of(Completion& done) {
  return static_cast<ConnectAttempt*>(done.state().extra);
}

}  // namespace

// --- starting ------------------------------------------------------------------------------------

void RingIo::begin(Completion& done, Kind kind, int32_t fd) {
  Completion::State& state = done.state();
  RINGBOLT_ASSERT(!state.pending);
  state.pending = true;
  state.kind = static_cast<uint8_t>(kind);
  state.flags = 0;
  state.fd = fd;
  state.done = 0;
  state.next = nullptr;
  state.extra = nullptr;
}

void RingIo::finish_later(Completion& done, int32_t result) {
  done.state().result = result;
  done.state().next = nullptr;
  (last_failed_ != nullptr ? last_failed_->state().next : first_failed_) = &done;
  last_failed_ = &done;
  ++failed_count_;
}

void RingIo::issue(Completion& done) {
  Completion::State& state = done.state();
  io_uring_sqe* entry = next_entry();
  switch (static_cast<Kind>(state.kind)) {
    case Kind::kRead:
    case Kind::kWrite:
      issue_transfer(done, entry);
      break;
    case Kind::kFlush:
      io_uring_prep_fsync(entry, state.fd, IORING_FSYNC_DATASYNC);
      break;
    case Kind::kZero:
      if ((state.flags & kByWriting) != 0) {
        const auto part =
            static_cast<unsigned>(std::min<uint64_t>(state.bytes_left, sizeof(g_zeros)));
        io_uring_prep_write(entry, state.fd, g_zeros, part, state.offset);
      } else {
        io_uring_prep_fallocate(entry, state.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(state.offset),
                                static_cast<off_t>(state.bytes_left));
      }
      break;
    case Kind::kAccept:
      io_uring_prep_accept(entry, state.fd, nullptr, nullptr, SOCK_CLOEXEC);
      break;
    case Kind::kConnect: {
      const ConnectAttempt& attempt = *attempt_of(done);
      const SocketAddress& address = attempt.addresses[attempt.index];
      io_uring_prep_connect(entry, state.fd, address.get(), address.length);
      break;
    }
    case Kind::kReceive:
      io_uring_prep_recv(entry, state.fd, state.data + state.done, state.length - state.done,
                         (state.flags & kExactly) != 0 ? MSG_WAITALL : 0);
      break;
    case Kind::kSend:
      if (state.message.msg_iovlen == 1) {
        io_uring_prep_send(entry, state.fd, state.iov->iov_base, state.iov->iov_len,
                           MSG_NOSIGNAL | MSG_WAITALL);
      } else {
        state.message.msg_iov = state.iov;
        io_uring_prep_sendmsg(entry, state.fd, &state.message, MSG_NOSIGNAL | MSG_WAITALL);
      }
      break;
  }
  io_uring_sqe_set_data64(entry, reinterpret_cast<uint64_t>(&done));
  ++in_flight_;
}

void RingIo::issue_transfer(Completion& done, io_uring_sqe* entry) {
  const Completion::State& state = done.state();
  char* at = state.data + state.done;
  const unsigned length = state.length - state.done;
  const uint64_t offset = state.offset + state.done;
  const bool reading = static_cast<Kind>(state.kind) == Kind::kRead;
  const auto within = static_cast<size_t>(reinterpret_cast<std::byte*>(at) - chunks_);
  // Pool buffers never cross a chunk. An address below the pool makes `within` huge.
  if (registered_bytes_ > 0 && within < registered_bytes_ &&
      within % BufferPool::kChunkBytes + length <= BufferPool::kChunkBytes) {
    const auto index = static_cast<int>(within / BufferPool::kChunkBytes);
    ++counters_.fixed;
    if (reading) {
      io_uring_prep_read_fixed(entry, state.fd, at, length, offset, index);
    } else {
      io_uring_prep_write_fixed(entry, state.fd, at, length, offset, index);
    }
    return;
  }
  if (reading) {
    io_uring_prep_read(entry, state.fd, at, length, offset);
  } else {
    io_uring_prep_write(entry, state.fd, at, length, offset);
  }
}

// --- completing ----------------------------------------------------------------------------------

void RingIo::on_completion(Completion& done, int32_t result) {
  const Completion::State& state = done.state();
  bool again = false;
  if (is_interruption(static_cast<Kind>(state.kind), result)) {
    again = (state.flags & kCancelled) == 0;
    if (!again) result = -ECANCELED;
  }
  if (!again) {
    switch (static_cast<Kind>(state.kind)) {
      case Kind::kRead:
      case Kind::kWrite:
        again = continue_transfer(done.state(), result);
        break;
      case Kind::kZero:
        again = continue_zero(done.state(), result);
        break;
      case Kind::kReceive:
        again = continue_receive(done.state(), result);
        break;
      case Kind::kSend:
        again = continue_send(done.state(), result);
        break;
      case Kind::kConnect:
        again = continue_connect(done, result);
        break;
      case Kind::kAccept:
        // The client gave up while it waited in the backlog.
        again = result == -ECONNABORTED && (state.flags & kCancelled) == 0;
        if (result >= 0) set_stream_options(result);
        break;
      case Kind::kFlush:
        break;
    }
  }
  if (again) {
    ++counters_.continued;
    issue(done);
  } else {
    done.complete(result);
  }
}

bool RingIo::continue_connect(Completion& done, int32_t& result) {
  Completion::State& state = done.state();
  // After an interruption the connection goes on being made and the second try finds it so.
  if (result == 0 || result == -EISCONN) {
    delete attempt_of(done);
    state.extra = nullptr;
    result = state.fd;
    return false;
  }
  ::close(state.fd);
  state.fd = -1;
  ConnectAttempt& attempt = *attempt_of(done);
  if ((state.flags & kCancelled) != 0) {
    result = -ECANCELED;
  } else {
    while (++attempt.index < attempt.addresses.size()) {
      const int error = start_connect(done);
      if (error == 0) return true;
      result = -error;
    }
  }
  delete &attempt;
  state.extra = nullptr;
  return false;
}

// For the destructor: takes back what an operation had, without a callback.
void RingIo::abandon(Completion& done, int32_t result) {
  Completion::State& state = done.state();
  const auto kind = static_cast<Kind>(state.kind);
  if (kind == Kind::kAccept && result >= 0) ::close(result);
  if (kind == Kind::kConnect) {
    if (state.fd >= 0) ::close(state.fd);
    delete attempt_of(done);
    state.extra = nullptr;
  }
  state.pending = false;
}

// --- files ---------------------------------------------------------------------------------------

void RingIo::read(File file, void* data, uint32_t length, uint64_t offset, Completion& done) {
  RINGBOLT_ASSERT(length >= 1 && length <= kFrameBytesMax && length % kBlockBytes == 0);
  RINGBOLT_ASSERT(offset % kBlockBytes == 0);
  RINGBOLT_ASSERT(reinterpret_cast<uintptr_t>(data) % kBlockBytes == 0);
  begin(done, Kind::kRead, file.fd);
  Completion::State& state = done.state();
  state.data = static_cast<char*>(data);
  state.length = length;
  state.offset = offset;
  issue(done);
}

void RingIo::write(File file, const void* data, uint32_t length, uint64_t offset,
                   Completion& done) {
  RINGBOLT_ASSERT(length >= 1 && length <= kFrameBytesMax && length % kBlockBytes == 0);
  RINGBOLT_ASSERT(offset % kBlockBytes == 0);
  RINGBOLT_ASSERT(reinterpret_cast<uintptr_t>(data) % kBlockBytes == 0);
  begin(done, Kind::kWrite, file.fd);
  Completion::State& state = done.state();
  state.data = static_cast<char*>(const_cast<void*>(data));
  state.length = length;
  state.offset = offset;
  issue(done);
}

void RingIo::flush(File file, Completion& done) {
  begin(done, Kind::kFlush, file.fd);
  issue(done);
}

void RingIo::zero(File file, uint64_t offset, uint64_t bytes, Completion& done) {
  RINGBOLT_ASSERT(bytes >= 1 && bytes % kBlockBytes == 0 && offset % kBlockBytes == 0);
  begin(done, Kind::kZero, file.fd);
  done.state().offset = offset;
  done.state().bytes_left = bytes;
  issue(done);
}

// --- sockets -------------------------------------------------------------------------------------

void RingIo::accept(Socket listener, Completion& done) {
  begin(done, Kind::kAccept, listener.fd);
  issue(done);
}

// Opens a socket for the present address. Returns 0 or an errno.
int RingIo::start_connect(Completion& done) {
  const ConnectAttempt& attempt = *attempt_of(done);
  const int family = attempt.addresses[attempt.index].family();
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (family != AF_UNIX) {
    set_stream_options(fd);
    const int error = options_.tcp_congestion.empty() ? 0 : io::set_congestion_control(fd, options_.tcp_congestion);
    if (error != 0) {
      ::close(fd);
      return error;
    }
  }
  done.state().fd = fd;
  return 0;
}

void RingIo::connect(const std::string& address, Completion& done) {
  begin(done, Kind::kConnect, -1);
  const Result<Address> parsed = parse_address(address);
  if (!parsed.has_value()) {
    finish_later(done, -EINVAL);
    return;
  }
  Result<std::vector<SocketAddress>> numeric = resolve_numeric(parsed.value());
  if (numeric.has_value()) return connect_to(done, std::move(numeric.value()));
  auto naming = std::make_unique<Naming>(*this, done);
  naming->address = parsed.value();
  done.state().flags |= kResolving;
  naming_.push_back(naming.get());
  resolver_->ask(std::move(naming));
}

void RingIo::on_named(Naming& naming) {
  Completion& done = *naming.done;
  end_naming(done);
  if (!naming.addresses.has_value()) {
    finish_later(done, -EHOSTUNREACH);
    return;
  }
  connect_to(done, std::move(naming.addresses.value()));
}

/// The connect waits for its name no more.
void RingIo::end_naming(Completion& done) {
  done.state().flags &= static_cast<uint8_t>(~kResolving);
  const auto at = std::find_if(naming_.begin(), naming_.end(), [&](const Naming* naming) { return naming->done == &done; });
  RINGBOLT_ASSERT(at != naming_.end());
  (*at)->done = nullptr;
  naming_.erase(at);
}

void RingIo::connect_to(Completion& done, std::vector<SocketAddress> addresses) {
  auto attempt = std::make_unique<ConnectAttempt>();
  attempt->addresses = std::move(addresses);
  done.state().extra = attempt.get();
  int error = start_connect(done);
  while (error != 0 && ++attempt->index < attempt->addresses.size()) error = start_connect(done);
  if (error != 0) {
    done.state().extra = nullptr;
    finish_later(done, -error);
    return;
  }
  static_cast<void>(attempt.release());  // the operation owns it now
  issue(done);
}

void RingIo::receive(Socket socket, void* data, uint32_t length, bool exactly, Completion& done) {
  RINGBOLT_ASSERT(length >= 1);
  begin(done, Kind::kReceive, socket.fd);
  Completion::State& state = done.state();
  state.flags = exactly ? kExactly : 0;
  state.data = static_cast<char*>(data);
  state.length = length;
  issue(done);
}

void RingIo::send(Socket socket, std::span<iovec> iov, Completion& done) {
  RINGBOLT_ASSERT(!iov.empty() && iov.size() <= 64);
  begin(done, Kind::kSend, socket.fd);
  Completion::State& state = done.state();
  state.iov = iov.data();
  state.message = {};
  state.message.msg_iovlen = iov.size();
  skip_sent(state, 0);
  if (state.message.msg_iovlen == 0) {
    finish_later(done, 0);
    return;
  }
  issue(done);
}

void RingIo::cancel(Completion& pending) {
  Completion::State& state = pending.state();
  if (!state.pending) return;
  if ((state.flags & kResolving) != 0) {
    end_naming(pending);
    finish_later(pending, -ECANCELED);
    return;
  }
  // Also for the moment in which it is not in the kernel but about to be issued again.
  state.flags |= kCancelled;
  io_uring_sqe* entry = next_entry();
  io_uring_prep_cancel64(entry, reinterpret_cast<uint64_t>(&pending), 0);
  io_uring_sqe_set_data64(entry, kIgnoreTag);
}

}  // namespace ringbolt::io

// RingIo: setting up and tearing down the ring, memory registration, and the blocking members.
#include "io/ring_io.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/host_check.h"
#include "io/posix_files.h"
#include "io/posix_sockets.h"
#include "io/ring_internal.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

namespace {

// Every kernel that check_host() lets pass knows these flags. Returns 0 or an errno.
int set_up_ring(io_uring& ring, const RingOptions& options) {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
  params.cq_entries = options.completion_entries;
  return -io_uring_queue_init_params(options.submission_entries, &ring, &params);
}

}  // namespace

RingIo::RingIo(const RingOptions& options)
    : options_(options),
      ring_(std::make_unique<Ring>()),
      resolver_(std::make_unique<Resolver>(options.resolve, [this](Message* answered) { post(answered); })) {}

Result<std::unique_ptr<RingIo>> RingIo::create(const RingOptions& options) {
  RINGBOLT_ASSERT(options.submission_entries >= 1 && options.spin >= 0);
  RINGBOLT_ASSERT(options.completion_entries >= options.submission_entries);
  std::unique_ptr<RingIo> io(new RingIo(options));
  BOOST_OUTCOME_TRY(io->set_up());
  return io;
}

Status RingIo::set_up() {
  io_uring& uring = ring_->uring;
  const int error = set_up_ring(uring, options_);
  if (error != 0) return explain_setup_failure(error, read_io_uring_sysctl());
  ring_->ready = true;
  if ((uring.features & IORING_FEAT_EXT_ARG) == 0 || (uring.features & IORING_FEAT_NODROP) == 0) {
    return explain_setup_failure(EINVAL, {});
  }
  ring_->spilled.reserve(options_.completion_entries);
  const int dontfork = io_uring_ring_dontfork(&uring);
  if (dontfork < 0) return errno_error(-dontfork, "io_uring memory");
  // Saves a table look-up per system call; a kernel that cannot is no worse otherwise.
  static_cast<void>(io_uring_register_ring_fd(&uring));
  unsigned workers[2] = {options_.kernel_workers, options_.kernel_workers};
  if (options_.kernel_workers > 0) {
    const int result = io_uring_register_iowq_max_workers(&uring, workers);
    if (result < 0) return errno_error(-result, "io_uring: limit of worker threads");
  }

  const uint64_t chunks =
      (options_.registered_bytes_max + BufferPool::kChunkBytes - 1) / BufferPool::kChunkBytes;
  if (chunks > 0) {
    const auto slots = static_cast<unsigned>(std::min<uint64_t>(chunks, 16384));
    const int result = io_uring_register_buffers_sparse(&uring, slots);
    if (result < 0) {
      registration_failure_ =
          explain_lock_failure(-result, lock_limit_bytes(), options_.registered_bytes_max).message;
    } else {
      ring_->chunk_slots = slots;
    }
  }

  // Blocking, because a read of a non-blocking one would end at once instead of waiting.
  doorbell_ = ::eventfd(0, EFD_CLOEXEC);
  if (doorbell_ < 0) return errno_error(errno, "eventfd");
  listen_to_doorbell();
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  now_ = time.tv_sec * kSecond + time.tv_nsec;
  return boost::outcome_v2::success();
}

RingIo::~RingIo() {
  // Their names come back to nobody. Before the resolver ends: it takes the questions along that it has not begun.
  while (!naming_.empty()) {
    Completion& done = *naming_.back()->done;
    end_naming(done);
    done.state().pending = false;
  }
  resolver_.reset();  // from here on no other thread posts
  if (ring_->ready) {
    drain();
    io_uring_queue_exit(&ring_->uring);
  }
  if (doorbell_ >= 0) ::close(doorbell_);
  for (Message* message = mailbox_.take_all(); message != nullptr;) {
    Message* next = message->next_in_mailbox;
    message->discard();
    message = next;
  }
}

// An operation ends only with its own completion: until then the device may write into the caller's
// buffer, and closing the ring alone would not wait for it.
void RingIo::drain() {
  io_uring& uring = ring_->uring;
  while (first_failed_ != nullptr) {
    Completion* failed = first_failed_;
    first_failed_ = failed->state().next;
    failed->state().pending = false;
  }
  for (const Ring::Spilled& spilled : ring_->spilled) {
    if (spilled.tag == kDoorbellTag || spilled.tag == kIgnoreTag) continue;
    --in_flight_;
    abandon(*reinterpret_cast<Completion*>(spilled.tag), spilled.result);
  }
  ring_->spilled.clear();
  if (in_flight_ == 0) return;
  io_uring_sqe* entry = io_uring_get_sqe(&uring);
  while (entry == nullptr) {
    const int result = io_uring_submit(&uring);
    if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) return;
    entry = io_uring_get_sqe(&uring);
  }
  io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY);
  io_uring_sqe_set_data64(entry, kIgnoreTag);
  while (in_flight_ > 0) {
    const int result = io_uring_submit_and_wait(&uring, 1);
    // A ring that cannot be entered any more completes nothing any more either.
    if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) return;
    io_uring_cqe* event = nullptr;
    while (io_uring_cq_ready(&uring) > 0 && io_uring_peek_cqe(&uring, &event) == 0) {
      const uint64_t tag = event->user_data;
      const int32_t outcome = event->res;
      io_uring_cqe_seen(&uring, event);
      if (tag == kDoorbellTag || tag == kIgnoreTag) continue;
      --in_flight_;
      abandon(*reinterpret_cast<Completion*>(tag), outcome);
    }
  }
}

uint64_t RingIo::random() {
  uint64_t drawn = 0;
  const ssize_t got = getrandom(&drawn, sizeof drawn, 0);
  RINGBOLT_ASSERT(got == static_cast<ssize_t>(sizeof drawn));  // it fails only for larger requests
  return drawn;
}

void RingIo::register_chunk(std::byte* data, size_t bytes) {
  RINGBOLT_ASSERT(bytes == BufferPool::kChunkBytes);
  if (chunk_count_ == 0) chunks_ = data;
  RINGBOLT_ASSERT(data == chunks_ + chunk_count_ * BufferPool::kChunkBytes);
  const size_t index = chunk_count_++;
  // After a failure the registered chunks stay a prefix: that keeps the look-up one comparison.
  if (index >= ring_->chunk_slots || !registration_failure_.empty()) return;
  const iovec chunk{data, bytes};
  const int result = io_uring_register_buffers_update_tag(
      &ring_->uring, static_cast<unsigned>(index), &chunk, nullptr, 1);
  if (result == 1) {
    registered_bytes_ += bytes;
  } else {
    registration_failure_ =
        explain_lock_failure(result < 0 ? -result : EIO, lock_limit_bytes(), (index + 1) * bytes)
            .message;
  }
}

void RingIo::post(Message* message) {
  if (!mailbox_.push(message)) return;
  const uint64_t one = 1;
  ssize_t written = 0;
  do {
    written = ::write(doorbell_, &one, sizeof(one));
  } while (written < 0 && errno == EINTR);
  RINGBOLT_ASSERT(written == sizeof(one));
}

void RingIo::stop() {
  if (!stop_posted_.exchange(true)) post(&stop_message_);
}

// --- blocking members ----------------------------------------------------------------------------

Result<FileInfo> RingIo::open_file(const std::string& path, const OpenOptions& options) {
  return open_data_file(path, options);
}

Status RingIo::make_directory(const std::string& path) { return make_directory_durably(path); }

void RingIo::close_file(File file) {
  RINGBOLT_ASSERT(file.is_open());
  // Its only error of consequence would be EBADF: everything written was flushed or is not
  // promised.
  const int result = ::close(file.fd);
  RINGBOLT_ASSERT(result == 0 || errno != EBADF);
}

Result<Socket> RingIo::listen(const std::string& address) {
  BOOST_OUTCOME_TRY(const int fd, listen_on(address));
  if (address.starts_with("unix:")) unix_listeners_.emplace_back(fd, address.substr(5));
  return Socket{fd};
}

Status RingIo::set_congestion_control(Socket listener, const std::string& name) {
  // Whoever is accepted has what the listener has.
  const int error = io::set_congestion_control(listener.fd, name);
  if (error == 0) return boost::outcome_v2::success();
  const std::string what = "tcp_congestion \"" + name + "\": ";
  if (error == ENOENT) return make_error(Errc::kUnsupported, what + "this kernel has none of that name (sysctl net.ipv4.tcp_available_congestion_control)");
  if (error == EPERM) return make_error(Errc::kNotPermitted, what + "only root may choose it (sysctl net.ipv4.tcp_allowed_congestion_control)");
  return errno_error(error, what + "setsockopt");
}

std::string RingIo::local_address(Socket listener) { return local_address_of(listener.fd); }

std::string RingIo::peer_address(Socket socket) { return peer_address_of(socket.fd); }

void RingIo::shutdown(Socket socket) {
  // Fails where the peer ended the connection already, which is as good.
  if (::shutdown(socket.fd, SHUT_RDWR) != 0) RINGBOLT_ASSERT(errno != EBADF && errno != ENOTSOCK);
}

void RingIo::close_socket(Socket socket) {
  RINGBOLT_ASSERT(socket.is_open());
  // A listening unix socket leaves its name behind, at which nobody would answer.
  const auto named = std::find_if(unix_listeners_.begin(), unix_listeners_.end(), [&](const auto& l) { return l.first == socket.fd; });
  if (named != unix_listeners_.end()) {
    // While it still listens nobody else can have taken the name. Gone already is as good.
    static_cast<void>(::unlink(named->second.c_str()));
    unix_listeners_.erase(named);
  }
  const int result = ::close(socket.fd);
  RINGBOLT_ASSERT(result == 0 || errno != EBADF);
}

}  // namespace ringbolt::io

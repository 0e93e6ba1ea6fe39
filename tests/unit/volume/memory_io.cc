// Bodies of memory_io.h.
#include "memory_io.h"

#include <cstring>

#include "ringbolt/assert.h"

namespace ringbolt::test {

void MemoryIo::turn(io::BufferPool& pool) {
  now_ += 20 * io::kMicrosecond;
  // Only what was there when the turn began: what the callbacks submit waits for the next one.
  io::Completion* ready = first_;
  first_ = last_ = nullptr;
  while (ready != nullptr) {
    io::Completion& done = *ready;
    ready = done.state().next;
    done.complete(done.state().result);
  }
  timers_.fire_due(now_);
  for (int round = 0; round < 4 && (pool.waiters_runnable() || !deferred_.empty()); ++round) {
    pool.run_waiters();
    deferred_.run();
  }
}

Result<io::FileInfo> MemoryIo::open_file(const std::string& path, const io::OpenOptions& options) {
  size_t index = 0;
  while (index < files_.size() && files_[index]->path != path) ++index;
  io::FileInfo info;
  if (index == files_.size()) {
    if (!options.create) return make_error(Errc::kNotFound, path);
    files_.push_back(std::make_unique<MemoryFile>());
    files_.back()->path = path;
    files_.back()->bytes.resize(file_bytes_max_);
    info.created = true;
  }
  MemoryFile& file = *files_[index];
  file.length = std::max(file.length, options.resize_bytes);
  RINGBOLT_ASSERT(file.length <= file_bytes_max_);
  info.file.fd = static_cast<int32_t>(index);
  info.bytes = file.length;
  return info;
}

std::byte* MemoryIo::at(io::File file, uint64_t offset, uint64_t bytes) {
  MemoryFile& target = *files_[static_cast<size_t>(file.fd)];
  RINGBOLT_ASSERT(offset + bytes <= target.length);
  return target.bytes.data() + offset;
}

void MemoryIo::queue(io::Completion& done, int32_t result) {
  RINGBOLT_ASSERT(!done.state().pending);
  done.state().pending = true;
  done.state().result = result;
  done.state().next = nullptr;
  (last_ != nullptr ? last_->state().next : first_) = &done;
  last_ = &done;
}

void MemoryIo::read(io::File file, void* data, uint32_t length, uint64_t offset,
                    io::Completion& done) {
  std::memcpy(data, at(file, offset, length), length);
  queue(done, static_cast<int32_t>(length));
}

void MemoryIo::write(io::File file, const void* data, uint32_t length, uint64_t offset,
                     io::Completion& done) {
  std::memcpy(at(file, offset, length), data, length);
  queue(done, static_cast<int32_t>(length));
}

void MemoryIo::flush(io::File, io::Completion& done) { queue(done, 0); }

void MemoryIo::zero(io::File file, uint64_t offset, uint64_t bytes, io::Completion& done) {
  std::memset(at(file, offset, bytes), 0, bytes);
  queue(done, 0);
}

Result<io::Socket> MemoryIo::listen(const std::string&) {
  return make_error(Errc::kUnsupported, "no sockets");
}
std::string MemoryIo::local_address(io::Socket) { return {}; }
std::string MemoryIo::peer_address(io::Socket) { return {}; }
void MemoryIo::accept(io::Socket, io::Completion&) { RINGBOLT_ASSERT(false); }
void MemoryIo::connect(const std::string&, io::Completion&) { RINGBOLT_ASSERT(false); }
void MemoryIo::receive(io::Socket, void*, uint32_t, bool, io::Completion&) {
  RINGBOLT_ASSERT(false);
}
void MemoryIo::send(io::Socket, std::span<iovec>, io::Completion&) { RINGBOLT_ASSERT(false); }
void MemoryIo::shutdown(io::Socket) { RINGBOLT_ASSERT(false); }
void MemoryIo::close_socket(io::Socket) { RINGBOLT_ASSERT(false); }
void MemoryIo::cancel(io::Completion&) { RINGBOLT_ASSERT(false); }

}  // namespace ringbolt::test

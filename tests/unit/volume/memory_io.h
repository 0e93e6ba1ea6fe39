// An Io whose files lie in memory, which itself allocates nothing after its files are made: for
// tests that count what the code above it allocates, and benchmarks of it. Operations take effect when
// they are submitted and complete in the next turn, in order.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/deferred_queue.h"
#include "io/io.h"
#include "io/timer_heap.h"

namespace ringbolt::test {

class MemoryIo : public io::Io {
 public:
  explicit MemoryIo(uint64_t file_bytes_max) : file_bytes_max_(file_bytes_max) {}

  /// One turn of the loop, some microseconds after the last one.
  void turn(io::BufferPool& pool);

  [[nodiscard]] io::Nanos now() const override { return now_; }
  [[nodiscard]] uint64_t random() override { return ++drawn_; }
  void arm(io::Timer& timer, io::Nanos delay) override { timers_.arm(timer, now_ + delay); }
  void disarm(io::Timer& timer) override { timers_.disarm(timer); }
  void defer(io::Deferred& deferred) override { deferred_.push(deferred); }
  void undefer(io::Deferred& deferred) override { deferred_.remove(deferred); }

  Result<io::FileInfo> open_file(const std::string& path, const io::OpenOptions& options) override;
  Status make_directory(const std::string&) override { return boost::outcome_v2::success(); }
  void close_file(io::File) override {}
  void read(io::File file, void* data, uint32_t length, uint64_t offset,
            io::Completion& done) override;
  void write(io::File file, const void* data, uint32_t length, uint64_t offset,
             io::Completion& done) override;
  void flush(io::File file, io::Completion& done) override;
  void zero(io::File file, uint64_t offset, uint64_t bytes, io::Completion& done) override;

  // No sockets here: asking for one is a mistake of the test. (bench/memory_host.h has some.)
  Result<io::Socket> listen(const std::string&) override;
  Status set_congestion_control(io::Socket, const std::string&) override { return boost::outcome_v2::success(); }
  std::string local_address(io::Socket) override;
  std::string peer_address(io::Socket) override;
  void accept(io::Socket, io::Completion&) override;
  void connect(const std::string&, io::Completion&) override;
  void receive(io::Socket, void*, uint32_t, bool, io::Completion&) override;
  void send(io::Socket, std::span<iovec>, io::Completion&) override;
  void shutdown(io::Socket) override;
  void close_socket(io::Socket) override;
  void cancel(io::Completion&) override;

 protected:
  /// `done` completes in the next turn.
  void queue(io::Completion& done, int32_t result);

 private:
  struct MemoryFile {
    std::string path;
    std::vector<std::byte> bytes;
    uint64_t length = 0;
  };
  std::byte* at(io::File file, uint64_t offset, uint64_t bytes);

  uint64_t file_bytes_max_;
  std::vector<std::unique_ptr<MemoryFile>> files_;
  io::TimerHeap timers_;
  io::DeferredQueue deferred_;
  io::Completion* first_ = nullptr;
  io::Completion* last_ = nullptr;
  io::Nanos now_ = io::kSecond;
  uint64_t drawn_ = 0;
};

}  // namespace ringbolt::test

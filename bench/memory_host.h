// Hosts whose files and connections lie in memory, for benchmarks of what is above io/: an operation costs a copy and a place in
// a list, and nothing is allocated for it. Copies are a kernel's and a device's work: they are timed, but not counted. Nothing
// fails, nobody crashes; io/sim_*.h is for that.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/volume/memory_io.h"

namespace ringbolt::bench {

class MemoryHost;

/// All connections there are. Outlives its hosts' being used.
class MemoryNetwork {
 private:
  friend class MemoryHost;
  struct Caller {
    MemoryHost* host;
    io::Completion* connect;
  };
  struct Listener {
    std::string address;
    MemoryHost* host;
    io::Completion* accept = nullptr;
    std::deque<Caller> callers{};  ///< not accepted yet
  };
  /// One end of a connection; the other one is its neighbour (2n and 2n + 1). A send ends when all of it was received.
  struct End {
    MemoryHost* host;
    io::Completion* receive = nullptr;
    std::byte* to = nullptr;
    uint32_t wanted = 0, received = 0;
    bool exactly = false;
    io::Completion* send = nullptr;
    std::span<iovec> from{};
    uint32_t sent = 0;
    bool down = false;
  };
  std::deque<Listener> listeners_;
  std::deque<End> ends_;
};

class MemoryHost final : public test::MemoryIo {
 public:
  MemoryHost(MemoryNetwork& network, uint64_t file_bytes_max) : MemoryIo(file_bytes_max), network_(network) {}

  void read(io::File file, void* data, uint32_t length, uint64_t offset, io::Completion& done) override;
  void write(io::File file, const void* data, uint32_t length, uint64_t offset, io::Completion& done) override;
  void zero(io::File file, uint64_t offset, uint64_t bytes, io::Completion& done) override;

  Result<io::Socket> listen(const std::string& address) override;
  std::string local_address(io::Socket listener) override;
  std::string peer_address(io::Socket) override { return "memory"; }
  void accept(io::Socket listener, io::Completion& done) override;
  void connect(const std::string& address, io::Completion& done) override;
  void receive(io::Socket socket, void* data, uint32_t length, bool exactly, io::Completion& done) override;
  void send(io::Socket socket, std::span<iovec> iov, io::Completion& done) override;
  void shutdown(io::Socket socket) override;
  void close_socket(io::Socket socket) override;
  void cancel(io::Completion& pending) override;

 private:
  using Listener = MemoryNetwork::Listener;
  using End = MemoryNetwork::End;
  Listener& listener(io::Socket socket);
  End& end(int32_t fd) { return network_.ends_[static_cast<size_t>(fd)]; }
  static void wait(io::Completion& done);
  void finish(io::Completion*& waiting, int32_t result);
  void join(Listener& listener, MemoryNetwork::Caller caller);
  void transfer(End& sender, End& receiver);

  MemoryNetwork& network_;
};

}  // namespace ringbolt::bench

// One ringbolt process on a simulated host: everything that dies with it, put together and taken apart in the right order.
#pragma once

#include <memory>

#include "io/sim_io.h"
#include "repl/peer_acceptor.h"
#include "repl/volume.h"

namespace ringbolt::sim {

/// Whoever has it makes the volume, and the acceptor once that is open.
struct Process : repl::CallRouter {
  Process(io::SimNode& host, uint64_t pool_bytes)
      : io(host.create_io()), pool(std::make_unique<io::BufferPool>(pool_bytes)), memory(std::make_unique<CheckpointMemory>(*pool)) {
    io->attach_pool(pool.get());
  }
  ~Process() override {
    acceptor.reset();
    volume.reset();
    memory.reset();
    io->attach_pool(nullptr);
    pool.reset();
    io.reset();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  void route(repl::PeerCall call) override { volume->take_call(call); }

  std::unique_ptr<io::SimIo> io;
  std::unique_ptr<io::BufferPool> pool;
  std::unique_ptr<CheckpointMemory> memory;
  std::unique_ptr<repl::Volume> volume;
  std::unique_ptr<repl::PeerAcceptor> acceptor;
};

}  // namespace ringbolt::sim

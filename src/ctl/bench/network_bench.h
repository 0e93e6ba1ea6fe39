// The way to another node: messages to its replication port, which it answers when all of each has come (repl/measure_responder.h).
#pragma once

#include <functional>
#include <string>

#include "ctl/bench/measured.h"
#include "io/ring_io.h"

namespace ringbolt::ctl::bench {

/// `address`: the node's replication address. Tells each line as soon as it is measured; stops at the first that fails.
void bench_network(io::RingIo& io, const std::string& label, const std::string& address, Clock::duration time,
                   const std::function<void(const Measured&)>& tell);

}  // namespace ringbolt::ctl::bench

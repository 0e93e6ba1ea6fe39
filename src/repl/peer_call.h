// An accepted replication connection whose hello has been read.
#pragma once

#include "io/io.h"
#include "repl/wire.h"

namespace ringbolt::repl {

struct PeerCall {
  io::Socket socket;
  MessageHeader header;
  Hello hello;
};

}  // namespace ringbolt::repl

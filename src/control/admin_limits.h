// What the admin API bounds: everything that a client can make grow.
#pragma once

#include <chrono>
#include <cstdint>

namespace ringbolt {

struct AdminLimits {
  uint32_t connections = 128;
  uint32_t header_bytes = 8u << 10;
  uint32_t body_bytes = 64u << 10;
  /// Orders that the daemon has been given and not answered, for one volume and in all.
  uint32_t orders_per_volume = 8;
  uint32_t orders = 64;
  /// Open streams of events, and what may wait in one of them beside the newest numbers of each volume.
  uint32_t streams = 16;
  uint32_t stream_bytes = 256u << 10;
  /// In the kernel, for the same stream.
  uint32_t stream_socket_bytes = 64u << 10;
  /// From the end of one request (or the connection's start) to the end of the next.
  std::chrono::milliseconds request_time{10'000};
  /// For the client to read the reply.
  std::chrono::milliseconds reply_time{10'000};
  /// For the daemon to answer a question; after it the client gets 503.
  std::chrono::milliseconds answer_time{5'000};
  /// For the daemon to carry out an assignment, which may have writes to drain; likewise.
  std::chrono::milliseconds order_time{60'000};
  /// After an error reply that ends the connection: how long what the client still sends is read
  /// and dropped (closing at once would reset the connection and destroy the reply).
  std::chrono::milliseconds drain_time{2'000};
  /// From one look at the volumes, for streams of events, to the next; and from one sign of life to the next.
  std::chrono::milliseconds look_interval{250};
  std::chrono::milliseconds heartbeat{10'000};
};

}  // namespace ringbolt

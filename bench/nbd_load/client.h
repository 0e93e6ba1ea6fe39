// An NBD client that keeps a fixed number of requests in flight on one connection, for measuring.
// It exists because fio's NBD engine cannot set FUA, and at depth flushes many times as often as it
// is told to. One thread, simple replies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/nbd_load/latency.h"
#include "nbd/protocol.h"
#include "ringbolt/result.h"

namespace ringbolt::bench {

struct LoadOptions {
  std::string uri;  ///< nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH
  uint32_t block_bytes = 4096;
  uint32_t depth = 32;
  uint32_t read_percent = 0;  ///< of the requests, the others are writes
  bool sequential = false;
  bool fua = false;          ///< on every write
  uint32_t flush_every = 0;  ///< a flush after so many writes, 0: none
  double seconds = 5;
  uint64_t seed = 1;
};

struct LoadResult {
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t flushes = 0;
  double seconds = 0;        ///< from the first request to the last reply
  LatencyHistogram latency;  ///< of reads and writes
  LatencyHistogram flush_latency;
};

class LoadClient {
 public:
  explicit LoadClient(const LoadOptions& options);
  ~LoadClient();
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;

  /// Connects and negotiates. kUnsupported if the server lacks what the options need.
  Status connect();
  /// Runs for the time wanted. Any error reply, wrong reply or long silence is an error.
  Result<LoadResult> run();

 private:
  struct Slot {
    uint64_t began = 0;
    uint16_t command = 0;
    bool busy = false;
  };

  Status open_socket();
  Status send_all(const void* data, size_t bytes);
  Status receive_all(void* data, size_t bytes);
  Status negotiate();
  Status take_option_reply(bool* done);
  void issue(uint32_t slot, uint64_t now);
  nbd::RequestHeader next_request();
  /// Send or receive what is possible now; whether anything was.
  Result<bool> transfer();
  Status take_replies(LoadResult& result);
  Status wait_for_socket();
  uint64_t next_random();

  LoadOptions options_;
  std::string export_name_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
  uint64_t random_;
  uint64_t next_offset_ = 0;
  uint64_t stamp_ = 0;
  uint32_t unflushed_ = 0;  ///< writes since the last flush
  uint32_t in_flight_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<std::byte> pattern_;  ///< random bytes that payloads are taken from
  std::vector<std::byte> out_;
  size_t out_sent_ = 0;
  std::vector<std::byte> in_;
  size_t in_begin_ = 0;
  size_t in_end_ = 0;
};

}  // namespace ringbolt::bench

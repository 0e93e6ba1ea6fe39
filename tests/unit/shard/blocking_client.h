// An NBD client on a plain socket for tests against the real ring: sends what it is told, then takes
// replies, on the calling thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace ringbolt::test {

class BlockingClient {
 public:
  /// Connects to "HOST:PORT" and attaches to "vol0".
  BlockingClient(const std::string& address, bool structured);
  ~BlockingClient();
  BlockingClient(const BlockingClient&) = delete;
  BlockingClient& operator=(const BlockingClient&) = delete;

  /// Collects a request; nothing is sent yet. Cookies count from 1.
  uint64_t queue(uint16_t command, uint64_t offset, uint32_t length, uint16_t flags = 0, std::string_view payload = {});
  /// Sends what was queued. The server must be able to take it all without a reply being read.
  void send_queued();
  /// Takes replies until none is owed. Every error is counted.
  void take_replies();
  /// Takes what comes until the server ends the connection; returns how many bytes that was.
  size_t take_until_end();
  /// Data of the reads whose replies came last, by cookie.
  [[nodiscard]] const std::map<uint64_t, std::string>& read() const { return read_; }
  [[nodiscard]] uint64_t failed() const { return failed_; }
  [[nodiscard]] uint64_t replied() const { return replied_; }

 private:
  struct Range {
    uint64_t offset;
    uint32_t length;
  };
  void send_all(std::string_view bytes);
  std::string receive(size_t bytes);
  void take_one();
  void take_chunk(const std::string& head);
  void end(uint64_t cookie);

  int fd_ = -1;
  bool structured_;
  uint64_t cookie_ = 0, failed_ = 0, replied_ = 0;
  std::string queued_;
  std::map<uint64_t, Range> owed_;  // every request; length 0 if it carries no data back
  std::map<uint64_t, std::string> read_;
};

}  // namespace ringbolt::test

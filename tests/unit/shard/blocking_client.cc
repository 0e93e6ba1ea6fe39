#include "blocking_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "io/address.h"
#include "nbd/protocol.h"
#include "tests/unit/nbd/nbd_fixture.h"

namespace ringbolt::test {

namespace {

template <class Integer>
Integer number(const std::string& bytes, size_t at) {
  return nbd::load<Integer>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

}  // namespace

BlockingClient::BlockingClient(const std::string& address, bool structured) : structured_(structured) {
  const auto parsed = io::parse_address(address);
  REQUIRE(parsed.has_value());
  const auto found = io::resolve(parsed.value());
  REQUIRE(found.has_value());
  const io::SocketAddress& to = found.value().front();
  fd_ = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd_ >= 0);
  // A test that hangs would say less than one that fails.
  const timeval limit{60, 0};
  REQUIRE(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  REQUIRE(::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
  const int on = 1;
  REQUIRE(::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  REQUIRE(::connect(fd_, to.get(), to.length) == 0);
  send_all(client_flags());
  receive(nbd::kGreetingBytes);
  if (structured) {
    send_all(option(nbd::kOptStructuredReply));
    REQUIRE(number<uint32_t>(receive(nbd::kOptionReplyHeaderBytes), 12) == nbd::kRepAck);
  }
  send_all(option(nbd::kOptGo, go_data("vol0")));
  for (;;) {
    const std::string head = receive(nbd::kOptionReplyHeaderBytes);
    const std::string body = receive(number<uint32_t>(head, 16));
    const auto type = number<uint32_t>(head, 12);
    INFO(body);
    REQUIRE((type & nbd::kRepErrorBit) == 0);
    if (type == nbd::kRepAck) break;
  }
}

BlockingClient::~BlockingClient() {
  if (fd_ >= 0) ::close(fd_);
}

void BlockingClient::send_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) FAIL("send: " << std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string BlockingClient::receive(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t have = 0; have < bytes;) {
    const ssize_t got = ::recv(fd_, out.data() + have, bytes - have, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) FAIL("receive: " << (got == 0 ? "the server closed" : std::strerror(errno)));
    have += static_cast<size_t>(got);
  }
  return out;
}

uint64_t BlockingClient::queue(uint16_t command, uint64_t offset, uint32_t length, uint16_t flags, std::string_view payload) {
  queued_ += request(command, ++cookie_, offset, length, flags, payload);
  owed_[cookie_] = {offset, command == nbd::kCommandRead ? length : 0};
  return cookie_;
}

void BlockingClient::send_queued() {
  send_all(queued_);
  queued_.clear();
}

void BlockingClient::take_replies() {
  read_.clear();
  while (!owed_.empty()) take_one();
}

size_t BlockingClient::take_until_end() {
  std::string bytes(4096, '\0');
  for (size_t taken = 0;;) {
    const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != ECONNRESET) FAIL("receive: " << std::strerror(errno));
    if (got <= 0) return taken;
    taken += static_cast<size_t>(got);
  }
}

void BlockingClient::take_one() {
  const std::string head = receive(nbd::kSimpleReplyBytes);
  if (number<uint32_t>(head, 0) == nbd::kChunkMagic) return take_chunk(head + receive(nbd::kChunkHeaderBytes - head.size()));
  REQUIRE(number<uint32_t>(head, 0) == nbd::kSimpleReplyMagic);
  const auto cookie = number<uint64_t>(head, 8);
  REQUIRE(owed_.contains(cookie));
  const uint32_t length = owed_[cookie].length;
  REQUIRE((length == 0 || !structured_));
  if (number<uint32_t>(head, 4) != 0) {
    ++failed_;
  } else if (length > 0) {
    read_[cookie] = receive(length);
  }
  end(cookie);
}

void BlockingClient::take_chunk(const std::string& head) {
  const auto type = number<uint16_t>(head, 6);
  const auto cookie = number<uint64_t>(head, 8);
  REQUIRE((structured_ && owed_.contains(cookie)));
  const std::string body = receive(number<uint32_t>(head, 16));
  const Range& range = owed_[cookie];
  if (type == nbd::kChunkOffsetData) {
    std::string& data = read_[cookie];
    data.resize(range.length);
    const uint64_t at = number<uint64_t>(body, 0) - range.offset;
    REQUIRE(at + body.size() - 8 <= range.length);
    data.replace(at, body.size() - 8, body, 8);
  } else if (type != nbd::kChunkNone) {
    ++failed_;
  }
  if ((number<uint16_t>(head, 4) & nbd::kChunkFlagDone) != 0) end(cookie);
}

void BlockingClient::end(uint64_t cookie) {
  owed_.erase(cookie);
  ++replied_;
}

}  // namespace ringbolt::test

// What the kernel did in parts, in any parts, ends as one whole operation. A kernel does so when it
// likes, so here its results are made up.
#include "io/transfer.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ringbolt/types.h"

using namespace ringbolt;
using namespace ringbolt::io;

namespace {

Completion::State transfer_of(uint32_t length) {
  Completion::State state;
  state.length = length;
  return state;
}

}  // namespace

TEST_CASE("transfer: interrupted operations are started again, except a flush", "[io][transfer]") {
  for (const RingKind kind : {RingKind::kRead, RingKind::kWrite, RingKind::kZero, RingKind::kAccept, RingKind::kConnect,
                              RingKind::kReceive, RingKind::kSend}) {
    CHECK(is_interruption(kind, -EINTR));
    CHECK(is_interruption(kind, -EAGAIN));
    CHECK_FALSE(is_interruption(kind, -EIO));
    CHECK_FALSE(is_interruption(kind, 0));
  }
  CHECK_FALSE(is_interruption(RingKind::kFlush, -EINTR));
  CHECK_FALSE(is_interruption(RingKind::kFlush, -EAGAIN));
}

TEST_CASE("transfer: a short file transfer goes on at a block boundary", "[io][transfer]") {
  Completion::State state = transfer_of(16 * kBlockBytes);
  int32_t result = 3 * kBlockBytes + 512;
  REQUIRE(continue_transfer(state, result));
  CHECK(state.done == 3 * kBlockBytes);  // half a block is done again
  result = kBlockBytes;
  REQUIRE(continue_transfer(state, result));
  CHECK(state.done == 4 * kBlockBytes);
  result = 12 * kBlockBytes;
  CHECK_FALSE(continue_transfer(state, result));
  CHECK(result == 16 * kBlockBytes);
}

TEST_CASE("transfer: a file transfer that gets nowhere fails, and an error stays what it is", "[io][transfer]") {
  for (const int32_t got : {0, 1, 4095}) {
    Completion::State state = transfer_of(2 * kBlockBytes);
    int32_t result = got;
    CHECK_FALSE(continue_transfer(state, result));
    CHECK(result == -EIO);
  }
  Completion::State state = transfer_of(2 * kBlockBytes);
  int32_t result = kBlockBytes;
  REQUIRE(continue_transfer(state, result));
  result = -ENOSPC;
  CHECK_FALSE(continue_transfer(state, result));
  CHECK(result == -ENOSPC);
}

TEST_CASE("transfer: zeros without the file system's help are written, part by part", "[io][transfer]") {
  Completion::State state;
  state.offset = 8 * kBlockBytes;
  state.bytes_left = 5 * kBlockBytes;
  int32_t result = -EOPNOTSUPP;
  REQUIRE(continue_zero(state, result));
  CHECK((state.flags & kByWriting) != 0);
  CHECK(state.offset == 8 * kBlockBytes);  // from the beginning
  CHECK(state.bytes_left == 5 * kBlockBytes);
  result = 2 * kBlockBytes + 100;
  REQUIRE(continue_zero(state, result));
  CHECK(state.offset == 10 * kBlockBytes);
  CHECK(state.bytes_left == 3 * kBlockBytes);
  result = 3 * kBlockBytes;
  CHECK_FALSE(continue_zero(state, result));
  CHECK(result == 0);

  state = {};
  state.bytes_left = kBlockBytes;
  for (const int32_t outcome : {0, -EIO, -ENOSPC}) {  // punched, or not
    result = outcome;
    CHECK_FALSE(continue_zero(state, result));
    CHECK(result == outcome);
  }
  state.flags = kByWriting;
  result = 100;
  CHECK_FALSE(continue_zero(state, result));
  CHECK(result == -EIO);
  result = -EOPNOTSUPP;
  CHECK_FALSE(continue_zero(state, result));
  CHECK(result == -EOPNOTSUPP);
}

TEST_CASE("transfer: a receive of all ends with all, or with what came before the end", "[io][transfer]") {
  Completion::State state = transfer_of(100);
  int32_t result = 40;
  CHECK_FALSE(continue_receive(state, result));
  CHECK(result == 40);

  state = transfer_of(100);
  state.flags = kExactly;
  result = 40;
  REQUIRE(continue_receive(state, result));
  CHECK(state.done == 40);
  result = 60;
  CHECK_FALSE(continue_receive(state, result));
  CHECK(result == 100);

  state = transfer_of(100);
  state.flags = kExactly;
  result = 40;
  REQUIRE(continue_receive(state, result));
  result = 0;
  CHECK_FALSE(continue_receive(state, result));
  CHECK(result == 40);

  state.done = 40;
  result = -ECONNRESET;
  CHECK_FALSE(continue_receive(state, result));
  CHECK(result == -ECONNRESET);
}

TEST_CASE("transfer: a send in any parts sends every byte once, in order", "[io][transfer]") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string bytes(1 + random() % 300, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    std::vector<iovec> iov;
    for (size_t at = 0; at < bytes.size();) {
      const size_t part = std::min<size_t>(random() % 40, bytes.size() - at);  // also empty ones
      iov.push_back({bytes.data() + at, part});
      at += part;
    }
    if (random() % 4 == 0) iov.push_back({nullptr, 0});
    Completion::State state;
    state.iov = iov.data();
    state.message.msg_iovlen = iov.size();
    skip_sent(state, 0);
    std::string sent;
    for (bool again = true; again;) {
      // The kernel takes some of what is left.
      std::string left;
      for (size_t i = 0; i < state.message.msg_iovlen; ++i) {
        left.append(static_cast<const char*>(state.iov[i].iov_base), state.iov[i].iov_len);
      }
      REQUIRE(!left.empty());
      const size_t taken = 1 + random() % left.size();
      sent += left.substr(0, taken);
      auto result = static_cast<int32_t>(taken);
      again = continue_send(state, result);
      if (!again) CHECK(result == static_cast<int32_t>(bytes.size()));
    }
    CHECK(sent == bytes);
  }
  Completion::State state;
  int32_t result = -EPIPE;
  CHECK_FALSE(continue_send(state, result));
  CHECK(result == -EPIPE);
  result = 0;
  CHECK_FALSE(continue_send(state, result));
  CHECK(result == -EIO);
}

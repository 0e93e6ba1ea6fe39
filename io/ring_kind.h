// The kinds of operations of RingIo, and which outcomes mean "start it again".
#pragma once

#include <cerrno>
#include <cstdint>

namespace ringbolt::io {

enum class RingKind : uint8_t { kRead, kWrite, kFlush, kZero, kAccept, kConnect, kReceive, kSend };

/// The operation did not happen and says nothing about the device or the peer. A flush is never started
/// again: file systems report a lost write once, and the next flush succeeds.
constexpr bool is_interruption(RingKind kind, int32_t result) {
  return kind != RingKind::kFlush && (result == -EINTR || result == -EAGAIN);
}

}  // namespace ringbolt::io

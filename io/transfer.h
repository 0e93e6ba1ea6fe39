// How an operation of RingIo goes on when the kernel did only a part of it. No I/O here: functions of
// the operation's State and of what the kernel returned.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "io/completion.h"

namespace ringbolt::io {

enum class RingKind : uint8_t { kRead, kWrite, kFlush, kZero, kAccept, kConnect, kReceive, kSend };

// Completion::State::flags.
inline constexpr uint8_t kExactly = 1;
inline constexpr uint8_t kByWriting = 2;  // zero() without help from the file system
inline constexpr uint8_t kCancelled = 4;  // must not be started again
inline constexpr uint8_t kResolving = 8;  // a connect whose host name is being looked up

/// The operation did not happen and says nothing about the device or the peer. A flush is never started
/// again: file systems report a lost write once, and the next flush succeeds.
constexpr bool is_interruption(RingKind kind, int32_t result) {
  return kind != RingKind::kFlush && (result == -EINTR || result == -EAGAIN);
}

// Each returns whether the operation is to be started again, with the State as it is then; if not,
// `result` is the operation's own.

[[nodiscard]] bool continue_transfer(Completion::State& state, int32_t& result);  // kRead, kWrite
[[nodiscard]] bool continue_zero(Completion::State& state, int32_t& result);
[[nodiscard]] bool continue_receive(Completion::State& state, int32_t& result);
[[nodiscard]] bool continue_send(Completion::State& state, int32_t& result);

/// Takes `bytes`, and empty entries behind them, off the front of a send.
void skip_sent(Completion::State& state, size_t bytes);

}  // namespace ringbolt::io

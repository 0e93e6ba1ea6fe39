#include "io/transfer.h"

#include "ringbolt/types.h"

namespace ringbolt::io {

void skip_sent(Completion::State& state, size_t bytes) {
  while (state.message.msg_iovlen > 0 && bytes >= state.iov->iov_len) {
    bytes -= state.iov->iov_len;
    ++state.iov;
    --state.message.msg_iovlen;
  }
  if (state.message.msg_iovlen == 0) return;
  state.iov->iov_base = static_cast<char*>(state.iov->iov_base) + bytes;
  state.iov->iov_len -= bytes;
}

// Direct I/O goes on at a block boundary only. At the end of a file the kernel returns the same
// short count again and again: no progress in whole blocks is an error.
bool continue_transfer(Completion::State& state, int32_t& result) {
  if (result < 0) return false;
  const uint32_t before = state.done;
  const uint32_t after = before + static_cast<uint32_t>(result);
  if (after >= state.length) {
    result = static_cast<int32_t>(state.length);
    return false;
  }
  state.done = after - after % kBlockBytes;
  if (state.done > before) return true;
  result = -EIO;
  return false;
}

bool continue_zero(Completion::State& state, int32_t& result) {
  if ((state.flags & kByWriting) == 0) {
    if (result != -EOPNOTSUPP) return false;
    state.flags |= kByWriting;
    return true;
  }
  if (result < 0) return false;
  const auto whole = static_cast<uint32_t>(result) - static_cast<uint32_t>(result) % kBlockBytes;
  if (whole == 0) {
    result = -EIO;
    return false;
  }
  state.offset += whole;
  state.bytes_left -= whole;
  if (state.bytes_left > 0) return true;
  result = 0;
  return false;
}

bool continue_receive(Completion::State& state, int32_t& result) {
  if (result < 0) return false;
  state.done += static_cast<uint32_t>(result);
  const bool ended = result == 0;
  if ((state.flags & kExactly) != 0 && !ended && state.done < state.length) return true;
  result = static_cast<int32_t>(state.done);
  return false;
}

bool continue_send(Completion::State& state, int32_t& result) {
  if (result < 0) return false;
  if (result == 0) {
    result = -EIO;
    return false;
  }
  state.done += static_cast<uint32_t>(result);
  skip_sent(state, static_cast<size_t>(result));
  if (state.message.msg_iovlen > 0) return true;
  result = static_cast<int32_t>(state.done);
  return false;
}

}  // namespace ringbolt::io

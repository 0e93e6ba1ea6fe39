// Fuzz target: the NBD handshake. The first byte chooses how the rest is split; whatever the bytes,
// the state machine must not crash, must bound what it keeps, and its output must be well-formed.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "nbd/handshake.h"
#include "ringbolt/assert.h"

namespace {

using namespace ringbolt;

class Directory final : public nbd::ExportDirectory {
 public:
  void list(std::vector<std::string>& names) override { names = {"vol0", "replica"}; }
  nbd::ExportLookup find(std::string_view name) override {
    nbd::ExportLookup found;
    if (name == "replica") {
      found.status = nbd::ExportLookup::Status::kRefused;
      found.reason = "a replica";
    } else if (name == "vol0" || name.empty()) {
      found.status = nbd::ExportLookup::Status::kFound;
      found.name = "vol0";
      found.description = "a volume";
      found.size_bytes = 1u << 30;
    }
    return found;
  }
};

/// Behind the greeting there are only whole option replies, but for the answer to EXPORT_NAME.
void check_output(const std::vector<std::byte>& output, bool may_end_with_export) {
  RINGBOLT_ASSERT(output.size() >= nbd::kGreetingBytes);
  size_t at = nbd::kGreetingBytes;
  while (output.size() - at >= nbd::kOptionReplyHeaderBytes &&
         nbd::load<uint64_t>(output.data() + at) == nbd::kOptionReplyMagic) {
    const auto bytes = nbd::load<uint32_t>(output.data() + at + 16);
    at += nbd::kOptionReplyHeaderBytes;
    RINGBOLT_ASSERT(bytes <= nbd::kStringBytesMax && bytes <= output.size() - at);
    at += bytes;
  }
  const size_t rest = output.size() - at;
  RINGBOLT_ASSERT(rest == 0 || (may_end_with_export && (rest == 10 || rest == 134)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = data[0] == 0 ? size : data[0];
  Directory directory;
  nbd::Handshake handshake(directory);
  std::vector<std::byte> output;
  size_t at = 1;
  while (true) {
    output.insert(output.end(), handshake.output().begin(), handshake.output().end());
    handshake.output().clear();
    if (at == size || handshake.state() != nbd::Handshake::State::kTalking) break;
    // Its own allocation, so that a read beyond the part is noticed.
    const std::vector<uint8_t> part(data + at, data + at + std::min(step, size - at));
    const size_t taken = handshake.consume(std::as_bytes(std::span(part)));
    RINGBOLT_ASSERT(taken <= part.size());
    RINGBOLT_ASSERT(taken != 0 || !handshake.output().empty());
    RINGBOLT_ASSERT(handshake.output().size() <=
                    nbd::Handshake::kOutputBytesPause + 2 * nbd::kStringBytesMax);
    at += taken;
  }
  const bool attached = handshake.state() == nbd::Handshake::State::kAttach;
  check_output(output, attached);
  if (attached) RINGBOLT_ASSERT(handshake.negotiated().export_name == "vol0");
  if (!handshake.negotiated().structured_replies) {
    RINGBOLT_ASSERT(!handshake.negotiated().base_allocation);
  }
  return 0;
}

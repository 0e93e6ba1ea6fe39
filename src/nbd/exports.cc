// Rate limit and quoting for log lines about clients.
#include "nbd/exports.h"

#include <algorithm>
#include <utility>

namespace ringbolt::nbd {

void LimitedClientLog::line(ClientLine line) {
  const io::Nanos now = io_.now();
  const int64_t seconds = (now - refilled_at_) / io::kSecond;
  if (seconds > 0) {
    lines_left_ = static_cast<uint32_t>(std::min<int64_t>(kBurstLines, lines_left_ + seconds));
    refilled_at_ = now;
  }
  if (lines_left_ == 0) {
    ++lines_left_out_;
    return;
  }
  --lines_left_;
  line.left_out = std::exchange(lines_left_out_, 0);
  log_.client_line(line);
}

std::string described_address(io::Io& io, io::Socket socket) {
  const std::string address = io.peer_address(socket);
  return address.empty() ? "an address unknown by now" : address;
}

std::string printable(std::string_view bytes) {
  constexpr size_t kPrintedBytesMax = 64;
  std::string text;
  for (const char byte : bytes.substr(0, kPrintedBytesMax)) {
    text += byte >= 0x20 && byte < 0x7f ? byte : '?';
  }
  if (bytes.size() > kPrintedBytesMax) text += "...";
  return text;
}

}  // namespace ringbolt::nbd

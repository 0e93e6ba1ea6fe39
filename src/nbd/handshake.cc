// Framing of the handshake: client flags, option headers, option data, limits. What each option
// means is in handshake_options.cc.
#include "nbd/handshake.h"

#include <algorithm>

#include "ringbolt/assert.h"

namespace ringbolt::nbd {

uint16_t transmission_flags(bool structured_replies) {
  uint16_t flags = kTransmissionHasFlags | kTransmissionSendFlush | kTransmissionSendFua |
                   kTransmissionSendTrim | kTransmissionSendWriteZeroes |
                   kTransmissionCanMultiConn | kTransmissionSendCache | kTransmissionSendFastZero;
  if (structured_replies) flags |= kTransmissionSendDf;
  return flags;
}

Handshake::Handshake(ExportDirectory& directory) : directory_(directory) {
  append_number(kGreetingMagic);
  append_number(kOptionMagic);
  append_number(static_cast<uint16_t>(kFlagFixedNewstyle | kFlagNoZeroes));
}

size_t Handshake::consume(std::span<const std::byte> input) {
  size_t taken = 0;
  while (state_ == State::kTalking && taken < input.size()) {
    const std::span<const std::byte> rest = input.subspan(taken);
    switch (phase_) {
      case Phase::kClientFlags:
        taken += take_fixed(rest, kClientFlagsBytes);
        if (fixed_bytes_ == kClientFlagsBytes) on_client_flags();
        break;
      case Phase::kOptionHeader:
        // Only here, between two options, can the output be held down to one option's reply.
        if (fixed_bytes_ == 0 && output_.size() >= kOutputBytesPause) return taken;
        taken += take_fixed(rest, kOptionHeaderBytes);
        if (fixed_bytes_ == kOptionHeaderBytes) on_option_header();
        break;
      case Phase::kOptionData: {
        const size_t count = std::min<size_t>(data_bytes_ - data_.size(), rest.size());
        data_.insert(data_.end(), rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count));
        taken += count;
        if (data_.size() == data_bytes_) run_option();
        break;
      }
      case Phase::kSkipData: {
        const uint32_t count =
            static_cast<uint32_t>(std::min<size_t>(skip_bytes_left_, rest.size()));
        skip_bytes_left_ -= count;
        taken += count;
        if (skip_bytes_left_ == 0) run_option();
        break;
      }
    }
  }
  return taken;
}

size_t Handshake::take_fixed(std::span<const std::byte> input, size_t bytes_wanted) {
  const size_t count = std::min(bytes_wanted - fixed_bytes_, input.size());
  std::memcpy(fixed_.data() + fixed_bytes_, input.data(), count);
  fixed_bytes_ += count;
  return count;
}

void Handshake::on_client_flags() {
  const auto flags = load<uint32_t>(fixed_.data());
  fixed_bytes_ = 0;
  if ((flags & ~(kClientFlagFixedNewstyle | kClientFlagNoZeroes)) != 0) {
    return close("unknown client flags in the handshake");
  }
  fixed_newstyle_ = (flags & kClientFlagFixedNewstyle) != 0;
  no_zeroes_ = (flags & kClientFlagNoZeroes) != 0;
  phase_ = Phase::kOptionHeader;
}

void Handshake::on_option_header() {
  fixed_bytes_ = 0;
  if (load<uint64_t>(fixed_.data()) != kOptionMagic) return close("bad magic of an option");
  option_ = load<uint32_t>(fixed_.data() + 8);
  data_bytes_ = load<uint32_t>(fixed_.data() + 12);
  data_.clear();
  if (++options_ > kOptionsMax) return close("too many options");
  if (!fixed_newstyle_ && option_ != kOptExportName) {
    // Without fixed newstyle no option but this one has a reply that the client understands.
    return close("option " + std::to_string(option_) + " without fixed newstyle");
  }
  if (data_bytes_ > kOptionSkipBytesMax) {
    return close("option " + std::to_string(option_) + " with " + std::to_string(data_bytes_) +
                 " bytes of data");
  }
  if (data_bytes_ > kOptionBytesMax) {
    skip_bytes_left_ = data_bytes_;
    phase_ = Phase::kSkipData;
    return;
  }
  if (data_bytes_ == 0) return run_option();
  phase_ = Phase::kOptionData;
}

void Handshake::append(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  output_.insert(output_.end(), bytes, bytes + text.size());
}

template <class Integer>
void Handshake::append_number(Integer value) {
  std::array<std::byte, sizeof(Integer)> bytes{};
  store(bytes.data(), value);
  output_.insert(output_.end(), bytes.begin(), bytes.end());
}
template void Handshake::append_number(uint16_t);
template void Handshake::append_number(uint32_t);
template void Handshake::append_number(uint64_t);

void Handshake::begin_reply(uint32_t type, size_t payload_bytes) {
  append_number(kOptionReplyMagic);
  append_number(option_);
  append_number(type);
  append_number(static_cast<uint32_t>(payload_bytes));
}

void Handshake::reply(uint32_t type, std::span<const std::byte> payload) {
  begin_reply(type, payload.size());
  output_.insert(output_.end(), payload.begin(), payload.end());
}

void Handshake::reply_text(uint32_t type, std::string_view text) {
  text = text.substr(0, kStringBytesMax);
  begin_reply(type, text.size());
  append(text);
}

void Handshake::close(std::string reason) {
  state_ = State::kClose;
  close_reason_ = std::move(reason);
}

}  // namespace ringbolt::nbd

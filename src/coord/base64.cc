#include "coord/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringbolt::coord {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> digit_values() {
  std::array<uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (size_t i = 0; i < kDigits.size(); ++i) values[static_cast<unsigned char>(kDigits[i])] = static_cast<uint8_t>(i);
  return values;
}

constexpr std::array<uint8_t, 256> kValues = digit_values();

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view part = bytes.substr(at, 3);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < part.size() ? static_cast<unsigned char>(part[i]) : 0u);
    for (size_t i = 0; i < 4; ++i) text += i <= part.size() ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t at = 0; at < text.size(); at += 4) {
    const std::string_view part = text.substr(at, 4);
    const bool last = at + 4 == text.size();
    const size_t padding = last && part[3] == '=' ? (part[2] == '=' ? 2 : 1) : 0;
    uint32_t group = 0;
    for (size_t i = 0; i < 4; ++i) {
      const uint8_t digit = i < 4 - padding ? kValues[static_cast<unsigned char>(part[i])] : uint8_t{0};
      if (digit == kNoDigit) return std::nullopt;
      group = group << 6 | digit;
    }
    // One text for the same bytes: what the padding leaves over is zero.
    if ((group & ((1u << 8 * padding) - 1)) != 0) return std::nullopt;
    for (size_t i = 0; i < 3 - padding; ++i) bytes += static_cast<char>(group >> (16 - 8 * i) & 255);
  }
  return bytes;
}

}  // namespace ringbolt::coord

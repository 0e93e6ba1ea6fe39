#include "repl/wire_codec.h"

namespace ringbolt::repl::codec {

size_t character_bytes(std::string_view text) {
  const auto byte = [text](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // The lead byte alone does not exclude: C1 control characters, overlong forms, surrogates, and what
  // is beyond Unicode.
  const unsigned char second = byte(1);
  if (lead == 0xc2 && second < 0xa0) return 0;
  if (lead == 0xe0 && second < 0xa0) return 0;
  if (lead == 0xed && second > 0x9f) return 0;
  if (lead == 0xf0 && second < 0x90) return 0;
  if (lead == 0xf4 && second > 0x8f) return 0;
  return bytes;
}

void Writer::text(std::string_view value, size_t limit) {
  const size_t length_at = out_.size();
  number(uint16_t{0});
  uint16_t length = 0;
  while (!value.empty()) {
    const size_t bytes = std::max<size_t>(character_bytes(value), 1);
    if (length + bytes > limit) break;
    const bool printable = character_bytes(value) != 0;
    for (size_t i = 0; i < bytes; ++i) out_.push_back(static_cast<std::byte>(printable ? value[i] : '?'));
    length = static_cast<uint16_t>(length + bytes);
    value.remove_prefix(bytes);
  }
  std::memcpy(&out_[length_at], &length, sizeof length);
}

void Writer::history(const core::TermHistory& value) {
  number(static_cast<uint16_t>(value.size()));
  for (const core::TermStart& entry : value.terms()) {
    number(entry.term.epoch);
    number(entry.term.incarnation);
    number(entry.first);
  }
}

std::string Reader::text(const char* field, size_t limit) {
  const size_t length = number<uint16_t>(field);
  refuse_if(length > limit, "{} of {} bytes, at most {} are allowed", field, length, limit);
  const std::byte* bytes = take(field, length);
  if (bytes == nullptr) return {};
  std::string value(reinterpret_cast<const char*>(bytes), length);
  for (std::string_view rest = value; !rest.empty() && good();) {
    const size_t character = character_bytes(rest);
    refuse_if(character == 0, "{} has byte {:#04x} at {}, which is not printable UTF-8", field,
              static_cast<unsigned char>(rest.front()), length - rest.size());
    rest.remove_prefix(character);
  }
  return value;
}

std::string Reader::name(const char* field, size_t limit) {
  std::string value = text(field, limit);
  refuse_if(value.empty(), "{} is empty", field);
  return value;
}

core::TermHistory Reader::history() {
  core::TermHistory value;
  const size_t count = number<uint16_t>("term history");
  refuse_if(count > core::TermHistory::kTermsMax, "term history of {} terms", count);
  for (size_t i = 0; i < count && good(); ++i) {
    core::TermStart entry;
    entry.term.epoch = epoch("epoch of term history");
    refuse_if(entry.term.epoch == Epoch{}, "epoch of term history is 0");
    entry.term.incarnation = from_one<Incarnation>("incarnation of term history");
    entry.first = lsn("first Lsn of term history");
    refuse_if(entry.first == Lsn{}, "first Lsn of term history is 0");
    if (good()) refuse_if(!value.append_checked(entry), "term history is out of order at term {}", i + 1);
  }
  return value;
}

uint64_t Reader::volume_bytes(const char* field) {
  const auto value = number<uint64_t>(field);
  refuse_if(value == 0 || value % kBlockBytes != 0 || value > kVolumeBytesMax, "{} {} is not a volume's size", field, value);
  return value;
}

}  // namespace ringbolt::repl::codec

#include "log/line.h"

#include <algorithm>
#include <cstdint>
#include <string>

namespace ringbolt::log {
namespace {

constexpr std::string_view kCutMark = " [cut]";
constexpr char kHex[] = "0123456789abcdef";

struct Character {
  uint32_t code = 0;
  size_t bytes = 0;  ///< 0: these are no UTF-8
};

/// The character that `text` begins with. As strict as UTF-8 is: a decoder that is less so sees other characters than we did.
Character first_character(std::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  uint32_t code = lead & (0xff >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[bytes] || code > 0x10ffff || surrogate) return {};
  return {code, bytes};
}

/// It moves the cursor, begins a line for some reader, or turns the text around it about.
bool is_control(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void append_hex(std::string& text, std::string_view bytes) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
}

/// Calls `text(name, value)` or `number(name, value)` for each field that is there, in the order of the struct.
template <class Text, class Number>
void for_each(const Fields& fields, Text text, Number number) {
  const auto text_if = [&](const char* name, std::string_view value) {
    if (!value.empty()) text(name, value);
  };
  const auto number_if = [&](const char* name, uint64_t value) {
    if (value != 0) number(name, value);
  };
  text_if("volume", fields.volume);
  text_if("replica", fields.replica);
  text_if("peer", fields.peer);
  text_if("client", fields.client);
  text_if("key", fields.key);
  if (fields.shard) number("shard", *fields.shard);  // there is a shard 0
  number_if("session", fields.session.value());
  number_if("epoch", fields.epoch.value());
  if (fields.lsn) number("lsn", fields.lsn->value());
  number_if("left_out", fields.left_out);
}

/// In front of fields stands " | ", and nowhere else.
void hide_bars(std::string& text) {
  for (size_t at = 0; (at = text.find(" | ", at)) != std::string::npos;) text.replace(at + 1, 1, "\\x7c");
  if (text.ends_with(" |")) text.replace(text.size() - 1, 1, "\\x7c");
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result += '"';
}

/// As it is where nothing could be taken for the end of it.
std::string text_value(std::string_view value) {
  std::string text = printable(value, kFieldBytesMax);
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("._:/@+-[]").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  hide_bars(text);
  return quoted(text);
}

}  // namespace

std::string printable(std::string_view words, size_t bytes_max) {
  std::string text;
  text.reserve(std::min(words.size(), bytes_max));
  size_t fits = 0;  // what of it may stay if a mark must follow
  while (!words.empty() && text.size() <= bytes_max) {
    const Character character = first_character(words);
    const std::string_view bytes = words.substr(0, std::max<size_t>(character.bytes, 1));
    words.remove_prefix(bytes.size());
    if (character.bytes == 0 || is_control(character.code)) {
      append_hex(text, bytes);
    } else {
      text += bytes;
    }
    if (text.size() + kCutMark.size() <= bytes_max) fits = text.size();
  }
  if (text.size() > bytes_max) {
    text.resize(fits);
    text += kCutMark;
  }
  return text;
}

std::string text_line(const Fields& fields, std::string_view words) {
  std::string line = printable(words);
  hide_bars(line);
  if (!fields.volume.empty()) {
    const std::string volume = "volume " + printable(fields.volume, kFieldBytesMax) + ": ";
    // An error that is handed on may say so by itself.
    if (!line.starts_with(volume)) line.insert(0, volume);
  }
  const char* before = " | ";
  const auto add = [&](const char* name, const std::string& value) {
    line.append(before).append(name).append("=").append(value);
    before = " ";
  };
  for_each(
      fields,
      [&](const char* name, std::string_view value) {
        if (std::string_view(name) != "volume") add(name, text_value(value));
      },
      [&](const char* name, uint64_t value) { add(name, std::to_string(value)); });
  return line;
}

// Strings and numbers are all of JSON that there is here, and a library would hand on bytes that are not UTF-8.
std::string json_line(std::string_view time, Level level, const Fields& fields, std::string_view words) {
  std::string line = "{\"time\":" + quoted(time) + ",\"level\":\"" + to_string(level) + "\",\"message\":" + quoted(printable(words));
  const auto add = [&](const char* name, const std::string& value) { line.append(",\"").append(name).append("\":").append(value); };
  for_each(
      fields, [&](const char* name, std::string_view value) { add(name, quoted(printable(value, kFieldBytesMax))); },
      [&](const char* name, uint64_t value) { add(name, std::to_string(value)); });
  return line += '}';
}

}  // namespace ringbolt::log

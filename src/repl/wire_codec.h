// How fields become bytes and bytes fields: internal to wire*.cc. The format is described in wire.h.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "repl/wire.h"

namespace ringbolt::repl::codec {

/// Bytes of the UTF-8 character that `text` begins with; 0 if that is none, or a control character.
/// Requires: `text` not empty.
size_t character_bytes(std::string_view text);

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& out) : out_(out) {}

  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void number(T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    out_.insert(out_.end(), bytes, bytes + sizeof value);
  }
  template <class Tag>
  void number(Position<Tag> value) {
    number(value.value());
  }
  void flag(bool value) { number(static_cast<uint8_t>(value ? 1 : 0)); }
  template <class P>
  void optional(const std::optional<P>& value) {
    flag(value.has_value());
    if (value) number(*value);
  }
  /// At most `limit` bytes, whole characters.
  void text(std::string_view value, size_t limit = kTextBytesMax);
  void history(const core::TermHistory& value);

 private:
  std::vector<std::byte>& out_;
};

/// Reads fields in order. What is wrong first is kept, in words that name the field; from then on every
/// field reads as its default.
class Reader {
 public:
  Reader(const char* message, std::span<const std::byte> bytes) : message_(message), bytes_(bytes) {}

  [[nodiscard]] bool good() const { return problem_.empty(); }

  template <class... Args>
  void refuse_if(bool wrong, fmt::format_string<Args...> format, Args&&... args) {
    if (wrong && good()) problem_ = fmt::format(format, std::forward<Args>(args)...);
  }

  template <class T>
    requires std::is_arithmetic_v<T>
  T number(const char* field) {
    T value{};
    const std::byte* bytes = take(field, sizeof value);
    if (bytes != nullptr) std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  /// A position of which every value has a meaning (an Lsn: see lsn()).
  template <class P>
  P position(const char* field) {
    return P(number<uint64_t>(field));
  }
  /// A number that counts from 1.
  template <class P>
  P from_one(const char* field) {
    const auto value = number<uint64_t>(field);
    refuse_if(value == 0, "{} is 0", field);
    return P(value);
  }
  Epoch epoch(const char* field) {
    const auto value = position<Epoch>(field);
    refuse_if(value > kPeerEpochMax, "{} {} is one that nobody assigns", field, value.value());
    return good() ? value : Epoch{};
  }
  Lsn lsn(const char* field) {
    const auto value = position<Lsn>(field);
    refuse_if(value > kLsnMax, "{} {} is beyond any log", field, value.value());
    return good() ? value : Lsn{};
  }
  std::optional<Lsn> optional_lsn(const char* field) {
    if (!flag(field)) return std::nullopt;
    return lsn(field);
  }
  bool flag(const char* field) {
    const auto value = number<uint8_t>(field);
    refuse_if(value > 1, "{} has the flag byte {}", field, value);
    return good() && value == 1;
  }
  template <class E>
  E enumerator(const char* field, E first, E last) {
    using Number = std::underlying_type_t<E>;
    const auto value = number<Number>(field);
    const bool known = value >= static_cast<Number>(first) && value <= static_cast<Number>(last);
    refuse_if(!known, "unknown {} {}", field, value);
    return good() ? static_cast<E>(value) : first;
  }
  Reason reason() { return enumerator("reason", Reason::kNone, Reason::kHandedOver); }
  std::string text(const char* field, size_t limit = kTextBytesMax);
  /// A node id or name: not empty.
  std::string name(const char* field, size_t limit);
  core::TermHistory history();
  uint64_t volume_bytes(const char* field);

  /// What is left belongs to a later version.
  void skip_rest() { bytes_ = {}; }

  template <class T>
  Result<T> finish(T message) {
    refuse_if(!bytes_.empty(), "{} bytes too many", bytes_.size());
    if (!good()) return make_error(Errc::kInvalid, fmt::format("malformed {} message: {}", message_, problem_));
    return message;
  }

 private:
  /// The next `count` bytes, or null.
  const std::byte* take(const char* field, size_t count) {
    refuse_if(bytes_.size() < count, "it ends within {}", field);
    if (!good()) return nullptr;
    const std::byte* bytes = bytes_.data();
    bytes_ = bytes_.subspan(count);
    return bytes;
  }

  const char* message_;
  std::span<const std::byte> bytes_;
  std::string problem_;
};

}  // namespace ringbolt::repl::codec

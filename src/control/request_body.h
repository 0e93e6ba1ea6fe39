// Reads the body of an order strictly: an order for somebody's data that can be read in two ways (a misspelt key, a key
// given twice) is refused. As in config.cc the first error ends the reading, and travels as an exception (BadBody) to
// the function that reads the whole body.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt::request_body {

struct BadBody {
  std::string message;  ///< one line of bounded length that says what is wrong and where
};

[[noreturn]] void fail(std::string message);

/// What a client sent, fit for a message.
std::string quoted(std::string_view text);

/// Fails unless `body` is one JSON document without a key that is given twice in one object. `expected` says what a
/// body that is empty should have been.
boost::json::value parse_document(std::string_view body, std::string_view expected);

/// One object with the keys it may have; `where` ("", "replicas[0]") stands before messages.
class ObjectReader {
 public:
  /// Fails if `value` is none, or has a key that is not among `keys`.
  ObjectReader(const boost::json::value& value, std::string where, std::span<const std::string_view> keys);

  [[noreturn]] void fail_at(std::string_view key, std::string_view message) const;
  void require(std::string_view key, const Status& status) const;
  [[nodiscard]] const boost::json::value* find(std::string_view key) const;
  void require_key(std::string_view key) const;

  // Each of a key that is there, except flag():
  [[nodiscard]] std::string text(std::string_view key) const;
  /// False if the key is absent.
  [[nodiscard]] bool flag(std::string_view key) const;
  [[nodiscard]] uint64_t natural(std::string_view key, uint64_t min, uint64_t max) const;
  [[nodiscard]] const boost::json::array& array(std::string_view key) const;
  /// A word out of `meanings`.
  template <class T>
  [[nodiscard]] T word(std::string_view key, std::initializer_list<T> meanings) const {
    const std::string word = text(key);
    std::string known;
    for (const T meaning : meanings) {
      if (word == to_string(meaning)) return meaning;
      known += std::string(known.empty() ? "" : ", ") + '"' + to_string(meaning) + '"';
    }
    fail_at(key, request_body::quoted(word) + " is none of " + known);
  }

 private:
  [[nodiscard]] std::string path(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected, const boost::json::value& got) const;

  const boost::json::object* object_ = nullptr;
  std::string where_;
};

}  // namespace ringbolt::request_body

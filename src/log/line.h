// A line of the log as text and as JSON. Pure. Whatever stands in it, it is one line: what is no plain text in words and
// fields (control characters, bytes that are not UTF-8, what changes the direction of writing) is shown as \xNN.
#pragma once

#include <string>
#include <string_view>

#include "log/fields.h"
#include "log/level.h"

namespace ringbolt::log {

/// Longest words in bytes; the rest is cut and marked.
inline constexpr size_t kLineBytesMax = 2048;
/// Longest value of a field, likewise.
inline constexpr size_t kFieldBytesMax = 256;

/// `words` as the log shows them, cut to `bytes_max`.
std::string printable(std::string_view words, size_t bytes_max = kLineBytesMax);

/// `volume NAME: WORDS | key=value key="v a l u e"`, the volume in front and the other fields behind. The last " | " of a line
/// begins its fields: in words and values there is none (a `|` between spaces is \x7c there).
std::string text_line(const Fields& fields, std::string_view words);

/// The same as an object: `time`, `level`, `message`, then the fields, each under its own name; numbers are numbers.
/// `time`: as it is to stand there.
std::string json_line(std::string_view time, Level level, const Fields& fields, std::string_view words);

}  // namespace ringbolt::log

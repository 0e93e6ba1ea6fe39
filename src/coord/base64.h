// Base64 as RFC 4648 has it, with padding: what bytes are in etcd's JSON. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ringbolt::coord {

std::string to_base64(std::string_view bytes);
/// nullopt: it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace ringbolt::coord

#include "coord/endpoint.h"

#include <fmt/format.h>

namespace ringbolt::coord {

Result<Endpoint> parse_endpoint(std::string_view url) {
  constexpr std::string_view kPlain = "http://", kTls = "https://";
  const bool tls = url.starts_with(kTls);
  if (!tls && !url.starts_with(kPlain)) {
    return make_error(Errc::kInvalid, fmt::format("\"{}\": expected http://HOST:PORT or https://HOST:PORT", url));
  }
  const Result<io::Address> address = io::parse_address(url.substr(tls ? kTls.size() : kPlain.size()));
  const bool possible = address.has_value() && address.value().kind == io::Address::Kind::kTcp && address.value().port != 0 &&
                        !address.value().host.empty() && address.value().host.find_first_of("/?#@ ") == std::string::npos;
  if (!possible) return make_error(Errc::kInvalid, fmt::format("\"{}\": expected http://HOST:PORT or https://HOST:PORT, and nothing after the port", url));
  return Endpoint{tls, address.value(), std::string(url)};
}

}  // namespace ringbolt::coord

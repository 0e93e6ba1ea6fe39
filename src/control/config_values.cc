#include "control/config_values.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <vector>

#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// Largest first: the formatters take the first that divides.
constexpr std::array<Unit, 5> kSizeUnits{{{"TiB", uint64_t{1} << 40},
                                          {"GiB", uint64_t{1} << 30},
                                          {"MiB", uint64_t{1} << 20},
                                          {"KiB", uint64_t{1} << 10},
                                          {"B", 1}}};
constexpr std::array<Unit, 3> kTimeUnits{
    {{"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}}};

constexpr const char* kSizeForm = "expected a size such as \"512B\", \"4KiB\", \"256MiB\", \"1GiB\"";
constexpr const char* kTimeForm = "expected a time such as \"20us\", \"100ms\" or \"3s\"";

/// Number and unit, the unit among `units`; `bare` decides what a number without a unit means.
Result<uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units, bool bare,
                                 const char* form, uint64_t max) {
  uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (failure == std::errc::result_out_of_range) {
    return make_error(Errc::kInvalid, fmt::format("\"{}\" is too large", text));
  }
  if (failure != std::errc{}) {
    return make_error(Errc::kInvalid, fmt::format("{}, got \"{}\"", form, text));
  }
  uint64_t factor = 0;
  if (unit.empty() && (bare || number == 0)) factor = 1;
  for (const Unit& known : units) {
    if (unit == known.name) factor = known.factor;
  }
  if (factor == 0) return make_error(Errc::kInvalid, fmt::format("{}, got \"{}\"", form, text));
  if (number > max / factor) {
    return make_error(Errc::kInvalid, fmt::format("\"{}\" is too large", text));
  }
  return number * factor;
}

std::string format_with_unit(uint64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) return fmt::format("{}{}", value / unit.factor, unit.name);
  }
  return {};
}

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

Status check_name(std::string_view name, size_t bytes_max) {
  if (name.empty()) return make_error(Errc::kInvalid, "must not be empty");
  if (name.size() > bytes_max) {
    return make_error(Errc::kInvalid, fmt::format("is {} bytes long, at most {} are allowed",
                                                  name.size(), bytes_max));
  }
  if (!std::all_of(name.begin(), name.end(), is_name_char) || name == "." || name == "..") {
    return make_error(Errc::kInvalid,
                      fmt::format("\"{}\" is not allowed: letters, digits, '.', '_' and '-' only, "
                                  "and not \".\" or \"..\"",
                                  name));
  }
  return boost::outcome_v2::success();
}

bool is_ipv4(const std::string& host) {
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &address) == 1;
}

bool is_host_name(const std::string& host) {
  if (host.empty() || host.size() > 253) return false;
  if (!std::all_of(host.begin(), host.end(), is_name_char)) return false;
  // Digits and dots only: an IPv4 address was meant.
  const bool numeric = host.find_first_not_of("0123456789.") == std::string::npos;
  return !numeric || is_ipv4(host);
}

/// "1.2" is no address of four parts, although the resolver would take it for 1.0.0.2.
Status check_host(const std::string& host, std::string_view text) {
  if (host.find(':') == std::string::npos ? is_host_name(host) : is_ipv6(host)) {
    return boost::outcome_v2::success();
  }
  return make_error(Errc::kInvalid,
                    fmt::format("address \"{}\": \"{}\" is no host name and no IP address, expected "
                                "HOST:PORT or [V6-ADDRESS]:PORT",
                                text, host));
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, kSizeUnits, true, kSizeForm, std::numeric_limits<uint64_t>::max());
}

Result<int64_t> parse_duration(std::string_view text) {
  BOOST_OUTCOME_TRY(const uint64_t ns,
                    parse_with_unit(text, kTimeUnits, false, kTimeForm,
                                    static_cast<uint64_t>(std::numeric_limits<int64_t>::max())));
  return static_cast<int64_t>(ns);
}

Result<uint32_t> parse_percent(std::string_view text) {
  uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc{} || std::string_view(rest, end) != "%" || number > 100) {
    return make_error(Errc::kInvalid, fmt::format("expected a share from \"0%\" to \"100%\", whole "
                                                  "numbers only, got \"{}\"", text));
  }
  return number;
}

std::string format_size(uint64_t bytes) { return format_with_unit(bytes, kSizeUnits); }

std::string format_duration(int64_t ns) {
  RINGBOLT_ASSERT(ns >= 0);
  const std::string text = format_with_unit(static_cast<uint64_t>(ns), kTimeUnits);
  return text.empty() ? fmt::format("{}ns", ns) : text;
}

Status check_volume_name(std::string_view name) { return check_name(name, kVolumeNameBytesMax); }

Status check_node_id(std::string_view id) { return check_name(id, kNodeIdBytesMax); }

Status check_host_name(std::string_view name) {
  if (is_host_name(std::string(name))) return boost::outcome_v2::success();
  return make_error(Errc::kInvalid, fmt::format("\"{}\" is no host name", name));
}

Result<io::Address> parse_host_port(std::string_view text) {
  BOOST_OUTCOME_TRY(io::Address address, io::parse_address(text));
  if (address.kind != io::Address::Kind::kTcp) {
    return make_error(Errc::kInvalid,
                      fmt::format("address \"{}\": expected HOST:PORT, not a unix socket", text));
  }
  BOOST_OUTCOME_TRY(check_host(address.host, text));
  return address;
}

Status check_listen_address(std::string_view text, bool allow_unix) {
  BOOST_OUTCOME_TRY(const io::Address address, io::parse_address(text));
  if (allow_unix && address.kind == io::Address::Kind::kUnix) return boost::outcome_v2::success();
  BOOST_OUTCOME_TRY(const io::Address tcp, parse_host_port(text));
  static_cast<void>(tcp);
  return boost::outcome_v2::success();
}

Status check_congestion_control(std::string_view name) {
  constexpr size_t kBytesMax = 15;  // TCP_CA_NAME_MAX of the kernel, without the zero at the end
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
  if (name.size() <= kBytesMax && std::all_of(name.begin(), name.end(), is_plain)) return boost::outcome_v2::success();
  return make_error(Errc::kInvalid, fmt::format("\"{}\": expected the name of a TCP congestion control, such as \"cubic\", or \"\" for the host's", name));
}

Status check_peer_address(std::string_view text) {
  if (text.size() > kPeerAddressBytesMax) {
    return make_error(Errc::kInvalid, fmt::format("an address of {} bytes, at most {} are allowed",
                                                  text.size(), kPeerAddressBytesMax));
  }
  BOOST_OUTCOME_TRY(const io::Address address, parse_host_port(text));
  if (address.port != 0) return boost::outcome_v2::success();
  return make_error(Errc::kInvalid, fmt::format("address \"{}\": port 0 is no peer's port", text));
}

std::string_view nearest_word(std::string_view word, std::span<const std::string_view> known) {
  RINGBOLT_ASSERT(!known.empty());
  // Distance matrix of each pair (optimal string alignment); words here are short.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
    for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
      for (size_t j = 1; j <= b.size(); ++j) {
        const size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
        d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
      }
    }
    return d[a.size()][b.size()];
  };
  word = word.substr(0, 100);  // a longer one is near to nothing; bounds the matrix
  return *std::min_element(known.begin(), known.end(),
                           [&](std::string_view left, std::string_view right) {
                             return distance(word, left) < distance(word, right);
                           });
}

}  // namespace ringbolt

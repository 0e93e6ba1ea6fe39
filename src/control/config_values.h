// The small languages inside configuration values: sizes, times, names, addresses. Pure functions
// over text, shared by the config reader, the admin server and ringboltctl.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "io/address.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// "256MiB", "4KiB", "512B" or a plain number of bytes. No fractions, no spaces, no sign.
/// Errors: kInvalid, with the accepted form; also if the value does not fit 64 bits.
Result<uint64_t> parse_size(std::string_view text);

/// "20us", "100ms", "3s" as nanoseconds; "0" needs no unit. Errors: kInvalid.
Result<int64_t> parse_duration(std::string_view text);

/// "50%" as 50: a whole number from 0% to 100%. Errors: kInvalid.
Result<uint32_t> parse_percent(std::string_view text);

/// `bytes` in the largest unit that divides it, in the form that parse_size takes: "256MiB".
std::string format_size(uint64_t bytes);
/// `ns` in the largest unit that divides it, in the form that parse_duration takes.
std::string format_duration(int64_t ns);

inline constexpr size_t kVolumeNameBytesMax = 200;
inline constexpr size_t kNodeIdBytesMax = 63;
inline constexpr size_t kPeerAddressBytesMax = 127;
/// Epochs are 1 to this: what also fits a signed number, as TOML and other tools have them.
inline constexpr uint64_t kEpochMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

/// A volume's name: [A-Za-z0-9._-]{1,200}, not "." or ".." (it becomes part of file names).
Status check_volume_name(std::string_view name);
/// A node's id: [A-Za-z0-9._-]{1,63}, not "." or "..".
Status check_node_id(std::string_view id);

/// What a host may be called; also an IPv4 address.
Status check_host_name(std::string_view name);

/// An address of the network, "HOST:PORT" or "[V6]:PORT"; port 0 .. 65535. Stricter than
/// io::parse_address, which it uses: the host must be a possible name or a well-formed number.
/// Syntax only, nothing is resolved.
Result<io::Address> parse_host_port(std::string_view text);

/// Checks an address to listen on: HOST:PORT (port 0: any free one), or, if `allow_unix`,
/// "unix:/absolute/path".
Status check_listen_address(std::string_view text, bool allow_unix);

/// The name of a TCP congestion control, as far as that can be said without a kernel; empty is the host's. Errors: kInvalid.
Status check_congestion_control(std::string_view name);
/// Checks a peer's address: HOST:PORT with a port other than 0, at most kPeerAddressBytesMax bytes (it
/// is kept in superblocks).
Status check_peer_address(std::string_view text);

/// The known word that is nearest to `word` (fewest inserted, deleted, replaced or swapped
/// letters; the first of equals). Requires: `known` is not empty.
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> known);

}  // namespace ringbolt

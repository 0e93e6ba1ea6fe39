#include "ctl/doctor/port_owner.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ringbolt::ctl::doctor {

namespace {

constexpr std::string_view kListening = "0A";

bool parse_hex(std::string_view text, uint32_t& into) {
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), into, 16);
  return failure == std::errc() && rest == text.data() + text.size();
}

/// /proc/net/tcp has an address as 32-bit numbers of the host's byte order, "0100007F".
std::string address_text(std::string_view hex) {
  uint32_t words[4] = {};
  const size_t count = hex.size() / 8;
  if (hex.size() % 8 != 0 || (count != 1 && count != 4)) return {};
  for (size_t i = 0; i < count; ++i) {
    if (!parse_hex(hex.substr(i * 8, 8), words[i])) return {};
  }
  char text[INET6_ADDRSTRLEN] = {};
  return inet_ntop(count == 1 ? AF_INET : AF_INET6, words, text, sizeof text) == nullptr ? std::string() : std::string(text);
}

bool is_any(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

bool is_number(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

/// Two sockets cannot both listen there.
bool collides(const std::string& wanted, const std::string& used) {
  return !is_number(wanted) || wanted == used || is_any(wanted) || is_any(used);
}

/// The inode of a listening socket in the text of /proc/net/tcp or tcp6; empty: there is none.
std::string tcp_inode(const std::string& text, const io::Address& address) {
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);  // "0: 0100007F:2A39 00000000:0000 0A ... uid timeout inode"
    if (words.size() < 10 || words[3] != kListening) continue;
    const size_t colon = words[1].find(':');
    uint32_t port = 0;
    if (colon == std::string_view::npos || !parse_hex(words[1].substr(colon + 1), port) || port != address.port) continue;
    if (collides(address.host, address_text(words[1].substr(0, colon)))) return std::string(words[9]);
  }
  return {};
}

/// The same for a path in /proc/net/unix: "Num RefCount Protocol Flags Type St Inode Path".
std::string unix_inode(const std::string& text, const std::string& path) {
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);
    uint32_t flags = 0;
    constexpr uint32_t kAccepts = 0x10000;
    if (words.size() == 8 && words[7] == path && parse_hex(words[3], flags) && (flags & kAccepts) != 0) return std::string(words[6]);
  }
  return {};
}

Listener owner_of(const HostFiles& files, const std::string& inode) {
  const std::string wanted = fmt::format("socket:[{}]", inode);
  for (const std::string& name : files.list("/proc")) {
    uint32_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size()) continue;
    const std::string directory = "/proc/" + name;
    for (const std::string& fd : files.list(directory + "/fd")) {
      if (files.link(directory + "/fd/" + fd) != wanted) continue;
      const Result<std::string> program = files.read(directory + "/comm");
      return {pid, program.has_value() ? program.value() : std::string("?")};
    }
  }
  return {};
}

}  // namespace

Result<std::optional<Listener>> listener_on(const HostFiles& files, const io::Address& address) {
  std::string inode;
  if (address.kind == io::Address::Kind::kUnix) {
    BOOST_OUTCOME_TRY(const std::string text, files.read("/proc/net/unix"));
    inode = unix_inode(text, address.path);
  } else {
    BOOST_OUTCOME_TRY(const std::string text, files.read("/proc/net/tcp"));
    inode = tcp_inode(text, address);
    // A host without IPv6 has no such file.
    const Result<std::string> text6 = files.read("/proc/net/tcp6");
    if (text6.has_error() && text6.error().code != Errc::kNotFound) return text6.error();
    if (inode.empty() && text6.has_value()) inode = tcp_inode(text6.value(), address);
  }
  if (inode.empty()) return std::optional<Listener>();
  return std::optional(owner_of(files, inode));
}

}  // namespace ringbolt::ctl::doctor

// Reads the configuration file. The only place that knows TOML.
//
// Each table is read by one function: unknown keys first (so that a misspelt required key is named
// as such), then the values with their ranges, then what must hold between them. The first error
// ends the reading; inside this file it travels as an exception, outside as a Result.
#include "control/config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <string_view>
#include <system_error>

// Header-only and without its exceptions: independent of how the distribution built the library.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "control/config_values.h"
#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

constexpr size_t kFileBytesMax = 1u << 20;
constexpr uint64_t kMemoryBytesMin = uint64_t{16} << 20;
constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 40;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kTimeoutNsMin = 100'000'000;
constexpr int64_t kTimeoutNsMax = 3600 * kSecondNs;
constexpr uint64_t kRebuildChunkBytesMax = uint64_t{64} << 20;

struct Bad {
  uint32_t line;  ///< 0: not known
  std::string message;
};

[[noreturn]] void fail(uint32_t line, std::string message) { throw Bad{line, std::move(message)}; }

uint32_t line_of(const toml::node& node) { return node.source().begin.line; }

const char* type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::none: return "nothing";
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a floating-point number";
    case toml::node_type::boolean: return "a boolean";
    case toml::node_type::date: return "a date";
    case toml::node_type::time: return "a time of day";
    case toml::node_type::date_time: return "a date and time";
  }
  return "an unknown type";
}

/// One table of the file with the keys it may have. Values come out checked for type and form;
/// messages name the table, the key and the line.
class TableReader {
 public:
  using Keys = std::span<const std::string_view>;

  /// Errors: a key that is not among `keys`; of several the one that comes first in the file.
  TableReader(const toml::table& table, std::string title, Keys keys)
      : table_(table), title_(std::move(title)), keys_(keys) {
    const toml::key* unknown = nullptr;
    for (const auto& [key, value] : table_) {
      if (std::find(keys_.begin(), keys_.end(), key.str()) != keys_.end()) continue;
      if (unknown == nullptr || key.source().begin.line < unknown->source().begin.line) {
        unknown = &key;
      }
    }
    if (unknown == nullptr) return;
    fail(unknown->source().begin.line,
         fmt::format("unknown key \"{}\" in {}; the nearest known one is \"{}\"", unknown->str(),
                     title_, nearest_word(unknown->str(), keys_)));
  }

  [[nodiscard]] uint32_t line() const { return line_of(table_); }
  [[nodiscard]] uint32_t line(std::string_view key) const {
    const toml::node* node = find(key);
    return node == nullptr ? line() : line_of(*node);
  }
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

  [[noreturn]] void fail_at(std::string_view key, std::string_view message) const {
    fail(line(key), fmt::format("{} {}: {}", title_, key, message));
  }
  /// Fails at `key` if `status` is an error.
  void require(std::string_view key, const Status& status) const {
    if (status.has_error()) fail_at(key, status.error().message);
  }

  void require_key(std::string_view key) const {
    if (!has(key)) {
      fail(line(), fmt::format("{} has no \"{}\", which is required", title_, key));
    }
  }

  void read(std::string_view key, std::string& value) const {
    if (const toml::node* node = find(key)) value = text(key, *node);
  }

  void read_integer(std::string_view key, uint64_t min, uint64_t max, uint64_t& value) const {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (!node->is_integer()) fail_type(key, "an integer", *node);
    value = natural(key, *node);
    if (value < min || value > max) {
      fail_at(key, fmt::format("{} is out of range, allowed are {} to {}", value, min, max));
    }
  }
  void read_integer(std::string_view key, uint32_t min, uint32_t max, uint32_t& value) const {
    uint64_t wide = value;
    read_integer(key, uint64_t{min}, uint64_t{max}, wide);
    value = static_cast<uint32_t>(wide);
  }

  void read_size(std::string_view key, uint64_t min, uint64_t max, uint64_t& value) const {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (node->is_integer()) {
      value = natural(key, *node);
    } else if (node->is_string()) {
      const Result<uint64_t> size = parse_size(text(key, *node));
      if (size.has_error()) fail_at(key, size.error().message);
      value = size.value();
    } else {
      fail_type(key, "a size (string such as \"256MiB\", or integer of bytes)", *node);
    }
    if (value < min || value > max) {
      fail_at(key, fmt::format("{} is out of range, allowed are {} to {}", format_size(value),
                               format_size(min), format_size(max)));
    }
  }
  void read_blocks(std::string_view key, uint64_t min, uint64_t max, uint64_t& value) const {
    read_size(key, min, max, value);
    if (value % kBlockBytes != 0) {
      fail_at(key, fmt::format("{} bytes are not whole blocks of {}", value, kBlockBytes));
    }
  }

  void read_duration(std::string_view key, int64_t min, int64_t max, int64_t& value) const {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (!node->is_string() && !(node->is_integer() && **node->as_integer() == 0)) {
      fail_type(key, "a time (string such as \"20us\", \"100ms\", \"3s\")", *node);
    }
    value = 0;
    if (node->is_string()) {
      const Result<int64_t> time = parse_duration(text(key, *node));
      if (time.has_error()) fail_at(key, time.error().message);
      value = time.value();
    }
    if (value < min || value > max) {
      fail_at(key, fmt::format("{} is out of range, allowed are {} to {}", format_duration(value),
                               format_duration(min), format_duration(max)));
    }
  }

  /// One string or an array of strings.
  void read_list(std::string_view key, std::vector<std::string>& values) const {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    values.clear();
    if (node->is_string()) {
      values.push_back(text(key, *node));
      return;
    }
    if (!node->is_array()) fail_type(key, "a string or an array of strings", *node);
    for (const toml::node& element : *node->as_array()) {
      if (!element.is_string()) fail_type(key, "strings only in the array", element);
      values.push_back(text(key, element));
    }
  }

  /// A word out of `words`, each with its meaning.
  template <class T>
  void read_word(std::string_view key, std::initializer_list<T> meanings, T& value) const {
    if (!has(key)) return;
    std::string word;
    read(key, word);
    std::string known;
    for (const T meaning : meanings) {
      if (word == to_string(meaning)) {
        value = meaning;
        return;
      }
      known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", to_string(meaning));
    }
    fail_at(key, fmt::format("\"{}\" is none of {}", word, known));
  }

  /// The tables of an array of tables; none if the key is absent.
  [[nodiscard]] std::vector<const toml::table*> tables(std::string_view key,
                                                       std::string_view header) const {
    std::vector<const toml::table*> result;
    const toml::node* node = find(key);
    if (node == nullptr) return result;
    const std::string form = fmt::format("an array of tables, written {}", header);
    if (!node->is_array()) fail_type(key, form, *node);
    for (const toml::node& element : *node->as_array()) {
      if (!element.is_table()) fail_type(key, form, element);
      result.push_back(element.as_table());
    }
    return result;
  }

  /// The table under `key`, or nullptr if absent.
  [[nodiscard]] const toml::table* table(std::string_view key) const {
    const toml::node* node = find(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) fail_type(key, fmt::format("a table, written [{}]", key), *node);
    return node->as_table();
  }

 private:
  [[nodiscard]] const toml::node* find(std::string_view key) const {
    RINGBOLT_ASSERT(std::find(keys_.begin(), keys_.end(), key) != keys_.end());
    return table_.get(key);
  }

  [[noreturn]] void fail_type(std::string_view key, std::string_view expected,
                              const toml::node& got) const {
    fail(line_of(got),
         fmt::format("{} {}: expected {}, got {}", title_, key, expected, type_name(got)));
  }

  std::string text(std::string_view key, const toml::node& node) const {
    if (!node.is_string()) fail_type(key, "a string", node);
    const std::string& value = **node.as_string();
    // A NUL would silently cut a path; other control characters are no part of any value here.
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::any_of(value.begin(), value.end(), is_control)) {
      fail_at(key, "contains a control character");
    }
    return value;
  }

  uint64_t natural(std::string_view key, const toml::node& node) const {
    const int64_t value = **node.as_integer();
    if (value < 0) fail_at(key, fmt::format("{} is negative", value));
    return static_cast<uint64_t>(value);
  }

  const toml::table& table_;
  std::string title_;
  Keys keys_;
};

constexpr std::string_view kRootKeys[] = {"node", "nbd", "replication", "admin", "rebuild",
                                          "volume"};
constexpr std::string_view kNodeKeys[] = {"id", "data_dir", "shards", "memory", "spin"};
constexpr std::string_view kNbdKeys[] = {"listen", "max_connections", "handshake_timeout",
                                         "stall_timeout"};
constexpr std::string_view kReplicationKeys[] = {"listen", "timeout"};
constexpr std::string_view kAdminKeys[] = {"listen"};
constexpr std::string_view kRebuildKeys[] = {"rate_max", "chunk", "in_flight"};
constexpr std::string_view kVolumeKeys[] = {"name", "size",  "wal_size", "path",   "wal_path",
                                            "role", "epoch", "replica",  "durability"};
constexpr std::string_view kReplicaKeys[] = {"id", "address"};

/// What must be unique in the whole file -> where it stood first.
using Seen = std::map<std::string, uint32_t>;

void claim(Seen& seen, const std::string& what, const TableReader& in, std::string_view key) {
  const auto [first, inserted] = seen.emplace(what, in.line(key));
  if (inserted) return;
  in.fail_at(key, fmt::format("\"{}\" is already used on line {}", what, first->second));
}

void read_node(const toml::table& table, Config& config) {
  const TableReader in(table, "[node]", kNodeKeys);
  in.require_key("id");
  in.read("id", config.node_id);
  in.require("id", check_node_id(config.node_id));
  in.require_key("data_dir");
  in.read("data_dir", config.data_dir);
  if (config.data_dir.empty()) in.fail_at("data_dir", "must not be empty");
  in.read_integer("shards", 0u, kShardsMax, config.shards);
  in.read_size("memory", kMemoryBytesMin, kMemoryBytesMax, config.memory_bytes);
  in.read_duration("spin", 0, kSecondNs, config.spin_ns);
}

/// `address` as a key of Seen; empty if it cannot collide (port 0 takes any free one).
std::string collision_key(const std::string& address) {
  const Result<io::Address> parsed = parse_host_port(address);
  return parsed.has_value() && parsed.value().port == 0 ? std::string() : address;
}

void read_nbd(const toml::table& table, Config& config, Seen& listening) {
  const TableReader in(table, "[nbd]", kNbdKeys);
  in.read_list("listen", config.nbd_listen);
  if (config.nbd_listen.empty()) in.fail_at("listen", "must name at least one address");
  if (config.nbd_listen.size() > kNbdListenMax) {
    in.fail_at("listen", fmt::format("names {} addresses, at most {} are allowed",
                                     config.nbd_listen.size(), kNbdListenMax));
  }
  for (const std::string& address : config.nbd_listen) {
    in.require("listen", check_listen_address(address, true));
    const std::string key = collision_key(address);
    if (!key.empty()) claim(listening, key, in, "listen");
  }
  in.read_integer("max_connections", 1u, kNbdConnectionsMax, config.nbd_connections_max);
  in.read_duration("handshake_timeout", kTimeoutNsMin, kTimeoutNsMax,
                   config.nbd_handshake_timeout_ns);
  in.read_duration("stall_timeout", kTimeoutNsMin, kTimeoutNsMax, config.nbd_stall_timeout_ns);
}

void read_replication(const toml::table& table, Config& config, Seen& listening) {
  const TableReader in(table, "[replication]", kReplicationKeys);
  in.read("listen", config.replication_listen);
  in.require("listen", check_listen_address(config.replication_listen, false));
  const std::string key = collision_key(config.replication_listen);
  if (!key.empty()) claim(listening, key, in, "listen");
  in.read_duration("timeout", kTimeoutNsMin, kTimeoutNsMax, config.replica_timeout_ns);
}

void read_admin(const toml::table& table, Config& config, Seen& listening) {
  const TableReader in(table, "[admin]", kAdminKeys);
  in.read("listen", config.admin_listen);
  in.require("listen", check_listen_address(config.admin_listen, false));
  const std::string key = collision_key(config.admin_listen);
  if (!key.empty()) claim(listening, key, in, "listen");
}

void read_rebuild(const toml::table& table, Config& config) {
  const TableReader in(table, "[rebuild]", kRebuildKeys);
  in.read_size("rate_max", 0, std::numeric_limits<uint64_t>::max(), config.rebuild_rate_max);
  in.read_blocks("chunk", kBlockBytes, kRebuildChunkBytesMax, config.rebuild_chunk_bytes);
  in.read_integer("in_flight", 1u, kRebuildInFlightMax, config.rebuild_in_flight);
}

ReplicaConfig read_replica(const toml::table& table, const Config& config, Seen& ids,
                           Seen& addresses) {
  const TableReader in(table, "[[volume.replica]]", kReplicaKeys);
  ReplicaConfig replica;
  in.require_key("id");
  in.read("id", replica.id);
  in.require("id", check_node_id(replica.id));
  if (replica.id == config.node_id) {
    in.fail_at("id", fmt::format("\"{}\" is this node itself", replica.id));
  }
  claim(ids, replica.id, in, "id");
  in.require_key("address");
  in.read("address", replica.address);
  in.require("address", check_peer_address(replica.address));
  if (replica.address == config.replication_listen) {
    in.fail_at("address", fmt::format("\"{}\" is where this node itself listens", replica.address));
  }
  claim(addresses, replica.address, in, "address");
  return replica;
}

void read_replicas(const TableReader& volume, const Config& config, VolumeConfig& into) {
  const auto tables = volume.tables("replica", "[[volume.replica]]");
  if (!tables.empty() && into.role != Role::kPrimary) {
    volume.fail_at("replica", fmt::format("only a primary has replicas; the role of \"{}\" is {}",
                                          into.name, to_string(into.role)));
  }
  if (tables.size() > kReplicasMax) {
    volume.fail_at("replica", fmt::format("{} replicas, at most {} are allowed", tables.size(),
                                          kReplicasMax));
  }
  Seen ids;
  Seen addresses;
  for (const toml::table* table : tables) {
    into.replicas.push_back(read_replica(*table, config, ids, addresses));
  }
}

/// One name for one file: two volumes on the same base image destroy each other.
void claim_path(const TableReader& in, std::string_view key, const std::string& path, Seen& paths) {
  if (path.empty()) return;
  std::error_code error;
  const std::filesystem::path full = std::filesystem::weakly_canonical(path, error);
  claim(paths, error ? std::filesystem::path(path).lexically_normal().string() : full.string(), in,
        key);
}

VolumeConfig read_volume(const toml::table& table, const Config& config, Seen& names, Seen& paths) {
  const TableReader in(table, "[[volume]]", kVolumeKeys);
  VolumeConfig volume;
  in.require_key("name");
  in.read("name", volume.name);
  in.require("name", check_volume_name(volume.name));
  claim(names, volume.name, in, "name");
  in.require_key("size");
  in.read_blocks("size", kBlockBytes, kVolumeBytesMax, volume.size_bytes);
  in.read_blocks("wal_size", kWalBytesMin, kWalBytesMax, volume.wal_bytes);
  in.read("path", volume.path);
  claim_path(in, "path", volume.path, paths);
  in.read("wal_path", volume.wal_path);
  claim_path(in, "wal_path", volume.wal_path, paths);
  in.read_word("durability",
               {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll},
               volume.durability);
  in.read_word("role", {Role::kPrimary, Role::kReplica, Role::kNone}, volume.role);
  in.read_integer("epoch", uint64_t{1},
                  static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), volume.epoch);
  read_replicas(in, config, volume);
  return volume;
}

Config read_root(const toml::table& table) {
  const TableReader in(table, "the file", kRootKeys);
  Config config;
  const toml::table* node = in.table("node");
  if (node == nullptr) fail(1, "the table [node] is missing, with \"id\" and \"data_dir\"");
  read_node(*node, config);
  Seen listening;
  // An absent table is an empty one: its defaults, too, must not collide with what others claim.
  static const toml::table kEmpty;
  const auto or_empty = [](const toml::table* found) -> const toml::table& {
    return found == nullptr ? kEmpty : *found;
  };
  read_nbd(or_empty(in.table("nbd")), config, listening);
  read_replication(or_empty(in.table("replication")), config, listening);
  read_admin(or_empty(in.table("admin")), config, listening);
  read_rebuild(or_empty(in.table("rebuild")), config);
  const auto volumes = in.tables("volume", "[[volume]]");
  if (volumes.size() > kVolumesMax) {
    in.fail_at("volume",
               fmt::format("{} volumes, at most {} are allowed", volumes.size(), kVolumesMax));
  }
  Seen names;
  Seen paths;
  for (const toml::table* volume : volumes) {
    config.volumes.push_back(read_volume(*volume, config, names, paths));
  }
  return config;
}

Error error_in(const std::string& name, uint32_t line, std::string_view message) {
  return make_error(Errc::kInvalid, line == 0 ? fmt::format("{}: {}", name, message)
                                              : fmt::format("{}:{}: {}", name, line, message));
}

Error file_error(const std::string& path, int error) {
  return make_error(error == ENOENT ? Errc::kNotFound : Errc::kIo,
                    fmt::format("{}: cannot be read: {}", path, std::system_category().message(error)));
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) {
    return error_in(name, parsed.error().source().begin.line, parsed.error().description());
  }
  try {
    return read_root(parsed.table());
  } catch (const Bad& bad) {
    return error_in(name, bad.line, bad.message);
  }
}

Result<Config> load_config(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_error(path, errno);
  std::string text(kFileBytesMax + 1, '\0');
  size_t bytes = 0;
  int failure = 0;
  while (bytes < text.size()) {
    const ssize_t got = read(fd, text.data() + bytes, text.size() - bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) failure = errno;
    if (got <= 0) break;
    bytes += static_cast<size_t>(got);
  }
  close(fd);
  if (failure != 0) return file_error(path, failure);
  if (bytes > kFileBytesMax) {
    return error_in(path, 0, fmt::format("is longer than {}", format_size(kFileBytesMax)));
  }
  text.resize(bytes);
  return parse_config(text, path);
}

}  // namespace ringbolt

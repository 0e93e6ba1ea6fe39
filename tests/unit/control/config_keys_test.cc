// The description of the configuration's keys is what the reader of the file does.
#include "control/config_keys.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/config.h"
#include "control/config_changes.h"

namespace ringbolt {
namespace {

/// "volume.replica.id": its table and the rest.
std::pair<std::string, std::string> split(const std::string& name) {
  const size_t dot = name.rfind('.');
  return {name.substr(0, dot), name.substr(dot + 1)};
}

/// A file with the keys that it needs, and more that a test gives.
class File {
 public:
  void put(const std::string& name, const std::string& value) {
    const auto [table, key] = split(name);
    tables_[table][key] = value;
    // Only a primary has replicas.
    if (name == "volume.role" && value != "\"primary\"") tables_.erase("volume.replica");
  }

  [[nodiscard]] Config read() const {
    std::string text;
    for (const char* const table : {"node", "nbd", "replication", "admin", "rebuild", "coordinator", "log", "volume", "volume.replica"}) {
      const auto found = tables_.find(table);
      if (found == tables_.end()) continue;
      text += found->first.starts_with("volume") ? "[[" + found->first + "]]\n" : "[" + found->first + "]\n";
      for (const auto& [key, value] : found->second) text += key + " = " + value + "\n";
    }
    const Result<Config> config = parse_config(text, "x.toml");
    INFO(text << (config.has_error() ? config.error().message : ""));
    REQUIRE(config.has_value());
    return config.value();
  }

 private:
  std::map<std::string, std::map<std::string, std::string>> tables_{{"node", {{"id", "\"n1\""}, {"data_dir", "\"/data\""}}},
                                                                    {"coordinator", {{"endpoints", "[\"https://h:1\"]"}, {"cluster", "\"c\""}}},
                                                                    {"volume", {{"name", "\"vol0\""}, {"size", "\"1GiB\""}}}};
};

TEST_CASE("config keys: those that are described are those that a file may have", "[config]") {
  std::vector<std::string> described;
  for (const ConfigKey& key : describe_config_keys()) described.push_back(key.name);
  std::vector<std::string> known = config_key_names();
  std::sort(described.begin(), described.end());
  std::sort(known.begin(), known.end());
  CHECK(described == known);
}

TEST_CASE("config keys: what is said to hold without a key does", "[config]") {
  const Config without = File().read();
  for (const ConfigKey& key : describe_config_keys()) {
    if (key.standard.empty()) continue;
    File file;
    file.put(key.name, key.standard);
    const Config with = file.read();
    INFO(key.name << " = " << key.standard);
    CHECK(config_changes(without, with).empty());
  }
}

TEST_CASE("config keys: a change of each is found, and what it calls for is what is said of the key", "[config]") {
  const std::map<std::string, std::string> others{
      {"node.id", "\"n3\""}, {"node.data_dir", "\"/other\""}, {"node.shards", "2"}, {"node.memory", "\"1GiB\""}, {"node.spin", "\"1us\""}, {"node.pin", "true"},
      {"node.zone", "\"z7\""}, {"node.host", "\"h7\""}, {"coordinator.endpoints", "[\"https://h:7\"]"}, {"coordinator.cluster", "\"c7\""},
      {"coordinator.lease", "\"7s\""}, {"coordinator.user", "\"u7\""}, {"coordinator.password_file", "\"/p7\""}, {"coordinator.ca_file", "\"/ca7\""},
      {"coordinator.cert_file", "\"/cert7\""}, {"coordinator.key_file", "\"/key7\""},
      {"nbd.listen", "[\"127.0.0.1:1\"]"}, {"nbd.max_connections", "7"}, {"nbd.handshake_timeout", "\"7s\""}, {"nbd.stall_timeout", "\"7s\""}, {"nbd.tcp_congestion", "\"reno\""}, {"replication.tcp_congestion", "\"reno\""},
      {"replication.listen", "\"127.0.0.1:1\""}, {"replication.timeout", "\"7s\""}, {"replication.when_lost", "\"wait\""},
      {"replication.wal_retain", "\"7%\""}, {"admin.listen", "\"127.0.0.1:1\""}, {"rebuild.rate_max", "\"7MiB\""}, {"rebuild.chunk", "\"4KiB\""},
      {"rebuild.in_flight", "7"}, {"rebuild.parallel", "7"}, {"log.level", "\"debug\""}, {"log.format", "\"json\""}, {"volume.name", "\"vol7\""}, {"volume.size", "\"7GiB\""},
      {"volume.wal_size", "\"16MiB\""}, {"volume.path", "\"/image\""}, {"volume.wal_path", "\"/wal\""}, {"volume.durability", "\"best_effort\""},
      {"volume.role", "\"replica\""}, {"volume.epoch", "7"}, {"volume.replica.id", "\"n7\""}, {"volume.replica.address", "\"h:7\""}};
  File file;
  file.put("volume.role", "\"primary\"");
  file.put("volume.replica.id", "\"n2\"");
  file.put("volume.replica.address", "\"h:1\"");
  // Some are only possible together.
  for (const char* const key : {"user", "password_file", "cert_file", "key_file"}) file.put(std::string("coordinator.") + key, "\"x\"");
  const Config before = file.read();
  for (const ConfigKey& key : describe_config_keys()) {
    INFO(key.name);
    REQUIRE(others.contains(key.name));  // a new key: give it another value above
    File changed = file;
    changed.put(key.name, others.at(key.name));
    const Config after = changed.read();
    const std::vector<ConfigChange> changes = config_changes(before, after);
    const auto is_it = [&](const ConfigChange& change) { return change.key == key.name; };
    const auto found = std::find_if(changes.begin(), changes.end(), is_it);
    REQUIRE(found != changes.end());
    CHECK(found->effect == key.effect);
    if (key.effect != Effect::kAtReload) continue;
    REQUIRE(changes.size() == 1);
    // Taken over it is in force: no key is said to be that is not.
    Config taken = before;
    take_change(taken, after, *found);
    CHECK(config_changes(taken, after).empty());
    CHECK(config_changes(before, taken) == changes);
  }
}

TEST_CASE("config keys: as text each has a line, in columns", "[config]") {
  const std::string text = config_keys_text();
  CHECK(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) == describe_config_keys().size());
  CHECK(text.find("node.id                     (required)           at the next start\n") != std::string::npos);
  CHECK(text.find("rebuild.rate_max            \"0\"                  at a reload\n") != std::string::npos);
}

}  // namespace
}  // namespace ringbolt

#include "control/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace ringbolt {
namespace {

template <class Owner>
void describe(std::span<const ConfigField<Owner>> fields, std::vector<ConfigKey>& into) {
  const Owner standard{};
  for (const ConfigField<Owner>& field : fields) into.push_back({field.name, field.required ? "" : field.show(standard), field.effect});
}

}  // namespace

std::vector<ConfigKey> describe_config_keys() {
  std::vector<ConfigKey> keys;
  describe(config_fields(), keys);
  describe(volume_config_fields(), keys);
  describe(replica_config_fields(), keys);
  return keys;
}

std::string config_keys_text() {
  const std::vector<ConfigKey> keys = describe_config_keys();
  size_t name_columns = 0, standard_columns = 0;
  for (const ConfigKey& key : keys) {
    name_columns = std::max(name_columns, key.name.size());
    standard_columns = std::max(standard_columns, key.standard.size());
  }
  std::string text;
  for (const ConfigKey& key : keys) {
    text += fmt::format("{:{}}  {:{}}  {}\n", key.name, name_columns, key.standard.empty() ? "(required)" : key.standard, standard_columns,
                        key.effect == Effect::kAtReload ? "at a reload" : "at the next start");
  }
  return text;
}

}  // namespace ringbolt

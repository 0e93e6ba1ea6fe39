// Bodies of the plan's text form. What is drawn from a seed is in profiles.cc.
#include "plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <sstream>

#include "ringbolt/assert.h"

namespace ringbolt::sim {

namespace {

constexpr const char* kActNames[] = {
#define RINGBOLT_NAME(name, text) text,
    RINGBOLT_ACTS(RINGBOLT_NAME)
#undef RINGBOLT_NAME
};

/// A setting by name. `set` gives false if the value is none of its.
struct Setting {
  const char* name;
  std::function<std::string(const Plan&)> get;
  std::function<bool(Plan&, const std::string&)> set;
};

bool parse_number(const std::string& text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

template <class T>
Setting number(const char* name, T Plan::*member, uint64_t min, uint64_t max) {
  return {name, [member](const Plan& plan) { return std::to_string(plan.*member); },
          [member, min, max](Plan& plan, const std::string& text) {
            uint64_t value = 0;
            if (!parse_number(text, value) || value < min || value > max) return false;
            plan.*member = static_cast<T>(value);
            return true;
          }};
}

bool parse_durability(Plan& plan, const std::string& text) {
  for (const Durability mode : {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll}) {
    if (text != ringbolt::to_string(mode)) continue;
    plan.durability = mode;
    return true;
  }
  return false;
}

const std::vector<Setting>& settings() {
  constexpr uint64_t kAny = UINT64_MAX / 2;
  static const std::vector<Setting> all = {
      number("seed", &Plan::seed, 0, UINT64_MAX),
      {"profile", [](const Plan& plan) { return plan.profile; },
       [](Plan& plan, const std::string& text) {
         plan.profile = text;
         return true;
       }},
      number("nodes", &Plan::nodes, 1, 4),
      {"durability", [](const Plan& plan) { return std::string(ringbolt::to_string(plan.durability)); }, parse_durability},
      number("wait_for_lost", &Plan::wait_for_lost, 0, 1),
      number("volume_bytes", &Plan::volume_bytes, kBlockBytes, 64u << 20),
      number("wal_bytes", &Plan::wal_bytes, kWalBytesMin, 64u << 20),
      number("wal_retain_percent", &Plan::wal_retain_percent, 0, 90),
      number("replica_timeout", &Plan::replica_timeout, 1, kAny),
      number("chunk_bytes", &Plan::chunk_bytes, kBlockBytes, 64u << 20),
      number("chunks_in_flight", &Plan::chunks_in_flight, 1, 64),
      number("network_factor", &Plan::network_factor, 1, 10000),
      number("connections", &Plan::connections, 1, 64),
      number("depth", &Plan::depth, 1, 64),
      number("cells_max", &Plan::cells_max, 1, 512),
      number("aligned_percent", &Plan::aligned_percent, 0, 100),
      number("fua_percent", &Plan::fua_percent, 0, 100),
      number("pause_max", &Plan::pause_max, 0, kAny),
      number("requests_max", &Plan::requests_max, 0, kAny),
      number("duration", &Plan::duration, 0, kAny),
      number("whole_first", &Plan::whole_first, 0, 1),
  };
  return all;
}

Error line_error(size_t line, const std::string& why) { return make_error(Errc::kInvalid, fmt::format("line {}: {}", line, why)); }

/// "event AT ACT NODE OTHER AMOUNT LASTING", nodes as n1, n2, ...
Result<Event> parse_event(std::istringstream& words, size_t line, uint32_t nodes) {
  Event event;
  std::string act, node, other;
  if (!(words >> event.at >> act >> node >> other >> event.amount >> event.lasting) || event.at < 0 || event.lasting < 0) {
    return line_error(line, "expected: event AT ACT NODE OTHER AMOUNT LASTING, times in nanoseconds");
  }
  const auto* const name = std::find(std::begin(kActNames), std::end(kActNames), act);
  if (name == std::end(kActNames)) return line_error(line, "no such event: " + act);
  event.act = static_cast<Act>(name - std::begin(kActNames));
  for (const auto& [text, index] : {std::pair(&node, &event.node), std::pair(&other, &event.other)}) {
    uint64_t number = 0;
    if (text->size() < 2 || (*text)[0] != 'n' || !parse_number(text->substr(1), number) || number < 1 || number > nodes) {
      return line_error(line, "no such node: " + *text);
    }
    *index = static_cast<uint32_t>(number - 1);
  }
  return event;
}

}  // namespace

const char* to_string(Act act) { return kActNames[static_cast<size_t>(act)]; }

std::string describe(const Event& event) {
  return fmt::format("{} n{} n{} {} for {:.3f} ms", to_string(event.act), event.node + 1, event.other + 1, event.amount,
                     static_cast<double>(event.lasting) / 1e6);
}

std::string print_plan(const Plan& plan) {
  std::string text;
  for (const Setting& setting : settings()) text += fmt::format("{} {}\n", setting.name, setting.get(plan));
  for (const Event& e : plan.events) {
    text += fmt::format("event {} {} n{} n{} {} {}\n", e.at, to_string(e.act), e.node + 1, e.other + 1, e.amount, e.lasting);
  }
  return text;
}

Result<Plan> parse_plan(const std::string& text) {
  Plan plan;
  std::istringstream lines(text);
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    std::string name, value;
    if (!(words >> name) || name[0] == '#') continue;
    if (name == "event") {
      const auto event = parse_event(words, number, plan.nodes);
      if (!event.has_value()) return event.error();
      plan.events.push_back(event.value());
    } else {
      const auto setting = std::find_if(settings().begin(), settings().end(), [&](const Setting& s) { return s.name == name; });
      if (setting == settings().end()) return line_error(number, "no such setting: " + name);
      if (!(words >> value) || !setting->set(plan, value)) return line_error(number, "not a value of " + name + ": \"" + value + "\"");
    }
    if (std::string rest; words >> rest) return line_error(number, "too much: \"" + rest + "\"");
  }
  std::stable_sort(plan.events.begin(), plan.events.end(), [](const Event& a, const Event& b) { return a.at < b.at; });
  return plan;
}

}  // namespace ringbolt::sim

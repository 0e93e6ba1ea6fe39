// Bodies of CellModel.
#include "cell_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace ringbolt::sim {

namespace {

constexpr uint64_t kStep = 0x9E3779B97F4A7C15;
constexpr size_t kWords = kCellBytes / 8;

}  // namespace

void fill_cell(std::byte* cell, uint64_t value) {
  for (size_t i = 0; i < kWords; ++i) {
    const uint64_t word = value == 0 ? 0 : value + i * kStep;
    std::memcpy(cell + i * 8, &word, sizeof word);
  }
}

std::optional<uint64_t> cell_value(const std::byte* cell) {
  uint64_t value;
  std::memcpy(&value, cell, sizeof value);
  for (size_t i = 1; i < kWords; ++i) {
    uint64_t word;
    std::memcpy(&word, cell + i * 8, sizeof word);
    if (word != (value == 0 ? 0 : value + i * kStep)) return std::nullopt;
  }
  return value;
}

void CellModel::write_begun(uint64_t cell, uint64_t value, bool zeros, uint64_t begun) {
  Zone& zone = cells_[cell].zones[value];
  zone.begun = zone.last_invocation = begun;
  if (zeros) cells_[cell].zeros = value;
}

void CellModel::write_acknowledged(uint64_t cell, uint64_t value, uint64_t ended, bool fua) {
  const auto known = cells_[cell].zones.find(value);
  if (known == cells_[cell].zones.end()) return;  // of before a power loss, and the history has begun again since
  Zone& zone = known->second;
  zone.acknowledged = ended;
  zone.first_response = std::min(zone.first_response, ended);
  zone.fua = fua;
}

void CellModel::flush_acknowledged(uint64_t begun) { flushed_ = std::max(flushed_, begun); }

CellModel::Zone* CellModel::find(uint64_t cell, std::optional<uint64_t> value, const char* what) {
  if (!value) {
    violation(fmt::format("{} of cell {} gave a mixture or garbage", what, cell));
    return nullptr;
  }
  const uint64_t id = *value == 0 ? cells_[cell].zeros : *value;
  const auto at = cells_[cell].zones.find(id);
  if (at == cells_[cell].zones.end()) {
    violation(fmt::format("{} of cell {} gave value {}, which is not one of its values", what, cell,
                          *value));
    return nullptr;
  }
  return &at->second;
}

void CellModel::read(uint64_t cell, std::optional<uint64_t> value, uint64_t begun, uint64_t ended) {
  Zone* zone = find(cell, value, "a read");
  if (zone == nullptr) return;
  zone->first_response = std::min(zone->first_response, ended);
  zone->last_invocation = std::max(zone->last_invocation, begun);
}

/// A value from before the history that is remembered.
bool CellModel::is_forgotten(const Cell& cell, std::optional<uint64_t> value) const {
  if (!cell.on_unflushed || !value || *value > values_) return false;
  return cell.zones.count(*value == 0 ? cell.zeros : *value) == 0;
}

void CellModel::recovered(uint64_t index, std::optional<uint64_t> value) {
  Cell& cell = cells_[index];
  uint64_t acknowledged = 0;
  if (!is_forgotten(cell, value)) {
    const Zone* zone = find(index, value, "the read after a power loss");
    if (zone == nullptr) return;
    acknowledged = zone->acknowledged;
  }
  for (const auto& [id, other] : cell.zones) {
    if (!guaranteed(other) || acknowledged >= other.begun) continue;
    violation(
        fmt::format("cell {} came back as value {} (acknowledged at {}), but value {} (written "
                    "{}..{}) had been flushed",
                    index, *value, acknowledged, id, other.begun, other.acknowledged));
  }
  begin_again(cell, *value, true);
}

void CellModel::given_up(uint64_t index, std::optional<uint64_t> value) {
  // It may go back behind a power loss, before which nothing is remembered.
  if (!value || *value > values_) return violation(fmt::format("the read of cell {} after data was given up gave a mixture or garbage", index));
  begin_again(cells_[index], *value, false);
}

void CellModel::begin_again(Cell& cell, uint64_t value, bool flushed) {
  cell.zones.clear();
  const uint64_t now = tick();
  cell.zones[value] = Zone{now, now, now, now, flushed};
  cell.zeros = 0;  // later zeros that nobody wrote are these, or none of the cell's values
  cell.on_unflushed = !flushed;
}

void CellModel::check_cell(uint64_t index, const Cell& cell) {
  struct Seen {
    uint64_t from, to, value;
    bool forward;
  };
  std::vector<Seen> seen;
  for (const auto& [value, zone] : cell.zones) {
    if (zone.first_response == kNever) continue;  // never acknowledged, never read: may not exist
    const bool forward = zone.first_response < zone.last_invocation;
    const auto [from, to] = std::minmax(zone.first_response, zone.last_invocation);
    seen.push_back({from, to, value, forward});
  }
  std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.from < b.from; });
  const Seen* widest = nullptr;  // the forward zone that reaches furthest
  for (const Seen& zone : seen) {
    if (widest != nullptr && (zone.forward ? zone.from < widest->to : zone.to < widest->to)) {
      violation(fmt::format(
          "cell {}: value {} was seen to hold from {} to {}, and value {} from {} to {} ({}); "
          "its newest zeros are {}",
          index, widest->value, widest->from, widest->to, zone.value, zone.from, zone.to,
          zone.forward ? "both lasting" : "in between", cell.zeros));
    }
    if (zone.forward && (widest == nullptr || zone.to > widest->to)) widest = &zone;
  }
}

std::string CellModel::check() {
  for (uint64_t i = 0; i < cells_.size() && violation_.empty(); ++i) check_cell(i, cells_[i]);
  return violation_;
}

}  // namespace ringbolt::sim

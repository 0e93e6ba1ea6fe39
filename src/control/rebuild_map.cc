#include "control/rebuild_map.h"

#include <algorithm>
#include <cmath>

#include "ringbolt/types.h"

namespace ringbolt {

void RebuildMap::begin(const SessionStatus& session) {
  *this = {};
  session_ = session.id;
  total_ = session.base_bytes_total;
  count_ = std::clamp<uint64_t>(total_ / kBlockBytes, 1, kCellsMax);
}

bool RebuildMap::look(const SessionStatus& session) {
  const uint64_t now = std::min(session.base_bytes_done + session.base_bytes_skipped, session.base_bytes_total);
  const bool is_new = !session_ || session_ != session.id || total_ != session.base_bytes_total || now < passed_ || session.base_bytes_skipped < skipped_;
  if (is_new) begin(session);
  if (now == passed_) return is_new;
  const double share = static_cast<double>(session.base_bytes_skipped - skipped_) / static_cast<double>(now - passed_);
  const double cell = static_cast<double>(total_) / static_cast<double>(count_);
  for (auto i = static_cast<uint64_t>(static_cast<double>(passed_) / cell); i < count_; ++i) {
    const double begin = std::max(static_cast<double>(passed_), static_cast<double>(i) * cell);
    const double end = std::min(static_cast<double>(now), static_cast<double>(i + 1) * cell);
    if (end <= begin) break;
    cell_passed_[i] += end - begin;
    cell_skipped_[i] += (end - begin) * share;
  }
  passed_ = now;
  skipped_ = session.base_bytes_skipped;
  return true;
}

std::string RebuildMap::cells() const {
  const double cell = static_cast<double>(total_) / static_cast<double>(std::max<uint64_t>(count_, 1));
  std::string text;
  for (uint64_t i = 0; i < count_; ++i) {
    if (cell_passed_[i] <= 0) {
      text += '.';
    } else if (cell_passed_[i] < cell - 0.5 && passed_ < total_) {
      text += '>';
    } else {
      text += static_cast<char>('0' + std::clamp<long>(std::lround(9 * cell_skipped_[i] / cell_passed_[i]), 0, 9));
    }
  }
  return text;
}

}  // namespace ringbolt

#include "ctl/bench/measured.h"

#include <algorithm>

namespace ringbolt::ctl::bench {

namespace {

/// The smallest that so many thousandths are not above. Sorts as far as it needs.
std::chrono::nanoseconds per_mille(std::vector<uint32_t>& values, size_t thousandths) {
  if (values.empty()) return std::chrono::nanoseconds(0);
  const size_t rank = std::max<size_t>(1, (values.size() * thousandths + 999) / 1000);
  const auto at = values.begin() + static_cast<ptrdiff_t>(rank - 1);
  std::nth_element(values.begin(), at, values.end());
  return std::chrono::nanoseconds(*at);
}

}  // namespace

void Samples::add(Clock::duration took) {
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
  nanoseconds_.push_back(static_cast<uint32_t>(std::clamp<int64_t>(ns, 0, UINT32_MAX)));
}

Measured Samples::summary(std::string target, const Workload& work) {
  Measured measured{std::move(target), work};
  measured.operations = nanoseconds_.size();
  measured.seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  measured.median = per_mille(nanoseconds_, 500);
  measured.p99 = per_mille(nanoseconds_, 990);
  return measured;
}

}  // namespace ringbolt::ctl::bench

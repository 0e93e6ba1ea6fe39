// Bytes and numbers for the benchmarks: the same in every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace ringbolt::bench {

inline std::vector<std::byte> random_bytes(size_t bytes) {
  std::mt19937_64 random(bytes);
  std::vector<std::byte> result(bytes);
  for (std::byte& byte : result) byte = static_cast<std::byte>(random());
  return result;
}

/// `count` different block numbers below 16 * count, in random order: a sparse working set.
inline std::vector<uint64_t> random_lbas(size_t count) {
  constexpr uint64_t kSpread = 16;
  std::mt19937_64 random(count);
  std::vector<uint64_t> lbas(count);
  for (size_t i = 0; i < count; ++i) lbas[i] = i * kSpread + random() % kSpread;
  for (size_t i = count - 1; i > 0; --i) std::swap(lbas[i], lbas[random() % (i + 1)]);
  return lbas;
}

}  // namespace ringbolt::bench

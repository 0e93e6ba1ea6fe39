// CRC64: known values, and that every bit counts.
#include "ringbolt/crc64.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

using namespace ringbolt;

TEST_CASE("crc64: known values", "[crc64]") {
  CHECK(crc64("123456789", 9) == 0x995DC9BBDF1939FA);  // CRC-64/XZ
  CHECK(crc64("", 0) == 0);
  // The bits of 4096 zeros, one at a time by the definition.
  const std::vector<unsigned char> zeros(4096);
  uint64_t expected = ~uint64_t{0};
  for (size_t bit = 0; bit < 4096 * 8; ++bit) expected = (expected >> 1) ^ ((expected & 1) != 0 ? 0xC96C5795D7870F42 : 0);
  CHECK(crc64(zeros.data(), zeros.size()) == ~expected);
}

TEST_CASE("crc64: one flipped bit of a block anywhere is another sum, at any alignment", "[crc64]") {
  std::vector<unsigned char> bytes(4096 + 8);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 31);
  const uint64_t sum = crc64(bytes.data(), 4096);
  for (size_t bit = 0; bit < 4096 * 8; bit += 97) {
    bytes[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
    CHECK(crc64(bytes.data(), 4096) != sum);
    bytes[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
  }
  CHECK(crc64(bytes.data(), 4096) == sum);
  for (size_t shift = 1; shift < 8; ++shift) {
    std::memmove(bytes.data() + shift, bytes.data() + shift - 1, 4096);
    CHECK(crc64(bytes.data() + shift, 4096) == sum);
  }
}

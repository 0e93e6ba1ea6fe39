// CRC32C: known values, chaining, and what the library behind it must not leave behind.
#include "ringbolt/crc32c.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <string_view>

using namespace ringbolt;

namespace {

uint32_t crc_of(std::string_view text, uint32_t seed = 0) { return crc32c(text.data(), text.size(), seed); }

#if defined(__x86_64__)
/// Whether the upper halves of the vector registers are in use (XGETBV with ECX = 1).
bool upper_halves_in_use() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return (low & 4) != 0;
}
#endif

}  // namespace

TEST_CASE("crc32c: known values", "[crc32c]") {
  CHECK(crc_of("") == 0);
  CHECK(crc_of("123456789") == 0xe3069283);
  // RFC 3720, B.4.
  std::array<unsigned char, 32> bytes{};
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x8a9136aa);
  bytes.fill(0xff);
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x62a8ab43);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i);
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x46dd794e);
}

TEST_CASE("crc32c: parts chain to the whole", "[crc32c]") {
  std::string text(70'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 131 + i / 251);
  const uint32_t whole = crc_of(text);
  for (const size_t cut : {0u, 1u, 7u, 64u, 4096u, 4097u, 65'535u, 70'000u}) {
    INFO(cut);
    CHECK(crc_of(std::string_view(text).substr(cut), crc_of(std::string_view(text).substr(0, cut))) == whole);
  }
}

#if defined(__x86_64__)
TEST_CASE("crc32c: the vector registers' upper halves are left clear", "[crc32c]") {
  // Compilers do not tell of xgetbv1: without it the instruction is none.
  uint32_t a = 0xd, b = 0, c = 1, d = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if ((a & 4) == 0 || !__builtin_cpu_supports("avx")) return;
  const std::string text(4096, 'x');
  asm volatile("vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0" ::: "xmm0");
  const bool in_use_before = upper_halves_in_use();
  const uint32_t crc = crc_of(text);
  const bool in_use_after = upper_halves_in_use();
  CHECK(crc != 0);
  CHECK(in_use_before);  // else this says nothing
  CHECK_FALSE(in_use_after);
}
#endif

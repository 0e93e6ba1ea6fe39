#include "thread_allocations.h"

#include <cstddef>

#include "io/process_facts.h"

// Sanitizers' allocators have these.
extern "C" __attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                                                               void (*on_free)(const volatile void*));

namespace ringbolt::test {

namespace {

thread_local uint64_t t_hooked_bytes = 0;

bool install_hooks() {
  return __sanitizer_install_malloc_and_free_hooks != nullptr &&
         __sanitizer_install_malloc_and_free_hooks([](const volatile void*, size_t bytes) { t_hooked_bytes += bytes; },
                                                   [](const volatile void*) {}) > 0;
}

}  // namespace

std::optional<uint64_t> thread_allocated_bytes() {
  if (const auto bytes = io::thread_allocated_bytes()) return bytes;
  static const bool hooked = install_hooks();
  if (hooked) return t_hooked_bytes;
  return std::nullopt;
}

}  // namespace ringbolt::test

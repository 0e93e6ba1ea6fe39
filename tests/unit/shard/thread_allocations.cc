#include "thread_allocations.h"

#include <cstddef>

// One of the two is there: jemalloc's control function in ordinary builds, the hooks of the
// sanitizers' allocators in theirs.
extern "C" {
__attribute__((weak)) int mallctl(const char* name, void* old_value, size_t* old_length, void* new_value,
                                  size_t new_length);
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                                                    void (*on_free)(const volatile void*));
}

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
  if (mallctl != nullptr) {
    uint64_t bytes = 0;
    size_t length = sizeof bytes;
    if (mallctl("thread.allocated", &bytes, &length, nullptr, 0) == 0) return bytes;
  }
  static const bool hooked = install_hooks();
  if (hooked) return t_hooked_bytes;
  return std::nullopt;
}

}  // namespace ringbolt::test

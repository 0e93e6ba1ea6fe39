// Assertions stay on in every build: a storage server that notices its own bug must stop, not go on.
// For programming errors only. Whatever comes from disk, wire, client, config or kernel is checked
// into a Result instead.
#pragma once

namespace ringbolt {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

#define RINGBOLT_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) \
                : ::ringbolt::assertion_failed(#expression, __FILE__, __LINE__))

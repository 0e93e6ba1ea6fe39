#include "ringbolt/types.h"

#include <fmt/format.h>
#include <sys/random.h>

#include "ringbolt/assert.h"

namespace ringbolt {

std::string Uuid::to_string() const {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

Uuid Uuid::random() {
  Uuid uuid;
  const ssize_t got = getrandom(uuid.bytes.data(), uuid.bytes.size(), 0);
  RINGBOLT_ASSERT(got == static_cast<ssize_t>(uuid.bytes.size()));
  uuid.bytes[6] = static_cast<uint8_t>((uuid.bytes[6] & 0x0f) | 0x40);
  uuid.bytes[8] = static_cast<uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
  return uuid;
}

const char* to_string(Durability durability) {
  switch (durability) {
    case Durability::kBestEffort: return "best_effort";
    case Durability::kSyncQuorum: return "sync_quorum";
    case Durability::kSyncAll: return "sync_all";
  }
  return "?";
}

const char* to_string(Role role) {
  switch (role) {
    case Role::kNone: return "none";
    case Role::kPrimary: return "primary";
    case Role::kReplica: return "replica";
  }
  return "?";
}

}  // namespace ringbolt

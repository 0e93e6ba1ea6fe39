#include "coord/registration_id.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <optional>
#include <string_view>

#include "ringbolt/assert.h"

namespace ringbolt::coord {
namespace {

constexpr const char* kFile = "/registration-id";
constexpr size_t kBytes = 16;

}  // namespace

std::string random_id() {
  std::array<uint8_t, kBytes> bytes{};
  const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
  RINGBOLT_ASSERT(got == static_cast<ssize_t>(bytes.size()));  // so few are never given in parts
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

Result<std::string> registration_id(io::DurableFiles& files, const std::string& data_dir) {
  const std::string path = data_dir + kFile;
  BOOST_OUTCOME_TRY(const std::optional<std::string> kept, files.read(path));
  if (!kept) {
    const std::string id = random_id();
    BOOST_OUTCOME_TRYV(files.replace(path, id + "\n"));
    return id;
  }
  const std::string_view id = std::string_view(*kept).substr(0, kept->find('\n'));
  if (id.size() != 2 * kBytes || id.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return make_error(Errc::kCorrupt, fmt::format("{} holds no registration id; remove it to have another one drawn", path));
  }
  return std::string(id);
}

}  // namespace ringbolt::coord

#include "control/volume_request.h"

#include "control/request_body.h"
#include "control/volume_keys.h"

namespace ringbolt {
namespace {

constexpr std::string_view kKeys[] = {"name", "size", "wal_size", "path", "wal_path"};
constexpr std::string_view kResizeKeys[] = {"size"};

}  // namespace

Result<VolumeConfig> parse_volume_request(std::string_view body) {
  try {
    const boost::json::value document = request_body::parse_document(body, "an object with \"name\" and \"size\"");
    return read_volume_keys(request_body::ObjectReader(document, "", kKeys));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

Result<uint64_t> parse_resize_request(std::string_view body) {
  try {
    const boost::json::value document = request_body::parse_document(body, "an object with \"size\"");
    return read_volume_size(request_body::ObjectReader(document, "", kResizeKeys));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

#include "control/deletion_request.h"

#include "control/request_body.h"

namespace ringbolt {
namespace {

constexpr std::string_view kDeletionKeys[] = {"force"};

}  // namespace

Result<bool> parse_deletion(std::string_view body) {
  if (body.empty()) return false;
  try {
    const boost::json::value document = request_body::parse_document(body, "nothing, or an object with \"force\",");
    return request_body::ObjectReader(document, "", kDeletionKeys).flag("force");
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

#include "control/reload_request.h"

#include "control/request_body.h"

namespace ringbolt {

Status check_reload(std::string_view body) {
  if (body.empty()) return boost::outcome_v2::success();
  try {
    const boost::json::value document = request_body::parse_document(body, "nothing, or an object without keys,");
    if (!document.is_object()) request_body::fail("the body must be nothing, or an object without keys");
    if (!document.get_object().empty()) {
      const auto key = document.get_object().begin()->key();
      request_body::fail("a reload has no options: unknown key " + request_body::quoted({key.data(), key.size()}));
    }
    return boost::outcome_v2::success();
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

#include "control/rebuild_request.h"

#include "control/config_values.h"
#include "control/request_body.h"

namespace ringbolt {
namespace {

constexpr std::string_view kKeys[] = {"replica"};

std::string read_replica(const boost::json::value& document) {
  const request_body::ObjectReader in(document, "", kKeys);
  in.require_key("replica");
  std::string replica = in.text("replica");
  in.require("replica", check_node_id(replica));
  return replica;
}

}  // namespace

Result<std::string> parse_rebuild(std::string_view body) {
  try {
    return read_replica(request_body::parse_document(body, "an object with \"replica\""));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

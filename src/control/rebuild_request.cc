#include "control/rebuild_request.h"

#include "control/config_values.h"
#include "control/request_body.h"

namespace ringbolt {
namespace {

constexpr std::string_view kKeys[] = {"replica"};

using Reader = request_body::ObjectReader;

std::string read_replica(const Reader& in) {
  in.require_key("replica");
  std::string replica = in.text("replica");
  in.require("replica", check_node_id(replica));
  return replica;
}

}  // namespace

Result<std::string> parse_rebuild(std::string_view body) {
  try {
    const boost::json::value document = request_body::parse_document(body, "an object with \"replica\"");
    return read_replica(Reader(document, "", kKeys));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

Result<std::optional<std::string>> parse_verify(std::string_view body) {
  try {
    const boost::json::value document = request_body::parse_document(body, "an object, with or without \"replica\",");
    const Reader in(document, "", kKeys);
    return in.find("replica") == nullptr ? std::nullopt : std::optional(read_replica(in));
  } catch (const request_body::BadBody& bad) {
    return make_error(Errc::kInvalid, bad.message);
  }
}

}  // namespace ringbolt

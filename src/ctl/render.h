// What the API returned, as text for people. A field that is missing or of another type (a daemon of
// another version) is shown as "?", a null as "-".
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace ringbolt::ctl {

/// `volumes`: what GET /v1/volumes returned.
std::string render_status(const boost::json::value& volumes);
/// `volume`: what GET /v1/volumes/NAME returned.
std::string render_volume(const boost::json::value& volume);
/// `why`: what GET /v1/volumes/NAME/why returned.
std::string render_why(const boost::json::value& why);

}  // namespace ringbolt::ctl

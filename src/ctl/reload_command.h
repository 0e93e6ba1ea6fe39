// `ringboltctl reload`: the daemon reads its configuration file again, and says what that changes.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace CLI {
class App;
}

namespace ringbolt::ctl {

struct Session;

void add_reload(CLI::App& app, Session& session);

/// `report`: what POST /v1/node/reload returned.
std::string render_reload(const boost::json::value& report);

}  // namespace ringbolt::ctl

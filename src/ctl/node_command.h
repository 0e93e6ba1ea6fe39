// `ringboltctl node list`: the nodes of the cluster, as the daemon that is asked sees them.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace CLI {
class App;
}

namespace ringbolt::ctl {

struct Session;

/// What GET /v1/nodes returned.
std::string render_nodes(const boost::json::value& nodes);

void add_node(CLI::App& app, Session& session);

}  // namespace ringbolt::ctl

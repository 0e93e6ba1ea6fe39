// `ringboltctl doctor`: is this host ready?
#pragma once

#include "ctl/session.h"

namespace CLI {
class App;
}

namespace ringbolt::ctl {

void add_doctor(CLI::App& app, Session& session);

}  // namespace ringbolt::ctl

// `ringboltctl bench`: where time goes, from a disk through the network to what clients see.
#pragma once

#include "ctl/session.h"

namespace CLI {
class App;
}

namespace ringbolt::ctl {

void add_bench(CLI::App& app, Session& session);

}  // namespace ringbolt::ctl

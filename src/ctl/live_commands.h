// Commands that look again and again: `watch` and `rebuild --wait`.
#pragma once

#include <CLI/App.hpp>

#include "ctl/session.h"

namespace ringbolt::ctl {

void add_watch(CLI::App& app, Session& session);
void add_rebuild(CLI::App& app, Session& session);

}  // namespace ringbolt::ctl

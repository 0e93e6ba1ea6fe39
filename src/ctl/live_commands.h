// Commands that look again and again: `watch`, `rebuild --wait` and `verify`.
#pragma once

#include <CLI/App.hpp>

#include "ctl/session.h"

namespace ringbolt::ctl {

void add_watch(CLI::App& app, Session& session);
void add_rebuild(CLI::App& app, Session& session);
void add_verify(CLI::App& app, Session& session);  // verify_command.cc

}  // namespace ringbolt::ctl

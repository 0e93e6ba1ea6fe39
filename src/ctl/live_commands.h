// Commands that look again and again: `watch`, `rebuild --wait` and `verify`.
#pragma once

#include <CLI/App.hpp>

#include "ctl/session.h"

namespace ringbolt::ctl {

/// Of a progress bar in a line of its own.
inline constexpr size_t kBarColumns = 20;

/// That an argument can be a replica's id.
CLI::Validator replica_id_check();

void add_watch(CLI::App& app, Session& session);
void add_rebuild(CLI::App& app, Session& session);
void add_verify(CLI::App& app, Session& session);  // verify_command.cc

}  // namespace ringbolt::ctl

// ringboltctl volume create | delete | resize.
#pragma once

#include <CLI/App.hpp>

#include "ctl/session.h"

namespace ringbolt::ctl {

void add_volume_create(CLI::App& volume, Session& session);
void add_volume_delete(CLI::App& volume, Session& session);
void add_volume_resize(CLI::App& volume, Session& session);

}  // namespace ringbolt::ctl

// Who listens on an address, from /proc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/doctor/host_files.h"
#include "io/address.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

struct Listener {
  std::optional<uint32_t> pid;  ///< absent: only root may see whose it is
  std::string program;
};

/// nullopt: nobody listens there. `address` with a host name: anybody on that port counts. Errors: kIo, /proc does not say.
Result<std::optional<Listener>> listener_on(const HostFiles& files, const io::Address& address);

}  // namespace ringbolt::ctl::doctor

// The blocking part of files for the real Io: opening with all its checks, directories. Start-up
// and role changes only.
#pragma once

#include <string>

#include "io/io.h"
#include "ringbolt/result.h"

namespace ringbolt::io {

/// An Error from errno: `what` names the path or address and what was tried.
Error errno_error(int error, const std::string& what);

/// See Io::open_file. Beyond its promise the new length of an extended file is durable as well.
Result<FileInfo> open_data_file(const std::string& path, const OpenOptions& options);

/// See Io::make_directory.
Status make_directory_durably(const std::string& path);

}  // namespace ringbolt::io

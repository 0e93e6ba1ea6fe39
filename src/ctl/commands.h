// ringboltctl as a function: arguments in, exit code and text out.
//
// A command is one function in commands.cc that declares its arguments and sets what to run; adding
// one means writing that function and naming it in run().
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace ringbolt::ctl {

enum ExitCode : int {
  kDone = 0,
  kRefused = 1,   ///< refused or failed; the reason is on stderr
  kUsage = 2,
  kNoAnswer = 3,  ///< the daemon does not answer
};

/// `arguments` without the program's name. The default of --admin comes from $RINGBOLT_ADMIN.
int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace ringbolt::ctl

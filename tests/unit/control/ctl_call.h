// ringboltctl, called as its main() does.
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "ctl/commands.h"

namespace ringbolt::ctl {

struct Outcome {
  int code;
  std::string out, err;
};

inline Outcome call(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = run(std::move(arguments), out, err);
  return {code, out.str(), err.str()};
}

/// With --admin.
inline Outcome call(const std::string& admin, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--admin", admin});
  return call(std::move(arguments));
}

}  // namespace ringbolt::ctl

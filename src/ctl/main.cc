// ringboltctl: the command line for a daemon's admin API.
#include <csignal>
#include <exception>
#include <iostream>

#include "ctl/commands.h"

int main(int argc, char** argv) {
  // `ringboltctl status | head -1` ends with an error from the write, not by a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return ringbolt::ctl::run({argv + 1, argv + argc}, std::cout, std::cerr);
  } catch (const std::exception& failure) {
    std::cerr << "ringboltctl: " << failure.what() << "\n";
    return ringbolt::ctl::kRefused;
  }
}

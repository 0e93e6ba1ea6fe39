// ringboltd: arguments and configuration; the rest is Application.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>
#include <utility>

#include "control/config.h"
#include "daemon/application.h"

namespace {

int run(int argc, char** argv) {
  std::string config_path;
  bool check_only = false;
  CLI::App app("The ringbolt block replication daemon", "ringboltd");
  app.set_version_flag("--version", std::string("ringboltd " RINGBOLT_VERSION));
  app.add_option("--config", config_path, "the configuration file (TOML)")
      ->required()
      ->type_name("FILE");
  app.add_flag("--check", check_only, "check the configuration file and exit: 0, or 2 if it is wrong");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ringbolt::kStopped : ringbolt::kUsage;
  }
  ringbolt::Result<ringbolt::Config> config = ringbolt::load_config(config_path);
  if (config.has_error()) {
    // As it is, beginning with FILE:LINE, for editors and scripts.
    fmt::print(stderr, "{}\n", config.error().message);
    return check_only ? ringbolt::kBadConfig : ringbolt::kFailed;
  }
  if (check_only) return ringbolt::kStopped;
  return ringbolt::Application(std::move(config.value()), config_path).run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {
    fmt::print(stderr, "ringboltd: {}\n", failure.what());
    return ringbolt::kFailed;
  }
}

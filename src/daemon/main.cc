// ringboltd: arguments and configuration; the rest is Application.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <map>
#include <string>
#include <utility>

#include "control/config.h"
#include "control/config_keys.h"
#include "daemon/application.h"
#include "log/log.h"

namespace {

namespace log = ringbolt::log;

/// Needs no configuration, and so must not miss one: like --version it ends the parsing.
void describe_config() {
  fmt::print("{}", ringbolt::config_keys_text());
  throw CLI::Success();
}

const std::map<std::string, log::Level> kLevels{
    {"debug", log::Level::kDebug}, {"info", log::Level::kInfo}, {"warn", log::Level::kWarn}, {"error", log::Level::kError}};

int run(int argc, char** argv) {
  std::string config_path;
  bool check_only = false;
  log::Level level = log::Level::kInfo;
  CLI::App app("The ringbolt block replication daemon", "ringboltd");
  app.set_version_flag("--version", std::string("ringboltd " RINGBOLT_VERSION));
  app.add_option("--config", config_path, "the configuration file (TOML)")
      ->required()
      ->type_name("FILE");
  app.add_flag("--check", check_only, "check the configuration file and exit: 0, or 2 if it is wrong");
  app.add_flag_callback("--describe-config", describe_config, "list the configuration file's keys, what holds without them, and when a change takes effect; exit");
  app.add_option("--log-level", level, "least that is logged: debug (with every decision about a volume), info, warn or error")
      ->transform(CLI::CheckedTransformer(kLevels, CLI::ignore_case).description(""))
      ->type_name("LEVEL")
      ->default_str("info");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ringbolt::kStopped : ringbolt::kUsage;
  }
  log::set_level(level);
  ringbolt::Result<ringbolt::Config> config = ringbolt::load_config(config_path);
  if (config.has_error()) {
    // As it is, beginning with FILE:LINE, for editors and scripts.
    fmt::print(stderr, "{}{}\n", log::journal_mark(log::Level::kError), config.error().message);
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
    fmt::print(stderr, "{}ringboltd: {}\n", log::journal_mark(log::Level::kError), failure.what());
    return ringbolt::kFailed;
  }
}

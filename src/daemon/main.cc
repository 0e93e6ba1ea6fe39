// ringboltd: arguments and configuration; the rest is Application.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <initializer_list>
#include <map>
#include <optional>
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

/// The words of an option with a few values.
template <class T>
std::map<std::string, T> words_of(std::initializer_list<T> values) {
  std::map<std::string, T> words;
  for (const T value : values) words.emplace(to_string(value), value);
  return words;
}

const std::map<std::string, log::Level> kLevels =
    words_of({log::Level::kDebug, log::Level::kInfo, log::Level::kWarn, log::Level::kError});
const std::map<std::string, log::Format> kFormats = words_of({log::Format::kText, log::Format::kJson});

int run(int argc, char** argv) {
  std::string config_path;
  bool check_only = false;
  std::optional<log::Level> level;
  std::optional<log::Format> format;
  CLI::App app("The ringbolt block replication daemon", "ringboltd");
  app.set_version_flag("--version", std::string("ringboltd " RINGBOLT_VERSION));
  app.add_option("--config", config_path, "the configuration file (TOML)")
      ->required()
      ->type_name("FILE");
  app.add_flag("--check", check_only, "check the configuration file and exit: 0, or 2 if it is wrong");
  app.add_flag_callback("--describe-config", describe_config, "list the configuration file's keys, what holds without them, and when a change takes effect; exit");
  app.add_option("--log-level", level, "least that is logged: debug (with every decision about a volume), info, warn or error; else it is the file's log.level")
      ->transform(CLI::CheckedTransformer(kLevels, CLI::ignore_case).description(""))
      ->type_name("LEVEL");
  app.add_option("--log-format", format, "text, or json: one object a line; else it is the file's log.format")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case).description(""))
      ->type_name("FORMAT");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ringbolt::kStopped : ringbolt::kUsage;
  }
  // What is wrong with the file is said before it can say how; --check is asked by editors and scripts, and answers them.
  if (format && !check_only) log::set_format(*format);
  ringbolt::Result<ringbolt::Config> config = ringbolt::load_config(config_path);
  if (config.has_error()) {
    // As it is, beginning with FILE:LINE, for editors and scripts.
    log::write_bare(log::Level::kError, config.error().message);
    return check_only ? ringbolt::kBadConfig : ringbolt::kFailed;
  }
  if (check_only) return ringbolt::kStopped;
  log::set_level(level.value_or(config.value().log_level));
  log::set_format(format.value_or(config.value().log_format));
  return ringbolt::Application(config.value(), config_path, {level, format}).run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {
    log::write_bare(log::Level::kError, fmt::format("ringboltd: {}", failure.what()));
    return ringbolt::kFailed;
  }
}

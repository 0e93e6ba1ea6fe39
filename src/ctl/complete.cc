#include "ctl/complete.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>
#include <system_error>

#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

/// Somebody has pressed a key and waits.
constexpr std::chrono::milliseconds kAskTime{1'000};

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// The option of this long name in `app`, or in what it lets options fall through to.
const CLI::Option* find_option(const CLI::App* app, const std::string& name) {
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      const std::vector<std::string>& names = option->get_lnames();
      if (std::find(names.begin(), names.end(), name) != names.end()) return option;
    }
  }
  return nullptr;
}

std::vector<const CLI::App*> subcommands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

const CLI::App* find_subcommand(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : subcommands_of(app)) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

/// "{primary,replica,none}" in an option's type: what it can be.
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t begin = type.find('{');
  const size_t end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

bool is_file(const CLI::Option& option) { return option.get_type_name() == "FILE" || option.get_type_name() == "PATH"; }

bool is_replica_id(const CLI::Option& option) { return option.get_type_name().ends_with(":ID"); }

/// A command line that is being typed: what its words, but for the last one, came to.
class Line {
 public:
  Line(const CLI::App& app, const std::vector<std::string>& words, const AskVolumes& ask) : command_(&app), ask_(ask) {
    for (size_t i = 0; i + 1 < words.size(); ++i) read(words[i]);
    if (!words.empty()) last_ = words.back();
  }

  std::vector<Candidate> candidates() {
    const size_t equals = last_.find('=');
    if (awaited_ != nullptr) {
      offer_values(*awaited_, "");
    } else if (last_.starts_with("--") && equals != std::string::npos) {
      const CLI::Option* option = find_option(command_, last_.substr(2, equals - 2));
      if (option != nullptr && takes_value(*option)) offer_values(*option, last_.substr(0, equals + 1));
    } else if (last_.starts_with("-")) {
      offer_options();
    } else {
      offer_words();
    }
    return std::move(candidates_);
  }

 private:
  void read(const std::string& word) {
    if (awaited_ != nullptr) {
      given_[awaited_] = word;
      awaited_ = nullptr;
    } else if (word.starts_with("--")) {
      const size_t equals = word.find('=');
      const CLI::Option* option = find_option(command_, word.substr(2, equals == std::string::npos ? equals : equals - 2));
      if (option == nullptr) return;
      given_[option] = equals == std::string::npos ? "" : word.substr(equals + 1);
      if (takes_value(*option) && equals == std::string::npos) awaited_ = option;
    } else if (const CLI::App* command = positionals_.empty() ? find_subcommand(*command_, word) : nullptr) {
      command_ = command;
    } else {
      positionals_.push_back(word);
    }
  }

  void offer(const std::string& word, const std::string& about) {
    if (word.starts_with(last_)) candidates_.push_back({word, about});
  }

  void offer_options() {
    for (const CLI::App* app = command_; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : app->get_options()) {
        if (given_.contains(option) && option->get_expected_max() <= 1) continue;
        for (const std::string& name : option->get_lnames()) {
          const bool is_offered = std::any_of(candidates_.begin(), candidates_.end(), [&](const Candidate& one) { return one.word == "--" + name; });
          if (!is_offered) offer("--" + name, option->get_description());
        }
      }
    }
  }

  void offer_words() {
    if (positionals_.empty()) {
      for (const CLI::App* command : subcommands_of(*command_)) offer(command->get_name(), command->get_description());
    }
    size_t place = 0;
    for (const CLI::Option* option : command_->get_options()) {
      if (!option->get_positional()) continue;
      const bool takes_more = option->get_items_expected_max() > 1 && place < positionals_.size();
      if (place++ == positionals_.size() || takes_more) offer_values(*option, "");
    }
  }

  /// `before`: what stands in the word already, "--role=".
  void offer_values(const CLI::Option& option, const std::string& before) {
    for (const std::string& choice : choices_of(option)) offer(before + choice, "");
    if (is_file(option)) offer_files(before);
    // A target is a path as soon as it has a slash.
    const bool is_target = option.get_positional() && option.get_name() == "TARGET";
    if (is_target && last_.find('/') != std::string::npos) return offer_files(before);
    const bool is_volume = is_target || (option.get_positional() && option.get_name() == "NAME");
    if (!is_volume && !is_replica_id(option)) return;
    const json::value volumes = ask_(admin());
    for (const json::value& volume : elements(&volumes)) {
      const std::string name = text(volume, "name");
      if (is_volume) {
        offer(before + name, text(volume, "role") + ", " + text(volume, "mode"));
      } else if (!positionals_.empty() && name == positionals_.front()) {
        for (const json::value& replica : elements(find(volume, "replicas"))) offer(before + text(replica, "id"), replica_state(replica));
      }
    }
  }

  /// What is in the directory that the word names so far.
  void offer_files(const std::string& before) {
    namespace fs = std::filesystem;
    const std::string begun = last_.substr(before.size());
    const std::string directory = begun.substr(0, begun.rfind('/') + 1);  // npos + 1: none
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator at(directory.empty() ? "." : directory, error), end; !error && at != end; at.increment(error)) {
      std::error_code unseen;
      const std::string name = at->path().filename().string();
      const bool is_hidden = name.starts_with(".") && begun == directory;
      if (!is_hidden) names.push_back(name + (at->is_directory(unseen) ? "/" : ""));
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) offer(before + directory + name, "");
  }

  [[nodiscard]] std::optional<std::string> admin() const {
    for (const auto& [option, value] : given_) {
      if (option->check_lname("admin") && !value.empty()) return value;
    }
    return std::nullopt;
  }

  const CLI::App* command_;
  const AskVolumes& ask_;
  const CLI::Option* awaited_ = nullptr;  ///< whose value comes next
  std::map<const CLI::Option*, std::string> given_;
  std::vector<std::string> positionals_;
  std::string last_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<Candidate> complete(const CLI::App& app, const std::vector<std::string>& words, const AskVolumes& ask) {
  return Line(app, words, ask).candidates();
}

int print_candidates(const CLI::App& app, Session& session, const std::vector<std::string>& words) {
  const AskVolumes ask_daemon = [&session](const std::optional<std::string>& admin) {
    const char* const from_environment = std::getenv("RINGBOLT_ADMIN");
    if (from_environment != nullptr && *from_environment != '\0') session.admin = from_environment;
    if (admin) session.admin = *admin;
    HttpRequest request{.target = "/v1/volumes"};
    request.step_time = request.answer_time = kAskTime;
    return ask(session, request).value;
  };
  for (const Candidate& candidate : complete(app, words, ask_daemon)) {
    session.out << plain(candidate.word) << "\t" << plain(candidate.about) << "\n";
  }
  session.out << std::flush;
  return kDone;
}

}  // namespace ringbolt::ctl

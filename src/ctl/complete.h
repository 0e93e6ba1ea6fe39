// What a shell offers while a command line is typed. The shells' own files (tools/completion) only pass the words on, so that
// commands and options are those of the parser, whatever is added to it.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/session.h"

namespace CLI {
class App;
}

namespace ringbolt::ctl {

/// The first argument that asks for candidates; the words of the command line follow, the last one unfinished (also empty).
inline constexpr std::string_view kCompleteCommand = "__complete";

struct Candidate {
  std::string word;   ///< the whole word, of which a part may stand there
  std::string about;  ///< a line for people; may be empty
  bool operator==(const Candidate&) const = default;
};

/// Asks the daemon at the admin address that the words name, if they do: the array of volumes, or anything else if it does not answer.
using AskVolumes = std::function<boost::json::value(const std::optional<std::string>& admin)>;

/// Candidates for the last of `words`, all beginning as it does. Pure, apart from `ask`, which is called at most once.
std::vector<Candidate> complete(const CLI::App& app, const std::vector<std::string>& words, const AskVolumes& ask);

/// Prints the candidates, "WORD\tABOUT" a line. Says nothing of what goes wrong: it would stand in the middle of what is typed.
int print_candidates(const CLI::App& app, Session& session, const std::vector<std::string>& words);

}  // namespace ringbolt::ctl

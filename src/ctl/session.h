// One call of ringboltctl, and what every command does with the daemon: ask, show, say what went wrong and what to do.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

#include "ctl/commands.h"
#include "ctl/http_client.h"

namespace ringbolt::ctl {

/// What every command works with.
struct Session {
  std::ostream& out;
  std::ostream& err;
  std::string admin = "127.0.0.1:10811";
  bool as_json = false;
  /// Set by the command that was chosen.
  std::function<int()> action = nullptr;
};

/// What a person can do when an order was not carried out; each may be empty.
struct Advice {
  std::function<std::string(std::string_view code)> refused;  ///< by the API's error code
  std::string unanswered;                                     ///< it may have arrived
};

struct Answer {
  ExitCode code = kDone;
  std::string body;           ///< as it came; empty if nothing did
  boost::json::value value;   ///< kDone: what the API returned
  std::string why, next;      ///< otherwise: the reason, and what to do about it
};

/// `next`: what to do about it, on a line of its own; may be empty.
int fail(const Session& session, ExitCode code, std::string_view why, std::string_view next = {});

Answer ask(const Session& session, const HttpRequest& request, const Advice& advice = {});

using Render = std::function<std::string(const boost::json::value&)>;
/// Asks the daemon and shows what it returned.
int ask(const Session& session, const HttpRequest& request, const Render& render, const Advice& advice = {});

std::string volume_target(const std::string& name);

}  // namespace ringbolt::ctl

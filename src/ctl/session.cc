#include "ctl/session.h"

#include <boost/json.hpp>
#include <ostream>

#include "control/config_values.h"
#include "control/http_target.h"
#include "ctl/table.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

struct Refusal {
  std::string code, message;
};

/// What an error reply says; a general message if the body has none.
Refusal refusal(const HttpReply& reply) {
  json::error_code error;
  const json::value body = json::parse(reply.body, error);
  const auto text = [&](const char* path) {
    json::error_code missing;
    const json::value* value = error ? nullptr : body.find_pointer(path, missing);
    return value == nullptr || !value->is_string() ? std::string() : std::string(value->get_string().data(), value->get_string().size());
  };
  Refusal result{text("/error/code"), text("/error/message")};
  if (result.message.empty()) result.message = "the daemon answered with HTTP status " + std::to_string(reply.status);
  return result;
}

}  // namespace

int fail(const Session& session, ExitCode code, std::string_view why, std::string_view next) {
  // Some of it are a peer's words.
  session.err << "ringboltctl: " << plain(why) << "\n";
  if (!next.empty()) session.err << "next: " << plain(next) << "\n";
  return code;
}

Answer ask(const Session& session, const HttpRequest& request, const Advice& advice) {
  Answer result;
  const Result<io::Address> address = parse_host_port(session.admin);
  if (address.has_error()) return {kUsage, {}, {}, address.error().message, {}};
  const auto answer = http_ask(address.value(), request);
  if (const auto* failure = std::get_if<HttpFailure>(&answer)) {
    return {kNoAnswer, {}, {}, failure->message, failure->maybe_sent ? advice.unanswered : std::string()};
  }
  const HttpReply& reply = std::get<HttpReply>(answer);
  result.body = reply.body;
  if (reply.status != 200 && reply.status != 201 && reply.status != 202) {
    const Refusal refused = refusal(reply);
    result.code = kRefused;
    result.why = refused.message;
    if (advice.refused) result.next = advice.refused(refused.code);
    return result;
  }
  json::error_code error;
  result.value = json::parse(reply.body, error);
  if (error) {
    result.code = kRefused;
    result.why = "the daemon's reply is not JSON: " + error.message();
  }
  return result;
}

int ask(const Session& session, const HttpRequest& request, const Render& render, const Advice& advice) {
  const Answer answer = ask(session, request, advice);
  if (session.as_json) session.out << answer.body << std::flush;
  if (answer.code != kDone) return fail(session, answer.code, answer.why, answer.next);
  if (!session.as_json) session.out << render(answer.value) << std::flush;
  // A full disk or a closed pipe behind stdout.
  return session.out ? kDone : fail(session, kRefused, "the output could not be written");
}

std::string volume_target(const std::string& name) { return "/v1/volumes/" + escape_segment(name); }

}  // namespace ringbolt::ctl

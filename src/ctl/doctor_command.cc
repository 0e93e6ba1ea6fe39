#include "ctl/doctor_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "control/config_values.h"
#include "ctl/doctor/doctor.h"
#include "ctl/doctor/report.h"
#include "ctl/screen.h"
#include "ctl/volume_json.h"
#include "io/host_check.h"

namespace ringbolt::ctl {

namespace {

/// It is on this host, or not there.
constexpr std::chrono::milliseconds kNodeAnswerTime{3'000};

/// Where somebody on this host reaches what listens there; nullopt: it cannot be said (port 0).
std::optional<std::string> reachable(const std::string& listen) {
  const Result<io::Address> address = parse_host_port(listen);
  if (address.has_error() || address.value().port == 0) return std::nullopt;
  io::Address there = address.value();
  if (there.host == "0.0.0.0") there.host = "127.0.0.1";
  if (there.host == "::") there.host = "::1";
  return there.to_string();
}

doctor::NodeAnswer ask_node(Session session, const std::string& admin) {
  session.admin = admin;
  HttpRequest request{.target = "/v1/node"};
  request.step_time = request.answer_time = kNodeAnswerTime;
  const Answer answer = ask(session, request);
  if (answer.code != kDone) return {admin, {}, {}, answer.why};
  return {admin, text(answer.value, "id"), text(answer.value, "version"), {}};
}

int run_doctor(const Session& session, const doctor::Question& question, bool admin_given) {
  doctor::Host host;
  host.io_uring = io::check_io_uring;
  host.lockable = io::check_lockable;
  host.look = doctor::look_at;
  host.node = [&](const std::optional<std::string>& configured) -> doctor::NodeAnswer {
    if (admin_given || !configured) return ask_node(session, session.admin);
    const std::optional<std::string> address = reachable(*configured);
    if (address) return ask_node(session, *address);
    return {*configured, {}, {}, "the configuration leaves the port to chance; name it with --admin"};
  };
  const doctor::Findings findings = doctor::examine(host, question);
  session.out << (session.as_json ? doctor::report_json(findings) : doctor::report_text(findings, Screen(session.out).colour())) << std::flush;
  if (!session.out) return fail(session, kRefused, "the output could not be written");
  return doctor::has_problem(findings) ? kRefused : kDone;
}

}  // namespace

void add_doctor(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("doctor", "check this host: kernel, limits, disks, file systems, ports, the daemon");
  auto question = std::make_shared<doctor::Question>();
  command->add_option("--config", question->config_path, std::string("the daemon's configuration; not given: ") + doctor::kUsualConfig + ", if it exists")
      ->type_name("FILE");
  command->add_option("--path", question->paths, "where data is to lie, beside what the configuration names; once for each")
      ->type_name("PATH")
      ->allow_extra_args(false);
  const CLI::Option* admin = app.get_option("--admin");
  command->callback([&session, question, admin] {
    if (question->config_path.empty() && ::access(doctor::kUsualConfig, F_OK) == 0) question->config_path = doctor::kUsualConfig;
    const bool admin_given = admin->count() > 0;
    session.action = [&session, question, admin_given] { return run_doctor(session, *question, admin_given); };
  });
}

}  // namespace ringbolt::ctl

#include "ctl/volume_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "control/config_values.h"
#include "ctl/render.h"
#include "ctl/volume_json.h"
#include "ringbolt/types.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

/// Longer than the daemon's own limit for an order, so that its answer says what became of it.
constexpr std::chrono::seconds kVolumeAnswerTime{70};

struct CreateArguments {
  std::string name, size, wal_size, path, wal_path;
};

/// Mistakes of usage, found before anything is sent.
std::string check_size(const std::string& text) {
  const Result<uint64_t> size = parse_size(text);
  return size.has_error() ? size.error().message : std::string();
}

std::string check_name(const std::string& text) {
  const Status status = check_volume_name(text);
  return status.has_error() ? status.error().message : std::string();
}

std::string create_body(const CreateArguments& arguments) {
  json::object body{{"name", arguments.name}, {"size", arguments.size}};
  if (!arguments.wal_size.empty()) body["wal_size"] = arguments.wal_size;
  if (!arguments.path.empty()) body["path"] = arguments.path;
  if (!arguments.wal_path.empty()) body["wal_path"] = arguments.wal_path;
  return json::serialize(body);
}

std::string next_after_create(std::string_view code, const std::string& name) {
  if (code == "starting" || code == "stopping" || code == "busy") return "nothing was changed; try again in a moment";
  if (code == "unfinished") return fmt::format("it is being made; ringboltctl volume show {} shows it when it is there", name);
  if (code == "exists") return "ringboltctl status lists the volumes of this node";
  return {};
}

std::string next_after_delete(std::string_view code) {
  if (code == "not_found") return "ringboltctl status lists the volumes of this node";
  if (code == "starting" || code == "stopping" || code == "busy") return "nothing was changed; try again in a moment";
  if (code == "unfinished") return "it is being deleted; ringboltctl status does not list it any more when that is done";
  return {};
}

std::string next_after_resize(std::string_view code, const std::string& name) {
  if (code == "not_found") return "ringboltctl status lists the volumes of this node";
  if (code == "starting" || code == "stopping" || code == "busy") return "nothing was changed; try again in a moment";
  if (code == "refused") return fmt::format("ringboltctl volume show {} shows its role and its replicas; give the order to its primary", name);
  if (code == "unfinished") return fmt::format("it goes on; ringboltctl volume show {} shows the new size when that is done", name);
  return {};
}

std::string render_deleted(const json::value& deleted, bool force) {
  std::string out = fmt::format("volume {} is deleted\n", text(deleted, "name"));
  for (const json::value& path : elements(find(deleted, "kept"))) {
    if (!path.is_string()) continue;
    out += fmt::format("{} stays as it is: {}\n", std::string_view(path.get_string().data(), path.get_string().size()),
                       force ? "see whether it is another's before you remove it" : "it was there before the volume");
  }
  return out;
}

}  // namespace

void add_volume_create(CLI::App& volume, Session& session) {
  CLI::App* command = volume.add_subcommand("create", "make a new volume on the running daemon; it has no role until it is assigned one");
  auto arguments = std::make_shared<CreateArguments>();
  command->add_option("NEW_NAME", arguments->name, "what it is to be called")->required()->check(CLI::Validator(check_name, "", "name"));
  command->add_option("--size", arguments->size, "its size: 100GiB")->required()->check(CLI::Validator(check_size, "SIZE", "size"));
  command->add_option("--wal-size", arguments->wal_size, "the size of its write-ahead log; not given: 256MiB")->check(CLI::Validator(check_size, "SIZE", "size"));
  command->add_option("--path", arguments->path, "file or block device for its base image; not given: a file below data_dir")->type_name("PATH");
  command->add_option("--wal-path", arguments->wal_path, "the same for its log")->type_name("PATH");
  command->callback([&session, arguments] {
    session.action = [&session, arguments] {
      const HttpRequest request{"/v1/volumes", HttpMethod::kPost, create_body(*arguments), kVolumeAnswerTime};
      const Advice advice{[arguments](std::string_view code) { return next_after_create(code, arguments->name); },
                          fmt::format("it may be there: ringboltctl volume show {} tells", arguments->name)};
      return ask(session, request, render_volume, advice);
    };
  });
}

void add_volume_resize(CLI::App& volume, Session& session) {
  CLI::App* command = volume.add_subcommand("resize", "make a volume larger, all its copies, while clients go on; to be given to its primary");
  auto name = std::make_shared<std::string>();
  auto size = std::make_shared<std::string>();
  command->add_option("NAME", *name, "the volume's name")->required();
  command->add_option("SIZE", *size, "what it is to have: 200GiB")->required()->check(CLI::Validator(check_size, "SIZE", "size"));
  command->callback([&session, name, size] {
    session.action = [&session, name, size] {
      const HttpRequest request{volume_target(*name) + "/resize", HttpMethod::kPost, json::serialize(json::object{{"size", *size}}), kVolumeAnswerTime};
      const Advice advice{[name](std::string_view code) { return next_after_resize(code, *name); },
                          fmt::format("it may have been made larger: ringboltctl volume show {} tells", *name)};
      return ask(session, request, render_volume, advice);
    };
  });
}

void add_volume_delete(CLI::App& volume, Session& session) {
  CLI::App* command = volume.add_subcommand("delete", "delete a volume that was created at run time, and its files; it must have no role and no clients");
  auto name = std::make_shared<std::string>();
  auto yes = std::make_shared<bool>(false);
  auto force = std::make_shared<bool>(false);
  command->add_option("NAME", *name, "the volume's name")->required();
  command->add_flag("--yes", *yes, "I know that this copy's data are gone then");
  command->add_flag("--force", *force, "also one that could not be opened, whatever its role was; files at paths that were given stay");
  command->callback([&session, name, yes, force] {
    if (!*yes) throw CLI::ValidationError("this copy's data would be gone: add --yes if that is meant", CLI::ExitCodes::ValidationError);
    session.action = [&session, name, force] {
      const HttpRequest request{volume_target(*name), HttpMethod::kDelete, *force ? json::serialize(json::object{{"force", true}}) : std::string(), kVolumeAnswerTime};
      const Advice advice{next_after_delete,
                          fmt::format("it may be deleted: ringboltctl volume show {} tells", *name)};
      return ask(session, request, [force](const json::value& deleted) { return render_deleted(deleted, *force); }, advice);
    };
  });
}

}  // namespace ringbolt::ctl

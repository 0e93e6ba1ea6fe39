#include "control/admin_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "control/assignment_request.h"
#include "control/config_values.h"
#include "control/deletion_request.h"
#include "control/embedded.h"
#include "control/http_target.h"
#include "control/json.h"
#include "control/rebuild_request.h"
#include "control/volume_request.h"
#include "control/reload_request.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

enum : unsigned {
  kOk = 200,
  kCreated = 201,
  kAccepted = 202,
  kBadRequest = 400,
  kForbidden = 403,
  kNoSuchResource = 404,
  kMethodNotAllowed = 405,
  kConflict = 409,
  kInternalError = 500,
  kNotImplemented = 501,
  kUnavailable = 503,
};

constexpr std::string_view kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";

double seconds_since_1970() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

AdminReply error_reply(unsigned status, ErrorCode code, std::string_view message) {
  return {status, error_json(code, message)};
}

AdminReply no_such_volume(const std::string& name) {
  // A name that no volume can have is not repeated: it may not even be text.
  return error_reply(kNoSuchResource, ErrorCode::kNotFound,
                     check_volume_name(name).has_value() ? fmt::format("there is no volume \"{}\" on this node", name)
                                                         : std::string("there is no volume of that name on this node"));
}

AdminReply refusal(const Error& error) {
  switch (error.code) {
    case Errc::kInvalid: return error_reply(kBadRequest, ErrorCode::kInvalid, error.message);
    case Errc::kNotFound: return error_reply(kNoSuchResource, ErrorCode::kNotFound, error.message);
    case Errc::kStaleEpoch: return error_reply(kConflict, ErrorCode::kStaleEpoch, error.message);
    case Errc::kSuperseded: return error_reply(kConflict, ErrorCode::kSuperseded, error.message);
    case Errc::kNotPermitted: return error_reply(kConflict, ErrorCode::kRefused, error.message);
    case Errc::kExists: return error_reply(kConflict, ErrorCode::kExists, error.message);
    case Errc::kUnsupported: return error_reply(kNotImplemented, ErrorCode::kUnsupported, error.message);
    case Errc::kBusy: return error_reply(kUnavailable, ErrorCode::kBusy, error.message);
    case Errc::kNoSpace:
    case Errc::kIo:
    case Errc::kCorrupt: return error_reply(kInternalError, ErrorCode::kFailed, error.message);
  }
  return error_reply(kInternalError, ErrorCode::kFailed, error.message);
}

std::string words(const AssignmentOrder& order) {
  std::string text = fmt::format("{} at epoch {}", to_string(order.role), order.epoch.value());
  if (order.durability) text += fmt::format(", {}", to_string(*order.durability));
  if (order.replicas) {
    text += order.replicas->empty() ? ", no replicas" : ", replicas";
    for (const core::ReplicaAddress& replica : *order.replicas) text += fmt::format(" {}={}", replica.id, replica.address);
  }
  if (order.authority == core::Authority::kForced) text += ", by force";
  return text;
}

/// What is the same whatever the daemon does.
std::optional<AdminReply> fixed_reply(AdminResource resource) {
  switch (resource) {
    case AdminResource::kPage:
      return AdminReply{.body = std::string(embedded::kPage), .type = "text/html; charset=utf-8", .policy = embedded::kPagePolicy};
    case AdminResource::kOpenApi: return AdminReply{.body = std::string(embedded::kOpenApi)};
    default: return std::nullopt;
  }
}

}  // namespace

AdminApi::AdminApi(boost::asio::io_context& io, const AdminLimits& limits)
    : io_(io), limits_(limits), reload_{true, seconds_since_1970()}, feed_(std::make_shared<EventFeed>(io, limits, [this] {
        volumes_.add([this](const std::vector<VolumeStatus>& all) { feed_->on_look(all); });
      })) {}

void AdminApi::serve(Daemon& daemon, Reloader& reloader, const coord::CoordinatorView* coordinator) {
  daemon_ = &daemon;
  reloader_ = &reloader;
  coordinator_ = coordinator;
  stopping_ = false;
}

void AdminApi::note_reload(bool successful) {
  reload_.successful = successful;
  if (successful) reload_.successful_at = seconds_since_1970();
}

void AdminApi::unserve() {
  daemon_ = nullptr;
  reloader_ = nullptr;
  coordinator_ = nullptr;
  stopping_ = true;
  feed_->end();
}

AdminApi::Outcome AdminApi::handle(const AdminRequest& request, Done done) {
  const Result<std::vector<std::string>> path = parse_target(request.target);
  if (path.has_error()) return error_reply(kBadRequest, ErrorCode::kBadRequest, path.error().message);
  const std::optional<AdminRoute> route = find_route(path.value());
  if (!route) return error_reply(kNoSuchResource, ErrorCode::kNotFound, "no such resource");
  if (!route->takes(request.method)) {
    AdminReply reply = error_reply(kMethodNotAllowed, ErrorCode::kMethodNotAllowed, fmt::format("only {} is possible here", route->methods));
    reply.allow = route->methods;
    return reply;
  }
  if (std::optional<AdminReply> fixed = fixed_reply(route->resource)) return std::move(*fixed);
  // Any page that an operator's browser has open could otherwise give orders to a daemon on its host.
  const bool is_order = AdminRoute::is_order(request.method);
  if (is_order && request.from_web_page) return error_reply(kForbidden, ErrorCode::kForbidden, "orders are not taken from web pages (Origin header)");
  if (daemon_ == nullptr) {
    return error_reply(kUnavailable, stopping_ ? ErrorCode::kStopping : ErrorCode::kStarting,
                       stopping_ ? "the daemon is stopping" : "the daemon is starting");
  }
  return is_order ? order(*route, request.body, std::move(done)) : read(*route, std::move(done));
}

// --- questions ----------------------------------------------------------------------------------

// An answer can come when this object is gone (the daemon lives longer): hence weak pointers. The
// io_context itself is there by contract.

bool AdminApi::ask_volumes() {
  if (daemon_ == nullptr) return false;
  daemon_->volumes([weak = weak_from_this(), &io = io_](std::vector<VolumeStatus> answer) {
    boost::asio::post(io, [weak, answer = std::move(answer)] {
      if (const auto self = weak.lock()) self->volumes_.on_answer(answer);
    });
  });
  return true;
}

bool AdminApi::ask_node() {
  if (daemon_ == nullptr) return false;
  daemon_->node([weak = weak_from_this(), &io = io_](NodeStatus answer) {
    boost::asio::post(io, [weak, answer = std::move(answer)] {
      if (const auto self = weak.lock()) self->node_.on_answer(answer);
    });
  });
  return true;
}

bool AdminApi::ask_metrics() {
  if (daemon_ == nullptr) return false;
  daemon_->metrics([weak = weak_from_this(), &io = io_](NodeMetrics answer) {
    boost::asio::post(io, [weak, answer = std::move(answer)] {
      if (const auto self = weak.lock()) self->metrics_.on_answer(answer);
    });
  });
  return true;
}

bool AdminApi::ask_reload() {
  if (reloader_ == nullptr) return false;
  reloader_->reload([weak = weak_from_this(), &io = io_](const Result<ReloadReport>& result) {
    boost::asio::post(io, [weak, result] {
      if (const auto self = weak.lock()) self->reloading_.on_answer(result);
    });
  });
  return true;
}

template <class Answer, class Render>
AdminApi::Outcome AdminApi::ask(Question<Answer>& question, Done done, Render render) {
  const auto ticket = question.add([done = std::move(done), render](const Answer& answer) { done(render(answer)); });
  return AdminWait{limits_.answer_time,
                   error_reply(kUnavailable, ErrorCode::kUnavailable, "the daemon's shards did not answer in time"),
                   [&question, ticket] { question.remove(ticket); }};
}

AdminApi::Outcome AdminApi::read(const AdminRoute& route, Done done) {
  switch (route.resource) {
    case AdminResource::kHealth:
      // Healthy means that every shard answers, not only that this thread runs.
      return ask(node_, std::move(done), [](const NodeStatus&) { return AdminReply{kOk, "{\"status\":\"ok\"}"}; });
    case AdminResource::kNode:
      return ask(node_, std::move(done), [](const NodeStatus& status) { return AdminReply{kOk, to_json(status)}; });
    case AdminResource::kMetrics:
      return ask(metrics_, std::move(done), [this](const NodeMetrics& metrics) {
        std::string text = metrics_text(metrics, io::read_process_facts(), reload_, coordinator());
        text.pop_back();  // every reply ends with a line end of its own
        return AdminReply{.body = std::move(text), .type = kPrometheusType};
      });
    case AdminResource::kNodes: return AdminReply{kOk, nodes_json(coordinator())};
    case AdminResource::kEvents:
      return ask(node_, std::move(done), [this](const NodeStatus& status) { return open_stream(status); });
    case AdminResource::kVolumes:
      return ask(volumes_, std::move(done), [](const std::vector<VolumeStatus>& all) { return AdminReply{kOk, to_json(all)}; });
    case AdminResource::kPage:
    case AdminResource::kOpenApi:
    case AdminResource::kReload:
    case AdminResource::kVolume:
    case AdminResource::kWhy:
    case AdminResource::kAssignment:
    case AdminResource::kRebuild:
    case AdminResource::kRebuildOf:
    case AdminResource::kVerify:
    case AdminResource::kResize:
      break;
  }
  return ask(volumes_, std::move(done), [route](const std::vector<VolumeStatus>& all) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const VolumeStatus& one) { return one.name == route.volume; });
    if (found == all.end()) return no_such_volume(route.volume);
    switch (route.resource) {
      case AdminResource::kWhy: return AdminReply{kOk, why_json(*found)};
      case AdminResource::kVerify: return AdminReply{kOk, verify_json(*found)};
      default: return AdminReply{kOk, to_json(*found)};
    }
  });
}

std::optional<coord::CoordinatorStatus> AdminApi::coordinator() const {
  if (coordinator_ == nullptr) return std::nullopt;
  return coordinator_->status();
}

AdminReply AdminApi::open_stream(const NodeStatus& node) {
  if (stopping_) return error_reply(kUnavailable, ErrorCode::kStopping, "the daemon is stopping");
  AdminReply reply{.type = "text/event-stream"};
  reply.stream = feed_->open(to_json(node));
  if (reply.stream != nullptr) return reply;
  return error_reply(kUnavailable, ErrorCode::kBusy, fmt::format("{} event streams are open, as many as there may be", limits_.streams));
}

// --- orders -------------------------------------------------------------------------------------

AdminApi::Outcome AdminApi::order(const AdminRoute& route, const std::string& body, Done done) {
  if (route.resource == AdminResource::kVolumes) return create(body, std::move(done));
  if (route.resource == AdminResource::kReload) return reload(body, std::move(done));
  if (check_volume_name(route.volume).has_error()) return no_such_volume(route.volume);
  if (route.resource == AdminResource::kVolume) return remove(route.volume, body, std::move(done));
  if (route.resource == AdminResource::kAssignment) return assign(route, body, std::move(done));
  if (route.resource == AdminResource::kVerify) return verify(route, body, std::move(done));
  if (route.resource == AdminResource::kResize) return resize(route, body, std::move(done));
  if (route.resource == AdminResource::kRebuildOf) {
    // A name that no node can have is not repeated.
    if (check_node_id(route.replica).has_error()) return error_reply(kNoSuchResource, ErrorCode::kNotFound, "the volume has no replica of that name");
    return rebuild(route.volume, {route.replica, false}, std::move(done));
  }
  const Result<std::string> replica = parse_rebuild(body);
  if (replica.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, replica.error().message);
  return rebuild(route.volume, {replica.value(), true}, std::move(done));
}

AdminApi::Outcome AdminApi::create(const std::string& body, Done done) {
  const Result<VolumeConfig> volume = parse_volume_request(body);
  if (volume.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, volume.error().message);
  const VolumeConfig& wanted = volume.value();
  return give<VolumeStatus>({wanted.name, "creation", kCreated, std::move(done)}, fmt::format("is to be created, {}", format_size(wanted.size_bytes)),
                            [&](Daemon& daemon, auto answer) { daemon.create(wanted, std::move(answer)); }, to_json);
}

AdminApi::Outcome AdminApi::remove(const std::string& volume, const std::string& body, Done done) {
  const Result<bool> force = parse_deletion(body);
  if (force.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, force.error().message);
  return give<RemovedVolume>({volume, "deletion", kOk, std::move(done)}, force.value() ? "is to be deleted, by force" : "is to be deleted",
                             [&](Daemon& daemon, auto answer) { daemon.remove(volume, force.value(), std::move(answer)); }, to_json);
}

AdminApi::Outcome AdminApi::assign(const AdminRoute& route, const std::string& body, Done done) {
  const std::string& volume = route.volume;
  const Result<AssignmentOrder> order = parse_assignment(body);
  if (order.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, order.error().message);
  return give<VolumeStatus>({volume, "assignment", kOk, std::move(done)}, "is to be " + words(order.value()),
                            [&](Daemon& daemon, auto answer) { daemon.assign(volume, order.value(), std::move(answer)); }, to_json);
}

AdminApi::Outcome AdminApi::rebuild(const std::string& volume, const RebuildOrder& order, Done done) {
  return give<VolumeStatus>({volume, order.wanted ? "rebuild" : "cancellation", order.wanted ? kAccepted : kOk, std::move(done)},
                            fmt::format("is {} rebuild replica {}", order.wanted ? "to" : "not to", order.replica),
                            [&](Daemon& daemon, auto answer) { daemon.rebuild(volume, order, std::move(answer)); }, to_json);
}

AdminApi::Outcome AdminApi::verify(const AdminRoute& route, const std::string& body, Done done) {
  const Result<std::optional<std::string>> parsed = parse_verify(body);
  if (parsed.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, parsed.error().message);
  const std::optional<std::string>& replica = parsed.value();
  return give<VolumeStatus>({route.volume, "comparison", kAccepted, std::move(done)},
                            fmt::format("is to be compared with {}", replica ? "replica " + *replica : std::string("all replicas")),
                            [&](Daemon& daemon, auto answer) { daemon.verify(route.volume, replica, std::move(answer)); }, verify_json);
}

/// Who asks while one is under way has the next one: the file may have changed since that one read it.
AdminApi::Outcome AdminApi::reload(const std::string& body, Done done) {
  const Status checked = check_reload(body);
  if (checked.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, checked.error().message);
  const auto ticket = reloading_.add([done = std::move(done)](const Result<ReloadReport>& result) {
    done(result.has_value() ? AdminReply{kOk, to_json(result.value())} : error_reply(kConflict, ErrorCode::kInvalidConfig, result.error().message));
  });
  return AdminWait{limits_.order_time,
                   error_reply(kUnavailable, ErrorCode::kUnfinished, "the reload is still being carried out and goes on; the log says what becomes of it"),
                   [this, ticket] { reloading_.remove(ticket); }};
}

AdminApi::Outcome AdminApi::resize(const AdminRoute& route, const std::string& body, Done done) {
  const Result<uint64_t> bytes = parse_resize_request(body);
  if (bytes.has_error()) return error_reply(kBadRequest, ErrorCode::kInvalid, bytes.error().message);
  return give<VolumeStatus>({route.volume, "growth", kOk, std::move(done)}, fmt::format("is to have {}", format_size(bytes.value())),
                            [&](Daemon& daemon, auto answer) { daemon.resize(route.volume, bytes.value(), std::move(answer)); }, to_json);
}

template <class Answer>
AdminApi::Outcome AdminApi::give(Order order, const std::string& words, const Give<Answer>& give, std::string (*render)(const Answer&)) {
  // An order whose giver has stopped waiting is still with the daemon: without a bound, who repeats it
  // while a volume is stuck would pile them up.
  const std::string volume = order.volume;
  const std::string what = order.what;
  const auto same_volume = std::count_if(orders_.begin(), orders_.end(), [&](const auto& one) { return one.second.volume == volume; });
  if (same_volume >= limits_.orders_per_volume || orders_.size() >= limits_.orders) {
    return error_reply(kUnavailable, ErrorCode::kBusy,
                       fmt::format("{} orders for volume \"{}\" and {} in all are being carried out; this one was not begun",
                                   same_volume, volume, orders_.size()));
  }
  const uint64_t ticket = next_ticket_++;
  orders_.emplace(ticket, std::move(order));
  RINGBOLT_LOG_LIMITED(kInfo, {.volume = volume}, "admin: it {}", words);
  give(*daemon_, [weak = weak_from_this(), &io = io_, ticket, render](Result<Answer> result) {
    boost::asio::post(io, [weak, ticket, render, result = std::move(result)] {
      const auto self = weak.lock();
      if (!self) return;
      if (result.has_error()) return self->on_answered(ticket, result.error());
      self->on_answered(ticket, render(result.value()));
    });
  });
  return AdminWait{limits_.order_time,
                   error_reply(kUnavailable, ErrorCode::kUnfinished,
                               fmt::format("the {} of volume \"{}\" is still being carried out after {} s and goes on; ask for the "
                                           "volume, or give the same order again (that changes nothing once it is done)",
                                           what, volume, std::chrono::duration_cast<std::chrono::seconds>(limits_.order_time).count())),
                   [this, ticket] {
                     const auto found = orders_.find(ticket);
                     if (found != orders_.end()) found->second.done = nullptr;
                   }};
}

void AdminApi::on_answered(uint64_t ticket, const Result<std::string>& result) {
  const auto found = orders_.find(ticket);
  RINGBOLT_ASSERT(found != orders_.end());  // answered once
  const Order order = std::move(found->second);
  orders_.erase(found);
  if (result.has_error()) {
    RINGBOLT_LOG_LIMITED(kWarn, {.volume = order.volume}, "admin: the {} was not carried out: {}", order.what, result.error().message);
  }
  if (order.done) order.done(result.has_value() ? AdminReply{order.status, result.value()} : refusal(result.error()));
}

}  // namespace ringbolt

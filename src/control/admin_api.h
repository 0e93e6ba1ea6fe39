// The admin API without HTTP: what a request asks for, who answers it, and with what. Sits between the
// connections (admin_http) and `Daemon`; knows no socket and no shard.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "control/admin_limits.h"
#include "control/admin_routes.h"
#include "control/daemon.h"
#include "control/event_feed.h"
#include "control/event_stream.h"
#include "control/json.h"
#include "control/metrics_text.h"
#include "control/question.h"
#include "control/reload.h"
#include "coord/status.h"

namespace ringbolt {

struct AdminRequest {
  std::string method, target, body;
  bool from_web_page = false;  ///< it has an Origin header
};

struct AdminReply {
  unsigned status = 200;
  std::string body = {};
  std::string_view allow = {};  ///< for the Allow header of 405; empty: none
  std::string_view type = "application/json";
  std::string_view policy = {};  ///< for the Content-Security-Policy header of a page; empty: none
  std::shared_ptr<EventStream> stream = {};  ///< instead of a body; null: none
};

/// A request whose answer is to come.
struct AdminWait {
  std::chrono::milliseconds limit;  ///< after this call forget() and reply `overdue`
  AdminReply overdue;
  std::function<void()> forget;     ///< the answer is not wanted any more; what was ordered goes on
};

/// Thread: all members on the thread that runs `io`.
class AdminApi : public std::enable_shared_from_this<AdminApi> {
 public:
  using Done = std::function<void(const AdminReply&)>;

  /// Requires: `io` outlives the Daemon given to serve(), whose shards post answers to it.
  AdminApi(boost::asio::io_context& io, const AdminLimits& limits);
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;

  /// `coordinator`: null, there is none.
  void serve(Daemon& daemon, Reloader& reloader, const coord::CoordinatorView* coordinator);
  /// Ends event streams, too.
  void unserve();
  /// The configuration was read again.
  void note_reload(bool successful);
  [[nodiscard]] bool stopping() const { return stopping_; }
  [[nodiscard]] const AdminLimits& limits() const { return limits_; }

  /// The reply, or how long to wait for it: then `done` is called once, later, unless forgotten. An order
  /// is given to the daemon exactly once, within this call, whole or not at all.
  std::variant<AdminReply, AdminWait> handle(const AdminRequest& request, Done done);

 private:
  using Outcome = std::variant<AdminReply, AdminWait>;
  struct Order {
    std::string volume;
    const char* what;  ///< "assignment", for people
    unsigned status;   ///< of the reply if it was taken
    Done done;  ///< empty: who gave the order is not waiting any more
  };

  Outcome read(const AdminRoute& route, Done done);
  [[nodiscard]] std::optional<coord::CoordinatorStatus> coordinator() const;
  [[nodiscard]] AdminReply open_stream(const NodeStatus& node);
  Outcome order(const AdminRoute& route, const std::string& body, Done done);
  Outcome create(const std::string& body, Done done);
  Outcome remove(const std::string& volume, const std::string& body, Done done);
  Outcome assign(const AdminRoute& route, const std::string& body, Done done);
  Outcome rebuild(const std::string& volume, const RebuildOrder& order, Done done);
  Outcome verify(const AdminRoute& route, const std::string& body, Done done);
  Outcome resize(const AdminRoute& route, const std::string& body, Done done);
  Outcome reload(const std::string& body, Done done);
  /// An order as it is given to the daemon, which answers the second.
  template <class Answer>
  using Give = std::function<void(Daemon&, std::function<void(Result<Answer>)>)>;
  template <class Answer>
  Outcome give(Order order, const std::string& words, const Give<Answer>& give, std::string (*render)(const Answer&));
  /// `result`: the body of the reply.
  void on_answered(uint64_t ticket, const Result<std::string>& result);
  template <class Answer, class Render>
  Outcome ask(Question<Answer>& question, Done done, Render render);

  boost::asio::io_context& io_;
  const AdminLimits limits_;
  Daemon* daemon_ = nullptr;
  Reloader* reloader_ = nullptr;  ///< if there is a daemon
  const coord::CoordinatorView* coordinator_ = nullptr;  ///< null: there is none
  bool stopping_ = false;
  uint64_t next_ticket_ = 1;
  std::map<uint64_t, Order> orders_;  ///< given to the daemon and not answered

  Question<std::vector<VolumeStatus>> volumes_{[this] { return ask_volumes(); }};
  Question<NodeStatus> node_{[this] { return ask_node(); }};
  Question<NodeMetrics> metrics_{[this] { return ask_metrics(); }};
  Question<Result<ReloadReport>> reloading_{[this] { return ask_reload(); }};
  ReloadOutcome reload_;
  const std::shared_ptr<EventFeed> feed_;
  bool ask_volumes();
  bool ask_node();
  bool ask_metrics();
  bool ask_reload();
};

}  // namespace ringbolt

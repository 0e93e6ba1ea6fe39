#include "control/admin_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <utility>

#include "control/admin_api.h"
#include "control/admin_http.h"
#include "control/config_values.h"
#include "log/log.h"

namespace ringbolt {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

}  // namespace

class AdminServer::Impl : public std::enable_shared_from_this<AdminServer::Impl> {
 public:
  Impl(asio::io_context& io, AdminLimits limits)
      : io_(io), limits_(limits), api_(std::make_shared<AdminApi>(io, limits)), acceptor_(io), accept_retry_(io) {}

  Status listen(const std::string& address);
  void close();
  AdminApi& api() { return *api_; }
  [[nodiscard]] tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }

 private:
  void accept();
  void on_accepted(error_code error, tcp::socket socket);
  void add(tcp::socket socket);
  /// Ends the connection that has been waiting longest for its client; false if there is none.
  bool evict();

  asio::io_context& io_;
  const AdminLimits limits_;
  const std::shared_ptr<AdminApi> api_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_retry_;
  std::list<std::shared_ptr<AdminConnection>> connections_;  ///< oldest first
};

Status AdminServer::Impl::listen(const std::string& address) {
  BOOST_OUTCOME_TRY(const io::Address parsed, parse_host_port(address));
  const auto failed = [&](const char* what, const error_code& error) {
    return make_error(error == asio::error::address_in_use ? Errc::kBusy : Errc::kIo,
                      fmt::format("admin: {} {}: {}", what, address, error.message()));
  };
  error_code error;
  tcp::resolver resolver(io_);
  const auto found = resolver.resolve(parsed.host, std::to_string(parsed.port),
                                      tcp::resolver::passive, error);
  if (error) return failed("cannot resolve", error);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return failed("cannot listen on", error);
  accept();
  return boost::outcome_v2::success();
}

void AdminServer::Impl::accept() {
  acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
    self->on_accepted(error, std::move(socket));
  });
}

void AdminServer::Impl::on_accepted(error_code error, tcp::socket socket) {
  if (!acceptor_.is_open()) return;
  if (error) {
    // Out of descriptors or the like: it would fail again at once, so not at once.
    RINGBOLT_LOG_LIMITED(kWarn, "admin: cannot accept a connection: {}", error.message());
    accept_retry_.expires_after(std::chrono::milliseconds(100));
    accept_retry_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (!cancelled && self->acceptor_.is_open()) self->accept();
    });
    return;
  }
  // Full of connections that wait for their clients: the newest one is the likeliest to be of use.
  // Full of connections at work: the new one is closed, its client may come again.
  if (connections_.size() < limits_.connections || evict()) {
    add(std::move(socket));
  } else {
    RINGBOLT_LOG_LIMITED(kWarn, "admin: connection refused, {} are at work already",
                         connections_.size());
  }
  accept();
}

void AdminServer::Impl::add(tcp::socket socket) {
  connections_.push_back(make_admin_connection(api_, std::move(socket), [weak = weak_from_this()](AdminConnection* ended) {
    if (const auto self = weak.lock()) self->connections_.remove_if([&](const auto& one) { return one.get() == ended; });
  }));
  connections_.back()->start();
}

bool AdminServer::Impl::evict() {
  const auto idle = std::find_if(connections_.begin(), connections_.end(),
                                 [](const auto& one) { return one->waits_for_client(); });
  if (idle == connections_.end()) return false;
  const std::shared_ptr<AdminConnection> connection = *idle;
  connections_.erase(idle);
  connection->close();
  return true;
}

void AdminServer::Impl::close() {
  error_code ignored;  // it is closed either way
  acceptor_.close(ignored);
  accept_retry_.cancel();
  for (const auto& connection : std::exchange(connections_, {})) connection->close();
}

AdminServer::AdminServer(asio::io_context& io, AdminLimits limits)
    : impl_(std::make_shared<Impl>(io, limits)) {}

AdminServer::~AdminServer() { close(); }

Status AdminServer::listen(const std::string& address) { return impl_->listen(address); }

std::string AdminServer::local_address() const {
  const tcp::endpoint endpoint = impl_->endpoint();
  return io::Address{io::Address::Kind::kTcp, endpoint.address().to_string(), endpoint.port(), {}}
      .to_string();
}

void AdminServer::serve(Daemon& daemon, Reloader& reloader, const coord::CoordinatorView* coordinator) {
  impl_->api().serve(daemon, reloader, coordinator);
}

void AdminServer::note_reload(bool successful) { impl_->api().note_reload(successful); }

void AdminServer::unserve() { impl_->api().unserve(); }

void AdminServer::close() { impl_->close(); }

}  // namespace ringbolt

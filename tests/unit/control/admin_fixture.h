// A running AdminServer with a FakeDaemon behind it, and a raw client socket.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "control/admin_server.h"
#include "tests/unit/control/fake_daemon.h"
#include "tests/unit/control/fake_reloader.h"

namespace ringbolt::test {

class AdminFixture {
 public:
  explicit AdminFixture(AdminLimits limits = {}, bool serve = true);
  ~AdminFixture();

  /// Runs `work` on the control thread and waits for it.
  void on_control_thread(const std::function<void()>& work);

  FakeDaemon& daemon() { return *daemon_; }
  FakeReloader& reloader() { return reloader_; }
  /// On the control thread.
  void serve() { server_->serve(*daemon_, reloader_); }
  AdminServer& server() { return *server_; }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  boost::asio::io_context io_;
  FakeReloader reloader_;
  std::unique_ptr<FakeDaemon> daemon_ = std::make_unique<FakeDaemon>();
  std::unique_ptr<AdminServer> server_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::string address_;
  std::thread thread_;
};

/// Blocking socket that fails the test instead of hanging.
class RawHttpClient {
 public:
  explicit RawHttpClient(const std::string& address);
  ~RawHttpClient();
  RawHttpClient(const RawHttpClient&) = delete;
  RawHttpClient& operator=(const RawHttpClient&) = delete;

  /// False if the peer has closed.
  bool send(const std::string& bytes);
  /// Half-closes: the server sees the end of the stream.
  void end();
  /// Everything until the peer closes.
  std::string read_all();
  /// One reply with its body, the connection staying open.
  std::string read_reply();
  /// Everything up to and with the next `text`, the connection staying open.
  std::string read_until(const std::string& text);

 private:
  bool receive();
  int fd_ = -1;
  std::string received_;
};

/// Sends a GET on a connection of its own and returns the whole reply.
std::string get(const std::string& address, const std::string& target);
/// Sends a POST with `body` on a connection of its own and returns the whole reply. `headers`: more
/// lines, each with its line end.
std::string post(const std::string& address, const std::string& target, const std::string& body,
                 const std::string& headers = {});
/// Body of a reply, without the line end that closes it.
std::string body_of(const std::string& reply);
/// "200" of "HTTP/1.1 200 OK..."
std::string status_of(const std::string& reply);
/// "404 not_found": of an error. Requires that it is one.
std::string code_of(const std::string& reply);

}  // namespace ringbolt::test

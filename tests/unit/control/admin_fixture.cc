#include "tests/unit/control/admin_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "control/config_values.h"

namespace ringbolt::test {

AdminFixture::AdminFixture(AdminLimits limits, bool serve) {
  server_ = std::make_unique<AdminServer>(io_, limits);
  const Status status = server_->listen("127.0.0.1:0");
  INFO((status.has_error() ? status.error().message : ""));
  REQUIRE(status.has_value());
  address_ = server_->local_address();
  if (serve) this->serve();
  thread_ = std::thread([this] { io_.run(); });
}

AdminFixture::~AdminFixture() {
  on_control_thread([this] {
    server_->unserve();
    server_->close();
  });
  daemon_.reset();  // answers that were held back are posted now, to a server that has closed
  work_.reset();
  thread_.join();
}

void AdminFixture::on_control_thread(const std::function<void()>& work) {
  std::promise<void> done;
  boost::asio::post(io_, [&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

namespace {

// A ring that an earlier test had on this thread is taken down by the kernel in its own time, which may interrupt system calls.

void connect_interrupted(int fd, const sockaddr_in& to) {
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return;
  REQUIRE(errno == EINTR);  // then it goes on
  pollfd connecting{fd, POLLOUT, 0};
  REQUIRE(TEMP_FAILURE_RETRY(poll(&connecting, 1, 60'000)) == 1);
  int error = 0;
  socklen_t length = sizeof error;
  REQUIRE(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  REQUIRE(error == 0);
}

}  // namespace

RawHttpClient::RawHttpClient(const std::string& address) {
  const io::Address parsed = parse_host_port(address).value();
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(fd_ >= 0);
  const timeval hang{60, 0};
  REQUIRE(setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &hang, sizeof hang) == 0);
  REQUIRE(setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &hang, sizeof hang) == 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(parsed.port);
  REQUIRE(inet_pton(AF_INET, parsed.host.c_str(), &to.sin_addr) == 1);
  connect_interrupted(fd_, to);
}

RawHttpClient::~RawHttpClient() { close(fd_); }

bool RawHttpClient::send(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t sent = TEMP_FAILURE_RETRY(::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL));
    if (sent < 0) {
      REQUIRE((errno == EPIPE || errno == ECONNRESET));
      return false;
    }
    done += static_cast<size_t>(sent);
  }
  return true;
}

void RawHttpClient::end() { REQUIRE(shutdown(fd_, SHUT_WR) == 0); }

bool RawHttpClient::receive() {
  char buffer[4096];
  const ssize_t got = TEMP_FAILURE_RETRY(recv(fd_, buffer, sizeof buffer, 0));
  if (got < 0) REQUIRE(errno == ECONNRESET);  // EAGAIN: the server neither answered nor closed
  if (got <= 0) return false;
  received_.append(buffer, static_cast<size_t>(got));
  return true;
}

std::string RawHttpClient::read_all() {
  while (receive()) {
  }
  return std::exchange(received_, {});
}

std::string RawHttpClient::read_reply() {
  size_t header_end;
  while ((header_end = received_.find("\r\n\r\n")) == std::string::npos) REQUIRE(receive());
  const size_t field = received_.find("Content-Length: ");
  REQUIRE(field < header_end);
  const size_t total = header_end + 4 + std::stoul(received_.substr(field + 16));
  while (received_.size() < total) REQUIRE(receive());
  const std::string reply = received_.substr(0, total);
  received_.erase(0, total);
  return reply;
}

std::string RawHttpClient::read_until(const std::string& text) {
  size_t found;
  while ((found = received_.find(text)) == std::string::npos) {
    INFO("waited for: " << text);
    REQUIRE(receive());
  }
  const std::string read = received_.substr(0, found + text.size());
  received_.erase(0, read.size());
  return read;
}

std::string get(const std::string& address, const std::string& target) {
  RawHttpClient client(address);
  client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return client.read_all();
}

std::string post(const std::string& address, const std::string& target, const std::string& body,
                 const std::string& headers) {
  RawHttpClient client(address);
  client.send("POST " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  return client.read_all();
}

std::string body_of(const std::string& reply) {
  const size_t header_end = reply.find("\r\n\r\n");
  REQUIRE(header_end != std::string::npos);
  std::string body = reply.substr(header_end + 4);
  if (body.ends_with('\n')) body.pop_back();
  return body;
}

std::string status_of(const std::string& reply) {
  return reply.starts_with("HTTP/1.") ? reply.substr(9, 3) : reply;
}

std::string code_of(const std::string& reply) {
  const std::string body = body_of(reply);
  const std::string before = R"({"error":{"code":")";
  REQUIRE(body.starts_with(before));
  return status_of(reply) + " " + body.substr(before.size(), body.find('"', before.size()) - before.size());
}

}  // namespace ringbolt::test

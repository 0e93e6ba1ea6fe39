#include "tests/unit/coord/fake_member.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

namespace ringbolt::coord {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

/// So often the thread looks for what has come in before the next piece is sent: pieces arrive one by one.
constexpr int kTurnsBetween = 8;

void after_turns(boost::asio::io_context& io, int turns, std::function<void()> task) {
  if (turns == 0) return task();
  boost::asio::post(io, [&io, turns, task = std::move(task)] { after_turns(io, turns - 1, task); });
}

size_t body_bytes(const std::string& head) {
  const std::string name = "Content-Length: ";
  const size_t at = head.find(name);
  return at == std::string::npos ? 0 : std::stoul(head.substr(at + name.size()));
}

}  // namespace

struct FakeMember::Connection : std::enable_shared_from_this<Connection> {
  Connection(FakeMember& member_of, tcp::socket accepted) : member(&member_of), io(member_of.io_), socket(std::move(accepted)) { socket.set_option(tcp::no_delay(true)); }

  void read() {
    boost::asio::async_read_until(socket, boost::asio::dynamic_buffer(bytes), "\r\n\r\n", [self = shared_from_this()](error_code error, size_t head) {
      if (error) return self->on_end();
      self->read_body(head);
    });
  }
  void read_body(size_t head) {
    const size_t all = head + body_bytes(bytes.substr(0, head));
    if (bytes.size() >= all) return on_request(all);
    socket.async_read_some(boost::asio::buffer(piece), [self = shared_from_this(), head](error_code error, size_t got) {
      if (error) return self->on_end();
      self->bytes.append(self->piece.data(), got);
      self->read_body(head);
    });
  }
  void on_request(size_t size) {
    if (member == nullptr) return;
    const std::string request = bytes.substr(0, size);
    bytes.erase(0, size);
    member->requests.push_back(request);
    answer = member->answering_(request);
    write(0);
  }
  void write(size_t at) {
    if (at == answer.pieces.size()) {
      if (answer.close) {
        error_code ignored;
        socket.close(ignored);
        return;
      }
      return read();
    }
    boost::asio::async_write(socket, boost::asio::buffer(answer.pieces[at]), [self = shared_from_this(), at](error_code error, size_t) {
      if (error) return self->on_end();
      after_turns(self->io, kTurnsBetween, [self, at] { self->write(at + 1); });
    });
  }
  void on_end() {
    if (member != nullptr) ++member->connections_ended;
  }

  FakeMember* member;
  boost::asio::io_context& io;
  tcp::socket socket;
  std::string bytes, piece = std::string(4096, '\0');
  Answer answer;
};

FakeMember::FakeMember(boost::asio::io_context& io, Answering answering)
    : io_(io), acceptor_(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)), answering_(std::move(answering)) {
  accept();
}

FakeMember::~FakeMember() {
  for (const auto& weak : open_) {
    if (const auto connection = weak.lock()) connection->member = nullptr;
  }
}

Endpoint FakeMember::endpoint() const { return parse_endpoint(fmt::format("http://127.0.0.1:{}", acceptor_.local_endpoint().port())).value(); }

void FakeMember::stop_listening() { acceptor_.close(); }

void FakeMember::accept() {
  acceptor_.async_accept([this](error_code error, tcp::socket socket) {
    if (error) return;
    ++connections;
    const auto connection = std::make_shared<Connection>(*this, std::move(socket));
    open_.push_back(connection);
    connection->read();
    accept();
  });
}

std::string http_answer(unsigned status, const std::string& body) {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{}", status, body.size(), body);
}

std::string stream_head(unsigned status) { return fmt::format("HTTP/1.1 {} X\r\nTransfer-Encoding: chunked\r\n\r\n", status); }
std::string stream_piece(const std::string& text) { return fmt::format("{:x}\r\n{}\r\n", text.size(), text); }

}  // namespace ringbolt::coord

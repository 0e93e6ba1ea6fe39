// A member of etcd that answers what a test tells it to, byte by byte, on loopback and on the thread of the test.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coord/endpoint.h"

namespace ringbolt::coord {

class FakeMember {
 public:
  struct Answer {
    std::vector<std::string> pieces;  ///< none: it keeps silent
    bool close = false;               ///< after that
  };
  /// `request`: its head and body.
  using Answering = std::function<Answer(const std::string& request)>;

  FakeMember(boost::asio::io_context& io, Answering answering);
  ~FakeMember();

  [[nodiscard]] Endpoint endpoint() const;
  /// Whoever connects from now on is refused.
  void stop_listening();

  std::vector<std::string> requests;
  int connections = 0;
  int connections_ended = 0;  ///< by the other end

 private:
  struct Connection;
  void accept();

  boost::asio::io_context& io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  const Answering answering_;
  std::vector<std::weak_ptr<Connection>> open_;
};

/// An answer that says how long it is.
std::string http_answer(unsigned status, const std::string& body);
/// The beginning of one that does not, and a piece of it.
std::string stream_head(unsigned status);
std::string stream_piece(const std::string& text);

}  // namespace ringbolt::coord

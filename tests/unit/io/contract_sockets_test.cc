// The contract of io::Io for sockets, on the real and the simulated implementation.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {

iovec vec(std::string& text) { return {text.data(), text.size()}; }

int32_t send_all(Bed& bed, Socket socket, std::string text) {
  iovec part = vec(text);
  Awaited op;
  bed.io().send(socket, {&part, 1}, op);
  return await(bed, op);
}

}  // namespace

TEST_CASE("io: bytes arrive in order and a plain receive may be partial", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  const bool local = GENERATE(false, true);
  INFO(kind << " " << local);
  const auto bed = make_bed(kind);
  const Pair pair = connect_pair(*bed, local ? bed->unix_address() : bed->tcp_address());
  CHECK(send_all(*bed, pair.client, "hello") == 5);
  std::string got;
  std::string buffer(64, '?');
  Awaited op;
  while (got.size() < 5) {
    bed->io().receive(pair.server, buffer.data(), 64, false, op);
    const int32_t result = await(*bed, op);
    REQUIRE(result >= 1);
    REQUIRE(result <= 5);
    got.append(buffer, 0, static_cast<size_t>(result));
  }
  CHECK(got == "hello");
  CHECK(send_all(*bed, pair.server, "back") == 4);
  bed->io().receive(pair.client, buffer.data(), 4, true, op);
  CHECK(await(*bed, op) == 4);
  CHECK(buffer.substr(0, 4) == "back");
  close_pair(*bed, pair);
}

TEST_CASE("io: an exact receive waits for all of it, or for the end of the stream", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const Pair pair = connect_pair(*bed, bed->tcp_address());
  std::string buffer(10, '?');
  Awaited receive;
  bed->io().receive(pair.server, buffer.data(), 10, true, receive);
  CHECK(send_all(*bed, pair.client, "01234") == 5);
  CHECK_FALSE(receive.done);
  CHECK(send_all(*bed, pair.client, "56789") == 5);
  CHECK(await(*bed, receive) == 10);
  CHECK(buffer == "0123456789");
  CHECK(send_all(*bed, pair.client, "abc") == 3);
  bed->io().close_socket(pair.client);
  bed->io().receive(pair.server, buffer.data(), 10, true, receive);
  CHECK(await(*bed, receive) == 3);
  bed->io().receive(pair.server, buffer.data(), 10, true, receive);
  CHECK(await(*bed, receive) == 0);
  bed->io().close_socket(pair.server);
  bed->io().close_socket(pair.listener);
}

TEST_CASE("io: sixty-four pieces larger than any socket buffer are sent whole", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  const bool local = GENERATE(false, true);
  INFO(kind << " " << local);
  const auto bed = make_bed(kind);
  const Pair pair = connect_pair(*bed, local ? bed->unix_address() : bed->tcp_address());
  std::vector<std::string> pieces;
  std::string all;
  for (uint32_t i = 0; i < 64; ++i) {
    // Odd sizes, empty ones included.
    pieces.push_back(pattern(i % 9 == 4 ? 0 : 150000 + i * 977, i));
    all += pieces.back();
  }
  std::vector<iovec> parts;
  for (std::string& piece : pieces) parts.push_back(vec(piece));
  Awaited send;
  bed->io().send(pair.client, parts, send);
  // Nobody receives: the sender must wait, not buffer without bound.
  Awaited other;
  std::string answer(1, '?');
  bed->io().receive(pair.client, answer.data(), 1, false, other);
  CHECK(send_all(*bed, pair.server, "x") == 1);
  CHECK(await(*bed, other) == 1);
  CHECK_FALSE(send.done);
  std::string got(all.size(), '?');
  Awaited receive;
  bed->io().receive(pair.server, got.data(), static_cast<uint32_t>(got.size()), true, receive);
  REQUIRE(bed->run_until([&] { return send.done && receive.done; }));
  CHECK(send.result == static_cast<int32_t>(all.size()));
  CHECK(receive.result == static_cast<int32_t>(all.size()));
  CHECK((got == all));
  close_pair(*bed, pair);
}

TEST_CASE("io: shutdown ends the pending operations of both ends", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const Pair pair = connect_pair(*bed, bed->tcp_address());
  std::string large(32u << 20, 'x');
  iovec part = vec(large);
  std::string buffer(16, '?');
  std::string peer_buffer(16, '?');
  Awaited send;
  Awaited receive;
  Awaited peer_receive;
  bed->io().send(pair.client, {&part, 1}, send);
  bed->io().receive(pair.client, buffer.data(), 16, true, receive);
  bed->io().shutdown(pair.client);
  REQUIRE(bed->run_until([&] { return send.done && receive.done; }));
  CHECK(send.result < 0);
  CHECK(receive.result <= 0);
  // The peer gets what was sent, then the end or an error.
  int32_t result = 1;
  while (result > 0) {
    bed->io().receive(pair.server, peer_buffer.data(), 16, false, peer_receive);
    result = await(*bed, peer_receive);
  }
  CHECK((result == 0 || result == -ECONNRESET));
  // Later operations end as well.
  bed->io().receive(pair.client, buffer.data(), 16, true, receive);
  CHECK(await(*bed, receive) <= 0);
  CHECK(send_all(*bed, pair.client, "x") < 0);
  close_pair(*bed, pair);
}

TEST_CASE("io: a pending accept can be cancelled and the listener goes on", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const auto listener = bed->io().listen(bed->tcp_address());
  REQUIRE(listener.has_value());
  Awaited accept;
  bed->io().accept(listener.value(), accept);
  bed->io().cancel(accept);
  CHECK_FALSE(accept.done);  // not from inside the call
  CHECK(await(*bed, accept) == -ECANCELED);
  CHECK(accept.calls == 1);
  bed->io().cancel(accept);  // nothing pending: nothing happens
  Awaited connect;
  bed->io().accept(listener.value(), accept);
  bed->io().connect(bed->io().local_address(listener.value()), connect);
  REQUIRE(bed->run_until([&] { return accept.done && connect.done; }));
  CHECK(accept.result >= 0);
  CHECK(connect.result >= 0);
  bed->io().close_socket({accept.result});
  bed->io().close_socket({connect.result});
  bed->io().close_socket(listener.value());
}

TEST_CASE("io: a cancelled connect completes once, cancelled or connected", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const auto listener = bed->io().listen(bed->tcp_address());
  REQUIRE(listener.has_value());
  Awaited connect;
  bed->io().connect(bed->io().local_address(listener.value()), connect);
  bed->io().cancel(connect);
  const int32_t result = await(*bed, connect);
  CHECK((result == -ECANCELED || result >= 0));
  CHECK(connect.calls == 1);
  if (result >= 0) bed->io().close_socket({result});
  bed->io().close_socket(listener.value());
}

TEST_CASE("io: connecting to nobody, or to nonsense, fails in a later turn", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const auto listener = bed->io().listen(bed->tcp_address());
  REQUIRE(listener.has_value());
  const std::string address = bed->io().local_address(listener.value());
  bed->io().close_socket(listener.value());
  Awaited connect;
  bed->io().connect(address, connect);
  CHECK(await(*bed, connect) == -ECONNREFUSED);
  bed->io().connect("nonsense", connect);
  CHECK_FALSE(connect.done);
  CHECK(connect.pending());
  CHECK(await(*bed, connect) < 0);
}

TEST_CASE("io: both ends of a connection can be named", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  SECTION("TCP") {
    const Pair pair = connect_pair(*bed, bed->tcp_address());
    const std::string server = bed->io().local_address(pair.listener);
    CHECK(bed->io().peer_address(pair.client) == server);
    const std::string client = bed->io().peer_address(pair.server);
    CHECK(client != server);
    CHECK(client.substr(0, client.rfind(':')) != "");
    CHECK(client.find_first_not_of("0123456789", client.rfind(':') + 1) == std::string::npos);
    const Pair other = connect_pair(*bed, bed->tcp_address());
    CHECK(bed->io().peer_address(other.server) != client);
    close_pair(*bed, other);
    close_pair(*bed, pair);
  }
  SECTION("unix") {
    const Pair pair = connect_pair(*bed, bed->unix_address());
    CHECK(bed->io().peer_address(pair.client) == bed->unix_address());
    CHECK(bed->io().peer_address(pair.server) == bed->unix_address());
    close_pair(*bed, pair);
  }
}

TEST_CASE("io: an address is listened on once", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const auto first = bed->io().listen(bed->tcp_address());
  REQUIRE(first.has_value());
  const std::string address = bed->io().local_address(first.value());
  CHECK(address.find(":0") == std::string::npos);
  const auto second = bed->io().listen(address);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::kBusy);
  bed->io().close_socket(first.value());
  const auto third = bed->io().listen(address);
  CHECK(third.has_value());
  bed->io().close_socket(third.value());
  CHECK(bed->io().listen("no port").error().code == Errc::kInvalid);
}

TEST_CASE("io: a stale unix socket is replaced, a live one is busy", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const auto first = bed->io().listen(bed->unix_address());
  REQUIRE(first.has_value());
  CHECK(bed->io().local_address(first.value()) == bed->unix_address());
  CHECK(bed->io().listen(bed->unix_address()).error().code == Errc::kBusy);
  bed->io().close_socket(first.value());
  if (kind == "ring") {
    // Closed in order it leaves nothing behind; a killed process leaves the socket's file.
    const std::string path = bed->unix_address().substr(5);
    CHECK(::access(path.c_str(), F_OK) != 0);
    const int killed = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof(name.sun_path));
    path.copy(name.sun_path, path.size());
    REQUIRE(::bind(killed, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0);
    ::close(killed);
    CHECK(::access(path.c_str(), F_OK) == 0);
  }
  const auto second = bed->io().listen(bed->unix_address());
  REQUIRE(second.has_value());
  bed->io().close_socket(second.value());
}

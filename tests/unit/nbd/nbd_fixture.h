// A simulated NBD server with one volume in memory, and raw clients for it: what the NBD tests and
// fuzz targets are built from.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/sim_io.h"
#include "nbd/connection_set.h"
#include "nbd/listener.h"
#include "nbd/protocol.h"
#include "tests/unit/nbd/fake_service.h"

namespace ringbolt::test {

/// Bytes for the wire, big-endian.
class Wire {
 public:
  template <class Integer>
  Wire& number(Integer value) {
    std::byte bytes[sizeof(value)];
    nbd::store(bytes, value);
    out_.append(reinterpret_cast<const char*>(bytes), sizeof(value));
    return *this;
  }
  Wire& text(std::string_view bytes) {
    out_.append(bytes);
    return *this;
  }
  [[nodiscard]] const std::string& str() const { return out_; }

 private:
  std::string out_;
};

inline std::string client_flags(uint32_t flags = 3) { return Wire().number(flags).str(); }

inline std::string option(uint32_t number, std::string_view data = {}) {
  return Wire()
      .number(nbd::kOptionMagic)
      .number(number)
      .number(static_cast<uint32_t>(data.size()))
      .text(data)
      .str();
}

inline std::string go_data(std::string_view name, const std::vector<uint16_t>& infos = {}) {
  Wire wire;
  wire.number(static_cast<uint32_t>(name.size())).text(name);
  wire.number(static_cast<uint16_t>(infos.size()));
  for (const uint16_t info : infos) wire.number(info);
  return wire.str();
}

inline std::string meta_data(std::string_view name, const std::vector<std::string>& queries) {
  Wire wire;
  wire.number(static_cast<uint32_t>(name.size())).text(name);
  wire.number(static_cast<uint32_t>(queries.size()));
  for (const std::string& query : queries) {
    wire.number(static_cast<uint32_t>(query.size())).text(query);
  }
  return wire.str();
}

inline std::string request(uint16_t command, uint64_t cookie, uint64_t offset, uint32_t length,
                           uint16_t flags = 0, std::string_view payload = {}) {
  std::byte header[nbd::kRequestBytes];
  nbd::encode_request(header, {flags, command, cookie, offset, length});
  std::string out(reinterpret_cast<const char*>(header), sizeof(header));
  out.append(payload);
  return out;
}

/// Bytes that differ from place to place and from seed to seed.
inline std::string pattern(size_t bytes, uint64_t seed) {
  std::string out(bytes, '\0');
  io::SimRandom random(seed);
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t value = random.next();
    std::memcpy(out.data() + i, &value, std::min<size_t>(8, bytes - i));
  }
  return out;
}

class FakeDirectory final : public nbd::ExportDirectory {
 public:
  std::map<std::string, nbd::ExportLookup, std::less<>> exports;
  void add(const std::string& name, uint64_t size_bytes) {
    nbd::ExportLookup found;
    found.status = nbd::ExportLookup::Status::kFound;
    found.name = name;
    found.description = "a test volume";
    found.size_bytes = size_bytes;
    exports[name] = found;
  }
  void refuse(const std::string& name, const std::string& reason) {
    exports[name] = {};
    exports[name].status = nbd::ExportLookup::Status::kRefused;
    exports[name].reason = reason;
  }
  void list(std::vector<std::string>& names) override {
    for (const auto& [name, lookup] : exports) names.push_back(name);
  }
  nbd::ExportLookup find(std::string_view name) override {
    const auto found = exports.find(name);
    return found == exports.end() ? nbd::ExportLookup{} : found->second;
  }
};

struct ServerOptions {
  uint64_t volume_bytes = 8u << 20;
  uint64_t pool_bytes = 64u << 20;
  uint32_t connections_max = 4096;
  nbd::ListenerOptions listener;
  nbd::ConnectionOptions connection;
};

inline ServerOptions sized(uint64_t volume_bytes, uint64_t pool_bytes = 64u << 20) {
  ServerOptions options;
  options.volume_bytes = volume_bytes;
  options.pool_bytes = pool_bytes;
  return options;
}

/// Node "server", listening on "server:10809", export "vol0".
class Server final : private nbd::ClientLog, private nbd::HandOver {
 public:
  explicit Server(io::SimWorld& world, ServerOptions options = {})
      : node(world.add_node("server")),
        io(node.create_io()),
        pool(options.pool_bytes),
        log(*io, *this),
        service(world, pool, options.volume_bytes),
        limit(options.connections_max),
        set(*io, pool, log, options.connection),
        listener({*io, directory, *this, log, limit}, options.listener) {
    io->attach_pool(&pool);
    directory.add("vol0", options.volume_bytes);
    RINGBOLT_ASSERT(listener.listen("server:10809").has_value());
  }
  ~Server() override { io->attach_pool(nullptr); }

  io::SimNode& node;
  std::unique_ptr<io::SimIo> io;
  io::BufferPool pool;
  nbd::LimitedClientLog log;
  FakeService service;
  FakeDirectory directory;
  nbd::ConnectionLimit limit;
  nbd::ConnectionSet set;
  nbd::Listener listener;
  std::vector<std::string> lines;
  uint64_t lines_left_out = 0;
  nbd::HandOver& hand_over() { return *this; }

 private:
  void client_line(const nbd::ClientLine& line) override {
    // Whatever a line is about: it says who it was, in words and as fields.
    RINGBOLT_ASSERT(line.words.find(" at client:") != line.words.npos || line.words.find(" at server:10809") != line.words.npos);
    RINGBOLT_ASSERT(line.address.empty() || line.words.find(" at " + std::string(line.address)) != line.words.npos);
    RINGBOLT_ASSERT((line.words.find(" of vol0 at ") != line.words.npos) == (line.volume == "vol0"));
    lines.emplace_back(line.words);
    lines_left_out += line.left_out;
  }
  void attach(nbd::Client client) override { set.add(std::move(client), service); }
};

/// A socket to the server that sends what it is told and keeps what it gets.
class RawClient {
 public:
  RawClient(io::SimWorld& world, io::SimIo& io) : world_(world), io_(io) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { hang_up(); }

  std::string received;
  bool closed = false;  ///< the server closed or reset
  bool reading = true;

  void connect() {
    io_.connect("server:10809", connect_);
    RINGBOLT_ASSERT(world_.run_until([&] { return !connect_.pending(); }, 10 * io::kSecond));
    RINGBOLT_ASSERT(socket_.is_open());
  }

  void send(std::string_view bytes) {
    to_send_.append(bytes);
    pump();
  }
  void read_on() {
    reading = true;
    pump();
  }
  /// Runs the world until that many bytes are here, or the server closed.
  bool wait_bytes(size_t bytes, io::Nanos limit = 60 * io::kSecond) {
    world_.run_until([&] { return received.size() >= bytes || closed; }, limit);
    return received.size() >= bytes;
  }
  bool wait_closed(io::Nanos limit = 60 * io::kSecond) {
    return world_.run_until([&] { return closed; }, limit);
  }
  /// Takes bytes off the front of what was received, waiting for them.
  std::string take(size_t bytes) {
    RINGBOLT_ASSERT(wait_bytes(bytes));
    std::string out = received.substr(0, bytes);
    received.erase(0, bytes);
    return out;
  }
  void hang_up() {
    if (!socket_.is_open()) return;
    leaving_ = true;
    io_.shutdown(socket_);
    world_.run_until([&] { return !send_.pending() && !receive_.pending(); }, 10 * io::kSecond);
    RINGBOLT_ASSERT(!send_.pending() && !receive_.pending());
    io_.close_socket(std::exchange(socket_, io::Socket{}));
  }

 private:
  void pump() {
    if (!socket_.is_open() || closed || leaving_) return;
    if (!send_.pending() && !to_send_.empty()) {
      sending_ = std::exchange(to_send_, {});
      iov_ = {sending_.data(), sending_.size()};
      io_.send(socket_, std::span(&iov_, 1), send_);
    }
    if (reading && !receive_.pending()) {
      io_.receive(socket_, buffer_.data(), static_cast<uint32_t>(buffer_.size()), false, receive_);
    }
  }
  void on_connected(int32_t result) {
    if (result < 0) return;
    socket_ = {result};
    pump();
  }
  void on_sent(int32_t result) {
    if (result >= 0) pump();
  }
  void on_received(int32_t result) {
    if (result <= 0) {
      closed = true;
      return;
    }
    received.append(buffer_.data(), static_cast<size_t>(result));
    pump();
  }

  io::SimWorld& world_;
  io::SimIo& io_;
  io::Socket socket_;
  bool leaving_ = false;
  std::string to_send_, sending_;
  iovec iov_{};
  std::vector<char> buffer_ = std::vector<char>(256u << 10);
  io::Op<&RawClient::on_connected> connect_{*this};
  io::Op<&RawClient::on_sent> send_{*this};
  io::Op<&RawClient::on_received> receive_{*this};
};

/// One reply of the transmission phase; chunks of one request are put together.
struct Reply {
  uint32_t error = 0;
  std::string data;
  uint32_t chunks = 0;
  std::vector<std::pair<uint32_t, uint32_t>> extents;
};

/// A client that speaks the protocol: handshake, requests, replies by cookie.
class NbdClient : public RawClient {
 public:
  using RawClient::RawClient;
  std::map<uint64_t, Reply> replies;

  void attach(bool structured = false, bool meta = false, const std::string& name = "vol0") {
    connect();
    std::string bytes = client_flags();
    if (structured) bytes += option(nbd::kOptStructuredReply);
    if (meta) bytes += option(nbd::kOptSetMetaContext, meta_data(name, {"base:allocation"}));
    bytes += option(nbd::kOptGo, go_data(name));
    send(bytes);
    take(nbd::kGreetingBytes);
    structured_ = structured;
    if (structured) take(nbd::kOptionReplyHeaderBytes);
    if (meta) take(nbd::kOptionReplyHeaderBytes * 2 + 4 + 15);
    go_reply = take(nbd::kOptionReplyHeaderBytes * 3 + 12 + 14);
  }
  std::string go_reply;

  void read(uint64_t cookie, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    reads_[cookie] = {offset, length};
    send(request(nbd::kCommandRead, cookie, offset, length, flags));
  }
  void write(uint64_t cookie, uint64_t offset, std::string_view payload, uint16_t flags = 0) {
    send(request(nbd::kCommandWrite, cookie, offset, static_cast<uint32_t>(payload.size()), flags,
                 payload));
  }
  /// Waits for the reply of one request.
  Reply wait(uint64_t cookie) {
    while (!replies.contains(cookie)) RINGBOLT_ASSERT(parse_one());
    Reply reply = std::move(replies[cookie]);
    replies.erase(cookie);
    return reply;
  }
  Reply do_read(uint64_t offset, uint32_t length, uint16_t flags = 0) {
    read(++next_cookie_, offset, length, flags);
    return wait(next_cookie_);
  }
  uint32_t do_write(uint64_t offset, std::string_view payload, uint16_t flags = 0) {
    write(++next_cookie_, offset, payload, flags);
    return wait(next_cookie_).error;
  }
  Reply do_plain(uint16_t command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    send(request(command, ++next_cookie_, offset, length, flags));
    return wait(next_cookie_);
  }

  /// Takes the next reply or chunk; false if the connection ended first.
  bool parse_one() {
    if (!wait_bytes(4)) return false;
    if (number<uint32_t>(0) == nbd::kChunkMagic) return parse_chunk();
    RINGBOLT_ASSERT(number<uint32_t>(0) == nbd::kSimpleReplyMagic);
    if (!wait_bytes(nbd::kSimpleReplyBytes)) return false;
    const auto cookie = number<uint64_t>(8);
    Reply reply;
    reply.error = number<uint32_t>(4);
    reply.chunks = 1;
    uint32_t length = 0;
    if (const auto read = reads_.find(cookie); read != reads_.end()) {
      RINGBOLT_ASSERT(!structured_);
      if (reply.error == 0) length = read->second.second;
      reads_.erase(read);
    }
    if (!wait_bytes(nbd::kSimpleReplyBytes + length)) return false;
    take(nbd::kSimpleReplyBytes);
    reply.data = take(length);
    RINGBOLT_ASSERT(replies.emplace(cookie, std::move(reply)).second);
    return true;
  }

 private:
  template <class Integer>
  [[nodiscard]] Integer number(size_t at) const {
    return nbd::load<Integer>(reinterpret_cast<const std::byte*>(received.data()) + at);
  }

  bool parse_chunk() {
    RINGBOLT_ASSERT(structured_);
    if (!wait_bytes(nbd::kChunkHeaderBytes)) return false;
    const auto flags = number<uint16_t>(4);
    const auto type = number<uint16_t>(6);
    const auto cookie = number<uint64_t>(8);
    const auto bytes = number<uint32_t>(16);
    if (!wait_bytes(nbd::kChunkHeaderBytes + bytes)) return false;
    take(nbd::kChunkHeaderBytes);
    Reply& reply = partial_[cookie];
    ++reply.chunks;
    take_chunk_payload(reply, cookie, type, bytes);
    if ((flags & nbd::kChunkFlagDone) != 0) {
      RINGBOLT_ASSERT(replies.emplace(cookie, std::move(reply)).second);
      partial_.erase(cookie);
      reads_.erase(cookie);
    }
    return true;
  }
  void take_chunk_payload(Reply& reply, uint64_t cookie, uint16_t type, uint32_t bytes) {
    if (type == nbd::kChunkOffsetData) {
      const auto [offset, length] = reads_.at(cookie);
      const uint64_t at = number<uint64_t>(0) - offset;
      RINGBOLT_ASSERT(bytes > 8 && at + bytes - 8 <= length);
      reply.data.resize(length);
      take(8);
      const std::string data = take(bytes - 8);
      std::memcpy(reply.data.data() + at, data.data(), data.size());
    } else if (type == nbd::kChunkBlockStatus) {
      RINGBOLT_ASSERT(bytes == 12 && number<uint32_t>(0) == nbd::kBaseAllocationId);
      reply.extents.emplace_back(number<uint32_t>(4), number<uint32_t>(8));
      take(bytes);
    } else if ((type & (1u << 15)) != 0) {
      RINGBOLT_ASSERT(bytes >= 6);
      reply.error = number<uint32_t>(0);
      RINGBOLT_ASSERT(reply.error != 0);
      take(bytes);
    } else {
      RINGBOLT_ASSERT(type == nbd::kChunkNone && bytes == 0);
    }
  }

  bool structured_ = false;
  uint64_t next_cookie_ = uint64_t{1} << 40;
  std::map<uint64_t, std::pair<uint64_t, uint32_t>> reads_;
  std::map<uint64_t, Reply> partial_;
};

/// World, server and a node for clients, as most tests need them.
struct Fixture {
  explicit Fixture(ServerOptions options = {}, uint64_t seed = 1)
      : world({.seed = seed}),
        server(world, options),
        client_io(world.add_node("client").create_io()) {}

  /// Ends everything in order and checks that nothing is left behind.
  void finish() {
    bool stopped = false, emptied = false;
    server.listener.stop([&] { stopped = true; });
    server.set.close_all([&] { emptied = true; });
    RINGBOLT_ASSERT(world.run_until([&] { return stopped && emptied; }, 60 * io::kSecond));
    RINGBOLT_ASSERT(server.pool.used_bytes() == 0 && !server.pool.has_waiters());
    RINGBOLT_ASSERT(server.service.open == 0 && server.service.clients == 0);
    RINGBOLT_ASSERT(server.io->pending_operations() == 0);
  }

  io::SimWorld world;
  Server server;
  std::unique_ptr<io::SimIo> client_io;
};

}  // namespace ringbolt::test

#include "bench/nbd_load/client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "bench/random_bytes.h"

namespace ringbolt::bench {

namespace {

constexpr int kSilenceMillisecondsMax = 30'000;
constexpr size_t kPatternBytes = 1u << 20;
constexpr size_t kReplyBytesMax = 1u << 16;

uint64_t now_nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

Error failed(const char* what) {
  return make_error(Errc::kIo, fmt::format("{}: {}", what, std::strerror(errno)));
}

int connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

int connect_tcp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    errno = EADDRNOTAVAIL;
    return -1;
  }
  int fd = -1;
  for (const addrinfo* at = found; at != nullptr && fd < 0; at = at->ai_next) {
    fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0) continue;
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
      const int one = 1;
      if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0) break;
    }
    const int error = errno;
    close(fd);
    errno = error;
    fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

}  // namespace

LoadClient::LoadClient(const LoadOptions& options)
    : options_(options),
      random_(options.seed * 0x9E3779B97F4A7C15ull + 1),
      slots_(options.depth),
      pattern_(random_bytes(kPatternBytes + options.block_bytes)),
      in_(2 * (size_t{options.block_bytes} + nbd::kSimpleReplyBytes) + (256u << 10)) {
  for (uint32_t slot = 0; slot < options.depth; ++slot) free_slots_.push_back(slot);
}

LoadClient::~LoadClient() {
  if (fd_ >= 0) close(fd_);
}

Status LoadClient::open_socket() {
  static constexpr std::string_view kTcp = "nbd://";
  static constexpr std::string_view kUnix = "nbd+unix:///";
  static constexpr std::string_view kSocket = "?socket=";
  const std::string& uri = options_.uri;
  if (uri.starts_with(kUnix)) {
    const size_t query = uri.find(kSocket);
    if (query == std::string::npos)
      return make_error(Errc::kInvalid, "no ?socket=PATH in the URI " + uri);
    export_name_ = uri.substr(kUnix.size(), query - kUnix.size());
    fd_ = connect_unix(uri.substr(query + kSocket.size()));
  } else if (uri.starts_with(kTcp)) {
    const std::string rest = uri.substr(kTcp.size());
    const size_t slash = std::min(rest.find('/'), rest.size());
    const size_t colon = rest.rfind(':', slash);
    if (colon == std::string::npos) return make_error(Errc::kInvalid, "no port in the URI " + uri);
    if (slash < rest.size()) export_name_ = rest.substr(slash + 1);
    fd_ = connect_tcp(rest.substr(0, colon), rest.substr(colon + 1, slash - colon - 1));
  } else {
    return make_error(Errc::kInvalid, "not an NBD URI: " + uri);
  }
  if (fd_ < 0) return failed(("connecting to " + uri).c_str());
  const timeval limit{kSilenceMillisecondsMax / 1000, 0};
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
    return failed("setsockopt");
  return boost::outcome_v2::success();
}

Status LoadClient::send_all(const void* data, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(fd_, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed("send");
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
  return boost::outcome_v2::success();
}

Status LoadClient::receive_all(void* data, size_t bytes) {
  auto* at = static_cast<std::byte*>(data);
  while (bytes > 0) {
    const ssize_t received = recv(fd_, at, bytes, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return failed("receive");
    if (received == 0) return make_error(Errc::kIo, "the server closed the connection");
    at += received;
    bytes -= static_cast<size_t>(received);
  }
  return boost::outcome_v2::success();
}

Status LoadClient::connect() {
  BOOST_OUTCOME_TRY(open_socket());
  return negotiate();
}

Status LoadClient::negotiate() {
  std::array<std::byte, nbd::kGreetingBytes> greeting;
  BOOST_OUTCOME_TRY(receive_all(greeting.data(), greeting.size()));
  if (nbd::load<uint64_t>(greeting.data()) != nbd::kGreetingMagic ||
      nbd::load<uint64_t>(greeting.data() + 8) != nbd::kOptionMagic) {
    return make_error(Errc::kInvalid, "not a newstyle NBD server");
  }
  std::vector<std::byte> hello(nbd::kClientFlagsBytes + nbd::kOptionHeaderBytes + 4 +
                               export_name_.size() + 2);
  std::byte* at =
      nbd::store(hello.data(), nbd::kClientFlagFixedNewstyle | nbd::kClientFlagNoZeroes);
  at = nbd::store(at, nbd::kOptionMagic);
  at = nbd::store(at, nbd::kOptGo);
  at = nbd::store(at, static_cast<uint32_t>(4 + export_name_.size() + 2));
  at = nbd::store(at, static_cast<uint32_t>(export_name_.size()));
  std::memcpy(at, export_name_.data(), export_name_.size());
  nbd::store(at + export_name_.size(), uint16_t{0});
  BOOST_OUTCOME_TRY(send_all(hello.data(), hello.size()));
  for (bool done = false; !done;) {
    BOOST_OUTCOME_TRY(take_option_reply(&done));
  }
  if (size_bytes_ < options_.block_bytes)
    return make_error(Errc::kInvalid, "the export is smaller than a request");
  return boost::outcome_v2::success();
}

Status LoadClient::take_option_reply(bool* done) {
  std::array<std::byte, nbd::kOptionReplyHeaderBytes> header;
  BOOST_OUTCOME_TRY(receive_all(header.data(), header.size()));
  const auto type = nbd::load<uint32_t>(header.data() + 12);
  const auto bytes = nbd::load<uint32_t>(header.data() + 16);
  if (nbd::load<uint64_t>(header.data()) != nbd::kOptionReplyMagic || bytes > kReplyBytesMax) {
    return make_error(Errc::kInvalid, "malformed option reply");
  }
  std::vector<std::byte> payload(bytes);
  BOOST_OUTCOME_TRY(receive_all(payload.data(), payload.size()));
  if (type == nbd::kRepAck) {
    *done = true;
  } else if ((type & nbd::kRepErrorBit) != 0) {
    return make_error(
        Errc::kNotFound,
        fmt::format("the server refused the export: {}",
                    std::string_view(reinterpret_cast<const char*>(payload.data()), bytes)));
  } else if (type == nbd::kRepInfo && bytes == 12 &&
             nbd::load<uint16_t>(payload.data()) == nbd::kInfoExport) {
    size_bytes_ = nbd::load<uint64_t>(payload.data() + 2);
    const auto offered = nbd::load<uint16_t>(payload.data() + 10);
    if (options_.fua && (offered & nbd::kTransmissionSendFua) == 0)
      return make_error(Errc::kUnsupported, "the server does not offer FUA");
    if (options_.flush_every != 0 && (offered & nbd::kTransmissionSendFlush) == 0)
      return make_error(Errc::kUnsupported, "the server does not offer flushes");
  }
  return boost::outcome_v2::success();
}

uint64_t LoadClient::next_random() {  // splitmix64
  random_ += 0x9E3779B97F4A7C15ull;
  uint64_t value = random_;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
  return value ^ (value >> 31);
}

nbd::RequestHeader LoadClient::next_request() {
  nbd::RequestHeader header;
  if (options_.flush_every != 0 && unflushed_ == options_.flush_every) {
    unflushed_ = 0;
    header.command = nbd::kCommandFlush;
    return header;
  }
  const uint64_t places = size_bytes_ / options_.block_bytes;
  const bool is_read = next_random() % 100 < options_.read_percent;
  const uint64_t place = options_.sequential ? next_offset_++ % places : next_random() % places;
  header.command = is_read ? nbd::kCommandRead : nbd::kCommandWrite;
  header.flags = !is_read && options_.fua ? nbd::kCommandFlagFua : uint16_t{0};
  header.offset = place * options_.block_bytes;
  header.length = options_.block_bytes;
  if (!is_read) ++unflushed_;
  return header;
}

void LoadClient::issue(uint32_t slot, uint64_t now) {
  nbd::RequestHeader header = next_request();
  header.cookie = slot;
  slots_[slot] = {now, header.command, true};
  ++in_flight_;
  const bool is_write = header.command == nbd::kCommandWrite;
  const size_t at = out_.size();
  out_.resize(at + nbd::kRequestBytes + (is_write ? options_.block_bytes : 0));
  nbd::encode_request(&out_[at], header);
  if (!is_write) return;
  std::memcpy(&out_[at + nbd::kRequestBytes], &pattern_[next_random() % kPatternBytes],
              options_.block_bytes);
  ++stamp_;  // no two writes are the same
  std::memcpy(&out_[at + nbd::kRequestBytes], &stamp_, sizeof stamp_);
}

Result<bool> LoadClient::transfer() {
  bool moved = false;
  if (out_sent_ < out_.size()) {
    const ssize_t sent =
        send(fd_, &out_[out_sent_], out_.size() - out_sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return failed("send");
    if (sent > 0) {
      out_sent_ += static_cast<size_t>(sent);
      moved = true;
    }
    if (out_sent_ == out_.size()) {
      out_.clear();
      out_sent_ = 0;
    }
  }
  std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
  in_end_ -= in_begin_;
  in_begin_ = 0;
  const ssize_t received = recv(fd_, &in_[in_end_], in_.size() - in_end_, MSG_DONTWAIT);
  if (received == 0) return make_error(Errc::kIo, "the server closed the connection");
  if (received < 0 && errno != EAGAIN && errno != EINTR) return failed("receive");
  if (received > 0) {
    in_end_ += static_cast<size_t>(received);
    moved = true;
  }
  return moved;
}

Status LoadClient::take_replies(LoadResult& result) {
  const uint64_t now = now_nanoseconds();
  while (in_end_ - in_begin_ >= nbd::kSimpleReplyBytes) {
    const std::byte* at = &in_[in_begin_];
    const auto error = nbd::load<uint32_t>(at + 4);
    const auto cookie = nbd::load<uint64_t>(at + 8);
    if (nbd::load<uint32_t>(at) != nbd::kSimpleReplyMagic || cookie >= slots_.size() ||
        !slots_[cookie].busy) {
      return make_error(Errc::kInvalid, "a reply that belongs to no request");
    }
    if (error != nbd::kErrorNone)
      return make_error(Errc::kIo, fmt::format("a request failed with error {}", error));
    Slot& slot = slots_[cookie];
    const bool is_read = slot.command == nbd::kCommandRead;
    const size_t bytes = nbd::kSimpleReplyBytes + (is_read ? options_.block_bytes : 0);
    if (in_end_ - in_begin_ < bytes) break;
    in_begin_ += bytes;
    slot.busy = false;
    --in_flight_;
    free_slots_.push_back(static_cast<uint32_t>(cookie));
    const bool is_flush = slot.command == nbd::kCommandFlush;
    ++(is_flush ? result.flushes : is_read ? result.reads : result.writes);
    (is_flush ? result.flush_latency : result.latency).add(now - slot.began);
  }
  return boost::outcome_v2::success();
}

Status LoadClient::wait_for_socket() {
  pollfd waiting{fd_, static_cast<short>(POLLIN | (out_sent_ < out_.size() ? POLLOUT : 0)), 0};
  const int ready = poll(&waiting, 1, kSilenceMillisecondsMax);
  if (ready < 0 && errno != EINTR) return failed("poll");
  if (ready == 0) return make_error(Errc::kIo, "the server did not answer for 30 s");
  return boost::outcome_v2::success();
}

Result<LoadResult> LoadClient::run() {
  LoadResult result;
  const uint64_t begin = now_nanoseconds();
  const uint64_t end = begin + static_cast<uint64_t>(options_.seconds * 1e9);
  while (true) {
    const uint64_t now = now_nanoseconds();
    while (now < end && !free_slots_.empty()) {
      const uint32_t slot = free_slots_.back();
      free_slots_.pop_back();
      issue(slot, now);
    }
    if (in_flight_ == 0) break;
    BOOST_OUTCOME_TRY(const bool moved, transfer());
    BOOST_OUTCOME_TRY(take_replies(result));
    if (!moved) {
      BOOST_OUTCOME_TRY(wait_for_socket());
    }
  }
  result.seconds = static_cast<double>(now_nanoseconds() - begin) / 1e9;
  std::array<std::byte, nbd::kRequestBytes> goodbye;
  nbd::RequestHeader disconnect;
  disconnect.command = nbd::kCommandDisconnect;
  nbd::encode_request(goodbye.data(), disconnect);
  BOOST_OUTCOME_TRY(send_all(goodbye.data(), goodbye.size()));
  return result;
}

}  // namespace ringbolt::bench

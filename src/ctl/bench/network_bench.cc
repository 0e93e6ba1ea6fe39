#include "ctl/bench/network_bench.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <deque>

#include "ctl/bench/block_memory.h"
#include "repl/wire.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::ctl::bench {

namespace {

constexpr uint32_t kStreamBytes = 256u << 10;
/// For the connection, and for each answer.
constexpr io::Nanos kPatience = 10 * io::kSecond;

/// One workload on a connection of its own, until its time is over and all is answered.
class NetworkRun {
 public:
  NetworkRun(io::RingIo& io, const Workload& work, Clock::duration time)
      : io_(io), work_(work), time_(time), content_(7), payload_(block_memory(work.bytes, content_)), payload_crc_(crc32c(payload_.get(), work.bytes)) {}
  ~NetworkRun() {
    io_.disarm(patience_);
    if (socket_.is_open()) io_.close_socket(socket_);
  }
  NetworkRun(const NetworkRun&) = delete;
  NetworkRun& operator=(const NetworkRun&) = delete;

  Measured run(const std::string& label, const std::string& address) {
    samples_.begin();
    io_.arm(patience_, kPatience);
    io_.connect(address, connect_);
    const Status status = io_.run({});
    Measured measured = samples_.summary(label, work_);
    measured.problem = status.has_value() ? problem_ : status.error().message;
    return measured;
  }

 private:
  void on_connected(int32_t result) {
    if (result < 0) return end(problem_.empty() ? fmt::format("connect: {}", std::strerror(-result)) : problem_);
    socket_ = io::Socket{result};
    if (!problem_.empty()) return end(problem_);
    samples_.begin();
    receive_more();
    send_more();
  }

  void send_more() {
    const bool over = Clock::now() - samples_.began() >= time_;
    if (send_.pending() || !problem_.empty() || over || sent_at_.size() >= work_.depth) return;
    repl::MessageHeader header;
    header.type = repl::MessageType::kMeasure;
    header.version = repl::kVersionMin;
    header.sequence = ++sent_;
    header.payload_bytes = work_.bytes;
    header.payload_crc = payload_crc_;
    repl::encode_header(header, head_.data());
    iov_ = {iovec{head_.data(), head_.size()}, iovec{payload_.get(), work_.bytes}};
    sent_at_.push_back(Clock::now());
    io_.send(socket_, iov_, send_);
  }

  void on_sent(int32_t result) {
    if (result < 0) return end(fmt::format("send: {}", std::strerror(-result)));
    if (!problem_.empty()) return stop_if_quiet();
    send_more();
  }

  void receive_more() { io_.receive(socket_, answer_.data(), static_cast<uint32_t>(answer_.size()), true, receive_); }

  void on_answer(int32_t result) {
    if (!problem_.empty()) return stop_if_quiet();
    if (result < 0) return end(fmt::format("receive: {}", std::strerror(-result)));
    if (result < static_cast<int32_t>(answer_.size())) {
      return end("the node there ended the connection: its ringboltd is older than this program, or others measure there");
    }
    const auto header = repl::decode_header(answer_);
    if (header.has_error()) return end(header.error().message);
    if (header.value().type != repl::MessageType::kMeasureAck || header.value().sequence != answered_ + 1 || sent_at_.empty()) {
      return end("the node there answered something else");
    }
    ++answered_;
    samples_.add(Clock::now() - sent_at_.front());
    sent_at_.pop_front();
    io_.arm(patience_, kPatience);
    send_more();
    if (sent_at_.empty()) return stop_if_quiet();
    receive_more();
  }

  void on_patience() { end(socket_.is_open() ? "no answer within 10 s" : "no connection within 10 s"); }

  void end(const std::string& why) {
    if (problem_.empty()) problem_ = why;
    if (socket_.is_open()) io_.shutdown(socket_);
    if (connect_.pending()) io_.cancel(connect_);
    stop_if_quiet();
  }

  void stop_if_quiet() {
    if (!connect_.pending() && !send_.pending() && !receive_.pending()) io_.stop();
  }

  io::RingIo& io_;
  const Workload& work_;
  Clock::duration time_;
  Sequence content_;
  BlockMemory payload_;
  uint32_t payload_crc_;
  Samples samples_;
  io::Socket socket_;
  std::array<std::byte, repl::kHeaderBytes> head_{}, answer_{};
  std::array<iovec, 2> iov_{};
  std::deque<Clock::time_point> sent_at_;  // of those that are not answered
  uint64_t sent_ = 0, answered_ = 0;
  std::string problem_;
  io::Op<&NetworkRun::on_connected> connect_{*this};
  io::Op<&NetworkRun::on_sent> send_{*this};
  io::Op<&NetworkRun::on_answer> receive_{*this};
  io::TimerOf<&NetworkRun::on_patience> patience_{*this};
};

}  // namespace

void bench_network(io::RingIo& io, const std::string& label, const std::string& address, Clock::duration time,
                   const std::function<void(const Measured&)>& tell) {
  const Workload workloads[] = {{"round_trip", "4 KiB there, an answer back", kBlockBytes, 1}, {"stream", "256 KiB there, an answer each", kStreamBytes, 8}};
  for (const Workload& work : workloads) {
    const Measured measured = NetworkRun(io, work, time).run(label, address);
    tell(measured);
    if (!measured.problem.empty()) return;
  }
}

}  // namespace ringbolt::ctl::bench

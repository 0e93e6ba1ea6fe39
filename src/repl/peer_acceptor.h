// Accepts replication connections, reads the caller's hello within a deadline, and hands the call on; one that only measures the
// way here is answered by MeasureResponder. Bounded in callers; what an unknown caller can cost is one small buffer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/io.h"
#include "repl/measure_responder.h"
#include "repl/replica.h"

namespace ringbolt::repl {

/// Takes a call to the shard that owns its volume; refuses callers of unknown volumes.
class CallRouter {
 public:
  virtual ~CallRouter() = default;
  /// The router owns the call's socket from here on.
  virtual void route(PeerCall call) = 0;
};

class PeerAcceptor {
 public:
  PeerAcceptor(io::Io& io, CallRouter& router);
  ~PeerAcceptor();
  PeerAcceptor(const PeerAcceptor&) = delete;
  PeerAcceptor& operator=(const PeerAcceptor&) = delete;

  /// `tcp_congestion`: of callers; empty: the host's.
  Status listen(const std::string& address, const std::string& tcp_congestion = {});
  [[nodiscard]] std::string local_address() const { return io_.local_address(socket_); }
  /// Accepts no more, ends callers that have not said hello; calls `stopped` once, possibly at once.
  void stop(std::function<void()> stopped);

 private:
  static constexpr size_t kCallersMax = 256;
  static constexpr io::Nanos kHelloTimeout = 5 * io::kSecond;
  static constexpr io::Nanos kAcceptPause = 100 * io::kMillisecond;
  struct Caller;

  void arm_accept();
  void on_accepted(int32_t result);
  void remove_gone();
  void report_if_stopped();

  io::Io& io_;
  CallRouter& router_;
  io::Socket socket_;
  bool stopping_ = false;
  bool measuring_ended_ = false;
  std::function<void()> stopped_;
  std::vector<std::unique_ptr<Caller>> callers_;
  MeasureResponder measuring_;
  io::Op<&PeerAcceptor::on_accepted> accept_{*this};
  io::TimerOf<&PeerAcceptor::arm_accept> pause_{*this};
  io::DeferredOf<&PeerAcceptor::remove_gone> remove_{*this};
};

}  // namespace ringbolt::repl

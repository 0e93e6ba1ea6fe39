// Answers callers that measure the way to this node (ringboltctl bench): what they send is checked and thrown away, and of each
// message is said that it has come. About no volume, and without a session.
//
// Bounded: a few callers at a time, each with one buffer, one answer in flight, a time for each message and one for all. A caller
// that does not take its answers is not read from.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "io/io.h"
#include "repl/wire.h"

namespace ringbolt::repl {

class MeasureResponder {
 public:
  static constexpr size_t kCallersMax = 4;
  static constexpr io::Nanos kMessageTime = 5 * io::kSecond;
  static constexpr io::Nanos kCallTime = 120 * io::kSecond;

  explicit MeasureResponder(io::Io& io);
  ~MeasureResponder();
  MeasureResponder(const MeasureResponder&) = delete;
  MeasureResponder& operator=(const MeasureResponder&) = delete;

  /// Owns the call's socket from here on. `first`: the header that was read, of type measure and sequence 1. One caller too many
  /// is cut off.
  void take(io::Socket socket, const MessageHeader& first);
  /// Ends all calls and takes no more; `stopped` is called once when they are gone, possibly from inside.
  void stop(std::function<void()> stopped);
  [[nodiscard]] size_t callers() const { return calls_.size(); }

 private:
  struct Call;
  void remove_gone();

  io::Io& io_;
  std::vector<std::unique_ptr<Call>> calls_;
  bool stopping_ = false;
  std::function<void()> stopped_;
  io::DeferredOf<&MeasureResponder::remove_gone> remove_{*this};
};

}  // namespace ringbolt::repl

// Host names to addresses, off the loop's thread: a name server that does not answer keeps a thread
// for many seconds, and a shard must go on serving its clients meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "io/address.h"
#include "io/mailbox.h"
#include "ringbolt/result.h"

namespace ringbolt::io {

class Resolver {
 public:
  /// Blocks; any thread, several at once. As resolve() in address.h.
  using Resolve = std::function<Result<std::vector<SocketAddress>>(const Address&)>;

  /// A name to look up, and the message that brings the answer: its run() finds `addresses`.
  struct Question : Message {
    Address address;
    Result<std::vector<SocketAddress>> addresses = std::vector<SocketAddress>();
  };
  /// Takes an answered question over; any thread.
  using Post = std::function<void(Message*)>;

  Resolver(Resolve resolve, Post post);
  /// Posts nothing from here on, and does not wait for name servers: threads that do end when those
  /// have answered, with nobody listening.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Returns at once. Questions beyond what the threads are busy with wait in order.
  void ask(std::unique_ptr<Question> question);

 private:
  static constexpr size_t kThreadsMax = 4;
  struct State;
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // its threads have a part in it, too: they may outlive this
};

}  // namespace ringbolt::io

// Answers a peer's call with a reject and ends the connection: what a node says to callers that it
// cannot serve. Owns the connections until they are gone.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "repl/link.h"
#include "repl/replica.h"

namespace ringbolt::repl {

class Refusals {
 public:
  Refusals(io::Io& io, io::BufferPool& pool);
  ~Refusals();
  Refusals(const Refusals&) = delete;
  Refusals& operator=(const Refusals&) = delete;

  /// `volume` and `current` are what the copy here is and knows; both nil for a caller that has not been
  /// told to be one of its volume: a stranger must not learn, or be fenced by, another volume's epoch.
  void refuse(const PeerCall& call, Reason reason, const Uuid& volume, Epoch current, const std::string& text);
  /// Ends all connections at once; `stopped` is called when they are gone, possibly from inside.
  void stop(std::function<void()> stopped);

 private:
  static constexpr size_t kOpenMax = 64;
  struct One;
  void remove_closed();

  io::Io& io_;
  io::BufferPool& pool_;
  std::vector<std::unique_ptr<One>> open_;
  std::function<void()> stopped_;
  io::DeferredOf<&Refusals::remove_closed> remove_{*this};
};

}  // namespace ringbolt::repl

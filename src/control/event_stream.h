// Server-sent events as text, and what waits to be sent to one reader of them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace ringbolt {

/// One event as it goes over the wire. `data` of several lines arrives as it is; the others must be one line.
std::string event_text(uint64_t id, std::string_view name, std::string_view data);
/// Readers skip it, and see that the connection is alive.
inline constexpr std::string_view kHeartbeat = ":\n\n";
/// How long a reader is to wait before it connects again.
inline constexpr std::string_view kRetry = "retry: 1000\n\n";

/// Between whoever has events (EventFeed) and the connection that sends them. Bounded: of what is said again and again only
/// the newest is kept, and a reader that is too far behind with the rest is given up.
/// Thread: all members on the control thread.
class EventStream {
 public:
  using Text = std::shared_ptr<const std::string>;  ///< the same for all streams

  explicit EventStream(size_t bytes_max) : bytes_max_(bytes_max) {}

  // --- who has events ---
  /// To be sent after what there is.
  void push(Text text);
  /// Likewise; one of the same key that has not been sent yet is not sent any more.
  void push_newest(const std::string& key, Text text);
  /// No more comes.
  void end();
  /// Nobody reads any more.
  [[nodiscard]] bool closed() const { return closed_; }

  // --- who sends them ---
  /// `ready` is called whenever there is something to do from here on, perhaps from inside of push() and end().
  void on_ready(std::function<void()> ready) { ready_ = std::move(ready); }
  /// Takes as many events as fit in `bytes`, at least one; empty: there are none.
  std::string take(size_t bytes);
  [[nodiscard]] bool ended() const { return ended_ && queue_.empty(); }
  /// More than `bytes_max` wait: nothing of it will be sent, the connection is to be closed.
  [[nodiscard]] bool overrun() const { return overrun_; }
  void close();

 private:
  struct Entry {
    std::string key;  ///< empty: none
    Text text;
  };
  void wake();

  const size_t bytes_max_;
  std::list<Entry> queue_;
  std::map<std::string, std::list<Entry>::iterator> newest_;
  size_t bytes_ = 0;  ///< of those without key
  bool ended_ = false, overrun_ = false, closed_ = false;
  std::function<void()> ready_;
};

}  // namespace ringbolt

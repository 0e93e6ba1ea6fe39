// GET /v1/events: looks at the volumes again and again for as long as somebody listens, and tells all who do what is new.
//
// A look is the same question to the shards that GET /v1/volumes is: events cost the data path nothing else. The next one
// begins `look_interval` after the last one, or later where the shards take long to answer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/admin_limits.h"
#include "control/event_stream.h"
#include "control/status.h"
#include "control/volume_events.h"

namespace ringbolt {

/// Thread: all members on the thread that runs `io`.
class EventFeed : public std::enable_shared_from_this<EventFeed> {
 public:
  /// Asks the daemon for its volumes and arranges for on_look() to be called, once, on this thread.
  using Look = std::function<void()>;

  EventFeed(boost::asio::io_context& io, const AdminLimits& limits, Look look);
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  /// Begins a stream with `node` (JSON) and, when the next look has been, everything as it is then. Null: there are as many
  /// streams as there may be.
  std::shared_ptr<EventStream> open(std::string_view node);
  void on_look(const std::vector<VolumeStatus>& volumes);
  /// Ends all streams, after what waits in them: the daemon stops.
  void end();

 private:
  using Clock = std::chrono::steady_clock;
  struct Reader {
    std::shared_ptr<EventStream> stream;
    bool opened = false;  ///< it has been told everything
  };
  using Readers = std::vector<EventStream*>;

  /// Forgets streams that nobody reads any more. False: there are no others.
  bool prune();
  void look();
  void look_in(Clock::duration time);
  void arm_heartbeat();
  void tell_answering(bool answering);
  void send(const Event& event, const Readers& readers);
  EventStream::Text next_text(std::string_view name, std::string_view data);

  const AdminLimits limits_;
  const Look look_;
  boost::asio::steady_timer look_timer_, overdue_timer_, heartbeat_timer_;
  std::vector<Reader> readers_;
  VolumeWatch watch_;
  uint64_t last_id_ = 0;
  bool looking_ = false;     ///< a question is open
  bool answering_ = true;
  bool heartbeat_armed_ = false;
  Clock::time_point asked_at_, seen_at_;
};

}  // namespace ringbolt

#include "control/event_feed.h"

#include <algorithm>
#include <utility>

#include "control/json.h"

namespace ringbolt {
namespace {

/// The shards are asked for at most this part of their time.
constexpr int kPauseFactor = 8;

uint64_t unix_time_ms() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

/// Of events that are said again and again: a reader who has not been sent the last one needs the newest only.
std::string key_of(const Event& event) {
  if (const auto* volume = std::get_if<VolumeSeen>(&event.what)) return "volume " + volume->volume.name;
  if (const auto* why = std::get_if<WhySeen>(&event.what)) return "why " + why->volume.name;
  if (const auto* rebuild = std::get_if<RebuildSeen>(&event.what)) return "rebuild " + rebuild->volume + " " + rebuild->replica;
  return {};
}

}  // namespace

EventFeed::EventFeed(boost::asio::io_context& io, const AdminLimits& limits, Look look)
    : limits_(limits), look_(std::move(look)), look_timer_(io), overdue_timer_(io), heartbeat_timer_(io) {}

std::shared_ptr<EventStream> EventFeed::open(std::string_view node) {
  prune();
  if (readers_.size() >= limits_.streams) return nullptr;
  auto stream = std::make_shared<EventStream>(limits_.stream_bytes);
  stream->push(std::make_shared<const std::string>(kRetry));
  stream->push(next_text("node", node));
  readers_.push_back({stream, false});
  if (!looking_) look();
  arm_heartbeat();
  return stream;
}

bool EventFeed::prune() {
  // The other owner is the connection.
  std::erase_if(readers_, [](const Reader& reader) { return reader.stream->closed() || reader.stream.use_count() == 1; });
  return !readers_.empty();
}

void EventFeed::look() {
  look_timer_.cancel();
  if (!prune()) {
    watch_ = {};
    return;
  }
  looking_ = true;
  asked_at_ = Clock::now();
  overdue_timer_.expires_after(limits_.answer_time);
  overdue_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    // It may have expired just before the answer came, or another question was asked.
    if (error || !self || !self->looking_ || Clock::now() - self->asked_at_ < self->limits_.answer_time) return;
    self->tell_answering(false);
  });
  look_();
}

void EventFeed::look_in(Clock::duration time) {
  look_timer_.expires_after(time);
  look_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (error) return;
    const auto self = weak.lock();
    if (self && !self->looking_) self->look();
  });
}

void EventFeed::on_look(const std::vector<VolumeStatus>& volumes) {
  looking_ = false;
  overdue_timer_.cancel();
  const Clock::time_point now = Clock::now();
  if (!prune()) {
    watch_ = {};
    return;
  }
  tell_answering(true);
  const std::chrono::duration<double> since = now - seen_at_;
  seen_at_ = now;
  const std::vector<Event> news = watch_.look(volumes, since.count(), unix_time_ms());
  // The connection of a reader that is sent something may end by that, which may change readers_.
  const std::vector<Reader> readers = readers_;
  Readers opened, opening;
  for (const Reader& reader : readers) (reader.opened ? opened : opening).push_back(reader.stream.get());
  for (const Event& event : news) send(event, opened);
  if (!opening.empty()) {
    for (const Event& event : watch_.opening()) send(event, opening);
    for (Reader& reader : readers_) reader.opened = true;
  }
  look_in(std::max<Clock::duration>(limits_.look_interval, kPauseFactor * (now - asked_at_)));
}

void EventFeed::tell_answering(bool answering) {
  if (std::exchange(answering_, answering) == answering) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limits_.answer_time).count();
  const AlarmStatus alarm{Alarm::kNotAnswering, {}, "the daemon's shards have not answered for " + std::to_string(seconds) + " s"};
  const std::vector<Reader> readers = readers_;
  Readers all;
  for (const Reader& reader : readers) all.push_back(reader.stream.get());
  send({unix_time_ms(), AlarmChanged{{}, alarm, !answering}}, all);
}

EventStream::Text EventFeed::next_text(std::string_view name, std::string_view data) {
  return std::make_shared<const std::string>(event_text(++last_id_, name, data));
}

void EventFeed::send(const Event& event, const Readers& readers) {
  if (readers.empty()) return;
  const EventStream::Text text = next_text(name_of(event), to_json(event));
  const std::string key = key_of(event);
  for (EventStream* const reader : readers) {
    if (key.empty()) {
      reader->push(text);
    } else {
      reader->push_newest(key, text);
    }
  }
}

void EventFeed::arm_heartbeat() {
  if (heartbeat_armed_ || readers_.empty()) return;
  heartbeat_armed_ = true;
  heartbeat_timer_.expires_after(limits_.heartbeat);
  heartbeat_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!self) return;
    self->heartbeat_armed_ = false;
    if (error || !self->prune()) return;
    static const EventStream::Text text = std::make_shared<const std::string>(kHeartbeat);
    for (const Reader& reader : std::vector<Reader>(self->readers_)) reader.stream->push_newest("heartbeat", text);
    self->arm_heartbeat();
  });
}

void EventFeed::end() {
  look_timer_.cancel();
  overdue_timer_.cancel();
  heartbeat_timer_.cancel();
  watch_ = {};
  const EventStream::Text text = next_text("end", R"({"reason":"stopping"})");
  for (const Reader& reader : std::exchange(readers_, {})) {
    reader.stream->push(text);
    reader.stream->end();
  }
}

}  // namespace ringbolt

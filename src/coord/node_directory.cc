#include "coord/node_directory.h"

#include <utility>

#include "log/log.h"

namespace ringbolt::coord {

NodeDirectory::NodeDirectory(Store& store, std::string prefix, Span pause, Span look_again, Clock clock, std::function<void()> woken)
    : store_(store), prefix_(std::move(prefix)), pause_(pause), look_again_(look_again), clock_(std::move(clock)), woken_(std::move(woken)) {}

void NodeDirectory::turn() {
  if (looking_ || clock_() < next_at_) return;
  looking_ = true;
  store_.range({prefix_, true, kNodesMax}, [weak = weak_from_this()](const Reply<Entries>& reply) {
    const auto self = weak.lock();
    if (!self) return;
    self->looking_ = false;
    if (reply.has_error()) {
      self->watch_ = nullptr;
      self->next_at_ = self->clock_() + self->pause_;
    } else {
      self->on_look(reply.value());
    }
    self->woken_();
  });
}

void NodeDirectory::on_look(const Entries& found) {
  nodes_.clear();
  for (const Entry& entry : found.entries) take(entry);
  if (found.more) tell_of_others();
  watch(found.stamp.revision + 1);
  next_at_ = clock_() + look_again_;
}

void NodeDirectory::watch(Revision from) {
  watch_ = store_.watch({prefix_, true}, from,
                        {[weak = weak_from_this()](Revision, const std::vector<Event>& events) {
                           if (const auto self = weak.lock()) self->on_events(events);
                         },
                         [weak = weak_from_this()](const WatchEnd& end) {
                           if (const auto self = weak.lock()) self->on_end(end);
                         }});
}

void NodeDirectory::on_events(const std::vector<Event>& events) {
  for (const Event& event : events) {
    if (!event.removed) {
      take(event.entry);
    } else if (event.entry.key.starts_with(prefix_)) {
      nodes_.erase(event.entry.key.substr(prefix_.size()));
    }
  }
}

void NodeDirectory::on_end(const WatchEnd& end) {
  log::debug("coordinator: {}; the nodes are looked up again", end.failure.message);
  watch_ = nullptr;
  if (looking_) return;
  // What is compacted is there to be looked up at once.
  next_at_ = end.compacted != 0 ? clock_() : clock_() + pause_;
  woken_();
}

void NodeDirectory::take(const Entry& entry) {
  if (!entry.key.starts_with(prefix_)) return;
  const std::string id = entry.key.substr(prefix_.size());
  const Result<NodeRecord> record = parse_node_record(entry.value);
  if (record.has_value() && record.value().id == id) {
    const bool room = nodes_.size() < kNodesMax || nodes_.contains(id);
    if (!room) return tell_of_others();
    nodes_[id] = record.value();
    return;
  }
  nodes_.erase(id);
  RINGBOLT_LOG_LIMITED(kWarn, "coordinator: {} is not seen: {}", entry.key, record.has_error() ? record.error().message : "it is another node's record");
}

void NodeDirectory::tell_of_others() const { RINGBOLT_LOG_LIMITED(kWarn, "coordinator: more than {} nodes are registered, the others are not seen", kNodesMax); }

}  // namespace ringbolt::coord

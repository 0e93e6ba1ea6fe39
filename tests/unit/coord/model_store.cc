#include "tests/unit/coord/model_store.h"

#include <algorithm>
#include <utility>

namespace ringbolt::coord {
namespace {

bool is_in(const Range& range, const std::string& key) { return range.prefix ? key.starts_with(range.key) : key == range.key; }

class ModelWatch final : public Watch {
 public:
  explicit ModelWatch(std::shared_ptr<void> listener) : listener_(std::move(listener)) {}

 private:
  std::shared_ptr<void> listener_;
};

}  // namespace

// --- what all members agree on ----------------------------------------------------------------------------

void ModelEtcd::advance(Span span) {
  now_ += span;
  std::vector<LeaseId> ended;
  for (const auto& [id, life] : leases_) {
    if (life.ends_at <= now_) ended.push_back(id);
  }
  for (const LeaseId id : ended) end_lease(id);
}

void ModelEtcd::elect() {
  ++term_;
  for (auto& [id, life] : leases_) life.ends_at = now_ + std::chrono::seconds(life.seconds);
}

void ModelEtcd::end_lease(LeaseId id) {
  leases_.erase(id);
  std::vector<std::string> keys;
  for (const auto& [key, entry] : entries_) {
    if (entry.lease == id) keys.push_back(key);
  }
  bool removed = false;
  for (const std::string& key : keys) removed = remove({key}, revision_ + 1) || removed;
  if (removed) ++revision_;
}

const Entry* ModelEtcd::find(const std::string& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

bool ModelEtcd::holds(const Compare& one) const {
  const Entry* const entry = find(one.key);
  const Entry none;
  const Entry& is = entry == nullptr ? none : *entry;
  switch (one.of) {
    case Compare::Of::kCreated: return is.created == one.number;
    case Compare::Of::kModified: return is.modified == one.number;
    case Compare::Of::kLease: break;
  }
  return is.lease == one.number;
}

std::vector<Entry> ModelEtcd::look(const Range& range) const {
  std::vector<Entry> found;
  for (const auto& [key, entry] : entries_) {
    if (is_in(range, key)) found.push_back(entry);
  }
  return found;
}

void ModelEtcd::put(const std::string& key, const std::string& value, LeaseId lease, Revision at) {
  Entry& entry = entries_[key];
  entry.key = key;
  entry.value = value;
  entry.lease = lease;
  entry.modified = at;
  if (entry.created == 0) entry.created = at;
  ++changes_;
  history_.push_back({at, {entry, false}});
}

bool ModelEtcd::remove(const Range& range, Revision at) {
  const std::vector<Entry> found = look(range);
  for (const Entry& entry : found) {
    entries_.erase(entry.key);
    ++changes_;
    Event event{{}, true};
    event.entry.key = entry.key;
    event.entry.modified = at;
    history_.push_back({at, std::move(event)});
  }
  return !found.empty();
}

// --- a client ---------------------------------------------------------------------------------------------

template <class T>
void ModelStore::call(Done<T> done, std::function<Reply<T>()> act, bool changes) {
  ++calls_;
  answers_.push_back([this, done = std::move(done), act = std::move(act), changes] {
    if (!reachable) return done(Failure{Trouble::kUnreachable, "model: cannot connect", false});
    if (denies) return done(Failure{Trouble::kDenied, "model: permission denied", false});
    const Reply<T> reply = act();
    if (lose_answers) return done(Failure{Trouble::kUnreachable, "model: no answer in time", changes});
    done(reply);
  });
}

void ModelStore::run() {
  for (bool more = true; more;) {
    more = !answers_.empty();
    for (auto now = std::exchange(answers_, {}); !now.empty(); now.pop_front()) now.front()();
    for (const auto& weak : std::vector(listeners_)) {
      if (const auto listener = weak.lock()) more = tell(*listener) || more;
    }
  }
}

bool ModelStore::tell(ModelEtcd::Listener& listener) {
  if (listener.next == 0 || deaf || !reachable) return false;
  if (listener.next < etcd_.compacted_) {
    listener.next = 0;
    listener.taker.on_end({{Trouble::kRefused, "model: compacted", false}, etcd_.compacted_});
    return true;
  }
  if (listener.next > etcd_.revision_) return false;
  std::vector<Event> events;
  for (const ModelEtcd::Change& change : etcd_.history_) {
    if (change.revision >= listener.next && is_in(listener.range, change.event.entry.key)) events.push_back(change.event);
  }
  listener.next = etcd_.revision_ + 1;
  listener.taker.on_events(etcd_.revision_, events);
  return true;
}

void ModelStore::break_watches() {
  for (const auto& weak : std::vector(listeners_)) {
    const auto listener = weak.lock();
    if (!listener || std::exchange(listener->next, 0) == 0) continue;
    listener->taker.on_end({{Trouble::kUnreachable, "model: the watch's stream ended", false}, 0});
  }
}

void ModelStore::range(const Range& range, Done<Entries> done) {
  call<Entries>(std::move(done), [this, range]() -> Reply<Entries> {
    Entries found{stamp(), etcd_.look(range), false};
    const auto limit = static_cast<size_t>(range.limit);
    if (limit != 0 && found.entries.size() > limit) {
      found.entries.resize(limit);
      found.more = true;
    }
    return found;
  }, false);
}

void ModelStore::commit(const Transaction& transaction, Done<TransactionReply> done) {
  call<TransactionReply>(std::move(done), [this, transaction]() -> Reply<TransactionReply> {
    TransactionReply reply;
    reply.held = std::all_of(transaction.compares.begin(), transaction.compares.end(), [this](const Compare& one) { return etcd_.holds(one); });
    const std::vector<Step>& steps = reply.held ? transaction.then : transaction.otherwise;
    for (const Step& step : steps) {
      if (step.kind == Step::Kind::kPut && step.lease != 0 && !etcd_.leases_.contains(step.lease)) return etcd_.no_lease();
    }
    const Revision at = etcd_.revision_ + 1;
    bool changed = false;
    for (const Step& step : steps) {
      std::vector<Entry>& entries = reply.entries.emplace_back();
      if (step.kind == Step::Kind::kRange) entries = etcd_.look(step.range);
      if (step.kind == Step::Kind::kRemove) changed = etcd_.remove(step.range, at) || changed;
      if (step.kind != Step::Kind::kPut) continue;
      etcd_.put(step.range.key, step.value, step.lease, at);
      changed = true;
    }
    if (changed) ++etcd_.revision_;
    reply.stamp = stamp();
    return reply;
  }, true);
}

void ModelStore::grant(int64_t seconds, Done<Lease> done) {
  call<Lease>(std::move(done), [this, seconds]() -> Reply<Lease> {
    etcd_.leases_[++etcd_.last_lease_] = {seconds, etcd_.now_ + std::chrono::seconds(seconds)};
    return Lease{stamp(), etcd_.last_lease_, seconds};
  }, true);
}

void ModelStore::renew(LeaseId id, Done<Lease> done) {
  call<Lease>(std::move(done), [this, id]() -> Reply<Lease> {
    if (leads_no_more) return Lease{{member_, etcd_.term_ - 1, etcd_.revision_}, id, 1000};
    const auto found = etcd_.leases_.find(id);
    if (found == etcd_.leases_.end()) return Lease{stamp(), id, 0};
    found->second.ends_at = etcd_.now_ + std::chrono::seconds(found->second.seconds);
    return Lease{stamp(), id, found->second.seconds};
  }, true);
}

void ModelStore::revoke(LeaseId id, Done<Stamp> done) {
  call<Stamp>(std::move(done), [this, id]() -> Reply<Stamp> {
    if (!etcd_.leases_.contains(id)) return etcd_.no_lease();
    etcd_.end_lease(id);
    return stamp();
  }, true);
}

std::unique_ptr<Watch> ModelStore::watch(const Range& range, Revision from, WatchTaker taker) {
  auto listener = std::make_shared<ModelEtcd::Listener>();
  listener->range = range;
  listener->next = from;
  listener->taker = std::move(taker);
  std::erase_if(listeners_, [](const auto& one) { return one.expired(); });
  listeners_.push_back(listener);
  return std::make_unique<ModelWatch>(std::move(listener));
}

}  // namespace ringbolt::coord

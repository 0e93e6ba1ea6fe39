#include "repl/in_sync_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

InSyncSet::InSyncSet(io::Io& io, io::BufferPool& pool, Store& store, InSyncSetOwner& owner, const InSyncSetOptions& options)
    : io_(io), pool_(pool), store_(store), owner_(owner), options_(options) {}

InSyncSet::~InSyncSet() {
  io_.disarm(watch_);
  io_.undefer(remove_);
}

// --- who there is -------------------------------------------------------------------------------------

Shipper::Timing InSyncSet::timing() const {
  return {.timeout = options_.timeout, .heartbeat = std::min(options_.timeout / 4, io::kSecond / 2)};
}

std::unique_ptr<InSyncSet::Member> InSyncSet::make_member(const core::ReplicaAddress& replica) {
  uint64_t seed = owner_.term().incarnation.value() * 31;
  for (const uint8_t byte : store_.facts().volume.bytes) seed = seed * 257 + byte;
  for (const char c : replica.id) seed = seed * 257 + static_cast<uint8_t>(c);
  auto member = std::make_unique<Member>();
  member->shipper = std::make_unique<Shipper>(io_, pool_, store_, *options_.rebuild, owner_, replica, timing(), seed);
  return member;
}

void InSyncSet::open(const std::vector<core::ReplicaAddress>& replicas, bool brand_new) {
  RINGBOLT_ASSERT(members_.empty() && replicas.size() <= kReplicasMax);
  const std::vector<std::string>& recorded = store_.facts().in_sync;
  for (const core::ReplicaAddress& replica : replicas) {
    members_.push_back(make_member(replica));
    const bool was_in = std::find(recorded.begin(), recorded.end(), replica.id) != recorded.end();
    if (brand_new || was_in) members_.back()->state = State::kIn;
  }
}

void InSyncSet::configure(const std::vector<core::ReplicaAddress>& replicas, std::function<void()> done) {
  configured_ = std::move(done);  // of an earlier one that is not done: it is superseded
  for (const auto& member : members_) {
    const core::ReplicaAddress& peer = member->shipper->peer();
    // One whose address changed is another connection, and what it counted for is proven anew.
    if (std::find(replicas.begin(), replicas.end(), peer) == replicas.end()) let_go(*member);
  }
  for (const core::ReplicaAddress& replica : replicas) {
    const bool known = std::any_of(members_.begin(), members_.end(), [&](const auto& m) { return !m->leaving && m->shipper->peer() == replica; });
    if (!known) members_.push_back(make_member(replica));
  }
  io_.defer(remove_);
}

void InSyncSet::move(const std::string& id, const std::string& address) {
  if (Shipper* const shipper = find(id)) shipper->move_to(address);
}

void InSyncSet::change(io::Nanos timeout, bool wait_for_lost) {
  if (stopping_) return;
  const bool waits_no_more = options_.wait_for_lost && !wait_for_lost;
  options_.timeout = timeout;
  options_.wait_for_lost = wait_for_lost;
  for (const auto& member : members_) member->shipper->set_timing(timing());
  for (const auto& member : members_) {
    // Writes waited for one that is being copied anew. It goes on, but leaves the set that it stayed in.
    if (!waits_no_more || member->leaving || member->state != State::kIn || !member->shipper->rebuilding()) continue;
    leave(*member, "it is rebuilt, and lost replicas are not waited for any more");
  }
  // What is owed is looked at by the new measure.
  io_.disarm(watch_);
  owner_.on_set_changed();
}

/// It counts until the set without it is recorded.
void InSyncSet::leave(Member& member, std::string why) {
  member.why = std::move(why);
  log::warn({.volume = store_.config().name, .replica = member.shipper->peer().id}, "replica {} leaves the in-sync set: {}", member.shipper->peer().id,
            member.why);
  member.recording = false;  // a write under way that adds it does not take it out
  member.state = State::kRemoving;
  record_set();
}

void InSyncSet::drain(const std::string& id) {
  for (const auto& member : members_) {
    if (member->shipper->peer().id == id) let_go(*member);
  }
  io_.defer(remove_);
}

/// It counts until the set without it is recorded; then its connection ends, then it is forgotten.
void InSyncSet::let_go(Member& member) {
  if (member.leaving) return;
  member.leaving = true;
  member.why = "it is a replica no more";
  if (member.state == State::kIn || member.state == State::kAdding) {
    member.recording = false;  // a write under way that adds it does not take it out
    member.state = State::kRemoving;
    record_set();
  } else if (member.state == State::kProving) {
    member.state = State::kOut;
  }
}

void InSyncSet::start_rebuild(const core::StartRebuild& command) {
  for (const auto& member : members_) {
    if (member->leaving || member->shipper->peer().id != command.replica) continue;
    const bool reserved = member->shipper->reserve_rebuild(command);
    if (store_.failed()) return;
    if (member->state == State::kProving) member->state = State::kOut;
    // With "wait" it stays in the set, and writes wait: nobody said that fewer copies would do.
    const bool stays = member->state == State::kOut || options_.wait_for_lost;
    if (stays) {
      if (reserved) member->shipper->start_rebuild(command);
      return;
    }
    mark(Mark::kRebuiltMemberLeaves);
    // Without a place it leaves all the same: it has no session, and writes would wait for it in vain.
    if (reserved) member->rebuild = command;
    if (member->state == State::kRemoving) return;
    return leave(*member, fmt::format("it is rebuilt: {}", command.why));
  }
}

void InSyncSet::remove_gone() {
  for (const auto& member : members_) {
    if (!member->leaving || member->stopped || member->state != State::kOut || member->recording) continue;
    member->stopped = true;
    ++shippers_stopping_;
    member->shipper->stop([this] {
      --shippers_stopping_;
      io_.defer(remove_);  // from inside the shipper
    });
  }
  if (shippers_stopping_ > 0) return;
  if (stopping_) {
    if (!stopped_ || set_recorded_.waiting()) return;
    const auto stopped = std::move(stopped_);
    stopped_ = nullptr;
    return stopped();
  }
  const size_t before = members_.size();
  std::erase_if(members_, [](const auto& member) { return member->leaving && member->stopped; });
  if (members_.size() != before) owner_.on_set_changed();
  const bool leaving = std::any_of(members_.begin(), members_.end(), [](const auto& member) { return member->leaving; });
  if (leaving || !configured_) return;
  const auto configured = std::move(configured_);
  configured_ = nullptr;
  configured();
}

void InSyncSet::begin_term() {
  decisions_ = 0;
  for (const auto& member : members_) {
    if (member->state == State::kProving) member->state = State::kOut;
    member->owing = member->asked = false;
    member->session = member->proven = SessionId{};
    if (!member->leaving) member->shipper->reconnect();
  }
}

void InSyncSet::stop(std::function<void()> stopped) {
  stopping_ = true;
  stopped_ = std::move(stopped);
  configured_ = nullptr;
  io_.disarm(watch_);
  for (const auto& member : members_) {
    member->leaving = true;
    if (member->stopped) continue;
    member->stopped = true;
    ++shippers_stopping_;
    member->shipper->stop([this] {
      --shippers_stopping_;
      io_.defer(remove_);
    });
  }
  io_.defer(remove_);
}

void InSyncSet::on_failed() {
  for (const auto& member : members_) {
    // Nobody says any more that the set without it is recorded.
    member->rebuild.reset();
    member->shipper->drop_reservation();
  }
  if (!set_recorded_.waiting()) set_recording_ = false;  // nobody is told that a write failed
  io_.defer(remove_);
}

// --- looking ------------------------------------------------------------------------------------------

InSyncSet::Member* InSyncSet::member_of(const Shipper& shipper) const {
  for (const auto& member : members_) {
    if (member->shipper.get() == &shipper) return member.get();
  }
  return nullptr;
}

Shipper* InSyncSet::find(const std::string& id) const {
  for (const auto& member : members_) {
    if (!member->leaving && member->shipper->peer().id == id) return member->shipper.get();
  }
  return nullptr;
}

bool InSyncSet::contains(const std::string& id) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& member) {
    return member->shipper->peer().id == id && (member->state == State::kIn || member->state == State::kRemoving);
  });
}

bool InSyncSet::counts(const std::string& id) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& member) { return !member->leaving && member->shipper->peer().id == id && counts(*member); });
}

std::vector<std::string> InSyncSet::ids() const {
  std::vector<std::string> ids;
  for (const auto& member : members_) {
    if (member->state == State::kIn || member->state == State::kRemoving) ids.push_back(member->shipper->peer().id);
  }
  return ids;
}

size_t InSyncSet::positions(std::span<core::CopyPosition> written, std::span<core::CopyPosition> durable) const {
  size_t count = 0;
  for (const auto& member : members_) {
    if (member->leaving && member->state == State::kOut) continue;
    const bool required = counts(*member);
    written[count] = {member->shipper->acked_written(), required};
    durable[count] = {member->shipper->acked_durable(), required};
    ++count;
  }
  return count;
}

uint64_t InSyncSet::smallest_wal_blocks(uint64_t blocks) const {
  for (const auto& member : members_) {
    // Also one that is catching up must be able to store what it is sent before it can learn that it
    // is stable. This waits for no replica: what does not count is not asked whether it flushed.
    const bool receives = counts(*member) || member->shipper->shipping();
    if (receives && member->shipper->wal_bytes() > 0) blocks = std::min(blocks, member->shipper->wal_bytes() / kBlockBytes);
  }
  return blocks;
}

bool InSyncSet::all_know(Lsn stable) const {
  return std::all_of(members_.begin(), members_.end(), [&](const auto& member) {
    const Shipper& shipper = *member->shipper;
    // One that is not waited for may know a position that it has not reached.
    return !counts(*member) || !shipper.shipping() || (shipper.confirmed_stable() >= stable && shipper.acked_durable() >= stable);
  });
}

Shipper* InSyncSet::successor() const {
  for (const auto& member : members_) {
    const bool complete = member->shipper->shipping() && member->shipper->acked_durable() >= store_.wal().head();
    if (member->state == State::kIn && !member->leaving && complete) return member->shipper.get();
  }
  return nullptr;
}

bool InSyncSet::expects_successor() const {
  return std::any_of(members_.begin(), members_.end(), [](const auto& member) {
    return member->state == State::kIn && !member->leaving && member->shipper->shipping();
  });
}

void InSyncSet::pump() {
  for (const auto& member : members_) member->shipper->pump();
}

void InSyncSet::on_durable() {
  for (const auto& member : members_) member->shipper->on_durable();
}

// --- what they owe ------------------------------------------------------------------------------------

void InSyncSet::watch() {
  if (!owner_.active() || stopping_ || store_.failed()) return;
  bool watching = false;
  const io::Nanos now = io_.now();
  const io::Nanos interval = std::max(options_.timeout / 16, io::kMillisecond);
  // Nobody is blamed for time in which this node itself did not run: stopped, its machine paused or
  // overloaded. What it had to send did not go out, what had arrived it has not read.
  const io::Nanos missed = now - watched_at_ > 2 * interval ? now - watched_at_ - interval : 0;
  watched_at_ = now;
  for (const auto& member : members_) {
    prove(*member);
    watch_debts(*member, now, missed, &watching);
  }
  if (watching && !watch_.armed()) io_.arm(watch_, interval);
}

void InSyncSet::watch_debts(Member& member, io::Nanos now, io::Nanos missed, bool* watching) {
  if (member.state != State::kIn && member.state != State::kProving) {
    member.owing = false;
    return;
  }
  const Shipper& shipper = *member.shipper;
  if (shipper.rebuilding()) {
    // It has nothing yet that it could owe; whether the rebuild gets on is watched where it runs.
    member.owing = false;
    return;
  }
  const Lsn durable_due =
      std::max(std::min(owner_.flush_wanted(), store_.wal().durable()), member.state == State::kProving ? member.barrier : Lsn{});
  if (shipper.acked_written() >= written_due() && shipper.acked_durable() >= durable_due && member.state == State::kIn) {
    member.owing = false;
    return;
  }
  *watching = true;
  if (member.owing) member.owed_since += missed;
  const bool paid = member.owing && member.state == State::kIn && shipper.acked_written() >= member.owed &&
                    shipper.acked_durable() >= member.owed_durable;
  if (!member.owing || paid) {
    member.owing = true;
    member.owed = written_due();
    member.owed_durable = durable_due;
    member.owed_since = now;
    return;
  }
  if (now - member.owed_since < options_.timeout) return;
  member.owing = false;
  // Or it would be counted, and waited for, again at once.
  member.shipper->end_session();
  if (member.state == State::kProving) {
    mark(Mark::kProofTimedOut);
    member.state = State::kOut;
    return owner_.on_set_changed();
  }
  if (options_.wait_for_lost) return;
  const bool wrote = shipper.acked_written() >= member.owed;
  member.why = fmt::format("no acknowledgement that Lsn {} is {} for {} ms", (wrote ? member.owed_durable : member.owed).value(),
                           wrote ? "flushed" : "written", (now - member.owed_since) / io::kMillisecond);
  log::warn({.volume = store_.config().name, .replica = shipper.peer().id, .session = shipper.session()}, "replica {} leaves the in-sync set: {}{}{}", shipper.peer().id, member.why,
            shipper.reason().empty() ? "" : "; ", shipper.reason());
  mark(Mark::kReplicaDropped);
  member.state = State::kRemoving;
  record_set();
}

void InSyncSet::on_watch() { owner_.on_set_changed(); }

// --- how they come back -------------------------------------------------------------------------------

/// The end of every recovery is proof, not arrival: a barrier at or beyond what was committed when the session met
/// the head, acknowledged as flushed. It is asked of members of the set, too, after each return.
void InSyncSet::prove(Member& member) {
  Shipper& shipper = *member.shipper;
  if (member.leaving || member.state == State::kAdding || member.state == State::kRemoving) return;
  if (member.state == State::kProving && (!shipper.shipping() || shipper.session() != member.session)) member.state = State::kOut;
  if (defect(Defect::kNoProof) && member.state == State::kOut && shipper.shipping() && !shipper.rebuilding()) {
    member.session = shipper.session();
    member.barrier = shipper.acked_written();
    member.state = State::kAdding;
    return record_set();
  }
  // Before its own term record is committed a primary does not know what is, and accepts nobody.
  if (!owner_.serving() || !shipper.reached_head() || member.proven == shipper.session()) return;
  if (member.session != shipper.session()) {
    // That everything was sent says nothing of the replica. One outside the set is waited for only once it has
    // written, in this session, all that was written here at the session's first sight of the head.
    member.session = shipper.session();
    member.barrier = store_.wal().written();
    member.asked = false;
  }
  if (shipper.acked_written() < member.barrier) return;
  if (member.asked) return ask_barrier(member);
  member.asked = true;
  member.barrier = store_.wal().sealed();
  RINGBOLT_ASSERT(member.barrier >= owner_.committed());
  if (member.state == State::kOut) {
    member.state = State::kProving;
    member.owing = false;
    owner_.on_set_changed();  // it counts from here on
  }
  ask_barrier(member);
}

void InSyncSet::ask_barrier(Member& member) { member.shipper->sync_up_to(member.barrier); }

void InSyncSet::on_barrier_answered(Shipper& shipper, SyncAckKind kind, Lsn durable) {
  Member* const member = member_of(shipper);
  if (member == nullptr || stopping_ || shipper.session() != member->session || !member->asked) return;
  // Not in time: it is asked again, and ends as one that owes too long.
  if (kind != SyncAckKind::kQuorum || durable < member->barrier) return owner_.on_set_changed();
  member->barrier = durable;
  if (member->state == State::kIn) return accept(*member, durable);
  if (member->state != State::kProving) return;
  member->state = State::kAdding;
  record_set();
}

void InSyncSet::accept(Member& member, Lsn durable) {
  member.proven = member.session;
  member.shipper->session_proven();
  owner_.report(core::BarrierAccepted{member.shipper->peer().id, owner_.term(), ++decisions_, member.session, durable});
}

void InSyncSet::record_set() {
  if (set_recording_) {
    set_dirty_ = true;
    return;
  }
  set_recording_ = true;
  set_dirty_ = false;
  Superblock& superblock = store_.superblock().change();
  superblock.in_sync.clear();
  for (const auto& member : members_) {
    member->recording = member->state == State::kAdding || member->state == State::kRemoving;
    if (member->state == State::kAdding || member->state == State::kIn) superblock.in_sync.push_back(member->shipper->peer().id);
  }
  store_.superblock().wait(set_recorded_);
}

void InSyncSet::report_removed(const Member& member) {
  owner_.report(core::BarrierRejected{member.shipper->peer().id, owner_.term(), ++decisions_, member.why});
}

void InSyncSet::on_set_recorded() {
  set_recording_ = false;
  for (const auto& member : members_) {
    if (!member->recording) continue;
    member->recording = false;
    if (member->state == State::kAdding) {
      mark(Mark::kReplicaAdded);
      member->state = State::kIn;
      log::info({.volume = store_.config().name, .replica = member->shipper->peer().id, .session = member->session, .lsn = member->barrier}, "replica {} is in sync at Lsn {}", member->shipper->peer().id, member->barrier.value());
      accept(*member, member->barrier);
    } else if (member->state == State::kRemoving) {
      member->state = State::kOut;
      member->session = member->proven = SessionId{};
      report_removed(*member);
      if (const auto rebuild = std::exchange(member->rebuild, std::nullopt); rebuild && !member->leaving) member->shipper->start_rebuild(*rebuild);
    }
  }
  io_.defer(remove_);
  if (stopping_) return;
  if (set_dirty_) record_set();
  owner_.on_set_changed();
}

}  // namespace ringbolt::repl

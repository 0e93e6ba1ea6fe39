#include "repl/primary.h"

#include <algorithm>
#include <array>

#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt::repl {

namespace {

/// WAL writes in flight beyond which an open frame waits for more records instead of being sealed.
constexpr uint32_t kSealWritesMax = 4;
constexpr io::Nanos kDrainTimeout = 3 * io::kSecond;

}  // namespace

Primary::Primary(io::Io& io, io::BufferPool& pool, Store& store, const PrimaryConfig& config, PrimaryListener& listener)
    : io_(io), pool_(pool), store_(store), config_(config), listener_(listener), members_(config.replicas.size()) {
  RINGBOLT_ASSERT(config.replicas.size() <= kReplicasMax);
}

Primary::~Primary() {
  // Reads in flight, if any are left, are the store's to assert on: it outlives this.
  pool_.cancel_wait(memory_);
  io_.undefer(seal_);
  io_.undefer(flush_);
  io_.undefer(advance_soon_);
  io_.disarm(watch_);
  io_.disarm(drain_timeout_);
}

// --- the term ---------------------------------------------------------------------------------------

void Primary::start() {
  const Superblock& facts = store_.facts();
  const bool same_epoch = facts.epoch == config_.epoch;
  term_ = Term{config_.epoch, same_epoch ? facts.incarnation.next() : Incarnation(1)};
  term_first_ = store_.wal().head().next();
  committed_ = stable_ = store_.checkpoint();
  // A volume without any record is the same everywhere, so all its replicas are in sync; later the
  // set says who is. A copy that was a replica knows of nobody.
  const bool brand_new = store_.wal().head() == Lsn{} && !facts.base_seeded;
  std::vector<std::string> set;
  for (size_t i = 0; i < config_.replicas.size(); ++i) {
    const std::string& id = config_.replicas[i].id;
    const bool was_in = std::find(facts.in_sync.begin(), facts.in_sync.end(), id) != facts.in_sync.end();
    if (!brand_new && !was_in) continue;
    members_[i].state = Member::State::kIn;
    set.push_back(id);
  }
  Superblock& superblock = store_.superblock().change();
  superblock.epoch = term_.epoch;
  superblock.incarnation = term_.incarnation;
  superblock.history.open(term_, term_first_);
  superblock.in_sync = set;
  // The term is durable before its first record exists: the same Lsn never names two records of one
  // term, whatever a crash takes back.
  store_.superblock().wait(term_recorded_);
}

void Primary::on_term_recorded() {
  if (stopping_) return end_stop();
  if (store_.failed()) return;
  term_durable_ = true;
  store_.set_term(term_);
  append_term_record();
}

void Primary::append_term_record() {
  const Wal::Admission admission = store_.prepare(RecordKind::kTerm, 0);
  if (admission == Wal::Admission::kNoMemory) pool_.wait(memory_);
  if (admission != Wal::Admission::kOk) return;  // tried again when there is space
  const Lsn lsn = store_.append(RecordKind::kTerm, Lba{}, 0);
  RINGBOLT_ASSERT(lsn == term_first_);
  term_open_ = true;
  window_.add(lsn, 1);
  store_.seal();
  log::info("volume {}: primary of epoch {} (incarnation {}) from Lsn {}, {} of {} replicas in sync", store_.config().name,
            term_.epoch.value(), term_.incarnation.value(), lsn.value(), store_.facts().in_sync.size(), config_.replicas.size());
  const Shipper::Timing timing{.timeout = config_.replica_timeout, .heartbeat = std::min(config_.replica_timeout / 4, io::kSecond / 2)};
  for (size_t i = 0; i < config_.replicas.size(); ++i) {
    uint64_t seed = term_.incarnation.value() * 31 + i;
    for (const uint8_t byte : store_.facts().volume.bytes) seed = seed * 257 + byte;
    shippers_.push_back(std::make_unique<Shipper>(io_, pool_, store_, *this, config_.replicas[i], timing, seed));
  }
  for (const auto& shipper : shippers_) shipper->start();
  watch_members();
}

bool Primary::in_sync(const std::string& replica) const {
  for (size_t i = 0; i < config_.replicas.size(); ++i) {
    if (config_.replicas[i].id == replica) {
      return members_[i].state == Member::State::kIn || members_[i].state == Member::State::kRemoving;
    }
  }
  return false;
}

// --- positions --------------------------------------------------------------------------------------

void Primary::on_sealed() {
  for (const auto& shipper : shippers_) shipper->pump();
}

void Primary::on_positions() {
  if (store_.wal().has_open_records()) io_.defer(seal_);
  advance();
}

void Primary::on_space() {
  if (term_durable_ && !term_open_ && !stopping_ && !store_.failed()) append_term_record();
  pump();
}

/// Recomputes what is committed and stable, and acts on what moved.
void Primary::advance() {
  if (!term_open_ || fenced_ || store_.failed()) return;
  std::array<core::CopyPosition, kReplicasMax> written{}, durable{};
  const size_t count = shippers_.size();
  for (size_t i = 0; i < count; ++i) {
    written[i] = {shippers_[i]->acked_written(), required(i)};
    durable[i] = {shippers_[i]->acked_durable(), required(i)};
  }
  const Lsn committed = core::satisfied_prefix(config_.durability, store_.wal().written(), {written.data(), count});
  const Lsn stable = core::satisfied_prefix(config_.durability, store_.wal().durable(), {durable.data(), count});
  // Records of older terms count through the term record only, never by counting their copies: a
  // later primary of a term in between could still undo those.
  const Lsn committed_before = committed_, stable_before = stable_;
  if (committed >= term_first_) committed_ = std::max(committed_, committed);
  if (stable >= term_first_) stable_ = std::max(stable_, stable);
  if (!serving_ && committed_ >= term_first_) {
    serving_ = true;
    log::info("volume {}: serving clients, committed up to Lsn {}", store_.config().name, committed_.value());
  }
  if (stable_ != stable_before) {
    store_.set_stable(stable_);
    window_.release(stable_);
  }
  watch_members();
  if (committed_ == committed_before && stable_ == stable_before) return;
  answer_ready();
  pump();
  for (const auto& shipper : shippers_) shipper->pump();
  if (draining_) continue_stop();
}

void Primary::want_flush(Lsn target) {
  if (target <= flush_wanted_) return;
  flush_wanted_ = target;
  io_.defer(flush_);
}

void Primary::flush_now() {
  if (store_.failed() || !term_open_) return;
  store_.seal();
  store_.request_flush(flush_wanted_);
  for (const auto& shipper : shippers_) shipper->pump();
}

/// At the end of a turn: what came together goes together. While several frames are being written
/// the next one stays open and gathers more.
void Primary::seal_if_due() {
  if (store_.wal().has_open_records() && store_.wal().writes_in_flight() < kSealWritesMax) store_.seal();
}

uint64_t Primary::window_limit() const {
  uint64_t blocks = store_.wal().capacity_blocks();
  for (size_t i = 0; i < shippers_.size(); ++i) {
    // Also one that is catching up must be able to store what it is sent before it can learn that it
    // is stable. This waits for no replica: what does not count is not asked whether it flushed.
    const bool receives = required(i) || shippers_[i]->shipping();
    if (receives && shippers_[i]->wal_bytes() > 0) blocks = std::min(blocks, shippers_[i]->wal_bytes() / kBlockBytes);
  }
  return blocks / 2;
}

// --- the in-sync set ----------------------------------------------------------------------------------

void Primary::on_replica_changed(Shipper&) {
  if (stopping_ && !draining_) return;
  advance();
  if (draining_) continue_stop();
}

void Primary::watch_members() {
  if (!term_open_ || fenced_ || stopping_ || store_.failed()) return;
  bool watching = false;
  const io::Nanos now = io_.now();
  const io::Nanos interval = std::max(config_.replica_timeout / 16, io::kMillisecond);
  // Nobody is blamed for time in which this node itself did not run: stopped, its machine paused or
  // overloaded. What it had to send did not go out, what had arrived it has not read.
  const io::Nanos missed = now - watched_at_ > 2 * interval ? now - watched_at_ - interval : 0;
  watched_at_ = now;
  for (size_t i = 0; i < shippers_.size(); ++i) {
    Member& member = members_[i];
    const Shipper& shipper = *shippers_[i];
    if (member.state == Member::State::kOut || member.state == Member::State::kProving) prove(i);
    if (member.state != Member::State::kIn && member.state != Member::State::kProving) {
      member.owing = false;
      continue;
    }
    const Lsn written_due = store_.wal().written();
    const Lsn durable_due = std::min(flush_wanted_, store_.wal().durable());
    if (shipper.acked_written() >= written_due && shipper.acked_durable() >= durable_due) {
      member.owing = false;
      continue;
    }
    watching = true;
    if (member.owing) member.owed_since += missed;
    const bool paid = member.owing && shipper.acked_written() >= member.owed && shipper.acked_durable() >= member.owed_durable;
    if (!member.owing || paid) {
      member.owing = true;
      member.owed = written_due;
      member.owed_durable = durable_due;
      member.owed_since = now;
    } else if (now - member.owed_since >= config_.replica_timeout) {
      member.owing = false;
      // Or it would be counted, and waited for, again at once.
      shippers_[i]->end_session();
      if (member.state == Member::State::kProving) {
        member.state = Member::State::kOut;
        io_.defer(advance_soon_);
        continue;
      }
      log::warn("volume {}: replica {} leaves the in-sync set: no acknowledgement of Lsn {} for {} ms{}{}", store_.config().name,
                shipper.peer().id, member.owed.value(), (now - member.owed_since) / io::kMillisecond,
                shipper.reason().empty() ? "" : "; ", shipper.reason());
      member.state = Member::State::kRemoving;
      record_set();
    }
  }
  if (watching && !watch_.armed()) io_.arm(watch_, interval);
}

void Primary::on_watch() { advance(); }

/// A replica outside the set that has caught up comes back in this order: it counts for commits, it
/// proves by a flush that it has everything up to a barrier, the set with it is recorded.
void Primary::prove(size_t index) {
  Member& member = members_[index];
  const Shipper& shipper = *shippers_[index];
  if (member.state == Member::State::kOut) {
    // Before its own term record is committed a primary does not know what is, and adds nobody.
    if (!serving_ || !shipper.reached_head()) return;
    // That everything was sent says nothing of the replica. It is waited for only once it has written,
    // in this session, all that was written here at the session's first sight of the head.
    if (member.session != shipper.session()) {
      member.session = shipper.session();
      member.barrier = store_.wal().written();
    }
    if (shipper.acked_written() < member.barrier) return;
    member.state = Member::State::kProving;
    member.barrier = store_.wal().sealed();
    member.owing = false;
    RINGBOLT_ASSERT(member.barrier >= committed_);
    want_flush(member.barrier);
    // Falls through: it may have flushed that far already.
  }
  if (!shipper.shipping() || shipper.session() != member.session) {
    member.state = Member::State::kOut;
    return;
  }
  if (shipper.acked_durable() < member.barrier) return;
  member.state = Member::State::kAdding;
  record_set();
}

void Primary::record_set() {
  if (set_recording_) {
    set_dirty_ = true;
    return;
  }
  set_recording_ = true;
  set_dirty_ = false;
  Superblock& superblock = store_.superblock().change();
  superblock.in_sync.clear();
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    member.recording = member.state == Member::State::kAdding || member.state == Member::State::kRemoving;
    if (member.state == Member::State::kAdding || member.state == Member::State::kIn) {
      superblock.in_sync.push_back(config_.replicas[i].id);
    }
  }
  store_.superblock().wait(set_recorded_);
}

void Primary::on_set_recorded() {
  set_recording_ = false;
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    if (!member.recording) continue;
    member.recording = false;
    if (member.state == Member::State::kAdding) {
      member.state = Member::State::kIn;
      log::info("volume {}: replica {} is in sync at Lsn {}", store_.config().name, config_.replicas[i].id, member.barrier.value());
    } else if (member.state == Member::State::kRemoving) {
      member.state = Member::State::kOut;
    }
  }
  if (stopping_ && !draining_) return end_stop();
  if (set_dirty_) record_set();
  advance();
}

// --- ends ---------------------------------------------------------------------------------------------

void Primary::fence() {
  if (fenced_) return;
  fenced_ = true;
  serving_ = false;
  fail_all(RequestError::kShutdown);
}

void Primary::on_fenced(Epoch epoch, const std::string& by) {
  if (fenced_) return;
  fence();
  listener_.on_primary_fenced(epoch, by);
}

void Primary::on_failed() {
  fail_all(RequestError::kIo);
  if (draining_) continue_stop();
}

void Primary::stop(bool drain, std::function<void()> stopped) {
  RINGBOLT_ASSERT(!stopping_);
  stopping_ = true;
  stopped_ = std::move(stopped);
  draining_ = drain && term_open_ && !fenced_ && !store_.failed();
  if (draining_) {
    io_.arm(drain_timeout_, kDrainTimeout);
    want_flush(store_.wal().head());
  }
  continue_stop();
}

void Primary::on_drain_timeout() {
  draining_ = false;
  continue_stop();
}

void Primary::continue_stop() {
  if (draining_ && !store_.failed()) {
    // Every copy that counts has everything flushed and knows it: then all base images end up equal.
    if (!queue_.empty() || !edges_reading_.empty() || !edges_ready_.empty()) return;
    if (store_.wal().head() > flush_wanted_) return want_flush(store_.wal().head());
    if (stable_ < store_.wal().head()) return;
    for (size_t i = 0; i < shippers_.size(); ++i) {
      if (required(i) && shippers_[i]->shipping() && shippers_[i]->confirmed_stable() < stable_) return;
    }
  }
  draining_ = false;
  io_.disarm(drain_timeout_);
  io_.disarm(watch_);
  fail_all(RequestError::kShutdown);
  if (stopped_started_) return end_stop();
  stopped_started_ = true;
  shippers_stopping_ = shippers_.size();
  for (const auto& shipper : shippers_) {
    shipper->stop([this] {
      --shippers_stopping_;
      end_stop();
    });
  }
  end_stop();
}

void Primary::end_stop() {
  if (!stopped_ || !stopped_started_ || shippers_stopping_ > 0 || reads_in_flight_ > 0) return;
  if (term_recorded_.waiting() || set_recorded_.waiting()) return;
  if (!store_.failed()) store_.seal();
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl

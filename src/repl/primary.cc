#include "repl/primary.h"

#include <algorithm>
#include <array>
#include <utility>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

namespace {

/// WAL writes in flight beyond which an open frame waits for more records instead of being sealed.
constexpr uint32_t kSealWritesMax = 4;
constexpr io::Nanos kDrainTimeout = 3 * io::kSecond;

}  // namespace

Primary::Primary(io::Io& io, io::BufferPool& pool, Store& store, const PrimaryConfig& config, PrimaryListener& listener)
    : io_(io), pool_(pool), store_(store), config_(config), listener_(listener), meter_(listener.request_meter()), members_(io, pool, store, *this, config.members) {
  RINGBOLT_ASSERT(config.replicas.size() <= kReplicasMax);
  config_.members.rebuild->clients.add(load_);
}

Primary::~Primary() {
  config_.members.rebuild->clients.remove(load_);
  // Reads in flight, if any are left, are the store's to assert on: it outlives this.
  pool_.cancel_wait(memory_);
  io_.undefer(seal_);
  io_.undefer(flush_);
  io_.undefer(advance_soon_);
  io_.disarm(drain_timeout_);
}

// --- the term ---------------------------------------------------------------------------------------

void Primary::start() {
  const Superblock& facts = store_.facts();
  const bool same_epoch = facts.epoch == config_.epoch;
  const Term term{config_.epoch, same_epoch ? facts.incarnation.next() : Incarnation(1)};
  committed_ = stable_ = store_.checkpoint();
  logged_times_.note(store_.wal().head(), io_.now());
  // A volume without any record is the same everywhere, so all its replicas are in sync; later the
  // set says who is. A copy that was a replica knows of nobody.
  const bool brand_new = store_.wal().head() == Lsn{} && !facts.base_seeded;
  term_ = term;
  members_.open(config_.replicas, brand_new);
  begin_term(term);
}

/// The term is durable before its first record exists: the same Lsn never names two records of one
/// term, whatever a crash takes back.
void Primary::begin_term(Term term) {
  term_ = term;
  term_first_ = store_.wal().head().next();
  term_durable_ = term_open_ = serving_ = false;
  syncs_ = 0;
  Superblock& superblock = store_.superblock().change();
  superblock.epoch = term.epoch;
  superblock.incarnation = term.incarnation;
  superblock.epoch_holder.clear();
  superblock.handed_over = Lsn{};
  superblock.history.open(term, term_first_);
  superblock.in_sync = members_.ids();
  if (defect(Defect::kTermNotDurable)) return on_term_recorded();
  store_.superblock().wait(term_recorded_);
}

void Primary::raise_epoch(Epoch epoch) {
  RINGBOLT_ASSERT(epoch > term_.epoch);
  raise_to_ = epoch;
  raise_now();
}

/// When neither the term before nor a change of the set is being recorded.
void Primary::raise_now() {
  if (raise_to_ == Epoch{} || !term_open_ || members_.recording() || fenced_ || stopping_ || store_.failed()) return;
  mark(Mark::kTermRaised);
  store_.seal();
  begin_term(Term{std::exchange(raise_to_, Epoch{}), Incarnation(1)});
  members_.begin_term();
}

void Primary::on_term_recorded() {
  if (stopping_) return end_stop();
  if (store_.failed()) return;
  term_durable_ = true;
  store_.set_term(term_);
  append_term_record();
  listener_.on_primary_opened();
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
  log::info({.volume = store_.config().name, .epoch = term_.epoch, .lsn = lsn}, "primary of epoch {} (incarnation {}) from Lsn {}, {} of {} replicas in sync", term_.epoch.value(), term_.incarnation.value(), lsn.value(), store_.facts().in_sync.size(), members_.size());
  want_flush(lsn);  // nobody is served before
  io_.defer(advance_soon_);
}

void Primary::configure(Durability durability, const std::vector<core::ReplicaAddress>& replicas, std::function<void(ConfigureStep)> tell) {
  // One that is found elsewhere is another connection, and has to say anew what it has.
  const bool same = durability == config_.durability &&
                    std::is_permutation(replicas.begin(), replicas.end(), config_.replicas.begin(), config_.replicas.end());
  // Whoever counted by sync_all has all that was acknowledged, and whoever comes now does not count yet.
  const bool as_strict = same || (durability == Durability::kSyncAll && config_.durability == Durability::kSyncAll);
  // What is recorded need not be what was in force when an earlier opening acknowledged something: then its own term's record is the proof.
  const bool in_force = serving_ && !configuring_;
  const bool blank = committed_ == Lsn{} && term_first_ == Lsn(1) && !store_.facts().base_seeded;
  config_.durability = durability;
  config_.replicas = replicas;
  configuring_ = Configuring{};
  configuring_->call = ++configure_calls_;
  configuring_->tell = std::move(tell);
  if (durability != Durability::kBestEffort && !blank && !(in_force && as_strict)) {
    // What is not committed yet was acknowledged by an earlier term, or not at all.
    configuring_->acknowledged = std::max(committed_, term_first_);
    configuring_->flushed = std::max(stable_, term_first_);
    want_flush(stable_);  // the term's record is flushed anyway
  }
  members_.configure(replicas, [this, call = configure_calls_] {
    if (!configuring_ || configuring_->call != call) return;
    configuring_->members = true;
    configuring_->tell(ConfigureStep::kMembers);
    if (configuring_->acknowledged == Lsn{}) return answer_configured(Lsn{}, Lsn{});
    io_.defer(advance_soon_);
  });
  io_.defer(advance_soon_);
}

/// `written`, `durable`: what the configuration's rule is satisfied for.
void Primary::answer_configured(Lsn written, Lsn durable) {
  if (!configuring_ || !configuring_->members) return;
  if (written >= configuring_->acknowledged && durable >= configuring_->flushed) {
    const auto tell = std::move(configuring_->tell);
    configuring_.reset();
    return tell(ConfigureStep::kInForce);
  }
  if (std::exchange(configuring_->told_unproven, true)) return;
  configuring_->tell(ConfigureStep::kUnproven);
}

// --- positions --------------------------------------------------------------------------------------

void Primary::on_sealed() {
  note_sealed();
  logged_times_.note(store_.wal().sealed(), io_.now());
  members_.pump();
}

void Primary::on_positions() {
  if (store_.wal().has_open_records()) io_.defer(seal_);
  advance();
  // Also if nothing moved by that: it may be the very replica that is being rebuilt without which nothing can be committed.
  members_.on_durable();
}

void Primary::on_space() {
  if (term_durable_ && !term_open_ && !stopping_ && !store_.failed()) append_term_record();
  pump();
}

/// Recomputes what is committed and stable, and acts on what moved.
void Primary::advance() {
  if (raise_to_ != Epoch{}) raise_now();
  if (!term_open_ || fenced_ || store_.failed()) return answer_configured(Lsn{}, Lsn{});
  std::array<core::CopyPosition, InSyncSet::kMembersMax> written{}, durable{};
  const size_t count = members_.positions(written, durable);
  const Lsn own_written = defect(Defect::kLocalNotAwaited) ? store_.wal().sealed() : store_.wal().written();
  const Lsn committed = core::satisfied_prefix(config_.durability, own_written, {written.data(), count});
  const Lsn stable = core::satisfied_prefix(config_.durability, store_.wal().durable(), {durable.data(), count});
  // Records of older terms count through the term record only, never by counting their copies: a
  // later primary of a term in between could still undo those.
  const Lsn committed_before = committed_, stable_before = stable_;
  if (committed >= term_first_) committed_ = std::max(committed_, committed);
  if (stable >= term_first_) stable_ = std::max(stable_, stable);
  answer_configured(committed, stable);
  const bool was_serving = serving_;
  // Flushed, not just written: what a recovery found may never have been flushed, and what a client has read once a power loss must not
  // take back. (stable_ is never above committed_.)
  if (!serving_ && stable_ >= term_first_) {
    serving_ = true;
    log::info({.volume = store_.config().name, .epoch = term_.epoch, .lsn = committed_}, "serving clients, committed up to Lsn {}", committed_.value());
    listener_.on_primary_serving();
  }
  if (stable_ != stable_before) {
    store_.set_stable(stable_);
    window_.release(stable_);
  }
  members_.watch();
  if (committed_ == committed_before && stable_ == stable_before && serving_ == was_serving) {
    if (draining_) continue_stop();
    return;
  }
  answer_ready();
  pump();
  members_.pump();
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
  members_.pump();
}

/// At the end of a turn: what came together goes together. While several frames are being written
/// the next one stays open and gathers more.
void Primary::seal_if_due() {
  if (store_.wal().has_open_records() && store_.wal().writes_in_flight() < kSealWritesMax) store_.seal();
}

uint64_t Primary::window_limit() const { return members_.smallest_wal_blocks(store_.wal().capacity_blocks()) / 2; }

void Primary::on_replica_changed(Shipper&) {
  if (stopping_ && !draining_) return;
  advance();
}

// --- ends ---------------------------------------------------------------------------------------------

void Primary::fence() {
  if (fenced_) return;
  mark(Mark::kFenced);
  fenced_ = true;
  serving_ = false;
  fail_all(RequestError::kShutdown);
}

void Primary::on_fenced(Epoch epoch, const std::string& why) {
  if (fenced_) return;
  fence();
  listener_.on_primary_fenced(epoch, why);
}

void Primary::on_failed() {
  fail_all(RequestError::kIo);
  members_.on_failed();
  if (draining_) continue_stop();
  if (stopping_) end_stop();
}

void Primary::stop(Farewell farewell, std::function<void()> stopped) {
  RINGBOLT_ASSERT(!stopping_);
  stopping_ = true;
  stopped_ = std::move(stopped);
  draining_ = farewell != Farewell::kAtOnce && term_open_ && !fenced_ && !store_.failed();
  handing_over_ = draining_ && farewell == Farewell::kHandOver;
  if (draining_) {
    io_.arm(drain_timeout_, kDrainTimeout);
    want_flush(store_.wal().head());
  }
  continue_stop();
}

void Primary::on_drain_timeout() {
  mark(Mark::kDrainTimedOut);
  // Nobody was told, and everything is here.
  if (handing_over_ && !hand_over_open_ && !fenced_ && stable_ == store_.wal().head()) heir_ = store_.config().node_id;
  draining_ = handing_over_ = false;
  continue_stop();
}

void Primary::continue_stop() {
  if (draining_ && !store_.failed()) {
    // Every copy that counts has everything flushed and knows it: then all base images end up equal.
    if (!queue_.empty() || !edges_reading_.empty() || !edges_ready_.empty()) return;
    if (store_.wal().head() > flush_wanted_) return want_flush(store_.wal().head());
    if (stable_ < store_.wal().head() || !members_.all_know(stable_)) return;
    if (handing_over_) return leave_everything();
  }
  draining_ = false;
  io_.disarm(drain_timeout_);
  fail_all(RequestError::kShutdown);
  if (members_stopping_) return end_stop();
  members_stopping_ = true;
  members_.stop([this] {
    members_stopped_ = true;
    end_stop();
  });
}

/// To one copy only: two that both believed to be the heir could both become primary.
void Primary::leave_everything() {
  if (hand_over_open_) return;
  Shipper* const successor = members_.successor();
  if (successor == nullptr && members_.expects_successor()) return;  // it catches up, or the drain's time is over
  if (successor == nullptr) {
    heir_ = store_.config().node_id;
    handing_over_ = false;
    return continue_stop();
  }
  hand_over_open_ = true;
  successor->hand_over([this, id = successor->peer().id](bool taken) {
    hand_over_open_ = false;
    handing_over_ = !taken && defect(Defect::kTwoHeirs);
    mark(taken ? Mark::kHandedOver : Mark::kHandOverFailed);
    if (taken) heir_ = id;
    continue_stop();
  });
}

void Primary::end_stop() {
  if (!stopped_ || !members_stopped_ || reads_in_flight_ > 0 || term_recorded_.waiting()) return;
  if (!store_.failed()) store_.seal();
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl

// The primary's side of one replica: connects, asks for facts, carries out what the engine decides from them, runs
// the session and follows its acknowledgements. Connects again by itself. Decides nothing.
//
// Keepup and catch-up are one mechanism: a cursor in the WAL. At the head frames go out from memory
// as they are sealed; behind it they are read back in order. A rebuild is the same from where it began, with a BaseLane
// beside it; until the replica is complete its positions count for nothing. What a session's end means for the
// in-sync set is InSyncSet's business.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/commands.h"
#include "core/events.h"
#include "io/io.h"
#include "repl/base_lane.h"
#include "repl/client_load.h"
#include "repl/link.h"
#include "repl/progress_meter.h"
#include "repl/rebuild_limits.h"
#include "repl/rebuild_place.h"
#include "repl/round_trips.h"
#include "repl/verifier.h"
#include "repl/wal_reader.h"
#include "ringbolt/probe.h"
#include "volume/store.h"

namespace ringbolt::repl {

class Shipper;

/// What a shipper needs from its primary and tells it.
class ShipperOwner {
 public:
  virtual ~ShipperOwner() = default;
  [[nodiscard]] virtual Term term() const = 0;
  [[nodiscard]] virtual Lsn committed() const = 0;
  [[nodiscard]] virtual Lsn stable() const = 0;
  [[nodiscard]] virtual Lsn flush_wanted() const = 0;  ///< replicas flush at least up to here
  [[nodiscard]] virtual const ClientLoad& client_load() const = 0;
  /// Counts within the term.
  [[nodiscard]] virtual uint64_t next_sync() = 0;
  /// Counts since the daemon's start: also a replica that is one again after it was none goes on counting.
  [[nodiscard]] virtual uint64_t next_connection() = 0;
  /// Positions acknowledged, the head reached, lost: whatever the shipper's state says now.
  virtual void on_replica_changed(Shipper& shipper) = 0;
  /// The answer to sync_up_to() of the session that runs.
  virtual void on_barrier_answered(Shipper& shipper, SyncAckKind kind, Lsn durable) = 0;
  /// Somebody holds this epoch or a higher one.
  virtual void on_fenced(Epoch epoch, const std::string& why) = 0;
  /// A fact for the engine.
  virtual void report(core::Event event) = 0;
};

class Shipper final : public LinkListener, private WalReaderListener, private BaseLaneOwner {
 public:
  enum class Phase : uint8_t {
    kIdle,         ///< nothing was asked for yet
    kWaiting,      ///< for the next attempt
    kConnecting,
    kGreeting,     ///< hello is out
    kSyncing,      ///< asked for facts
    kDeciding,     ///< facts are told, the engine decides
    kStarting,     ///< a session is asked for
    kShipping,     ///< and runs
    kObstructed,   ///< it needs a rebuild that cannot begin, or is not to; it is asked again after a while
    kStopped,
  };
  struct Timing {
    io::Nanos timeout = 5 * io::kSecond;   ///< without a word from the peer
    io::Nanos heartbeat = 500 * io::kMillisecond;
    io::Nanos retry_min = 50 * io::kMillisecond;
    io::Nanos retry_max = 2 * io::kSecond;
  };

  /// `limits`: of all rebuilds that this node feeds.
  Shipper(io::Io& io, io::BufferPool& pool, Store& store, RebuildLimits& limits, ShipperOwner& owner, core::ReplicaAddress peer,
          const Timing& timing, uint64_t jitter_seed);
  ~Shipper() override;
  Shipper(const Shipper&) = delete;
  Shipper& operator=(const Shipper&) = delete;

  // --- commands: each again changes nothing -----------------------------------------------------------
  /// Reaches the replica and asks for facts, again and again until there are some.
  void probe();
  /// Nothing is to be done on what it said at sync `decision`: it is asked again after a while.
  void probe_later(Term term, SessionId decision);
  /// Sends it everything after `position`.
  void start_session(Term term, SessionId session, core::SessionKind kind, Lsn position, Lsn target);
  /// It discards what is beyond `fork` and reports again.
  void cut_tail(Term term, SessionId decision, Lsn fork);
  /// Takes one of the places for rebuilds of this node, for this one, before anything is given up for it. False: it is not to begin now (there is none, and
  /// it is asked again after a while; or the decision is no longer what counts).
  bool reserve_rebuild(const core::StartRebuild& command);
  /// What has not begun will not begin.
  void drop_reservation() {
    if (!rebuilding()) place_.give_back();
  }
  [[nodiscard]] RebuildPlace& place() { return place_; }
  /// Copies it anew. Requires: reserve_rebuild(); it is out of the in-sync set.
  void start_rebuild(const core::StartRebuild& command);
  /// The primary has accepted the end of its recovery: what went wrong before is over.
  void session_proven() { retry_delay_ = 0; }
  /// Ends the session, if it is the one that runs or starts.
  void invalidate(Term term, SessionId session, Reason reason);
  /// The primary has a new term: what was begun in the one before ends, and it is reached anew.
  void reconnect();
  /// Ends for good; `stopped` is called (once, possibly at once) when nothing is in flight.
  void stop(std::function<void()> stopped);

  /// It is found at another address from now on: what goes on with it goes on there, from where it was.
  void move_to(const std::string& address);
  void set_timing(const Timing& timing);

  /// The replica owes more than it may: ends the session (soon, not from inside). Another one begins
  /// only from fresh facts, which a replica that cannot write or flush does not have.
  void end_session() { io_.defer(end_session_); }
  /// Asks it to prove that it has everything up to `target`, flushed. Requires: shipping().
  void sync_up_to(Lsn target);
  /// Tells it that it has everything and may take over. `done` is told once whether it has recorded that.
  /// Requires: shipping().
  void hand_over(std::function<void(bool taken)> done);
  /// Compares the replica's copy with this one, all of it; `done` is told once. False: it is not in keepup, or is being compared.
  bool start_verify(std::function<void(const VerifyResult&)> done);
  [[nodiscard]] bool may_verify() const { return reached_head() && verifier_ == nullptr; }
  /// Has the replica make its copy larger, while the session goes on; `done` is told once: empty, or why it is not.
  void grow(uint64_t volume_bytes, std::function<void(const std::string& problem)> done);
  /// What the copy must have from here on: at least the volume's size, more where it is decided that the volume becomes larger. A
  /// copy that has less is called again, so that it follows.
  void require_bytes(uint64_t volume_bytes);
  /// The volume stays as it is: a copy that is larger is called again, and takes its growth back.
  void take_growth_back();
  /// What its copy has at least, as it said; 0 until known.
  [[nodiscard]] uint64_t peer_bytes() const { return connected() ? peer_bytes_ : 0; }
  /// How far that is; null if none runs.
  [[nodiscard]] const VerifyResult* verify_progress() const { return verify_done_ && verifier_ ? &verifier_->result() : nullptr; }
  /// Frames were sealed, or a position that the replica should know moved.
  void pump();
  /// More records may be durable here, committed or not: the end of a rebuild may wait for that.
  void on_durable() { complete_base_if_due(); }

  [[nodiscard]] const core::ReplicaAddress& peer() const { return peer_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool connected() const { return phase_ > Phase::kGreeting && phase_ < Phase::kStopped; }
  /// A session runs: positions below are acknowledged in it.
  [[nodiscard]] bool shipping() const { return phase_ == Phase::kShipping; }
  /// The session is a rebuild that is not complete: what is acknowledged in it is no copy's.
  [[nodiscard]] bool rebuilding() const {
    return (phase_ == Phase::kStarting || phase_ == Phase::kShipping) && session_kind_ == core::SessionKind::kRebuild && !achieved_;
  }
  /// The cursor has met the head in this session, and the replica holds everything before it.
  [[nodiscard]] bool reached_head() const { return shipping() && reached_head_ && !rebuilding(); }
  [[nodiscard]] Lsn acked_written() const {
    return shipping() && (!rebuilding() || defect(Defect::kRebuildingCounts)) ? written_ : Lsn{};
  }
  [[nodiscard]] Lsn acked_durable() const { return shipping() && !rebuilding() ? durable_ : Lsn{}; }
  /// The same of the log alone, also while its base image is being rebuilt.
  [[nodiscard]] Lsn log_written() const { return shipping() ? written_ : Lsn{}; }
  [[nodiscard]] Lsn log_durable() const { return shipping() ? durable_ : Lsn{}; }
  /// The highest stable position that the replica confirmed to know.
  [[nodiscard]] Lsn confirmed_stable() const { return shipping() ? confirmed_stable_ : Lsn{}; }
  [[nodiscard]] SessionId session() const { return session_; }
  /// The newest record sent in this session; Lsn 0 outside one.
  [[nodiscard]] Lsn sent() const { return shipping() ? Lsn(next_.value() - 1) : Lsn{}; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// The replica's WAL, as it said; 0 until known.
  [[nodiscard]] uint64_t wal_bytes() const { return wal_bytes_; }

  /// How far the base lane of a rebuild is, as the replica says.
  struct BaseProgress {
    uint64_t blocks_done = 0, blocks_skipped = 0;
    ProgressMeter meter;
  };
  [[nodiscard]] const BaseProgress& base_progress() const { return base_progress_; }
  // For whoever watches, of all sessions so far:
  [[nodiscard]] const RoundTrips& round_trips() const { return round_trips_; }
  [[nodiscard]] uint64_t sent_bytes() const { return sent_bytes_; }  ///< of the log, read back or from memory
  [[nodiscard]] uint64_t connections_made() const { return connections_made_; }

 private:
  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override;
  void on_positions(const MessageHeader&, const WalDataFields&) override;
  bool on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) override;
  void on_send_ready(FrameGather& gather) override;
  void on_sent() override;
  void on_link_closed(const std::string& reason) override;

  void connect();
  void on_connected(int32_t result);
  void greet();
  void on_welcome(std::span<const std::byte> payload);
  void ask();
  void on_sync_ack(std::span<const std::byte> payload);
  void take_facts(const SyncAck& ack);
  void on_session_ack(std::span<const std::byte> payload);
  void on_reject(const MessageHeader& header, std::span<const std::byte> payload);
  void on_ack(std::span<const std::byte> payload);
  bool gather_from_memory(FrameGather& gather, Frame& frame);
  bool gather_from_read(FrameGather& gather, const WalReader::ReadFrame& frame);
  void on_wal_read() override;
  void on_wal_unreadable(const std::string& why) override;
  void on_base_sent() override;
  void on_base_lane_failed(Reason reason, const std::string& text) override;
  void on_base_lane_quiet() override { io_.defer(destroy_lane_); }
  void begin_session(SessionId session, core::SessionKind kind, Lsn position, Lsn target);
  void on_session_accepted();
  void on_rebuild_ack(const SessionAck& ack);
  void complete_base_if_due();
  void end_lane();
  void obstructed(std::string why);
  void destroy_lane();
  void begin_verifier(uint64_t blocks, Verifier::Ranges ranges);
  void on_verify_ack(std::span<const std::byte> payload);
  void on_grow_ack(std::span<const std::byte> payload);
  void grown(const std::string& problem);
  void on_verified();
  void on_tick();
  void on_positions_due();
  void retry_later(std::string reason);
  void close_link(Reason cause, std::string reason);
  void tell_lost(const std::string& reason);
  void session_not_possible(Term term, SessionId session, const char* why);
  void destroy_closed_link();
  void on_pin_lost();
  void on_session_over();
  void finish_stop();
  void handed_over(bool taken);
  [[nodiscard]] WalDataFields fields() const;

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  RebuildLimits& limits_;
  ShipperOwner& owner_;
  core::ReplicaAddress peer_;
  std::string reaching_;  ///< the address that is connected to
  Timing timing_;
  uint64_t jitter_;
  Phase phase_ = Phase::kIdle;
  std::string reason_;
  std::string last_logged_;
  io::Nanos retry_delay_ = 0;
  std::unique_ptr<Link> link_;
  std::unique_ptr<Link> closed_link_;
  std::function<void()> stopped_;
  uint64_t connection_ = 0;  // the attempt
  Term connection_term_;
  Reason cause_ = Reason::kNone;  // why this end closes the link
  uint64_t sync_ = 0;             // the last one asked
  bool sync_open_ = false;
  std::function<void(bool)> hand_over_done_;
  uint64_t peer_bytes_ = 0;      // what the copy has at least
  uint64_t required_bytes_ = 0;  // what it must have, if that is more than the volume has
  uint64_t features_ = 0;  // of this connection
  uint64_t grow_to_ = 0;
  std::function<void(const std::string&)> grow_done_;

  SessionId session_;
  core::SessionKind session_kind_ = core::SessionKind::kKeepup;
  Lsn session_base_, session_target_;
  // Of a rebuild:
  std::unique_ptr<BaseLane> lane_;
  RebuildPlace place_;
  bool base_sampled_ = false;  // blocks of it were compared, and are equal
  bool base_told_complete_ = false;
  std::optional<Lsn> achieved_;
  BaseProgress base_progress_;
  // One comparison at a time: a sample at the end of a rebuild, or what an operator asked for.
  std::unique_ptr<Verifier> verifier_;
  uint64_t verify_ids_ = 0;
  std::function<void(const VerifyResult&)> verify_done_;
  Lsn next_;     // the cursor: the first record not sent yet
  Lsn written_, durable_, confirmed_stable_;
  bool reached_head_ = false;
  uint64_t wal_bytes_ = 0;
  RoundTrips round_trips_;
  uint64_t sent_bytes_ = 0, connections_made_ = 0;
  Lsn told_committed_, told_stable_, told_flush_;
  bool unanswered_ = false;
  io::Nanos asked_at_ = 0;
  uint32_t asked_in_vain_ = 0;  // on this connection, since a session ran
  io::Nanos ticked_at_ = 0;

  std::array<Frame*, FrameGather::kFramesMax> pinned_{};
  size_t pinned_size_ = 0;
  WalReader reader_;
  // A frame cut to the records that the replica lacks.
  std::unique_ptr<std::byte[]> slice_;  // a header block
  bool slice_in_send_ = false;

  io::Op<&Shipper::on_connected> connect_{*this};
  io::TimerOf<&Shipper::connect> retry_{*this};
  io::TimerOf<&Shipper::on_tick> tick_{*this};
  io::TimerOf<&Shipper::on_positions_due> positions_{*this};
  io::DeferredOf<&Shipper::destroy_closed_link> destroy_{*this};
  io::DeferredOf<&Shipper::destroy_lane> destroy_lane_{*this};
  io::DeferredOf<&Shipper::on_verified> verified_{*this};
  io::DeferredOf<&Shipper::on_pin_lost> pin_lost_{*this};
  io::DeferredOf<&Shipper::on_session_over> end_session_{*this};
};

}  // namespace ringbolt::repl

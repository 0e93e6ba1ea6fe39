// A volume in the role of replica: answers a primary's syncs with facts, appends what it ships,
// acknowledges written and durable positions, cuts its tail when told where the histories fork, is rebuilt. Decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "io/io.h"
#include "repl/base_receiver.h"
#include "repl/link.h"
#include "repl/peer_call.h"
#include "repl/rebuild_session.h"
#include "repl/verify_responder.h"
#include "volume/store.h"

namespace ringbolt::repl {

class ReplicaListener {
 public:
  virtual ~ReplicaListener() = default;
  /// A session began or ended (primary_id() and in_session() say), or the base image became usable or unusable.
  virtual void on_replica_session() = 0;
};

class Replica final : public LinkListener, private RebuildListener, private BaseReceiverOwner {
 public:
  /// `timeout`: a primary that says nothing for so long is gone (it speaks several times as often).
  Replica(io::Io& io, io::BufferPool& pool, Store& store, io::Nanos timeout, ReplicaListener& listener);
  ~Replica() override;
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  /// A primary calls. Requires: its epoch is at least this copy's (the volume saw to that).
  void take_call(const PeerCall& call);
  /// The bulk connection of the rebuild that runs. False: it is not that, and stays the caller's.
  bool take_bulk_call(const PeerCall& call);
  /// Ends the connection with the primary, and what it had begun.
  void hang_up(const std::string& why);
  /// Ends the role; `stopped` is called once when nothing is in flight. With `drain`, first waits (a
  /// bounded time) to learn that everything here is stable, so that the base image can take it all.
  void stop(bool drain, std::function<void()> stopped);

  /// Another `timeout`, from now on.
  void set_timeout(io::Nanos timeout);

  // from the store
  void on_positions();
  void on_space();
  void on_failed();

  // for status
  [[nodiscard]] bool connected() const { return link_ != nullptr; }
  [[nodiscard]] bool in_session() const { return in_session_; }
  [[nodiscard]] const std::string& primary_id() const { return primary_id_; }
  [[nodiscard]] const RebuildSession& rebuild() const { return rebuild_; }
  [[nodiscard]] std::optional<Lsn> committed() const { return committed_ == Lsn{} ? std::nullopt : std::optional(committed_); }

 private:
  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override;
  void on_positions(const MessageHeader& header, const WalDataFields& fields) override;
  bool on_frame(const MessageHeader& header, const WalDataFields& fields, io::Buffer& frame) override;
  void on_send_ready(FrameGather& gather) override;
  void on_sent() override {}
  void on_link_closed(const std::string& reason) override;

  void begin_call();
  void on_sync(const MessageHeader& header, std::span<const std::byte> payload);
  void continue_sync();
  void on_sync_deadline();
  void send_facts(SyncAckKind kind);
  void on_control(const SessionControl& control);
  void take_over(const SessionControl& control);
  void on_heir_recorded();
  void start_session(const SessionControl& control);
  void start_rebuild(const SessionControl& control);
  void session_begins(Lsn from);
  void session_failed(Reason reason, const std::string& why);
  void on_rebuild_running() override;
  void on_base_applied(uint64_t chunk) override;
  void on_rebuild_completed(Lsn achieved) override;
  void on_rebuild_failed(Reason reason, const std::string& text) override;
  void on_rebuild_quiet() override;
  void on_base_refused(const Refused& refused) override;
  void on_base_receiver_closed(const std::string& reason) override;
  void send_progress();
  void on_verify(const MessageHeader& header, std::span<const std::byte> payload);
  void on_grow(const MessageHeader& header, std::span<const std::byte> payload);
  void send_grow_ack(SessionId session, std::string problem);
  [[nodiscard]] bool busy() const;
  void on_history_recorded();
  void cut(Lsn fork);
  bool check_session(const MessageHeader& header);
  const char* check_frame(const FrameHeader& header, const io::Buffer& frame) const;
  void take_positions(const WalDataFields& fields);
  void apply_stable();
  void send_ack();
  void refuse(Reason reason, std::string text);
  void refuse_session(const MessageHeader& header, const char* what);
  void destroy_closed_link();
  void on_drain_timeout();
  void on_tick();
  void continue_stop();

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  io::Nanos timeout_;
  ReplicaListener& listener_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<Link> closed_link_;
  std::optional<PeerCall> waiting_call_;  // the newest caller, until the one before it is gone
  std::string primary_id_;
  Term term_;  // the caller's
  uint64_t primary_bytes_ = 0;  // how large the volume is for the caller
  SessionId session_;
  std::optional<Sync> sync_;  // to be answered when its target is flushed
  bool in_session_ = false;
  bool cutting_ = false;
  SessionControl starting_;
  RebuildSession rebuild_;
  std::unique_ptr<BaseReceiver> bulk_, closed_bulk_;
  VerifyResponder verify_;
  core::SessionKind kind_ = core::SessionKind::kKeepup;
  Lsn committed_, stable_, flush_to_;
  Lsn acked_written_, acked_durable_, acked_stable_;
  bool ack_due_ = false;
  bool waiting_for_space_ = false;
  io::Nanos receiving_since_ = 0;  // while it waits for space nothing is received, and nobody is silent
  // What the store does for a session may end when there is no replica any more.
  const std::shared_ptr<const char> alive_ = std::make_shared<const char>('\0');
  std::string last_ended_;  ///< why the connection before this one ended
  io::Nanos ticked_at_ = 0;

  bool stopping_ = false;
  bool draining_ = false;
  std::function<void()> stopped_;

  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Replica& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).replica->on_space(); }), replica(&owner) {}
    Replica* replica;
  } memory_{*this};
  SuperblockWaiterOf<&Replica::on_history_recorded> history_recorded_{*this};
  io::DeferredOf<&Replica::send_ack> ack_{*this};
  io::DeferredOf<&Replica::destroy_closed_link> destroy_{*this};
  io::TimerOf<&Replica::on_drain_timeout> drain_timeout_{*this};
  io::TimerOf<&Replica::on_tick> tick_{*this};
  io::TimerOf<&Replica::on_sync_deadline> sync_deadline_{*this};
  io::TimerOf<&Replica::send_progress> progress_{*this};
  SuperblockWaiterOf<&Replica::on_heir_recorded> heir_recorded_{*this};
};

}  // namespace ringbolt::repl

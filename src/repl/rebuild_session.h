// The replica's side of one rebuild: both lanes end here, and a bitmap decides every conflict between them for the
// log. Knows no connection: Replica and BaseReceiver bring what arrives, and send what is to be said.
//
//   idle -> accepted      the copy is being marked unusable and its log begun anew
//        -> running       both lanes may come
//        -> base_complete the whole base image is here, the log is not far enough yet
//        -> completed     flushed, and the mark is gone
//        -> failed        the mark stays: another rebuild is needed
//
// A block's bit is set when a record for it has been applied: written to this copy's WAL, replayable. Not when it was
// received: a crash in between would leave neither the record nor what the base lane was not allowed to write. From then
// on the base lane may not write the block any more (Store::write_base looks at the bitmap as it begins each write, and a
// checkpoint of the block waits for those that had begun).
//
// One session at a time. An ended one may still have writes in flight: quiet() says when they are done, and only then may
// anything else begin on this copy.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/events.h"
#include "core/reason.h"
#include "io/buffer_pool.h"
#include "io/io.h"
#include "repl/rebuild_limits.h"
#include "repl/wire.h"
#include "ringbolt/result.h"
#include "volume/rebuild_bitmap.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct RebuildConfig {
  SessionId id;
  Epoch epoch;
  Lsn base;    ///< all after it comes through the WAL lane
  Lsn target;  ///< not complete before it
  uint64_t snapshot = 0;     ///< 0: the live image, the only kind there is
  io::Nanos deadline = 0;    ///< until it must be complete; 0: none
  core::TermHistory history;  ///< the primary's
};

/// Why something was not done; nothing has changed then.
struct Refused {
  Reason reason = Reason::kNone;
  std::string text;
};
template <class T>
using OrRefused = boost::outcome_v2::basic_result<T, Refused, boost::outcome_v2::policy::all_narrow>;

class RebuildListener {
 public:
  virtual ~RebuildListener() = default;
  /// The mark is durable and the log begins anew after the base Lsn: both lanes may come.
  virtual void on_rebuild_running() = 0;
  /// The base lane may send more: all chunks up to `chunk` are dealt with.
  virtual void on_base_applied(uint64_t chunk) = 0;
  virtual void on_rebuild_completed(Lsn achieved) = 0;
  virtual void on_rebuild_failed(Reason reason, const std::string& text) = 0;
  /// Nothing of an ended session is in flight any more.
  virtual void on_rebuild_quiet() = 0;
};

class RebuildSession {
 public:
  /// `limits`: of all copies that are made anew on this node.
  RebuildSession(io::Io& io, io::BufferPool& pool, Store& store, RebuildLimits& limits, RebuildListener& listener);
  ~RebuildSession();
  RebuildSession(const RebuildSession&) = delete;
  RebuildSession& operator=(const RebuildSession&) = delete;

  /// Refused while another session is active or as many copies are made anew on this node as may (kNotReady; the same one again: nothing
  /// new), and for a lower epoch than the copy has promised, an impossible Lsn or a snapshot.
  OrRefused<void> start(const RebuildConfig& config);
  /// Ends the active session, if there is one, as superseded, and starts this one as soon as that is quiet.
  OrRefused<void> supersede(const RebuildConfig& config);
  /// The log's records up to written() are applied: marks their blocks. After each move of it, and before anything that rests on it.
  void wal_applied();
  /// A chunk of the base image, in the order of blocks and of chunk numbers, without gaps. Takes the buffer if it is accepted;
  /// false: not now, more chunks are in flight than may be (on_base_applied() says when one is done).
  OrRefused<bool> apply_base(SessionId session, Epoch epoch, const SessionDataFields& chunk, io::Buffer& data);
  /// The primary has sent all of the base image, and it holds nothing newer than `barrier`.
  OrRefused<void> mark_base_complete(SessionId session, Epoch epoch, Lsn barrier);
  /// What the copy has achieved, once it is complete. Otherwise makes what progress it can.
  std::optional<Lsn> try_complete();
  /// Ends the session without its end: the mark stays. No-op if none is active.
  void cancel(Reason reason);

  [[nodiscard]] SessionPhase phase() const { return phase_; }
  [[nodiscard]] bool active() const {
    return phase_ == SessionPhase::kAccepted || phase_ == SessionPhase::kRunning || phase_ == SessionPhase::kBaseComplete;
  }
  [[nodiscard]] bool quiet() const { return !store_busy_ && in_flight_ == 0; }
  [[nodiscard]] SessionId id() const { return config_.id; }
  [[nodiscard]] const RebuildConfig& config() const { return config_; }
  [[nodiscard]] uint64_t blocks_total() const;
  /// Of the base lane: written, and skipped because the log had a newer version.
  [[nodiscard]] uint64_t blocks_done() const { return blocks_done_; }
  [[nodiscard]] uint64_t blocks_skipped() const { return blocks_skipped_; }
  /// Null unless a session is active.
  [[nodiscard]] const RebuildBitmap* bitmap() const { return bitmap_.get(); }

  /// Most chunks that are being written at a time: what comes beyond that waits in the connection.
  static constexpr size_t kChunksMax = 16;

 private:
  struct Chunk {
    RebuildSession* owner = nullptr;
    BaseWrite write;
    io::Buffer buffer;
    uint64_t number = 0;
    bool done = false;
  };

  std::optional<Refused> problem_of(const RebuildConfig& config) const;
  std::optional<Refused> problem_of_session(SessionId session, Epoch epoch, SessionPhase phase) const;
  void begin();
  void chunk_written(Chunk& chunk, int error);
  void fail(Reason reason, std::string text);
  void end(SessionPhase phase);
  bool take_place();
  void give_place_back();
  void tell_if_quiet();
  void on_deadline();

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  RebuildLimits& limits_;
  RebuildListener& listener_;
  SessionPhase phase_ = SessionPhase::kIdle;
  RebuildConfig config_;
  std::optional<RebuildConfig> next_;  // supersedes the one that is ending
  bool holds_place_ = false;           // of the copies that may be made anew on this node: while the base lane may come
  std::unique_ptr<RebuildBitmap> bitmap_;
  bool log_begun_ = false;  // anew, after the base Lsn: what it had before is nothing to the bitmap
  Lsn marked_;              // records up to here are in the bitmap
  Lba next_base_;
  uint64_t last_chunk_ = 0;
  Lsn newest_read_;  // of the chunks
  uint64_t blocks_done_ = 0, blocks_skipped_ = 0;
  Lsn barrier_;
  std::optional<Lsn> achieved_;
  bool store_busy_ = false;  // with the beginning or the end
  bool quiet_told_ = true;
  size_t in_flight_ = 0;
  std::deque<Chunk*> order_;  // in flight, or done behind one that is
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<Chunk*> free_chunks_;
  io::TimerOf<&RebuildSession::on_deadline> deadline_{*this};
};

}  // namespace ringbolt::repl

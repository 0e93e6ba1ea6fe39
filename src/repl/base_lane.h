// The primary's end of a rebuild's base lane: reads the whole volume through the primary's own read path, in order, several
// pieces at a time, and sends it over a connection of its own. What it reads is the live image: the log makes it exact.
//
// The window is in pieces: one is taken when a piece begins to be read and given back when the replica has dealt with it, so
// memory is bounded on both sides, whatever the volume's size.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/assignment.h"
#include "io/io.h"
#include "repl/client_load.h"
#include "repl/link.h"
#include "repl/rebuild_limits.h"
#include "repl/rebuild_pace.h"
#include "volume/store.h"

namespace ringbolt::repl {

class BaseLaneOwner {
 public:
  virtual ~BaseLaneOwner() = default;
  /// The whole base image was sent, and the replica has dealt with it.
  virtual void on_base_sent() = 0;
  /// It cannot go on. stop() is still due.
  virtual void on_base_lane_failed(Reason reason, const std::string& text) = 0;
  /// After stop(): nothing is in flight, it may be destroyed (not from inside).
  virtual void on_base_lane_quiet() = 0;
};

class BaseLane final : private LinkListener {
 public:
  struct Options {
    Term term;
    SessionId session;
    core::ReplicaAddress peer;
    const ClientLoad* clients = nullptr;  ///< to whom it yields
    io::Nanos timeout = 5 * io::kSecond;  ///< without progress
  };
  BaseLane(io::Io& io, io::BufferPool& pool, Store& store, RebuildLimits& limits, const Options& options, BaseLaneOwner& owner);
  ~BaseLane() override;
  BaseLane(const BaseLane&) = delete;
  BaseLane& operator=(const BaseLane&) = delete;

  void start();
  void stop();
  /// It has changed. Takes effect at the next look.
  void set_timeout(io::Nanos timeout) { options_.timeout = timeout; }
  [[nodiscard]] bool quiet() const { return link_ == nullptr && closed_link_ == nullptr && !connect_.pending() && reads_ == 0; }
  /// Everything was sent and acknowledged.
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] uint64_t blocks_total() const { return blocks_total_; }
  [[nodiscard]] uint64_t blocks_acknowledged() const { return blocks_acknowledged_; }
  /// What was sent holds nothing newer.
  [[nodiscard]] Lsn newest() const { return newest_; }

 private:
  struct Piece {
    enum class State : uint8_t { kReading, kRead, kSending, kSent };
    BaseLane* owner = nullptr;
    ReadJob job;
    io::Buffer buffer;  ///< empty: zeros
    SessionDataFields fields;
    State state = State::kReading;
  };

  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override;
  void on_positions(const MessageHeader& header, const WalDataFields& fields) override;
  bool on_frame(const MessageHeader& header, const WalDataFields& fields, io::Buffer& frame) override;
  void on_send_ready(FrameGather& gather) override;
  void on_sent() override;
  void on_link_closed(const std::string& reason) override;

  void on_connected(int32_t result);
  void pump();
  void read_done(Piece& piece, int error);
  void on_ack(std::span<const std::byte> payload);
  void retire();
  void fail(Reason reason, std::string text);
  void on_tick();
  void begin_part();
  void start_part();
  void on_part_over();
  [[nodiscard]] uint64_t rate() const;
  void destroy_closed_link();
  void release(Piece& piece);

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  RebuildLimits& limits_;
  Options options_;
  BaseLaneOwner& owner_;
  const uint32_t piece_blocks_;
  const size_t window_;  // pieces
  const uint64_t blocks_total_;
  std::unique_ptr<Link> link_, closed_link_;
  bool welcomed_ = false;
  bool stopped_ = false;
  bool failed_ = false;
  bool complete_ = false;
  Lba next_;
  uint64_t chunks_ = 0;
  uint64_t acknowledged_ = 0;  // chunk
  uint64_t blocks_acknowledged_ = 0;
  Lsn newest_;
  size_t reads_ = 0;
  std::deque<std::unique_ptr<Piece>> order_;  // begun and not acknowledged, in order
  std::vector<std::unique_ptr<Piece>> free_;
  io::Nanos progress_at_ = 0;
  // The rate's turns: when the last one began, and what it took. The next one is when the rate of then says.
  io::Nanos turn_began_ = 0;
  uint64_t turn_bytes_ = 0;
  RebuildPace pace_;
  ClientLoad own_began_, node_began_;  // what clients had seen when the part began
  uint64_t part_bytes_ = 0;            // begun to be read in this part

  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(BaseLane& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).lane->pump(); }), lane(&owner) {}
    BaseLane* lane;
  } memory_{*this};
  io::Op<&BaseLane::on_connected> connect_{*this};
  io::TimerOf<&BaseLane::on_tick> tick_{*this};
  io::TimerOf<&BaseLane::pump> turn_{*this};
  io::TimerOf<&BaseLane::on_part_over> part_{*this};
  io::DeferredOf<&BaseLane::destroy_closed_link> destroy_{*this};
};

}  // namespace ringbolt::repl

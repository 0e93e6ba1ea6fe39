// One NBD client in the transmission phase: requests in, pieces to the volume, replies out. Lives
// on the volume's shard; made and owned by ConnectionSet.
//
// Receive side (receive.cc): bytes land in a staging buffer and are parsed from there; a large
// write's payload is received straight into a pool buffer that the volume may keep. Whatever cannot
// go on (no free record, no memory, too many bytes read but not yet sent) stops parsing and so
// receiving: back-pressure on the socket is the only queue that a client can grow.
//
// Memory (io/memory_share.h): payloads and replies are charged to the volume's shares. A connection
// that has something under way waits for memory; one that has nothing goes on in small pieces, so that
// it never depends on what others hold: a write's through the staging buffer, a read's of a single block.
//
// Request side (requests.cc): a command is cut into pieces of at most 127 blocks; completions may
// come at any time, also from inside submit(), so nothing is touched after submit() that `done` may
// have given back.
//
// Reply side (replies.cc): finished parts are queued and sent together at the end of the loop's
// turn, one send at a time; the memory of a part is given back when it has been sent.
//
// Ending (connection.cc): kOpen -> kDraining (no more requests, answers still go out) -> kClosing
// (the socket is shut down) -> gone when nothing is pending on the socket and the volume has
// nothing of ours. The only place that reports "gone" is the end-of-turn function, so no member is
// ever still running when the owner destroys the connection.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "nbd/exports.h"
#include "nbd/slots.h"

namespace ringbolt::nbd {

struct ConnectionOptions {
  /// A client that does not send the rest of a message or read its replies for this long is closed.
  io::Nanos stall_timeout = 30 * io::kSecond;
};

class Connection;

/// What connections of one shard share.
struct ConnectionHost {
  virtual ~ConnectionHost() = default;
  /// A connection now waits for its peer; until check_stall() says otherwise it wants to be looked
  /// at.
  virtual void on_connection_busy() = 0;
  /// Nothing is pending any more and the socket is closed: destroy it.
  virtual void on_connection_gone(Connection& connection) = 0;

  ConnectionHost(io::Io& io_, io::BufferPool& pool_, LimitedClientLog& log_,
                 ConnectionOptions options_)
      : io(io_), pool(pool_), log(log_), options(options_) {}
  io::Io& io;
  io::BufferPool& pool;
  LimitedClientLog& log;
  ConnectionOptions options;
};

class Connection final : public ClientObserver {
 public:
  /// Many small requests at a time: under load each receive and each turn of the loop then serves several.
  static constexpr uint32_t kStagingBytes = 64u << 10;
  static constexpr uint32_t kCommandsMax = 128;
  static constexpr uint32_t kPiecesMax = 128;
  static constexpr uint32_t kBlocksMax = kFramePayloadBytesMax / kBlockBytes;
  /// Pieces of a large read: a power of two, so that the pool's buffers are used to the full.
  static constexpr uint32_t kReadPieceBlocks = 64;
  /// Pool memory of reads that are with the volume or wait to be sent.
  static constexpr uint32_t kReadPinnedBytesMax = 2u << 20;
  /// Pieces at the volume of zeros that are written as data. They hold no memory that would bound
  /// them, and a request of a few bytes may ask for gigabytes of them.
  static constexpr uint32_t kZeroPiecesMax = 4;
  /// Payloads from this size on are received straight into a pool buffer.
  static constexpr uint32_t kDirectPayloadBytesMin = 16u << 10;
  /// One send or one direct receive. What a stalled client is measured by: it moves this much
  /// within the stall timeout or goes.
  static constexpr uint32_t kTransferBytesMax = 256u << 10;
  /// Pieces of a large write that needs no pool memory: what fits the staging buffer.
  static constexpr uint32_t kStagedPieceBlocks = kStagingBytes / kBlockBytes - 1;
  /// While others wait for the volume's memory, a client that holds some has only this long.
  static constexpr io::Nanos kStallUnderPressure = io::kSecond;

  /// `service` must stay; `client.leftover` is at most kStagingBytes.
  Connection(ConnectionHost& host, BlockService& service, Client client);
  /// Usually reported gone before; if not (the simulated process died), it only unlinks itself.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Begins to serve. Once, right after construction.
  void start();
  /// Takes no more requests, answers those that are with the volume, closes. What has not reached the volume as a whole, and what
  /// the volume ends with kShutdown, stays unanswered. Idempotent. `hurry`: the daemon stops, a peer that does not read has
  /// only kStallUnderPressure left.
  void drain(bool hurry);
  /// Closes the connection if its peer stalls. Returns whether it must be looked at again. `lost`: time
  /// in which this process did not run, which is not held against the peer.
  bool check_stall(io::Nanos now, io::Nanos lost);

  void on_volume_gone(const std::string& reason) override;

  /// ConnectionSet's: its place there.
  size_t index_in_set = 0;

 private:
  enum class Mode : uint8_t { kOpen, kDraining, kClosing };
  enum class Step : uint8_t { kAgain, kNeedBytes, kBlocked };
  enum class Target : uint8_t { kStaging, kPayload };

  // receive.cc
  void on_received(int32_t result);
  void pump();
  Step step();
  Step parse_header();
  void begin_command(Command* command, const RequestHeader& header);
  void begin_payload(Command* command);
  Step take_payload(Command* command);
  Step begin_direct_payload(uint64_t offset, uint32_t bytes);
  [[nodiscard]] std::byte* filling_at() const;
  Step take_direct_payload(Command* command, uint32_t bytes);
  Step drain_payload(Command* command);
  void arm_receive();
  void compact_staging();
  void on_peer_closed();
  [[nodiscard]] uint32_t staged_bytes() const { return staged_end_ - staged_begin_; }
  [[nodiscard]] uint32_t staging_bytes_missing() const;
  [[nodiscard]] bool is_mid_message() const;

  // requests.cc
  [[nodiscard]] uint32_t check_command(const RequestHeader& header) const;
  [[nodiscard]] uint32_t check_range(const RequestHeader& header) const;
  static uint32_t piece_bytes(uint64_t offset, uint32_t bytes_left, uint32_t blocks_max);
  Step issue_read(Command* command);
  Step issue_plain(Command* command);
  Step issue_zero_data(Command* command);
  void stop_issuing(Command* command);
  io::Buffer take_read_buffer(uint32_t bytes);
  io::Buffer take_small_read_buffer();
  void submit_staged_write(Command* command, Piece* piece, uint32_t bytes);
  void submit_direct_write(Command* command, Piece* piece);
  void submit(Command* command, Piece* piece);
  void wait_for(io::MemoryShare& share);
  void stop_waiting();
  Piece* take_piece();
  void release_piece(Piece* piece);
  void release_read_buffer(Piece* piece);
  void release_filling();
  void on_memory();
  static void on_request_done(Request& request, RequestError error);
  void on_piece_done(Piece* piece, RequestError error);
  void on_plain_done(Command* command);
  void abandon_current();

  // replies.cc
  void on_read_done(Command* command, Piece* piece, uint32_t error);
  void on_chunk_done(Command* command, Piece* piece, uint32_t error);
  void advance_streams();
  bool advance_stream(Command* command);
  void push_stream(Command* command);
  void finish_command(Command* command);
  void finish_block_status(Command* command);
  void queue_part(ReplyPart* part);
  void flush_replies();
  uint32_t gather();
  void on_sent(int32_t result);
  void release_part(ReplyPart* part);
  void release_command(Command* command);
  void drop_replies();

  // connection.cc
  void fail(std::string_view reason);
  void log_line(std::string_view reason);
  void on_turn_end();
  void schedule_turn();
  void finish();

  ConnectionHost& host_;
  BlockService& service_;
  const io::Socket socket_;
  const std::string address_;
  const uint64_t size_bytes_;
  const bool structured_;
  const bool base_allocation_;
  ConnectionPermit permit_;
  Mode mode_ = Mode::kOpen;
  bool hurry_ = false;
  bool drain_wanted_ = false;

  std::unique_ptr<std::byte[]> staging_;
  uint32_t staged_begin_ = 0;
  uint32_t staged_end_ = 0;
  Target receive_target_ = Target::kStaging;
  uint32_t receive_bytes_ = 0;  // asked for by the receive in flight
  bool last_was_direct_ = false;
  bool was_blocked_ = false;     // since the last receive, by a bound of ours
  io::Nanos message_since_ = 0;  // when the message that we are in the middle of last moved
  io::Op<&Connection::on_received> receive_{*this};

  Command* current_ = nullptr;  // being received or issued; the head of the line
  Piece* filling_ = nullptr;    // of current_: its payload is being received
  uint32_t filled_bytes_ = 0;
  Piece* submitting_ = nullptr;      // inside submit(): cleared if `done` comes at once
  Piece* staging_holder_ = nullptr;  // its payload lies in the staging buffer until `done`
  io::Buffer spare_;                 // kept for current_'s next piece, see release_read_buffer
  uint32_t read_pinned_bytes_ = 0;
  uint32_t pieces_with_volume_ = 0;
  SlotPool<Command> commands_{kCommandsMax};
  SlotPool<Piece> pieces_{kPiecesMax};

  Command* first_stream_ = nullptr;  // reads of several pieces, in order of arrival
  Command* last_stream_ = nullptr;
  PartQueue queue_;  // to be sent, in this order
  PartQueue held_;   // must not get between the parts of the stream under way
  std::array<iovec, 64> iov_{};
  uint32_t send_bytes_ = 0;
  io::Nanos send_since_ = 0;
  io::Op<&Connection::on_sent> send_{*this};

  io::DeferredOf<&Connection::on_turn_end> turn_{*this};
  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Connection& owner)
        : PoolWaiter([](PoolWaiter& waiter) {
            static_cast<MemoryWaiter&>(waiter).connection.on_memory();
          }),
          connection(owner) {}
    Connection& connection;
  } memory_waiter_{*this};
  io::MemoryShare* waits_for_ = nullptr;  // counted in its `waiting`
};

}  // namespace ringbolt::nbd

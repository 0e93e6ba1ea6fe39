// One replication connection: cuts the byte stream into messages and sends messages, on the io seam.
// Knows the wire format, nothing of what the messages mean. Used by both ends.
//
// Control messages are small and bounded; frames go out straight from the WAL's memory and come in
// straight to a pool buffer. One send and one receive are in flight. After close() (by either side)
// the link finishes what is in flight and then tells its listener once.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "io/memory_share.h"
#include "repl/wire.h"

namespace ringbolt::repl {

class Link;

/// Collects frames for one send.
class FrameGather {
 public:
  /// Room for another frame in this send.
  [[nodiscard]] bool has_room() const { return count_ < kFramesMax && bytes_ < kBytesMax; }
  /// `header`: the used part of a frame header; it and `data` stay until on_sent().
  void add(const WalDataFields& fields, const std::byte* header, const std::byte* data);
  /// A chunk of the base image; `data` (null: zeros) stays until on_sent().
  void add_chunk(const SessionDataFields& fields, const std::byte* data);
  [[nodiscard]] bool empty() const { return count_ == 0; }

  static constexpr size_t kFramesMax = 16;

 private:
  friend class Link;
  static constexpr size_t kBytesMax = 1u << 20;
  struct Item {
    WalDataFields fields;
    std::optional<SessionDataFields> chunk;  // then `fields` and `header` say nothing
    const std::byte* header = nullptr;
    const std::byte* data = nullptr;
  };
  std::array<Item, kFramesMax> items_{};
  size_t count_ = 0;
  size_t bytes_ = 0;
};

class LinkListener {
 public:
  virtual ~LinkListener() = default;
  /// A message other than wal_data. `payload` is valid during the call.
  virtual void on_message(const MessageHeader& header, std::span<const std::byte> payload) = 0;
  /// wal_data, the fields alone (no frame).
  virtual void on_positions(const MessageHeader& header, const WalDataFields& fields) = 0;
  /// wal_data with a frame: header block (zero-padded) and payload in `frame`; header and payload
  /// bytes not checked yet. Takes the buffer by setting it empty and returns true; false: not now,
  /// it is offered again after resume().
  virtual bool on_frame(const MessageHeader& header, const WalDataFields& fields, io::Buffer& frame) = 0;
  /// session_data, on a link that takes chunks (take_chunks()): its data, not checked yet, from the start of `data` on; zeros: `data` is
  /// empty. Takes the buffer and returns true, or false, as on_frame().
  virtual bool on_chunk(const MessageHeader& header, const SessionDataFields& chunk, io::Buffer& data);
  /// The send buffer is free: frames to send, if any. Must not queue control messages.
  virtual void on_send_ready(FrameGather& gather) = 0;
  /// The frames gathered last are sent (or never will be: the link is closing).
  virtual void on_sent() = 0;
  /// Once, last: nothing is in flight any more. The link may be destroyed from here on (not from
  /// inside this call).
  virtual void on_link_closed(const std::string& reason) = 0;
};

class Link {
 public:
  Link(io::Io& io, io::BufferPool& pool, io::Socket socket, LinkListener& listener);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Begins to receive.
  void start() { start_after(0); }
  /// The same when messages up to `sequence` were received on this connection before.
  void start_after(uint64_t sequence);
  void set_identity(const Uuid& volume, Epoch epoch);
  /// What received frames are charged to, and what they may use when that is used up. Without it the
  /// pool alone.
  void set_memory(io::MemoryShare& share, io::BufferReserve& reserve) {
    share_ = &share;
    reserve_ = &reserve;
  }
  void set_session(SessionId session) { session_ = session; }
  [[nodiscard]] SessionId session() const { return session_; }
  /// This is a bulk connection: session_data comes, and no wal_data.
  void take_chunks() { takes_chunks_ = true; }

  /// Queues a control message; it goes out at the end of this turn. Closes the link if the peer lets
  /// an unreasonable number of them pile up.
  template <class Message>
  void send(MessageType type, const Message& message) {
    if (closing_) return;
    scratch_.clear();
    encode(message, scratch_);
    queue(type);
  }
  /// wal_data with positions only.
  void send_positions(const WalDataFields& fields);
  /// Frames may be available: asks the listener at the end of this turn.
  void request_send();
  /// The listener can take a frame again.
  void resume();

  /// Ends the connection; `reason` for people.
  void close(std::string reason);
  /// Sends what is queued (a reject) first, then ends the connection.
  void close_after_sending(std::string reason);
  [[nodiscard]] bool closing() const { return closing_; }
  [[nodiscard]] bool sending() const { return send_.pending(); }
  /// When bytes last arrived.
  [[nodiscard]] io::Nanos last_heard() const { return last_heard_; }
  /// When bytes were last handed to the socket.
  [[nodiscard]] io::Nanos last_sent() const { return last_sent_; }

 private:
  static constexpr size_t kStagingBytes = 64u << 10;
  static constexpr size_t kQueueBytesMax = 64u << 10;
  static constexpr size_t kIovMax = 2 + FrameGather::kFramesMax * 3;
  static_assert(kIovMax <= 64);

  void queue(MessageType type);
  void seal_message(MessageType type, uint32_t crc, uint32_t payload_bytes, std::byte* out);
  void send_now();
  void on_send_done(int32_t result);
  void receive_more();
  void on_received(int32_t result);
  void parse();
  bool parse_one();
  bool take_wal_data(const MessageHeader& header);
  bool take_session_data(const MessageHeader& header);
  bool begin_frame();
  bool allocate_frame(uint32_t bytes);
  void release_frame();
  bool offer_frame();
  void on_memory();
  void finish_if_quiet();

  io::Io& io_;
  io::BufferPool& pool_;
  io::Socket socket_;
  LinkListener& listener_;
  Uuid volume_;
  Epoch epoch_;
  SessionId session_;
  uint64_t sent_sequence_ = 0;
  uint64_t received_sequence_ = 0;
  io::Nanos last_heard_ = 0;
  io::Nanos last_sent_ = 0;
  bool closing_ = false;
  bool closed_ = false;
  bool close_when_sent_ = false;
  bool takes_chunks_ = false;
  bool parsing_ = false;
  bool gathering_ = false;
  std::string close_reason_;

  // sending
  std::vector<std::byte> scratch_;
  std::vector<std::byte> queued_, sending_;
  FrameGather gather_;
  bool frames_in_send_ = false;
  std::array<std::array<std::byte, kHeaderBytes + WalDataFields::kBytes>, FrameGather::kFramesMax> frame_heads_{};
  std::array<iovec, kIovMax> iov_{};
  io::Op<&Link::on_send_done> send_{*this};
  io::DeferredOf<&Link::send_now> send_soon_{*this};

  // receiving
  std::unique_ptr<std::byte[]> staging_;
  size_t staged_from_ = 0, staged_to_ = 0;
  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Link& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).link->on_memory(); }), link(&owner) {}
    Link* link;
  } memory_{*this};
  MessageHeader frame_message_;
  WalDataFields frame_fields_;
  SessionDataFields chunk_fields_;
  // Of the frame, or chunk, that comes in: how its message is laid out, and where its data goes.
  bool is_chunk_ = false;
  uint32_t fields_bytes_ = 0, frame_header_bytes_ = 0, data_bytes_ = 0, data_offset_ = 0;
  io::MemoryShare* share_ = nullptr;
  io::BufferReserve* reserve_ = nullptr;
  io::Buffer frame_;
  uint32_t frame_charged_ = 0;  // bytes of share_
  uint32_t frame_have_ = 0;  // bytes of the data that are there
  bool frame_pending_ = false;
  bool receiving_frame_ = false;
  io::Op<&Link::on_received> receive_{*this};
};

}  // namespace ringbolt::repl

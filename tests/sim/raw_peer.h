// A peer that says what a test wants: one end of a replication connection on a simulated node, with
// every message that came, and the means to send well-formed and other bytes.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "repl/wire.h"
#include "volume/wal_format.h"

namespace ringbolt::sim {

class RawPeer {
 public:
  struct Message {
    repl::MessageHeader header;
    std::vector<std::byte> payload;
  };

  RawPeer(io::SimWorld& world, io::SimNode& node);
  ~RawPeer();
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  /// Connects; true when that worked.
  bool call(const std::string& address);
  /// Accepts the next connection on `address` (listens from the first call on).
  bool answer(const std::string& address, io::Nanos limit = 10 * io::kSecond);
  /// The next connection on the address that `first`, of the same node, listens on.
  bool answer_beside(RawPeer& first, io::Nanos limit = 10 * io::kSecond);
  void hang_up();
  [[nodiscard]] bool ended() const { return ended_; }

  // What the messages sent from now on carry.
  Uuid volume;
  Epoch epoch{1};
  SessionId session;
  uint64_t sequence = 0;

  template <class T>
  void send(repl::MessageType type, const T& message) {
    std::vector<std::byte> payload;
    repl::encode(message, payload);
    send_payload(type, payload);
  }
  void send_payload(repl::MessageType type, const std::vector<std::byte>& payload);
  /// wal_data with a frame of one write of one block filled with `fill`.
  void send_record(Term term, Lsn lsn, Lba lba, int fill, const repl::WalDataFields& positions,
                   bool damage_payload = false);
  void send_positions(const repl::WalDataFields& positions);
  /// session_data; the checksum of the data is made right unless `damage`.
  void send_chunk(repl::SessionDataFields fields, const std::vector<std::byte>& data, bool damage = false);
  /// The bytes that send_payload() would send; the message counts as sent.
  std::vector<std::byte> make_message(repl::MessageType type, const std::vector<std::byte>& payload);
  static std::vector<std::byte> chunk_payload(repl::SessionDataFields fields, const std::vector<std::byte>& data, bool damage = false);
  void send_bytes(const std::vector<std::byte>& bytes);

  /// Runs until a message of this type is there (others before it are dropped), the connection has
  /// ended, or `limit` passed.
  std::optional<Message> expect(repl::MessageType type, io::Nanos limit = 5 * io::kSecond);
  /// The same of the first message of one of these types.
  std::optional<Message> expect_any(const std::vector<repl::MessageType>& types, io::Nanos limit = 5 * io::kSecond);
  /// Runs until the connection has ended.
  bool wait_ended(io::Nanos limit = 10 * io::kSecond);
  /// The reject that came, if any.
  std::optional<repl::Reject> reject();

 private:
  void adopt(io::Socket socket);
  void receive_more();
  void on_received(int32_t result);
  void on_connected(int32_t result);
  void on_sent(int32_t result);
  void send_next();

  io::SimWorld& world_;
  std::unique_ptr<io::SimIo> io_;
  io::Socket listener_, socket_;
  std::optional<int32_t> connected_;
  bool ended_ = false;
  std::vector<std::byte> received_ = std::vector<std::byte>(65536);
  std::vector<std::byte> stream_;
  std::deque<Message> messages_;
  std::deque<std::vector<std::byte>> to_send_;
  iovec iov_{};
  io::Op<&RawPeer::on_received> receive_{*this};
  io::Op<&RawPeer::on_connected> connect_{*this};
  io::Op<&RawPeer::on_sent> send_{*this};
};

}  // namespace ringbolt::sim

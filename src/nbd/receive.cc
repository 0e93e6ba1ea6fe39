// Receive side of a connection: from bytes to commands and payloads. See connection.h.
#include <algorithm>
#include <cstring>

#include "nbd/connection.h"

namespace ringbolt::nbd {
namespace {

/// After a large write the next receive asks for little, so that a client that streams large writes
/// has only this much of each payload copied out of the staging buffer.
constexpr uint32_t kStagingBytesBetweenLargeWrites = 1024;

}  // namespace

bool Connection::is_mid_message() const { return current_ != nullptr || staged_bytes() != 0; }

void Connection::on_received(int32_t result) {
  if (mode_ != Mode::kOpen || drain_wanted_) {
    // Whatever it was, it comes too late to be a request; but now the memory is ours again.
    release_filling();
    schedule_turn();
    return;
  }
  // A reset or a vanished host is the client's business and no line in our log.
  if (result < 0) return fail("");
  const auto received = static_cast<uint32_t>(result);
  RINGBOLT_ASSERT(received <= receive_bytes_);
  if (receive_target_ == Target::kPayload) {
    filled_bytes_ += received;
    if (received < receive_bytes_) return on_peer_closed();
  } else {
    if (received == 0) return on_peer_closed();
    if (!is_mid_message()) message_since_ = host_.io.now();
    staged_end_ += received;
  }
  pump();
}

void Connection::on_peer_closed() {
  if (is_mid_message()) log_line("it left in the middle of a request");
  drain(false);
}

/// Parses and submits until bytes, records or memory are missing. Every event that can provide one
/// of them leads here again. Never called from inside itself: `done` callbacks schedule a turn
/// instead.
void Connection::pump() {
  while (mode_ == Mode::kOpen && !drain_wanted_) {
    // The staging buffer must not move while the volume reads from it.
    const Step result = staging_holder_ == nullptr ? step() : Step::kBlocked;
    if (result == Step::kAgain) continue;
    if (result == Step::kNeedBytes) {
      arm_receive();
    } else {
      was_blocked_ = true;
    }
    return;
  }
}

Connection::Step Connection::step() {
  if (current_ == nullptr) return parse_header();
  switch (current_->phase) {
    case Command::Phase::kIssue:
      if (current_->code == kCommandRead) return issue_read(current_);
      return current_->no_hole ? issue_zero_data(current_) : issue_plain(current_);
    case Command::Phase::kPayload:
      return take_payload(current_);
    case Command::Phase::kDrain:
      return drain_payload(current_);
    case Command::Phase::kWait:
      break;
  }
  // A command that only waits has left the head of the line.
  RINGBOLT_ASSERT(current_->phase != Command::Phase::kWait);
  return Step::kBlocked;
}

Connection::Step Connection::parse_header() {
  if (staged_bytes() < kRequestBytes) return Step::kNeedBytes;
  const auto header = decode_request(staging_.get() + staged_begin_);
  if (!header) {
    fail("bad magic of a request");
    return Step::kBlocked;
  }
  if (header->command == kCommandDisconnect) {
    drain(false);
    return Step::kBlocked;
  }
  Command* command = commands_.take();
  if (command == nullptr) return Step::kBlocked;
  staged_begin_ += kRequestBytes;
  message_since_ = host_.io.now();
  begin_command(command, *header);
  return Step::kAgain;
}

void Connection::begin_command(Command* command, const RequestHeader& header) {
  command->cookie = header.cookie;
  command->offset = header.offset;
  command->length = header.length;
  command->code = header.command;
  command->fua = (header.flags & kCommandFlagFua) != 0;
  command->dont_fragment = (header.flags & kCommandFlagDontFragment) != 0;
  command->no_hole = (header.flags & kCommandFlagNoHole) != 0;
  command->error = check_command(header);
  if (header.command == kCommandWrite) return begin_payload(command);
  last_was_direct_ = false;
  if (command->error != kErrorNone) return finish_command(command);
  switch (header.command) {
    case kCommandBlockStatus:
      return finish_block_status(command);
    case kCommandCache:
      // Advice that has nothing to warm: reads bypass the page cache.
      return finish_command(command);
    case kCommandFlush:
      break;
    default:
      if (header.length == 0) return finish_command(command);
  }
  command->phase = Command::Phase::kIssue;
  current_ = command;
  if (header.command == kCommandRead && !structured_ &&
      header.length > piece_bytes(header.offset, header.length, kReadPieceBlocks)) {
    command->is_stream = true;
    push_stream(command);
  }
}

void Connection::begin_payload(Command* command) {
  if (command->length < kDirectPayloadBytesMin) last_was_direct_ = false;
  if (command->length == 0) return finish_command(command);
  command->phase = command->error == kErrorNone ? Command::Phase::kPayload : Command::Phase::kDrain;
  current_ = command;
}

Connection::Step Connection::take_payload(Command* command) {
  if (filling_ != nullptr) {
    return take_direct_payload(command, static_cast<uint32_t>(filling_->request.length));
  }
  if (command->error != kErrorNone) {  // an earlier piece failed: the rest need not be written
    command->phase = Command::Phase::kDrain;
    return Step::kAgain;
  }
  const uint64_t offset = command->offset + command->issued_bytes;
  uint32_t bytes = piece_bytes(offset, command->length - command->issued_bytes, kBlocksMax);
  if (bytes >= kDirectPayloadBytesMin) {
    const Step begun = begin_direct_payload(offset, bytes);
    if (begun == Step::kAgain) return take_direct_payload(command, bytes);
    if (begun == Step::kBlocked) return Step::kBlocked;
    bytes = piece_bytes(offset, bytes, kStagedPieceBlocks);
  }
  if (staged_bytes() < bytes) return Step::kNeedBytes;
  Piece* piece = take_piece();
  if (piece == nullptr) return Step::kBlocked;
  submit_staged_write(command, piece, bytes);
  return Step::kAgain;
}

/// Where a piece's payload will be received: as it would lie in a frame, with room for the rest of the
/// blocks at its edges. Without memory it waits (kBlocked), unless nothing of this connection is under way:
/// then it must not wait for others (kNeedBytes: of the staging buffer).
Connection::Step Connection::begin_direct_payload(uint64_t offset, uint32_t bytes) {
  Piece* piece = take_piece();
  if (piece == nullptr) return Step::kBlocked;
  const auto in_block = static_cast<uint32_t>(offset % kBlockBytes);
  const uint32_t blocks = (in_block + bytes + kBlockBytes - 1) / kBlockBytes;
  io::MemoryShare& share = service_.payload_memory();
  const io::Buffer buffer = share.allocate((1 + blocks) * kBlockBytes);
  if (!buffer) {
    release_piece(piece);
    if (pieces_with_volume_ == 0) return Step::kNeedBytes;
    wait_for(share);
    return Step::kBlocked;
  }
  stop_waiting();
  Request& request = piece->request;
  request.kind = RequestKind::kWrite;
  request.offset = offset;
  request.length = bytes;
  request.buffer = buffer;
  request.share = &share;
  request.payload = buffer.data + kBlockBytes + in_block;
  filling_ = piece;
  filled_bytes_ = 0;
  return Step::kAgain;
}

std::byte* Connection::filling_at() const {
  const Request& request = filling_->request;
  return request.buffer.data + kBlockBytes + request.offset % kBlockBytes + filled_bytes_;
}

Connection::Step Connection::take_direct_payload(Command* command, uint32_t bytes) {
  const uint32_t staged = std::min(staged_bytes(), bytes - filled_bytes_);
  std::memcpy(filling_at(), staging_.get() + staged_begin_, staged);
  staged_begin_ += staged;
  filled_bytes_ += staged;
  if (filled_bytes_ < bytes) return Step::kNeedBytes;
  last_was_direct_ = true;
  submit_direct_write(command, std::exchange(filling_, nullptr));
  return Step::kAgain;
}

Connection::Step Connection::drain_payload(Command* command) {
  last_was_direct_ = false;
  const uint32_t bytes = std::min(staged_bytes(), command->length - command->issued_bytes);
  staged_begin_ += bytes;
  command->issued_bytes += bytes;
  if (command->issued_bytes < command->length) return Step::kNeedBytes;
  current_ = nullptr;
  command->phase = Command::Phase::kWait;
  on_plain_done(command);
  return Step::kAgain;
}

void Connection::arm_receive() {
  if (receive_.pending()) return;
  const bool mid_message = is_mid_message();
  // Time that we made the client wait is not held against it.
  if (was_blocked_) message_since_ = host_.io.now();
  was_blocked_ = false;
  if (filling_ != nullptr) {
    receive_target_ = Target::kPayload;
    const auto payload_bytes = static_cast<uint32_t>(filling_->request.length);
    receive_bytes_ = std::min(kTransferBytesMax, payload_bytes - filled_bytes_);
    message_since_ = host_.io.now();
    host_.io.receive(socket_, filling_at(), receive_bytes_, true, receive_);
  } else {
    compact_staging();
    receive_target_ = Target::kStaging;
    receive_bytes_ = kStagingBytes - staged_end_;
    if (last_was_direct_) {
      receive_bytes_ = std::min(receive_bytes_,
                                std::max(staging_bytes_missing(), kStagingBytesBetweenLargeWrites));
    }
    if (mid_message && current_ != nullptr && current_->phase == Command::Phase::kDrain) {
      message_since_ = host_.io.now();
    }
    host_.io.receive(socket_, staging_.get() + staged_end_, receive_bytes_, false, receive_);
  }
  if (mid_message) host_.on_connection_busy();
}

/// How many bytes the head of the line still needs in the staging buffer.
uint32_t Connection::staging_bytes_missing() const {
  uint32_t wanted = kRequestBytes;
  if (current_ != nullptr && current_->phase == Command::Phase::kPayload) {
    wanted = piece_bytes(current_->offset + current_->issued_bytes,
                         current_->length - current_->issued_bytes, kBlocksMax);
  }
  return wanted > staged_bytes() ? wanted - staged_bytes() : 0;
}

/// What is left is part of one message, less than kStagingBytes, mostly much less.
void Connection::compact_staging() {
  const uint32_t bytes = staged_bytes();
  if (staged_begin_ != 0 && bytes != 0) {
    std::memmove(staging_.get(), staging_.get() + staged_begin_, bytes);
  }
  staged_begin_ = 0;
  staged_end_ = bytes;
  RINGBOLT_ASSERT(staged_end_ < kStagingBytes);
}

}  // namespace ringbolt::nbd

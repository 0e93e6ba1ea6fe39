// Request side of a connection: checks, pieces, the volume's answers. See connection.h.
#include <algorithm>
#include <bit>
#include <cstring>

#include "nbd/connection.h"

namespace ringbolt::nbd {
namespace {

uint32_t wire_error(RequestError error) {
  switch (error) {
    case RequestError::kNone:
      return kErrorNone;
    case RequestError::kIo:
      return kErrorIo;
    case RequestError::kInvalid:
      return kErrorInvalid;
    case RequestError::kNoSpace:
      return kErrorNoSpace;
    case RequestError::kShutdown:
      return kErrorShutdown;
  }
  return kErrorIo;
}

/// What a client that wants no holes has written. Never written to, so it costs no memory.
constinit std::byte g_zeros[kFramePayloadBytesMax] = {};

/// Zeros cost less than writing them where whole blocks become a record without data; the blocks at
/// the edges are read and merged either way.
bool zeroes_fast(const RequestHeader& header) {
  if (header.length == 0) return true;
  if ((header.flags & kCommandFlagNoHole) != 0) return false;
  const uint64_t first_whole = (header.offset + kBlockBytes - 1) / kBlockBytes;
  return (header.offset + header.length) / kBlockBytes > first_whole;
}

}  // namespace

uint32_t Connection::piece_bytes(uint64_t offset, uint32_t bytes_left, uint32_t blocks_max) {
  // Ends on a block's boundary unless the command ends before it.
  const uint64_t end = (offset / kBlockBytes + blocks_max) * kBlockBytes;
  return static_cast<uint32_t>(std::min<uint64_t>(bytes_left, end - offset));
}

/// The error of a command that must not reach the volume, by the protocol's rules.
uint32_t Connection::check_command(const RequestHeader& header) const {
  uint16_t flags_allowed =
      kCommandFlagFua;  // the protocol wants it accepted, if ignored, everywhere
  switch (header.command) {
    case kCommandRead:
      if (structured_) flags_allowed |= kCommandFlagDontFragment;
      break;
    case kCommandWriteZeroes:
      flags_allowed |= kCommandFlagNoHole | kCommandFlagFastZero;
      break;
    case kCommandBlockStatus:
      if (!base_allocation_ || header.length == 0) return kErrorInvalid;
      flags_allowed |= kCommandFlagOneExtent;
      break;
    case kCommandFlush:
      if (header.offset != 0 || header.length != 0) return kErrorInvalid;
      break;
    case kCommandWrite:
    case kCommandTrim:
    case kCommandCache:
      break;
    default:
      return kErrorInvalid;
  }
  if ((header.flags & ~flags_allowed) != 0) return kErrorInvalid;
  return check_range(header);
}

uint32_t Connection::check_range(const RequestHeader& header) const {
  const bool moves_data = header.command == kCommandRead || header.command == kCommandWrite;
  if (header.offset > size_bytes_ || header.length > size_bytes_ - header.offset) {
    const bool is_write = header.command == kCommandWrite || header.command == kCommandWriteZeroes;
    return is_write ? kErrorNoSpace : kErrorInvalid;
  }
  if (moves_data && header.length > kRequestBytesMax) return kErrorInvalid;
  if ((header.flags & kCommandFlagDontFragment) != 0 &&
      header.length > piece_bytes(header.offset, header.length, kBlocksMax)) {
    return kErrorOverflow;
  }
  if ((header.flags & kCommandFlagFastZero) != 0 && !zeroes_fast(header)) return kErrorNotSupported;
  return kErrorNone;
}

Connection::Step Connection::issue_read(Command* command) {
  const uint64_t offset = command->offset + command->issued_bytes;
  const uint32_t left = command->length - command->issued_bytes;
  uint32_t bytes = piece_bytes(offset, left, command->dont_fragment ? kBlocksMax : kReadPieceBlocks);
  const auto room = static_cast<uint32_t>((offset % kBlockBytes + bytes + kBlockBytes - 1) /
                                          kBlockBytes * kBlockBytes);
  Piece* piece = take_piece();
  if (piece == nullptr) return Step::kBlocked;
  io::Buffer buffer = take_read_buffer(room);
  if (!buffer && !command->dont_fragment) {
    buffer = take_small_read_buffer();
    if (buffer) bytes = piece_bytes(offset, left, buffer.bytes / kBlockBytes);
  }
  if (!buffer) {
    release_piece(piece);
    return Step::kBlocked;
  }
  stop_waiting();
  if (!structured_ && !command->is_stream && bytes < left) {
    command->is_stream = true;
    push_stream(command);
  }
  piece->pinned_bytes = buffer.bytes;
  read_pinned_bytes_ += buffer.bytes;
  Request& request = piece->request;
  request.kind = RequestKind::kRead;
  request.offset = offset;
  request.length = bytes;
  request.buffer = buffer;
  request.share = &service_.reply_memory();
  command->issued_bytes += bytes;
  if (command->is_stream) command->append_piece(piece);
  if (command->issued_bytes == command->length) stop_issuing(command);
  submit(command, piece);
  return Step::kAgain;
}

/// Empty if the bound, the share or the pool is reached; then something will call pump() again.
io::Buffer Connection::take_read_buffer(uint32_t bytes) {
  if (spare_ && spare_.bytes >= bytes) return std::exchange(spare_, io::Buffer{});
  io::MemoryShare& share = service_.reply_memory();
  // One piece is always allowed, so the bounds can delay a read but never stop it. The second one
  // leaves memory to other clients, whatever this one does with its replies.
  if (read_pinned_bytes_ != 0) {
    const uint64_t after = read_pinned_bytes_ + std::bit_ceil(bytes);
    const uint64_t others = share.held() - read_pinned_bytes_;
    if (after > kReadPinnedBytesMax || 2 * after + others > share.limit()) return {};
  }
  const io::Buffer buffer = share.allocate(bytes);
  if (!buffer) wait_for(share);
  return buffer;
}

/// When there is no memory for a whole piece: what the stream under way has kept; or a block, if
/// nothing of this connection is under way that would give some back.
io::Buffer Connection::take_small_read_buffer() {
  if (spare_) return std::exchange(spare_, io::Buffer{});
  if (read_pinned_bytes_ != 0) return {};
  return service_.reply_memory().allocate(kBlockBytes);
}

Connection::Step Connection::issue_plain(Command* command) {
  Piece* piece = take_piece();
  if (piece == nullptr) return Step::kBlocked;
  Request& request = piece->request;
  request.kind = command->code == kCommandFlush  ? RequestKind::kFlush
                 : command->code == kCommandTrim ? RequestKind::kTrim
                                                 : RequestKind::kZero;
  request.fua = command->fua && command->code != kCommandFlush;
  request.offset = command->offset;
  request.length = command->length;
  command->issued_bytes = command->length;
  stop_issuing(command);
  submit(command, piece);
  return Step::kAgain;
}

/// Zeros that must not become a hole: written as data, like any other, since a zero record ends in a
/// hole of the base image.
Connection::Step Connection::issue_zero_data(Command* command) {
  if (command->error != kErrorNone) {  // an earlier piece failed: the rest need not be written
    stop_issuing(command);
    on_plain_done(command);
    return Step::kAgain;
  }
  if (command->pieces_open >= kZeroPiecesMax) return Step::kBlocked;
  Piece* piece = take_piece();
  if (piece == nullptr) return Step::kBlocked;
  Request& request = piece->request;
  request.kind = RequestKind::kWrite;
  request.fua = command->fua;
  request.offset = command->offset + command->issued_bytes;
  request.length = piece_bytes(request.offset, command->length - command->issued_bytes, kBlocksMax);
  request.payload = g_zeros;
  command->issued_bytes += static_cast<uint32_t>(request.length);
  if (command->issued_bytes == command->length) stop_issuing(command);
  submit(command, piece);
  return Step::kAgain;
}

void Connection::submit_staged_write(Command* command, Piece* piece, uint32_t bytes) {
  Request& request = piece->request;
  request.kind = RequestKind::kWrite;
  request.fua = command->fua;
  request.offset = command->offset + command->issued_bytes;
  request.length = bytes;
  request.payload = staging_.get() + staged_begin_;
  staged_begin_ += bytes;
  command->issued_bytes += bytes;
  if (command->issued_bytes == command->length) stop_issuing(command);
  submitting_ = piece;
  submit(command, piece);
  // `done` may have come from inside submit(), and the piece may even be in use again.
  if (std::exchange(submitting_, nullptr) != piece || request.payload_consumed) return;
  request.share = &service_.payload_memory();
  request.buffer = request.share->allocate(bytes);
  if (!request.buffer) {
    staging_holder_ = piece;  // parsing goes on when the volume is done with it
    return;
  }
  std::memcpy(request.buffer.data, request.payload, bytes);
  request.payload = request.buffer.data;
}

void Connection::submit_direct_write(Command* command, Piece* piece) {
  piece->request.fua = command->fua;
  command->issued_bytes += static_cast<uint32_t>(piece->request.length);
  if (command->issued_bytes == command->length) stop_issuing(command);
  submit(command, piece);
}

/// Everything about the command and the piece must be in its final state before: `done` may be
/// called from inside, and both may be given back and taken again before this returns.
void Connection::submit(Command* command, Piece* piece) {
  piece->command = command;
  piece->with_volume = true;
  piece->request.owner = piece;
  piece->request.done = &Connection::on_request_done;
  ++command->pieces_open;
  ++pieces_with_volume_;
  service_.submit(piece->request);
}

void Connection::on_request_done(Request& request, RequestError error) {
  auto* piece = static_cast<Piece*>(request.owner);
  piece->connection->on_piece_done(piece, error);
}

void Connection::on_piece_done(Piece* piece, RequestError error) {
  RINGBOLT_ASSERT(piece->with_volume);
  piece->with_volume = false;
  --pieces_with_volume_;
  if (submitting_ == piece) submitting_ = nullptr;
  if (staging_holder_ == piece) staging_holder_ = nullptr;
  Command* command = piece->command;
  --command->pieces_open;
  schedule_turn();
  if (mode_ == Mode::kClosing) return release_piece(piece);
  if (error == RequestError::kShutdown) drain(true);
  const uint32_t code = wire_error(error);
  if (command->code == kCommandRead) return on_read_done(command, piece, code);
  if (command->error == kErrorNone) command->error = code;
  release_piece(piece);
  on_plain_done(command);
}

/// A command other than a read may have its answer now.
void Connection::on_plain_done(Command* command) {
  if (command->phase != Command::Phase::kWait || command->pieces_open != 0) return;
  if (command->abandoned) return release_command(command);
  finish_command(command);
}

/// The command gives up the head of the line: nothing more of it goes to the volume.
void Connection::stop_issuing(Command* command) {
  command->phase = Command::Phase::kWait;
  if (current_ != command) return;
  current_ = nullptr;
  if (spare_) service_.reply_memory().release(std::exchange(spare_, io::Buffer{}));
}

/// The head of the line will never be complete, because no more is received.
void Connection::abandon_current() {
  release_filling();
  Command* command = current_;
  if (command == nullptr) return;
  const Command::Phase phase = command->phase;
  stop_issuing(command);
  if (phase != Command::Phase::kIssue) {
    command->abandoned = true;
    return on_plain_done(command);
  }
  if (command->error == kErrorNone) command->error = kErrorShutdown;
  if (command->is_stream) return advance_streams();
  // One with pieces at the volume ends with the last of them.
  if (command->pieces_open == 0) finish_command(command);
}

void Connection::wait_for(io::MemoryShare& share) {
  if (waits_for_ == &share) return;  // it keeps its place
  stop_waiting();
  waits_for_ = &share;
  ++share.waiting;
  host_.pool.wait(memory_waiter_);
}

void Connection::stop_waiting() {
  host_.pool.cancel_wait(memory_waiter_);
  if (waits_for_ != nullptr) --std::exchange(waits_for_, nullptr)->waiting;
}

void Connection::on_memory() {
  stop_waiting();
  // At once, not at the end of the turn: by then others may have taken the memory.
  pump();
  schedule_turn();
}

Piece* Connection::take_piece() {
  Piece* piece = pieces_.take();
  if (piece != nullptr) piece->connection = this;
  return piece;
}

void Connection::release_piece(Piece* piece) {
  release_read_buffer(piece);
  piece->request.release_buffer(host_.pool);
  static_cast<ReplyPart&>(*piece) = ReplyPart(ReplyPart::Carrier::kPiece);
  piece->next_in_stream = nullptr;
  piece->command = nullptr;
  piece->finished = false;
  piece->request = Request{};
  pieces_.give_back(piece);
}

/// A streamed read that is still being issued keeps one of the buffers that its connection gives
/// back. Otherwise two clients could starve each other for good: with the pool used up by replies
/// that are held behind a stream under way, that stream could never get the memory for its next
/// piece. A small one is kept only where there is nothing better.
void Connection::release_read_buffer(Piece* piece) {
  if (piece->pinned_bytes == 0) return;
  read_pinned_bytes_ -= std::exchange(piece->pinned_bytes, 0);
  const bool keep = mode_ == Mode::kOpen && current_ != nullptr && current_->is_stream && !spare_ &&
                    (piece->request.buffer.bytes >= kReadPieceBlocks * kBlockBytes ||
                     waits_for_ != nullptr);
  if (!keep) return;
  spare_ = std::exchange(piece->request.buffer, io::Buffer{});
}

/// Only once no receive into it is pending; else on_received() comes back to it.
void Connection::release_filling() {
  if (filling_ == nullptr || receive_.pending()) return;
  release_piece(std::exchange(filling_, nullptr));
}

}  // namespace ringbolt::nbd

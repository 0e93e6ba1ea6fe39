// Reply side of a connection: what is sent, in which order, and when its memory is free again. See
// connection.h.
#include <algorithm>

#include "nbd/connection.h"

namespace ringbolt::nbd {

void Connection::on_read_done(Command* command, Piece* piece, uint32_t error) {
  piece->data = piece->request.buffer.data + piece->request.offset % kBlockBytes;
  piece->data_bytes = static_cast<uint32_t>(piece->request.length);
  piece->answered_at = host_.io.now();
  if (error != kErrorNone) {
    if (command->error == kErrorNone) {
      command->error = error;
      command->error_offset = piece->request.offset;
      command->error_has_offset = true;
    }
    stop_issuing(command);
  }
  if (structured_) return on_chunk_done(command, piece, error);
  if (command->is_stream) {
    piece->finished = true;
    return advance_streams();
  }
  if (error != kErrorNone) {
    release_piece(piece);
    return finish_command(command);
  }
  piece->set_header(encode_simple_reply(piece->header.data(), kErrorNone, command->cookie));
  release_command(command);
  queue_part(piece);
}

/// With structured replies each piece is a chunk of its own, in whatever order they come.
void Connection::on_chunk_done(Command* command, Piece* piece, uint32_t error) {
  if (error != kErrorNone) {
    release_piece(piece);
  } else {
    const bool last = command->pieces_open == 0 && command->issued_bytes == command->length &&
                      command->error == kErrorNone;
    std::byte* at = encode_chunk(piece->header.data(), last, kChunkOffsetData, command->cookie,
                                 static_cast<uint32_t>(sizeof(uint64_t)) + piece->data_bytes);
    piece->set_header(store(at, piece->request.offset));
    queue_part(piece);
    if (last) return release_command(command);
  }
  // The error chunk comes last, also if a later piece is still to come or was never begun.
  if (command->pieces_open == 0 && command->error != kErrorNone) finish_command(command);
}

void Connection::push_stream(Command* command) {
  command->next_stream = nullptr;
  (first_stream_ == nullptr ? first_stream_ : last_stream_->next_stream) = command;
  last_stream_ = command;
}

/// Simple replies of several pieces go out one after the other in order of arrival. A later read is
/// parsed only when the earlier one is with the volume as a whole, so the first can always be
/// completed, whatever memory the others hold.
void Connection::advance_streams() {
  while (first_stream_ != nullptr && advance_stream(first_stream_)) {
  }
}

/// Returns whether the command is done with and off the list.
bool Connection::advance_stream(Command* command) {
  if (command->error != kErrorNone) {
    if (command->header_queued) {
      // The header has promised data that does not exist: the protocol's only way out is to close.
      fail(command->is_unanswered() ? "" : "read error behind the header of its reply");
      return false;
    }
    if (command->pieces_open != 0) return false;
    while (command->first_unsent != nullptr) release_piece(command->pop_piece());
    first_stream_ = command->next_stream;
    finish_command(command);
    return true;
  }
  while (command->first_unsent != nullptr && command->first_unsent->finished) {
    Piece* piece = command->pop_piece();
    if (!command->header_queued) {
      piece->set_header(encode_simple_reply(piece->header.data(), kErrorNone, command->cookie));
      command->header_queued = true;
    }
    queue_.push(piece);
  }
  if (command->first_unsent != nullptr || command->issued_bytes != command->length) return false;
  first_stream_ = command->next_stream;
  release_command(command);
  queue_.splice(held_);
  return true;
}

/// The answer to a command that carries no read data.
void Connection::finish_command(Command* command) {
  if (command->is_unanswered()) return release_command(command);
  command->answered_at = host_.io.now();
  std::byte* at = command->header.data();
  const bool chunk =
      structured_ && (command->code == kCommandRead || command->code == kCommandBlockStatus);
  if (!chunk) {
    at = encode_simple_reply(at, command->error, command->cookie);
  } else if (command->error == kErrorNone) {
    at = encode_chunk(at, true, kChunkNone, command->cookie, 0);
  } else {
    const uint32_t offset_bytes = command->error_has_offset ? sizeof(uint64_t) : 0;
    at = encode_chunk(at, true, offset_bytes != 0 ? kChunkErrorOffset : kChunkError,
                      command->cookie, 6 + offset_bytes);
    at = store(at, command->error);
    at = store(at, uint16_t{0});  // no text
    if (offset_bytes != 0) at = store(at, command->error_offset);
  }
  command->set_header(at);
  queue_part(command);
}

/// One extent, "allocated": always a correct answer, and right for a volume with preallocated
/// space.
void Connection::finish_block_status(Command* command) {
  command->answered_at = host_.io.now();
  std::byte* at =
      encode_chunk(command->header.data(), true, kChunkBlockStatus, command->cookie, 12);
  at = store(at, kBaseAllocationId);
  at = store(at, command->length);
  at = store(at, uint32_t{0});
  command->set_header(at);
  queue_part(command);
}

void Connection::queue_part(ReplyPart* part) {
  const bool stream_under_way = first_stream_ != nullptr && first_stream_->header_queued;
  (stream_under_way ? held_ : queue_).push(part);
  schedule_turn();
}

void Connection::flush_replies() {
  if (mode_ == Mode::kClosing || send_.pending() || queue_.empty()) return;
  const uint32_t entries = gather();
  send_since_ = host_.io.now();
  host_.io.send(socket_, std::span(iov_.data(), entries), send_);
  host_.on_connection_busy();
}

/// Fills iov_ from the front of the queue; the last part may be cut and goes on with the next send.
uint32_t Connection::gather() {
  uint32_t entries = 0;
  send_bytes_ = 0;
  for (ReplyPart* part = queue_.front();
       part != nullptr && entries + 2 <= iov_.size() && send_bytes_ < kTransferBytesMax;
       part = part->next_part) {
    const uint32_t header_sent = std::min<uint32_t>(part->sent_bytes, part->header_bytes);
    const uint32_t header_left = part->header_bytes - header_sent;
    if (header_left != 0) {
      iov_[entries++] = {part->header.data() + header_sent, header_left};
      send_bytes_ += header_left;
    }
    const uint32_t data_sent = part->sent_bytes - header_sent;
    const uint32_t room = send_bytes_ < kTransferBytesMax ? kTransferBytesMax - send_bytes_ : 0;
    const uint32_t data_now = std::min(part->data_bytes - data_sent, room);
    if (data_now != 0) {
      iov_[entries++] = {const_cast<std::byte*>(part->data) + data_sent, data_now};
      send_bytes_ += data_now;
    }
  }
  return entries;
}

void Connection::on_sent(int32_t result) {
  schedule_turn();
  if (mode_ == Mode::kClosing) return drop_replies();
  if (result < 0) return fail("");
  RINGBOLT_ASSERT(static_cast<uint32_t>(result) == send_bytes_);
  DurationHistogram& reply_times = service_.reply_times();
  uint32_t left = send_bytes_;
  while (left != 0) {
    ReplyPart* part = queue_.front();
    const uint32_t count = std::min(left, part->bytes() - part->sent_bytes);
    part->sent_bytes += count;
    left -= count;
    if (part->sent_bytes != part->bytes()) break;
    reply_times.add(host_.io.now() - part->answered_at);
    release_part(queue_.pop());
  }
}

void Connection::release_part(ReplyPart* part) {
  if (part->carrier == ReplyPart::Carrier::kCommand) {
    release_command(static_cast<Command*>(part));
  } else {
    release_piece(static_cast<Piece*>(part));
  }
}

void Connection::release_command(Command* command) {
  RINGBOLT_ASSERT(command->pieces_open == 0 && command->first_unsent == nullptr);
  *command = Command();
  commands_.give_back(command);
}

/// Nothing more will be sent: gives back what waits, except what a send in flight still reads.
void Connection::drop_replies() {
  while (!held_.empty()) release_part(held_.pop());
  for (; first_stream_ != nullptr; first_stream_ = first_stream_->next_stream) {
    while (first_stream_->first_unsent != nullptr) {
      Piece* piece = first_stream_->pop_piece();
      if (piece->finished) release_piece(piece);  // the others come back through on_piece_done
    }
  }
  if (send_.pending()) return;
  while (!queue_.empty()) release_part(queue_.pop());
}

}  // namespace ringbolt::nbd

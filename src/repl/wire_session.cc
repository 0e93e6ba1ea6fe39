// session_control, session_data, session_data_ack, session_ack, verify, verify_ack, grow, grow_ack.
#include "repl/wire_codec.h"
#include "volume/wal_format.h"

namespace ringbolt::repl {

using codec::Reader;
using codec::Writer;

namespace {
constexpr uint64_t kVolumeBlocksMax = kVolumeBytesMax / kBlockBytes;
}

const char* to_string(ControlKind kind) {
  switch (kind) {
    case ControlKind::kStartCatchup: return "start_catchup";
    case ControlKind::kStartRebuild: return "start_rebuild";
    case ControlKind::kCancelSession: return "cancel_session";
    case ControlKind::kCutTail: return "cut_tail";
    case ControlKind::kBaseComplete: return "base_complete";
  }
  return "unknown";
}

const char* to_string(BaseKind kind) {
  switch (kind) {
    case BaseKind::kNone: return "none";
    case BaseKind::kLive: return "live";
    case BaseKind::kSnapshot: return "snapshot";
  }
  return "unknown";
}

// --- session_control --------------------------------------------------------------------------------

void encode(const SessionControl& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.kind);
  w.number(m.base_kind);
  w.optional(m.base);
  w.optional(m.target);
  w.number(m.snapshot_id);
  w.number(m.deadline.value());
  w.number(m.reason);
  w.history(m.history);
}

namespace {

void check_control(Reader& r, const SessionControl& m) {
  const bool rebuild = m.kind == ControlKind::kStartRebuild;
  const bool start = rebuild || m.kind == ControlKind::kStartCatchup;
  const bool cancel = m.kind == ControlKind::kCancelSession;
  const bool complete = m.kind == ControlKind::kBaseComplete;
  const char* kind = to_string(m.kind);
  r.refuse_if(rebuild == (m.base_kind == BaseKind::kNone), "{} with base kind {}", kind, to_string(m.base_kind));
  r.refuse_if((m.base_kind == BaseKind::kSnapshot) != (m.snapshot_id != 0), "base kind {} with snapshot id {}",
              to_string(m.base_kind), m.snapshot_id);
  r.refuse_if(start != m.base.has_value(), "{} {} base Lsn", kind, start ? "without" : "with");
  const bool hand_over = cancel && m.reason == Reason::kHandedOver;
  const bool no_target = cancel && !hand_over;
  r.refuse_if(no_target == m.target.has_value(), "{} {} target Lsn", kind, no_target ? "with" : "without");
  r.refuse_if((start || hand_over || complete) && m.target == Lsn{}, "{} with target Lsn 0", kind);
  if (start && r.good()) {
    r.refuse_if(m.target < m.base, "target Lsn {} < base Lsn {}", m.target->value(), m.base->value());
  }
  r.refuse_if((cancel || complete) && m.deadline.is_set(), "{} with a deadline", kind);
  r.refuse_if(cancel != (m.reason != Reason::kNone), "{} {} reason", kind, cancel ? "without" : "with");
  const bool no_history = cancel || complete;
  r.refuse_if(no_history != m.history.empty(), "{} {} term history", kind, no_history ? "with" : "without");
}

}  // namespace

Result<SessionControl> decode_session_control(std::span<const std::byte> payload) {
  Reader r("session_control", payload);
  SessionControl m;
  m.kind = r.enumerator("kind", ControlKind::kStartCatchup, ControlKind::kBaseComplete);
  m.base_kind = r.enumerator("base kind", BaseKind::kNone, BaseKind::kSnapshot);
  m.base = r.optional_lsn("base Lsn");
  m.target = r.optional_lsn("target Lsn");
  m.snapshot_id = r.number<uint64_t>("snapshot id");
  m.deadline = Millis(r.number<uint32_t>("deadline"));
  m.reason = r.reason();
  m.history = r.history();
  check_control(r, m);
  return r.finish(std::move(m));
}

// --- session_data, session_data_ack -----------------------------------------------------------------

void encode_fields(const SessionDataFields& f, std::byte* out) {
  const uint64_t numbers[3] = {f.chunk, f.first.value(), f.read.value()};
  const uint32_t flags = (f.zeros ? SessionDataFields::kFlagZeros : 0) | (f.last ? SessionDataFields::kFlagLast : 0);
  std::memcpy(out, numbers, sizeof numbers);
  std::memcpy(out + 24, &f.blocks, 4);
  std::memcpy(out + 28, &flags, 4);
  std::memcpy(out + 32, &f.data_crc, 4);
}

Result<SessionDataFields> decode_session_data_fields(std::span<const std::byte> payload) {
  Reader r("session_data", payload.first(std::min<size_t>(payload.size(), SessionDataFields::kBytes)));
  SessionDataFields f;
  f.chunk = r.from_one<uint64_t>("chunk id");
  f.first = r.position<Lba>("first Lba");
  f.read = r.lsn("read Lsn");
  r.refuse_if(f.read == Lsn{}, "read Lsn is 0");
  f.blocks = r.number<uint32_t>("block count");
  const auto flags = r.number<uint32_t>("flags");
  r.refuse_if((flags & ~(SessionDataFields::kFlagZeros | SessionDataFields::kFlagLast)) != 0, "unknown flags {:#x}", flags);
  f.zeros = (flags & SessionDataFields::kFlagZeros) != 0;
  f.last = (flags & SessionDataFields::kFlagLast) != 0;
  f.data_crc = r.number<uint32_t>("data checksum");
  const uint32_t blocks_max = f.zeros ? kZeroChunkBlocksMax : kFramePayloadBlocksMax;
  r.refuse_if(f.blocks == 0 || f.blocks > blocks_max, "block count {}, 1 to {} are allowed", f.blocks, blocks_max);
  r.refuse_if(f.first.value() > kVolumeBlocksMax - f.blocks, "first Lba {} with {} blocks is beyond any volume",
              f.first.value(), f.blocks);
  r.refuse_if(f.zeros && f.data_crc != 0, "data checksum {:#x} without data", f.data_crc);
  return r.finish(f);
}

void encode(const SessionDataAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.chunk);
  w.number(m.bytes);
}

Result<SessionDataAck> decode_session_data_ack(std::span<const std::byte> payload) {
  Reader r("session_data_ack", payload);
  SessionDataAck m;
  m.chunk = r.from_one<uint64_t>("chunk id");
  m.bytes = r.number<uint64_t>("bytes");
  r.refuse_if(m.bytes > kVolumeBytesMax, "bytes {} are more than any volume has", m.bytes);
  return r.finish(m);
}

// --- session_ack --------------------------------------------------------------------------------------

void encode(const SessionAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.phase);
  w.optional(m.applied);
  w.number(m.base_blocks_done);
  w.number(m.base_blocks_skipped);
  w.optional(m.achieved);
  w.number(m.reason);
}

Result<SessionAck> decode_session_ack(std::span<const std::byte> payload) {
  Reader r("session_ack", payload);
  SessionAck m;
  m.phase = r.enumerator("phase", SessionPhase::kAccepted, SessionPhase::kFailed);
  m.applied = r.optional_lsn("applied Lsn");
  m.base_blocks_done = r.number<uint64_t>("base blocks done");
  m.base_blocks_skipped = r.number<uint64_t>("base blocks skipped");
  m.achieved = r.optional_lsn("achieved Lsn");
  m.reason = r.reason();
  const bool completed = m.phase == SessionPhase::kCompleted;
  const bool failed = m.phase == SessionPhase::kFailed;
  r.refuse_if(m.base_blocks_done > kVolumeBlocksMax, "base blocks done {} are more than any volume has", m.base_blocks_done);
  r.refuse_if(m.base_blocks_skipped > kVolumeBlocksMax, "base blocks skipped {} are more than any volume has",
              m.base_blocks_skipped);
  r.refuse_if(completed != m.achieved.has_value(), "phase {} {} achieved Lsn", to_string(m.phase), completed ? "without" : "with");
  r.refuse_if(m.achieved == Lsn{}, "achieved Lsn is 0");
  if (m.achieved && m.applied) {
    r.refuse_if(m.achieved > m.applied, "achieved Lsn {} > applied Lsn {}", m.achieved->value(), m.applied->value());
  }
  r.refuse_if(failed != (m.reason != Reason::kNone), "phase {} {} reason", to_string(m.phase), failed ? "without" : "with");
  return r.finish(m);
}

// --- verify, verify_ack -------------------------------------------------------------------------------

void encode(const Verify& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.id);
  w.number(m.first.value());
  w.number(m.blocks);
  w.number(m.after);
}

Result<Verify> decode_verify(std::span<const std::byte> payload) {
  Reader r("verify", payload);
  Verify m;
  m.id = r.from_one<uint64_t>("id");
  m.first = r.position<Lba>("first Lba");
  m.blocks = r.number<uint32_t>("block count");
  m.after = r.lsn("after Lsn");
  r.refuse_if(m.blocks == 0 || m.blocks > kVerifyBlocksMax, "block count {}, 1 to {} are allowed", m.blocks, kVerifyBlocksMax);
  r.refuse_if(m.first.value() > kVolumeBlocksMax - m.blocks, "first Lba {} with {} blocks is beyond any volume", m.first.value(), m.blocks);
  return r.finish(m);
}

void encode(const VerifyAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.id);
  w.number(m.head);
  w.number(m.reason);
  w.number(static_cast<uint16_t>(m.sums.size()));
  for (const uint64_t sum : m.sums) w.number(sum);
}

Result<VerifyAck> decode_verify_ack(std::span<const std::byte> payload) {
  Reader r("verify_ack", payload);
  VerifyAck m;
  m.id = r.from_one<uint64_t>("id");
  m.head = r.lsn("head Lsn");
  m.reason = r.reason();
  const auto count = r.number<uint16_t>("count");
  r.refuse_if(count > kVerifyBlocksMax, "{} checksums, at most {} are allowed", count, kVerifyBlocksMax);
  r.refuse_if((count == 0) != (m.reason != Reason::kNone), "{} checksums with reason {}", count, to_string(m.reason));
  for (uint16_t i = 0; i < count && r.good(); ++i) m.sums.push_back(r.number<uint64_t>("checksum"));
  return r.finish(std::move(m));
}

// --- grow, grow_ack -----------------------------------------------------------------------------------

void encode(const Grow& m, std::vector<std::byte>& out) { Writer(out).number(m.volume_bytes); }

Result<Grow> decode_grow(std::span<const std::byte> payload) {
  Reader r("grow", payload);
  Grow m;
  m.volume_bytes = r.volume_bytes("volume_bytes");
  return r.finish(m);
}

void encode(const GrowAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.volume_bytes);
  w.text(m.problem);
}

Result<GrowAck> decode_grow_ack(std::span<const std::byte> payload) {
  Reader r("grow_ack", payload);
  GrowAck m;
  m.volume_bytes = r.volume_bytes("volume_bytes");
  m.problem = r.text("problem");
  return r.finish(std::move(m));
}

}  // namespace ringbolt::repl

// Replication messages for tests: random valid ones of each type, and one way to encode and decode all.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "io/sim_world.h"
#include "repl/wire.h"
#include "volume/wal_format.h"

namespace ringbolt::repl::samples {

using Bytes = std::vector<std::byte>;
using io::SimRandom;

template <class M>
Bytes encoded(const M& message) {
  Bytes out;
  if constexpr (requires { M::kBytes; }) {
    out.resize(M::kBytes);
    encode_fields(message, out.data());
  } else {
    encode(message, out);
  }
  return out;
}

/// Calls `f(name, decode, sample)` for every message; `sample` is a default one, for its type.
template <class F>
void for_each_message(const F& f) {
  f("hello", decode_hello, Hello{});
  f("welcome", decode_welcome, Welcome{});
  f("reject", decode_reject, Reject{});
  f("wal_data", decode_fields, WalDataFields{});
  f("wal_ack", decode_wal_ack, WalAck{});
  f("sync", decode_sync, Sync{});
  f("sync_ack", decode_sync_ack, SyncAck{});
  f("session_control", decode_session_control, SessionControl{});
  f("session_data", decode_session_data_fields, SessionDataFields{});
  f("session_data_ack", decode_session_data_ack, SessionDataAck{});
  f("session_ack", decode_session_ack, SessionAck{});
  f("verify", decode_verify, Verify{});
  f("verify_ack", decode_verify_ack, VerifyAck{});
  f("grow", decode_grow, Grow{});
  f("grow_ack", decode_grow_ack, GrowAck{});
}

/// Small, large and in between: `from` .. `to`.
inline uint64_t any_number(SimRandom& random, uint64_t from, uint64_t to) {
  const uint64_t span = to - from;
  switch (random.below(4)) {
    case 0: return from + random.below(std::min<uint64_t>(span, 3) + 1);
    case 1: return to - random.below(std::min<uint64_t>(span, 3) + 1);
    default: {
      const uint64_t value = random.next() >> random.below(64);
      return span == UINT64_MAX ? value : from + value % (span + 1);
    }
  }
}
inline uint64_t any_number(SimRandom& random) { return any_number(random, 0, UINT64_MAX); }
inline uint16_t any_u16(SimRandom& random, uint16_t from, uint16_t to) {
  return static_cast<uint16_t>(any_number(random, from, to));
}
inline Lsn any_lsn(SimRandom& random, Lsn from = Lsn{}, Lsn to = kLsnMax) {
  return Lsn(any_number(random, from.value(), to.value()));
}
template <class E>
E any_of(SimRandom& random, E first, E last) {
  const auto from = static_cast<uint64_t>(first);
  return static_cast<E>(from + random.below(static_cast<uint64_t>(last) - from + 1));
}
inline Reason any_reason(SimRandom& random) {
  return any_of(random, Reason::kEpochMismatch, Reason::kHandedOver);
}
inline Millis any_millis(SimRandom& random) {
  return Millis(static_cast<uint32_t>(any_number(random, 0, UINT32_MAX)));
}
inline std::string any_text(SimRandom& random, size_t from, size_t to) {
  static const std::string kCharacters[] = {"a", "Z", "0", " ", "-", "~", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\xa9"};
  const size_t length = any_number(random, from, to);
  std::string text;
  while (text.size() < length) {
    const std::string& next = kCharacters[random.below(std::size(kCharacters))];
    if (text.size() + next.size() <= length) text += next;
  }
  return text;
}
inline core::TermHistory any_history(SimRandom& random, size_t terms_min) {
  core::TermHistory history;
  const size_t terms = any_number(random, terms_min, core::TermHistory::kTermsMax);
  Term term{Epoch(1 + random.below(5)), Incarnation(1 + random.below(5))};
  Lsn first(1 + random.below(5));
  for (size_t i = 0; i < terms; ++i) {
    history.open(term, first);
    if (random.chance(1, 2)) {
      term.incarnation = term.incarnation.plus(1 + random.below(9));
    } else {
      term = {term.epoch.plus(1 + random.below(1u << 20)), Incarnation(1 + random.below(9))};
    }
    first = first.plus(1 + random.below(uint64_t{1} << 50));
  }
  return history;
}
inline uint64_t any_volume_bytes(SimRandom& random) {
  return any_number(random, 1, kVolumeBytesMax / kBlockBytes) * kBlockBytes;
}

inline void fill(SimRandom& random, Hello& m) {
  m.volume_name = any_text(random, 1, kTextBytesMax);
  m.node_id = any_text(random, 1, kNodeIdBytesMax);
  m.replica_id = any_text(random, 1, kNodeIdBytesMax);
  m.incarnation = Incarnation(any_number(random, 1, UINT64_MAX));
  m.volume_bytes = any_volume_bytes(random);
  m.version_min = any_u16(random, 1, UINT16_MAX);
  m.version_max = any_u16(random, m.version_min, UINT16_MAX);
  m.features = any_number(random);
  m.channel = any_of(random, Channel::kLog, Channel::kBulk);
}
inline void fill(SimRandom& random, Welcome& m) {
  m.version = any_u16(random, kVersionMin, kVersionMax);
  m.version_min = any_u16(random, 1, m.version);
  m.version_max = any_u16(random, m.version, UINT16_MAX);
  m.features = any_number(random) & kFeatures;
  m.node_id = any_text(random, 1, kNodeIdBytesMax);
  m.blank = random.chance(1, 2);
  m.volume_bytes = any_volume_bytes(random);
  m.wal_bytes = any_number(random, kWalBytesMin / kBlockBytes, kWalBytesMax / kBlockBytes) * kBlockBytes;
}
inline void fill(SimRandom& random, Reject& m) {
  m.reason = any_reason(random);
  m.epoch = Epoch(any_number(random, 0, UINT64_MAX / 2));
  m.text = any_text(random, 0, kTextBytesMax);
  if (random.chance(1, 2)) m.session = SessionId(any_number(random, 1, UINT64_MAX));
}
inline void fill(SimRandom& random, WalDataFields& m) {
  m.head = Lsn(any_number(random));
  m.committed = any_lsn(random, Lsn{}, m.head);
  m.stable = any_lsn(random, Lsn{}, m.committed);
  m.flush_to = Lsn(any_number(random));
  if (random.chance(1, 3)) return;
  m.frame_header_bytes = static_cast<uint32_t>(any_number(random, sizeof(FrameFields), kBlockBytes));
  m.data_bytes = static_cast<uint32_t>(any_number(random, 0, kFramePayloadBlocksMax)) * kBlockBytes;
}
inline void fill(SimRandom& random, WalAck& m) {
  m.written = Lsn(any_number(random));
  m.durable = any_lsn(random, Lsn{}, m.written);
  m.stable = Lsn(any_number(random));
}
inline void fill(SimRandom& random, Sync& m) {
  m.sync_id = any_number(random, 1, UINT64_MAX);
  if (random.chance(2, 3)) m.target = any_lsn(random, Lsn(1));
  m.deadline = any_millis(random);
}
inline void fill(SimRandom& random, SyncAck& m) {
  m.sync_id = any_number(random, 1, UINT64_MAX);
  m.kind = any_of(random, SyncAckKind::kQuorum, SyncAckKind::kEpochMismatch);
  m.epoch = Epoch(any_number(random, 1, UINT64_MAX / 2));
  m.base_usable = random.chance(2, 3);
  const bool may_lack = m.kind == SyncAckKind::kTransportLost || m.kind == SyncAckKind::kEpochMismatch;
  if (m.base_usable && !(may_lack && random.chance(1, 2))) {
    m.written = any_lsn(random);
    m.durable = any_lsn(random, Lsn{}, *m.written);
    m.base_limit = any_lsn(random, Lsn{}, *m.durable);
  }
  m.history = any_history(random, m.written > Lsn{} ? 1 : 0);
  if (random.chance(1, 2)) {
    ActiveSession session;
    session.id = SessionId(any_number(random, 1, UINT64_MAX));
    session.kind = any_of(random, SessionKind::kKeepup, SessionKind::kRebuild);
    session.phase = any_of(random, SessionPhase::kAccepted, SessionPhase::kCompleted);
    if (session.phase == SessionPhase::kBaseComplete) session.kind = SessionKind::kRebuild;
    m.session = session;
  }
  if (random.chance(1, 2)) m.reason = any_reason(random);
}
inline void fill(SimRandom& random, SessionControl& m) {
  m.kind = any_of(random, ControlKind::kStartCatchup, ControlKind::kBaseComplete);
  if (m.kind == ControlKind::kBaseComplete) {
    m.target = any_lsn(random, Lsn(1));
    return;
  }
  if (m.kind == ControlKind::kCancelSession) {
    m.reason = any_reason(random);
    if (m.reason == Reason::kHandedOver) m.target = any_lsn(random, Lsn(1));
    return;
  }
  m.deadline = any_millis(random);
  m.history = any_history(random, 1);
  if (m.kind == ControlKind::kCutTail) {
    m.target = any_lsn(random);
    return;
  }
  m.target = any_lsn(random, Lsn(1));
  m.base = any_lsn(random, Lsn{}, *m.target);
  if (m.kind == ControlKind::kStartCatchup) return;
  m.base_kind = any_of(random, BaseKind::kLive, BaseKind::kSnapshot);
  if (m.base_kind == BaseKind::kSnapshot) m.snapshot_id = any_number(random, 1, UINT64_MAX);
}
inline void fill(SimRandom& random, SessionDataFields& m) {
  m.chunk = any_number(random, 1, UINT64_MAX);
  m.zeros = random.chance(1, 2);
  m.last = random.chance(1, 2);
  m.blocks = static_cast<uint32_t>(any_number(random, 1, m.zeros ? kZeroChunkBlocksMax : kFramePayloadBlocksMax));
  m.first = Lba(any_number(random, 0, kVolumeBytesMax / kBlockBytes - m.blocks));
  m.read = any_lsn(random, Lsn(1));
  if (!m.zeros) m.data_crc = static_cast<uint32_t>(random.next());
}
inline void fill(SimRandom& random, SessionDataAck& m) {
  m.chunk = any_number(random, 1, UINT64_MAX);
  m.bytes = any_number(random, 0, kVolumeBytesMax);
}
inline void fill(SimRandom& random, SessionAck& m) {
  m.phase = any_of(random, SessionPhase::kAccepted, SessionPhase::kFailed);
  if (random.chance(1, 2)) m.applied = any_lsn(random, Lsn(1));
  m.base_blocks_done = any_number(random, 0, kVolumeBytesMax / kBlockBytes);
  m.base_blocks_skipped = any_number(random, 0, kVolumeBytesMax / kBlockBytes);
  if (m.phase == SessionPhase::kCompleted) m.achieved = any_lsn(random, Lsn(1), m.applied.value_or(kLsnMax));
  if (m.phase == SessionPhase::kFailed) m.reason = any_reason(random);
}
inline void fill(SimRandom& random, Verify& m) {
  m.id = any_number(random, 1, UINT64_MAX);
  m.blocks = static_cast<uint32_t>(any_number(random, 1, kVerifyBlocksMax));
  m.first = Lba(any_number(random, 0, kVolumeBytesMax / kBlockBytes - m.blocks));
  m.after = any_lsn(random);
}
inline void fill(SimRandom& random, VerifyAck& m) {
  m.id = any_number(random, 1, UINT64_MAX);
  m.head = any_lsn(random);
  if (random.chance(1, 4)) {
    m.reason = any_reason(random);
    return;
  }
  m.sums.resize(any_number(random, 1, kVerifyBlocksMax));
  for (uint64_t& sum : m.sums) sum = random.next();
}
inline void fill(SimRandom& random, Grow& m) { m.volume_bytes = any_number(random, 1, kVolumeBytesMax / kBlockBytes) * kBlockBytes; }
inline void fill(SimRandom& random, GrowAck& m) {
  m.volume_bytes = any_number(random, 1, kVolumeBytesMax / kBlockBytes) * kBlockBytes;
  if (random.chance(1, 2)) m.problem = "no room on " + std::to_string(random.next());
}

}  // namespace ringbolt::repl::samples

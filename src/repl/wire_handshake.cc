// hello, welcome, reject: read before there is a common version.
#include "repl/wire_codec.h"

namespace ringbolt::repl {

using codec::Reader;
using codec::Writer;

namespace {

std::string range_text(VersionRange range) {
  return range.min == range.max ? fmt::format("{}", range.min) : fmt::format("{} to {}", range.min, range.max);
}

void read_versions(Reader& r, uint16_t& min, uint16_t& max) {
  min = r.number<uint16_t>("version_min");
  max = r.number<uint16_t>("version_max");
  r.refuse_if(min == 0, "version_min is 0");
  r.refuse_if(min > max, "version_min {} > version_max {}", min, max);
}

}  // namespace

const char* to_string(Channel channel) {
  switch (channel) {
    case Channel::kLog: return "log";
    case Channel::kBulk: return "bulk";
  }
  return "unknown";
}

Result<uint16_t> choose_version(VersionRange theirs, VersionRange ours) {
  const uint16_t highest = std::min(theirs.max, ours.max);
  if (theirs.min > theirs.max || highest < std::max(theirs.min, ours.min)) {
    return make_error(Errc::kUnsupported, fmt::format("no common protocol version: the peer speaks {}, this build {}",
                                                      range_text(theirs), range_text(ours)));
  }
  return highest;
}

Result<uint16_t> choose_version(uint16_t min, uint16_t max) { return choose_version(VersionRange{min, max}, VersionRange{}); }

void encode(const Hello& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.text(m.volume_name);
  w.text(m.node_id, kNodeIdBytesMax);
  w.text(m.replica_id, kNodeIdBytesMax);
  w.number(m.incarnation);
  w.number(m.volume_bytes);
  w.number(m.version_min);
  w.number(m.version_max);
  w.number(m.features);
  w.number(m.channel);
}

Result<Hello> decode_hello(std::span<const std::byte> payload) {
  Reader r("hello", payload);
  Hello m;
  m.volume_name = r.name("volume_name", kTextBytesMax);
  m.node_id = r.name("node_id", kNodeIdBytesMax);
  m.replica_id = r.name("replica_id", kNodeIdBytesMax);
  m.incarnation = r.from_one<Incarnation>("incarnation");
  m.volume_bytes = r.volume_bytes("volume_bytes");
  read_versions(r, m.version_min, m.version_max);
  m.features = r.number<uint64_t>("features");
  m.channel = r.enumerator("channel", Channel::kLog, Channel::kBulk);
  if (m.version_max > kVersionMax) r.skip_rest();
  return r.finish(std::move(m));
}

void encode(const Welcome& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.version);
  w.number(m.version_min);
  w.number(m.version_max);
  w.number(m.features);
  w.text(m.node_id, kNodeIdBytesMax);
  w.flag(m.blank);
  w.number(m.volume_bytes);
  w.number(m.wal_bytes);
}

Result<Welcome> decode_welcome(std::span<const std::byte> payload) {
  Reader r("welcome", payload);
  Welcome m;
  m.version = r.number<uint16_t>("version");
  read_versions(r, m.version_min, m.version_max);
  r.refuse_if(m.version < m.version_min || m.version > m.version_max, "version {} is not within {}", m.version,
              range_text({m.version_min, m.version_max}));
  r.refuse_if(m.version < kVersionMin || m.version > kVersionMax, "version {} was not offered", m.version);
  m.features = r.number<uint64_t>("features");
  r.refuse_if((m.features & ~kFeatures) != 0, "features {:#x} were not offered", m.features & ~kFeatures);
  m.node_id = r.name("node_id", kNodeIdBytesMax);
  m.blank = r.flag("blank");
  m.volume_bytes = r.volume_bytes("volume_bytes");
  m.wal_bytes = r.number<uint64_t>("wal_bytes");
  r.refuse_if(m.wal_bytes < kWalBytesMin || m.wal_bytes > kWalBytesMax || m.wal_bytes % kBlockBytes != 0,
              "wal_bytes {} is not a WAL's size", m.wal_bytes);
  if (m.version_max > kVersionMax) r.skip_rest();
  return r.finish(std::move(m));
}

void encode(const Reject& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.reason);
  w.number(m.epoch);
  w.text(m.text);
  w.optional(m.session);
}

Result<Reject> decode_reject(std::span<const std::byte> payload) {
  Reader r("reject", payload);
  Reject m;
  m.reason = r.reason();
  r.refuse_if(m.reason == Reason::kNone, "it has no reason");
  m.epoch = r.epoch("epoch");
  m.text = r.text("text");
  if (r.flag("session")) m.session = r.from_one<SessionId>("session");
  return r.finish(std::move(m));
}

}  // namespace ringbolt::repl

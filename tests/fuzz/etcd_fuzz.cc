// Fuzz target: what etcd answers, and the records of nodes in it. Any bytes give values that keep all limits, or a failure that
// says what is wrong; a watch's stream means the same in whatever pieces it comes.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coord/etcd_codec.h"
#include "coord/node_record.h"
#include "ringbolt/assert.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::coord;

void check(const Failure& failure) {
  RINGBOLT_ASSERT(!failure.message.empty() && failure.message.size() < 1000);
}

void check(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) RINGBOLT_ASSERT(entry.created >= 0 && entry.modified >= 0);
}

void check_answers(std::string_view bytes) {
  const Reply<Entries> range = etcd::read_range(bytes);
  range.has_value() ? check(range.value().entries) : check(range.error());
  const Transaction asked{{}, {{Step::Kind::kRange, {"k"}}, {Step::Kind::kPut, {"k"}}}, {{Step::Kind::kRange, {"k"}}}};
  const Reply<TransactionReply> done = etcd::read_transaction(bytes, asked);
  if (done.has_error()) {
    check(done.error());
  } else {
    RINGBOLT_ASSERT(done.value().entries.size() == (done.value().held ? 2 : 1));
    for (const auto& entries : done.value().entries) check(entries);
  }
  for (const Reply<Lease>& lease : {etcd::read_grant(bytes), etcd::read_renewal(bytes)}) {
    RINGBOLT_ASSERT(lease.has_error() || (lease.value().id > 0 && lease.value().seconds >= 0));
  }
  const Reply<std::string> token = etcd::read_token(bytes);
  RINGBOLT_ASSERT(token.has_error() || token.value().find_first_of("\r\n") == std::string::npos);
  check(etcd::read_refusal(500, bytes).failure);
  check(etcd::read_refusal(404, bytes).failure);
}

/// How many messages and events there are; the last number: whether it failed.
std::vector<size_t> watch(std::string_view bytes, size_t piece) {
  etcd::WatchReader reader;
  std::vector<size_t> seen{0, 0, 0};
  for (; !bytes.empty() && seen[2] == 0; bytes.remove_prefix(std::min(piece, bytes.size()))) {
    const auto messages = reader.feed(bytes.substr(0, piece));
    if (messages.has_error()) {
      check(messages.error());
      seen[2] = 1;
      continue;
    }
    seen[0] += messages.value().size();
    for (const etcd::WatchMessage& message : messages.value()) seen[1] += message.events.size();
  }
  return seen;
}

void check_record(std::string_view bytes) {
  const Result<NodeRecord> record = parse_node_record(bytes);
  if (record.has_error()) return;
  const Result<NodeRecord> again = parse_node_record(to_text(record.value()));
  RINGBOLT_ASSERT(again.has_value() && again.value() == record.value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_answers(bytes);
  check_record(bytes);
  const std::vector<size_t> whole = watch(bytes, bytes.size() + 1);
  // A failure takes what was complete in the same piece with it.
  const std::vector<size_t> parts = watch(bytes, data[0] + size_t{1});
  RINGBOLT_ASSERT(whole[2] == parts[2] && (whole[2] == 1 || whole == parts));
  return 0;
}

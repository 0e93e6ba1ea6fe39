// etcd's v3 API as its HTTP gateway has it: bodies of requests and answers. 64-bit numbers are strings there, keys and values
// Base64, and what is zero or empty is left out. Pure; answers may be any bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coord/store.h"

namespace ringbolt::coord::etcd {

/// Of one message of a stream, and of one answer.
inline constexpr size_t kAnswerBytesMax = 8u << 20;

std::string range_body(const Range& range);
std::string transaction_body(const Transaction& transaction);
std::string grant_body(int64_t seconds);
/// To renew it and to revoke it.
std::string lease_body(LeaseId id);
std::string watch_body(const Range& range, Revision from);
std::string authenticate_body(const std::string& user, const std::string& password);

// Errors: kBadAnswer, what is wrong with it.
Reply<Entries> read_range(std::string_view body);
Reply<Stamp> read_stamp(std::string_view body);
/// `asked`: what it is the answer to.
Reply<TransactionReply> read_transaction(std::string_view body, const Transaction& asked);
Reply<Lease> read_grant(std::string_view body);
/// The one message of the stream that a renewal is answered with; it may be an error.
Reply<Lease> read_renewal(std::string_view body);
Reply<std::string> read_token(std::string_view body);

/// What an answer with another status than 200 says.
struct Refusal {
  Failure failure;
  bool token_refused = false;  ///< a new one helps
};
Refusal read_refusal(unsigned status, std::string_view body);

struct WatchMessage {
  Revision revision = 0;
  std::vector<Event> events;
  bool created = false;
  std::optional<WatchEnd> end = {};
};

/// Takes a watch's stream apart, which comes in pieces: a message a line.
class WatchReader {
 public:
  /// The messages that are complete with this piece. Errors: kBadAnswer, and what comes after makes no sense.
  Reply<std::vector<WatchMessage>> feed(std::string_view piece);

 private:
  std::string rest_;
};

}  // namespace ringbolt::coord::etcd

#include "coord/etcd_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "coord/etcd_codec.h"
#include "ringbolt/assert.h"

namespace ringbolt::coord {
namespace {

constexpr size_t kIdleMax = 4;
/// A password is checked slowly, on purpose.
constexpr int kAuthenticationAttempts = 3;
constexpr const char* kAuthenticate = "/v3/auth/authenticate";
constexpr const char* kWatch = "/v3/watch";

/// What a member says that stands in for the store, rather than of itself.
bool is_answer(const Failure& failure) {
  return failure.trouble == Trouble::kNotFound || failure.trouble == Trouble::kRefused;
}

/// Another one may do better: this one does not answer, or what answers there is no etcd.
bool is_of_member(const Failure& failure) {
  return failure.trouble == Trouble::kUnreachable || failure.trouble == Trouble::kBadAnswer;
}

}  // namespace

struct EtcdClient::Call {
  HttpPost request;
  Twice twice = Twice::kNo;
  /// Reads and keeps the answer, or says why it is none.
  std::function<const Failure*(std::string_view body)> read;
  /// With null: the answer that was kept.
  std::function<void(const Failure*)> done;
  size_t endpoint = 0;
  size_t attempts = 0;
  bool token_renewed = false;
  std::string failures;  ///< of the attempts so far
  Connection connection;
};

struct EtcdClient::Stream {
  HttpPost request;
  WatchTaker taker;
  size_t endpoint = 0;
  Connection connection;
  etcd::WatchReader reader;
};

class EtcdClient::StreamHandle final : public Watch {
 public:
  explicit StreamHandle(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~StreamHandle() override {
    if (const Connection connection = std::exchange(stream_->connection, nullptr)) connection->close();
  }
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;

 private:
  std::shared_ptr<Stream> stream_;
};

EtcdClient::EtcdClient(boost::asio::io_context& io, EtcdOptions options)
    : io_(io), options_(std::move(options)), resolver_(make_resolver(io)), idle_(options_.endpoints.size()) {
  RINGBOLT_ASSERT(!options_.endpoints.empty());
}

EtcdClient::~EtcdClient() {
  for (const auto& call : calls_) {
    if (call->connection) call->connection->close();
  }
  for (const auto& weak : streams_) {
    const auto stream = weak.lock();
    if (stream && stream->connection) stream->connection->close();
  }
  if (authenticating_) authenticating_->close();
  for (const auto& connections : idle_) {
    for (const Connection& connection : connections) connection->close();
  }
}

// --- what the store offers --------------------------------------------------------------------------------

template <class T>
void EtcdClient::call(std::string path, std::string body, Twice twice, Done<T> done, std::function<Reply<T>(std::string_view)> read) {
  auto begun = std::make_shared<Call>();
  begun->request = {path, std::move(body), {}};
  begun->twice = twice;
  const auto kept = std::make_shared<Reply<T>>(Failure{});
  begun->read = [kept, read = std::move(read)](std::string_view text) {
    *kept = read(text);
    return kept->has_error() ? &kept->error() : nullptr;
  };
  begun->done = [kept, done = std::move(done)](const Failure* failure) { done(failure != nullptr ? Reply<T>(*failure) : *kept); };
  begin(std::move(begun));
}

void EtcdClient::range(const Range& range, Done<Entries> done) {
  call<Entries>("/v3/kv/range", etcd::range_body(range), Twice::kYes, std::move(done), etcd::read_range);
}

void EtcdClient::commit(const Transaction& transaction, Done<TransactionReply> done) {
  call<TransactionReply>("/v3/kv/txn", etcd::transaction_body(transaction), Twice::kNo, std::move(done),
                         [transaction](std::string_view body) { return etcd::read_transaction(body, transaction); });
}

void EtcdClient::grant(int64_t seconds, Done<Lease> done) {
  // A lease that was granted without a word expires with nothing under it.
  call<Lease>("/v3/lease/grant", etcd::grant_body(seconds), Twice::kYes, std::move(done), etcd::read_grant);
}

void EtcdClient::renew(LeaseId id, Done<Lease> done) {
  call<Lease>("/v3/lease/keepalive", etcd::lease_body(id), Twice::kYes, std::move(done), etcd::read_renewal);
}

void EtcdClient::revoke(LeaseId id, Done<Stamp> done) {
  call<Stamp>("/v3/lease/revoke", etcd::lease_body(id), Twice::kYes, std::move(done), etcd::read_stamp);
}

// --- a call -----------------------------------------------------------------------------------------------

void EtcdClient::begin(std::shared_ptr<Call> call) {
  if (calls_.size() >= kCallsMax) {
    later([call] {
      const Failure failure{Trouble::kBusy, fmt::format("coordinator: {} calls are open, as many as there may be", kCallsMax), false};
      call->done(&failure);
    });
    return;
  }
  calls_.push_back(call);
  call->endpoint = preferred_;
  attempt(call);
}

void EtcdClient::attempt(const std::shared_ptr<Call>& call) {
  with_token(call->endpoint, [this, call](const std::optional<Failure>& failure) {
    if (failure) return on_failure(call, *failure);
    post(call);
  });
}

void EtcdClient::post(const std::shared_ptr<Call>& call) {
  call->request.token = token_;
  call->connection = take_connection(call->endpoint);
  call->connection->exchange(call->request, options_.attempt_time, [this, call](HttpOutcome outcome) { on_outcome(call, std::move(outcome)); });
}

void EtcdClient::on_outcome(const std::shared_ptr<Call>& call, HttpOutcome outcome) {
  give_back(call->endpoint, std::exchange(call->connection, nullptr));
  if (const auto* failure = std::get_if<HttpFailure>(&outcome)) {
    return on_failure(call, {Trouble::kUnreachable, failure->what, failure->maybe_sent});
  }
  const HttpAnswer& answer = std::get<HttpAnswer>(outcome);
  etcd::Refusal refusal;
  if (answer.status == 200) {
    const Failure* const failure = call->read(answer.body);
    if (failure == nullptr) {
      note(call->endpoint, std::nullopt);
      preferred_ = call->endpoint;
      return end(call, nullptr);
    }
    refusal = {*failure, failure->trouble == Trouble::kDenied};
  } else {
    refusal = etcd::read_refusal(answer.status, answer.body);
  }
  if (refusal.token_refused && !options_.user.empty()) {
    if (token_ == call->request.token) token_.clear();
    // Tokens end; a new one that is refused as well is another matter.
    if (!std::exchange(call->token_renewed, true)) return attempt(call);
  }
  on_failure(call, refusal.failure);
}

void EtcdClient::on_failure(const std::shared_ptr<Call>& call, Failure failure) {
  failure = at(call->endpoint, call->request.path, std::move(failure));
  note(call->endpoint, failure);
  if (is_of_member(failure)) {
    turn_from(call->endpoint);
    call->failures += (call->failures.empty() ? "" : "; ") + failure.message;
    const bool again = call->twice == Twice::kYes || !failure.may_have_happened;
    if (again && ++call->attempts < options_.endpoints.size()) {
      call->endpoint = (call->endpoint + 1) % options_.endpoints.size();
      return attempt(call);
    }
    failure.message = call->failures;
  }
  end(call, &failure);
}

void EtcdClient::end(const std::shared_ptr<Call>& call, const Failure* failure) {
  calls_.remove(call);
  call->done(failure);
}

// --- watches ----------------------------------------------------------------------------------------------

std::unique_ptr<Watch> EtcdClient::watch(const Range& range, Revision from, WatchTaker taker) {
  auto stream = std::make_shared<Stream>();
  stream->request = {kWatch, etcd::watch_body(range, from), {}};
  stream->taker = std::move(taker);
  stream->endpoint = preferred_;
  streams_.remove_if([](const auto& one) { return one.expired(); });
  if (streams_.size() >= kWatchesMax) {
    later([this, weak = std::weak_ptr(stream)] {
      const auto self = weak.lock();
      if (self) end(*self, {{Trouble::kBusy, fmt::format("coordinator: {} watches are open, as many as there may be", kWatchesMax), false}, 0});
    });
  } else {
    streams_.push_back(stream);
    with_token(stream->endpoint, [this, weak = std::weak_ptr(stream)](const std::optional<Failure>& failure) {
      const auto self = weak.lock();
      if (!self) return;
      if (!failure) return open(self);
      later([this, weak, failure = *failure] {
        if (const auto still = weak.lock()) end(*still, {at(still->endpoint, kWatch, failure), 0});
      });
    });
  }
  return std::make_unique<StreamHandle>(std::move(stream));
}

void EtcdClient::open(const std::shared_ptr<Stream>& stream) {
  stream->request.token = token_;
  // One of its own: it never becomes idle.
  stream->connection = make_http_connection(io_, *resolver_, options_.endpoints[stream->endpoint], options_.tls);
  const std::weak_ptr<Stream> weak = stream;
  stream->connection->stream(
      stream->request, options_.attempt_time,
      [this, weak](std::string_view text) {
        if (const auto self = weak.lock()) on_text(*self, text);
      },
      [this, weak](HttpOutcome outcome) {
        if (const auto self = weak.lock()) on_stream_end(*self, std::move(outcome));
      });
}

void EtcdClient::on_text(Stream& stream, std::string_view text) {
  const Reply<std::vector<etcd::WatchMessage>> messages = stream.reader.feed(text);
  if (messages.has_error()) return end(stream, {at(stream.endpoint, kWatch, messages.error()), 0});
  for (const etcd::WatchMessage& message : messages.value()) {
    if (!stream.connection) return;  // ended by who was told of the last one
    if (message.end) return end(stream, {at(stream.endpoint, kWatch, message.end->failure), message.end->compacted});
    // That it was created says nothing about what has been told.
    if (!message.created) stream.taker.on_events(message.revision, message.events);
  }
}

void EtcdClient::on_stream_end(Stream& stream, HttpOutcome outcome) {
  Failure failure{Trouble::kUnreachable, "the watch's stream ended", false};
  if (const auto* broken = std::get_if<HttpFailure>(&outcome)) failure.message = broken->what;
  if (const auto* answer = std::get_if<HttpAnswer>(&outcome); answer != nullptr && answer->status != 200) {
    failure = etcd::read_refusal(answer->status, answer->body).failure;
  }
  end(stream, {at(stream.endpoint, kWatch, failure), 0});
}

void EtcdClient::end(Stream& stream, WatchEnd end) {
  if (stream.connection) stream.connection->close();
  stream.connection = nullptr;
  if (is_of_member(end.failure)) turn_from(stream.endpoint);
  // It says no more than "permission denied", also of a token that has ended.
  if (end.failure.trouble == Trouble::kDenied && stream.request.token == token_) token_.clear();
  const auto on_end = stream.taker.on_end;  // it may end the watch, and with it this stream
  on_end(end);
}

// --- authentication ---------------------------------------------------------------------------------------

void EtcdClient::with_token(size_t endpoint, Taken taken) {
  if (options_.user.empty() || !token_.empty()) return taken(std::nullopt);
  token_waiters_.push_back(std::move(taken));
  if (authenticating_) return;
  authenticating_at_ = endpoint;
  authenticating_ = take_connection(endpoint);
  authenticating_->exchange({kAuthenticate, etcd::authenticate_body(options_.user, options_.password), {}},
                            options_.attempt_time * kAuthenticationAttempts, [this](const HttpOutcome& outcome) { on_token(outcome); });
}

void EtcdClient::on_token(const HttpOutcome& outcome) {
  give_back(authenticating_at_, std::exchange(authenticating_, nullptr));
  // What was to be done was not sent, whatever became of this.
  std::optional<Failure> failure;
  if (const auto* broken = std::get_if<HttpFailure>(&outcome)) {
    failure = Failure{Trouble::kUnreachable, broken->what, false};
  } else if (const HttpAnswer& answer = std::get<HttpAnswer>(outcome); answer.status != 200) {
    failure = etcd::read_refusal(answer.status, answer.body).failure;
  } else if (const Reply<std::string> token = etcd::read_token(answer.body); token.has_error()) {
    failure = token.error();
  } else {
    token_ = token.value();
  }
  if (failure) {
    failure->may_have_happened = false;
    failure->message = fmt::format("user {} cannot be authenticated: {}", options_.user, failure->message);
  }
  for (const Taken& taken : std::exchange(token_waiters_, {})) taken(failure);
}

// --- connections ------------------------------------------------------------------------------------------

EtcdClient::Connection EtcdClient::take_connection(size_t endpoint) {
  std::vector<Connection>& idle = idle_[endpoint];
  while (!idle.empty()) {
    const Connection connection = std::move(idle.back());
    idle.pop_back();
    if (connection->reusable()) return connection;
    connection->close();
  }
  return make_http_connection(io_, *resolver_, options_.endpoints[endpoint], options_.tls);
}

void EtcdClient::give_back(size_t endpoint, Connection connection) {
  if (connection->reusable() && idle_[endpoint].size() < kIdleMax) {
    idle_[endpoint].push_back(std::move(connection));
  } else {
    connection->close();
  }
}

void EtcdClient::turn_from(size_t endpoint) {
  if (preferred_ == endpoint) preferred_ = (endpoint + 1) % options_.endpoints.size();
}

void EtcdClient::note(size_t endpoint, const std::optional<Failure>& failure) {
  health_.answering = !failure || is_answer(*failure);
  if (!health_.answering) {
    health_.last_error = failure->message;
    return;
  }
  health_.answered_at = BootClock::now();
  health_.endpoint = options_.endpoints[endpoint].url;
}

Failure EtcdClient::at(size_t endpoint, const std::string& path, Failure failure) const {
  failure.message = fmt::format("{}{}: {}", options_.endpoints[endpoint].url, path, failure.message);
  return failure;
}

void EtcdClient::later(std::function<void()> task) {
  boost::asio::post(io_, [weak = std::weak_ptr(alive_), task = std::move(task)] {
    if (weak.lock()) task();
  });
}

}  // namespace ringbolt::coord

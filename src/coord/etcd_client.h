// etcd, through the HTTP/JSON gateway of its v3 API. Each call goes to the member that answered last; if that fails or is slow,
// to the next one, as long as doing it twice does no harm. A call ends in time, with an answer or a failure that says what and
// where; so many may be open, and so large an answer may be.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coord/boot_clock.h"
#include "coord/endpoint.h"
#include "coord/http_connection.h"
#include "coord/store.h"

namespace ringbolt::coord {

struct EtcdOptions {
  std::vector<Endpoint> endpoints;  ///< at least one
  std::string user, password;       ///< empty: without
  Tls tls;                          ///< of endpoints that have it; may be null if none does
  /// For one member to answer a call.
  std::chrono::milliseconds attempt_time{1000};
};

/// Thread: all members on the thread that runs `io`.
class EtcdClient final : public Store {
 public:
  static constexpr size_t kCallsMax = 64;
  static constexpr size_t kWatchesMax = 16;

  /// Requires: `io` outlives it.
  EtcdClient(boost::asio::io_context& io, EtcdOptions options);
  /// What is going on ends in silence. Requires: not within a call of one of its `done`.
  ~EtcdClient() override;
  EtcdClient(const EtcdClient&) = delete;
  EtcdClient& operator=(const EtcdClient&) = delete;

  void range(const Range& range, Done<Entries> done) override;
  void commit(const Transaction& transaction, Done<TransactionReply> done) override;
  void grant(int64_t seconds, Done<Lease> done) override;
  void renew(LeaseId id, Done<Lease> done) override;
  void revoke(LeaseId id, Done<Stamp> done) override;
  [[nodiscard]] std::unique_ptr<Watch> watch(const Range& range, Revision from, WatchTaker taker) override;

  struct Health {
    bool answering = false;              ///< the last call was answered
    std::optional<Instant> answered_at;  ///< when one last was
    std::string endpoint;                ///< by whom; empty: by none yet
    std::string last_error;              ///< of the last call that was not; empty: none
  };
  [[nodiscard]] const Health& health() const { return health_; }

 private:
  struct Call;
  struct Stream;
  class StreamHandle;
  /// Whether doing it twice, of which the first time is not known, is the same as once.
  enum class Twice : bool { kNo, kYes };
  using Connection = std::shared_ptr<HttpConnection>;
  using Taken = std::function<void(const std::optional<Failure>&)>;

  template <class T>
  void call(std::string path, std::string body, Twice twice, Done<T> done, std::function<Reply<T>(std::string_view)> read);
  void begin(std::shared_ptr<Call> call);
  void attempt(const std::shared_ptr<Call>& call);
  void post(const std::shared_ptr<Call>& call);
  void on_outcome(const std::shared_ptr<Call>& call, HttpOutcome outcome);
  void on_failure(const std::shared_ptr<Call>& call, Failure failure);
  void end(const std::shared_ptr<Call>& call, const Failure* failure);

  void open(const std::shared_ptr<Stream>& stream);
  void on_text(Stream& stream, std::string_view text);
  void on_stream_end(Stream& stream, HttpOutcome outcome);
  void end(Stream& stream, WatchEnd end);

  /// Calls `taken` when there is a token, now or later.
  void with_token(size_t endpoint, Taken taken);
  void on_token(const HttpOutcome& outcome);

  [[nodiscard]] Connection take_connection(size_t endpoint);
  void give_back(size_t endpoint, Connection connection);
  /// Others may do better.
  void turn_from(size_t endpoint);
  void note(size_t endpoint, const std::optional<Failure>& failure);
  [[nodiscard]] Failure at(size_t endpoint, const std::string& path, Failure failure) const;
  void later(std::function<void()> task);

  boost::asio::io_context& io_;
  const EtcdOptions options_;
  std::unique_ptr<io::Resolver> resolver_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Health health_;
  size_t preferred_ = 0;
  std::vector<std::vector<Connection>> idle_;  ///< by endpoint
  std::list<std::shared_ptr<Call>> calls_;
  std::list<std::weak_ptr<Stream>> streams_;

  std::string token_;
  Connection authenticating_;  ///< null: it is not
  size_t authenticating_at_ = 0;
  std::vector<Taken> token_waiters_;
};

}  // namespace ringbolt::coord

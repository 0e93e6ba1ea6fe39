// What the client makes of members that fail, are slow, or are no etcd at all: with etcd's answers as a test gives them.
#include "coord/etcd_client.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <tuple>

#include "coord/etcd_codec.h"
#include "tests/unit/coord/fake_member.h"

namespace ringbolt::coord {
namespace {

using namespace std::chrono_literals;
using Answer = FakeMember::Answer;
using Catch::Matchers::Contains;

const std::string kGoodHeader = R"("header":{"member_id":"1","raft_term":"2","revision":"7"})";
const std::string kGood = "{" + kGoodHeader + "}";
constexpr const char* kNoLeader = R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})";
constexpr const char* kOldToken = R"({"error":"x","message":"etcdserver: invalid auth token","code":16})";
/// Not an expectation: as long as a loaded machine may need.
constexpr std::chrono::seconds kPatienceMax{60};

Answer good(const std::string&) { return {{http_answer(200, kGood)}}; }

/// A client, and the members that it knows.
struct Members {
  explicit Members(std::initializer_list<FakeMember::Answering> answering) {
    for (const auto& one : answering) members.push_back(std::make_unique<FakeMember>(io, one));
  }
  EtcdClient& client() {
    if (store) return *store;
    for (const auto& member : members) options.endpoints.push_back(member->endpoint());
    return store.emplace(io, options);
  }
  void wait(const std::function<bool()>& is_done) {
    io.restart();
    while (!is_done()) REQUIRE(io.run_one_for(kPatienceMax) != 0);
  }
  template <class T, class Ask>
  Reply<T> ask(const Ask& ask) {
    std::optional<Reply<T>> reply;
    ask([&reply](const Reply<T>& is) { reply.emplace(is); });
    CHECK_FALSE(reply);  // later, never at once
    wait([&reply] { return reply.has_value(); });
    return *reply;
  }
  Reply<Entries> range() {
    return ask<Entries>([this](auto done) { client().range({"k"}, done); });
  }
  Reply<TransactionReply> change() {
    const Transaction put{{}, {{Step::Kind::kPut, {"k"}, "v"}}, {}};
    return ask<TransactionReply>([&](auto done) { client().commit(put, done); });
  }
  FakeMember& operator[](size_t i) { return *members[i]; }

  boost::asio::io_context io;
  std::vector<std::unique_ptr<FakeMember>> members;
  EtcdOptions options;
  std::optional<EtcdClient> store;
};

TEST_CASE("etcd client: a member that fails, or is no etcd, is not asked again while another one answers", "[coord]") {
  const std::string endless(size_t{20} << 10, 'h'), huge(etcd::kAnswerBytesMax + 1, ' ');
  const auto& [answer, words] = GENERATE_REF(table<Answer, std::string>({
      {Answer{{}, true}, "no answer: "},
      {Answer{{"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"}, true}, "no answer: "},
      {Answer{{http_answer(404, "<html>")}}, "HTTP status 404, and no words of etcd's"},
      {Answer{{http_answer(200, "<html>")}}, "not JSON"},
      {Answer{{http_answer(200, "{}")}}, "no header"},
      {Answer{{http_answer(503, kNoLeader)}}, "no leader"},
      {Answer{{"SSH-2.0-x\r\n"}}, "no answer: "},
      {Answer{{"HTTP/1.1 200 X\r\nX: " + endless}}, "header limit exceeded"},
      {Answer{{"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n"}}, "body limit exceeded"},
      {Answer{{stream_head(200), stream_piece(huge)}}, "body limit exceeded"},
  }));
  INFO(words);
  Members members{[&answer = answer](const std::string&) { return answer; }, good};
  const std::string first = members[0].endpoint().url;
  CHECK(members.range().has_value());
  CHECK(members.range().has_value());
  CHECK(members[0].requests.size() == 1);
  CHECK(members[1].requests.size() == 2);
  CHECK(members[1].connections == 1);  // which is kept
  const EtcdClient::Health& health = members.client().health();
  CHECK((health.answering && health.endpoint == members[1].endpoint().url));
  CHECK_THAT(health.last_error, Contains(first + "/v3/kv/range: ") && Contains(words));
}

TEST_CASE("etcd client: an error in an answer of status 200 is one", "[coord]") {
  Members members{[](const std::string&) { return Answer{{http_answer(200, kNoLeader)}}; },
                  [](const std::string&) { return Answer{{http_answer(200, "{\"result\":{" + kGoodHeader + R"(,"ID":"5","TTL":"9"}})")}}; }};
  const Reply<Lease> lease = members.ask<Lease>([&](auto done) { members.client().renew(5, done); });
  REQUIRE(lease.has_value());
  CHECK(lease.value().seconds == 9);
}

TEST_CASE("etcd client: who says nothing is waited for as long as may be, and no longer", "[coord]") {
  Members members{[](const std::string&) { return Answer{}; }, good};
  members.options.attempt_time = 50ms;
  CHECK(members.range().has_value());
  CHECK_THAT(members.client().health().last_error, Contains("no answer in time (waiting for its answer)"));
  CHECK(members[1].requests.size() == 1);
}

TEST_CASE("etcd client: if nobody answers, what is said names all", "[coord]") {
  Members members{good, good};
  members.client();
  const std::string first = members[0].endpoint().url, second = members[1].endpoint().url;
  for (size_t i = 0; i < 2; ++i) members[i].stop_listening();
  const Reply<Entries> reply = members.range();
  REQUIRE(reply.has_error());
  CHECK(reply.error().trouble == Trouble::kUnreachable);
  CHECK_THAT(reply.error().message, Contains(first + "/v3/kv/range: cannot connect: ") && Contains(second));
  CHECK_FALSE(members.client().health().answering);
}

TEST_CASE("etcd client: a change that may have happened is not asked for a second time", "[coord]") {
  const Answer answer = GENERATE(Answer{}, Answer{{}, true}, Answer{{http_answer(503, kNoLeader)}}, Answer{{http_answer(200, "{}")}});
  Members members{[answer](const std::string&) { return answer; }, good};
  members.options.attempt_time = 50ms;
  const Reply<TransactionReply> reply = members.change();
  REQUIRE(reply.has_error());
  CHECK(reply.error().may_have_happened);
  CHECK(members[1].requests.empty());
}

TEST_CASE("etcd client: a change that was not sent is sent elsewhere", "[coord]") {
  const std::string done = "{" + kGoodHeader + R"(,"succeeded":true,"responses":[{"response_put":{}}]})";
  Members members{good, [&](const std::string&) { return Answer{{http_answer(200, done)}}; }};
  members.client();
  members[0].stop_listening();
  CHECK(members.change().value().held);
  CHECK(members[1].requests.size() == 1);
}

TEST_CASE("etcd client: a connection that the other end has closed meanwhile is not used", "[coord]") {
  const std::string done = "{" + kGoodHeader + R"(,"succeeded":true,"responses":[{"response_put":{}}]})";
  Members members{[&](const std::string&) { return Answer{{http_answer(200, done)}, true}; }};
  CHECK(members.change().has_value());
  members.wait([&] {  // for the end to arrive
    members.io.poll();
    return true;
  });
  CHECK(members.change().has_value());
  CHECK(members[0].connections == 2);
}

TEST_CASE("etcd client: calls and watches have bounds", "[coord]") {
  Members members{[](const std::string&) { return Answer{}; }};
  members.options.attempt_time = 60s;
  for (size_t i = 0; i < EtcdClient::kCallsMax; ++i) members.client().range({"k"}, [](const Reply<Entries>&) { CHECK(false); });
  const Reply<Entries> reply = members.range();
  REQUIRE(reply.has_error());
  CHECK(reply.error().trouble == Trouble::kBusy);
  std::vector<std::unique_ptr<Watch>> watches;
  std::optional<WatchEnd> end;
  for (size_t i = 0; i <= EtcdClient::kWatchesMax; ++i) {
    watches.push_back(members.client().watch({"k"}, 1, {[](Revision, const std::vector<Event>&) {}, [&end](const WatchEnd& is) { end = is; }}));
  }
  members.wait([&end] { return end.has_value(); });
  CHECK(end->failure.trouble == Trouble::kBusy);
}

// --- users and passwords ----------------------------------------------------------------------------------

constexpr const char* kSecret = "secret-password";

struct Secured : Members {
  explicit Secured(std::initializer_list<FakeMember::Answering> answering) : Members(answering) {
    options.user = "node";
    options.password = kSecret;
  }
  size_t authentications() {
    size_t count = 0;
    for (const auto& member : members) {
      for (const std::string& request : member->requests) count += request.starts_with("POST /v3/auth/authenticate ") ? 1 : 0;
    }
    return count;
  }
};

TEST_CASE("etcd client: a token is asked for once, and again when it has ended", "[coord]") {
  int tokens = 0;
  std::string valid = "t1";
  Secured members{[&](const std::string& request) {
    if (request.starts_with("POST /v3/auth/authenticate ")) return Answer{{http_answer(200, "{" + kGoodHeader + fmt::format(R"(,"token":"t{}"}})", ++tokens))}};
    const bool known = request.find("Authorization: " + valid + "\r\n") != std::string::npos;
    return Answer{{known ? http_answer(200, kGood) : http_answer(401, kOldToken)}};
  }};
  CHECK(members.range().has_value());
  CHECK(members.range().has_value());
  CHECK(members.authentications() == 1);
  valid = "t2";
  CHECK(members.range().has_value());
  CHECK(members.authentications() == 2);
  valid = "none";  // a new one that is refused as well is another matter
  const Reply<Entries> refused = members.range();
  REQUIRE(refused.has_error());
  CHECK(refused.error().trouble == Trouble::kDenied);
  CHECK(members.authentications() == 3);
}

TEST_CASE("etcd client: a password is told to etcd, and to nobody else", "[coord]") {
  const auto& [answer, words] = GENERATE_REF(table<Answer, std::string>({
      {Answer{{http_answer(400, R"({"error":"etcdserver: authentication failed, invalid user ID or password","code":3})")}}, "authentication failed"},
      {Answer{{http_answer(200, kGood)}}, "the token is no possible one"},
      {Answer{{http_answer(200, "{" + kGoodHeader + R"(,"token":"a\r\nX: y"})")}}, "the token is no possible one"},
      {Answer{{}, true}, "no answer"},
  }));
  Secured members{[&answer = answer](const std::string&) { return answer; }};
  const Reply<Entries> reply = members.range();
  REQUIRE(reply.has_error());
  CHECK_THAT(reply.error().message, Contains("user node cannot be authenticated: ") && Contains(words));
  CHECK_THAT(reply.error().message + members.client().health().last_error, !Contains(kSecret));
  CHECK_FALSE(reply.error().may_have_happened);
  REQUIRE(members[0].requests.size() == 1);
  CHECK_THAT(members[0].requests[0], Contains(kSecret));
}

// --- watches ----------------------------------------------------------------------------------------------

/// What a watch has said.
struct Seen {
  std::vector<std::string> keys;
  Revision revision = 0;
  std::optional<WatchEnd> end;
  WatchTaker taker() {
    return {[this](Revision at, const std::vector<Event>& events) {
              revision = at;
              for (const Event& event : events) keys.push_back(event.entry.key);
            },
            [this](const WatchEnd& how) { end = how; }};
  }
};

const std::string kCreated = "{\"result\":{" + kGoodHeader + ",\"created\":true}}\n";
const std::string kEvent = "{\"result\":{" + kGoodHeader + R"(,"events":[{"kv":{"key":"Zm9v","mod_revision":"7"}}]}})" "\n";

TEST_CASE("etcd client: a watch that breaks off ends with words, and the next one is with another member", "[coord]") {
  const auto& [rest, words] = GENERATE_REF(table<std::string, std::string>({
      {"", "the stream broke off: "},
      {"0\r\n\r\n", "the watch's stream ended"},
      {stream_piece("rubbish\n"), "not JSON"},
      {stream_piece(std::string(kNoLeader) + "\n"), "no leader"},
  }));
  INFO(words);
  Members members{[&rest = rest](const std::string&) {
                    return Answer{{stream_head(200), stream_piece(kCreated + kEvent.substr(0, 20)), stream_piece(kEvent.substr(20)), rest}, true};
                  },
                  [](const std::string&) { return Answer{{stream_head(200), stream_piece(kEvent)}}; }};
  Seen seen, later;
  const auto watch = members.client().watch({"f", true}, 3, seen.taker());
  members.wait([&seen] { return seen.end.has_value(); });
  CHECK((seen.keys == std::vector<std::string>{"foo"} && seen.revision == 7));
  CHECK_THAT(seen.end->failure.message, Contains(words));
  const auto again = members.client().watch({"f", true}, 8, later.taker());
  members.wait([&later] { return !later.keys.empty(); });
  CHECK(members[1].requests.size() == 1);
}

TEST_CASE("etcd client: a watch that is refused says why, in whatever pieces that comes", "[coord]") {
  const std::string refusal = R"({"error":"x","message":"etcdserver: permission denied","code":7})";
  Members members{[&](const std::string&) {
    return Answer{{stream_head(403), stream_piece(refusal.substr(0, 9)), stream_piece(refusal.substr(9)), "0\r\n\r\n"}};
  }};
  Seen seen;
  const auto watch = members.client().watch({"f"}, 3, seen.taker());
  members.wait([&seen] { return seen.end.has_value(); });
  CHECK(seen.end->failure.trouble == Trouble::kDenied);
  CHECK_THAT(seen.end->failure.message, Contains("permission denied"));
}

TEST_CASE("etcd client: a refusal of a watch has its time, too", "[coord]") {
  Members members{[](const std::string&) { return Answer{{stream_head(403), stream_piece("{")}}; }};
  members.options.attempt_time = 50ms;
  Seen seen;
  const auto watch = members.client().watch({"f"}, 3, seen.taker());
  members.wait([&seen] { return seen.end.has_value(); });
  CHECK_THAT(seen.end->failure.message, Contains("no answer in time"));
}

TEST_CASE("etcd client: a watch that is ended by what it says says no more", "[coord]") {
  Members members{[](const std::string&) { return Answer{{stream_head(200), stream_piece(kEvent + kEvent), stream_piece(kEvent)}}; }};
  int told = 0;
  std::unique_ptr<Watch> watch;
  watch = members.client().watch({"f"}, 3, {[&](Revision, const std::vector<Event>&) {
                                              ++told;
                                              watch.reset();
                                            },
                                            [](const WatchEnd&) { CHECK(false); }});
  members.wait([&] { return members[0].connections_ended == 1; });
  CHECK(told == 1);
}

}  // namespace
}  // namespace ringbolt::coord

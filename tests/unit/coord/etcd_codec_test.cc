// etcd's JSON: what is asked, what is understood of answers, and that no bytes whatever do harm.
#include "coord/etcd_codec.h"

#include <catch2/catch.hpp>
#include <random>

#include "coord/base64.h"
#include "coord/endpoint.h"
#include "coord/node_record.h"

namespace ringbolt::coord::etcd {
namespace {

using Catch::Matchers::Contains;

const std::string kHeader = R"("header":{"cluster_id":"16128400632968936350","member_id":"17010963214147749224","revision":"7","raft_term":"2"})";
const std::string kEntry = R"({"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"2","value":"YmFy","lease":"389739685274213895"})";

TEST_CASE("base64: there and back, and nothing else is taken", "[coord]") {
  for (const auto& [bytes, text] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {std::string("\0\xff", 2), "AP8="}}) {
    CHECK(to_base64(bytes) == text);
    CHECK(from_base64(text) == bytes);
  }
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg=a", "=Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm9-"}) {
    INFO(bad);
    CHECK_FALSE(from_base64(bad));
  }
}

TEST_CASE("endpoint: http or https, a host and a port, and nothing else", "[coord]") {
  CHECK(parse_endpoint("http://h:2379").value().address.port == 2379);
  CHECK(parse_endpoint("https://[::1]:1").value().tls);
  for (const char* bad : {"", "h:1", "ftp://h:1", "http://", "http://h", "http://h:0", "http://h:99999", "http://h:1/", "http://h:1/v3", "http://u@h:1", "http://unix:/x", "http://:1"}) {
    INFO(bad);
    CHECK(parse_endpoint(bad).has_error());
  }
}

TEST_CASE("etcd: requests are what its gateway takes", "[coord]") {
  CHECK(range_body({"foo"}) == R"({"key":"Zm9v"})");
  CHECK(range_body({"foo", true, 5}) == R"({"key":"Zm9v","range_end":"Zm9w","limit":"5"})");
  CHECK(range_body({"a\xff", true}) == R"({"key":"Yf8=","range_end":"Yg=="})");
  CHECK(range_body({"", true}) == R"({"key":"AA==","range_end":"AA=="})");
  CHECK(transaction_body({{{"foo", Compare::Of::kCreated, 0}}, {{Step::Kind::kPut, {"foo"}, "bar", 7}}, {{Step::Kind::kRemove, {"foo"}}}}) ==
        R"({"compare":[{"key":"Zm9v","result":"EQUAL","target":"CREATE","create_revision":"0"}],"success":[{"request_put":{"key":"Zm9v","value":"YmFy","lease":"7"}}],)"
        R"("failure":[{"request_delete_range":{"key":"Zm9v"}}]})");
  CHECK(watch_body({"foo"}, 9) == R"({"create_request":{"key":"Zm9v","start_revision":"9","progress_notify":true}})");
}

TEST_CASE("etcd: answers are understood, with what is left out as zero", "[coord]") {
  const Entries found = read_range("{" + kHeader + ",\"kvs\":[" + kEntry + "],\"count\":\"1\"}").value();
  CHECK(found.stamp == Stamp{17010963214147749224u, 2, 7});
  CHECK(found.entries == std::vector<Entry>{{"foo", "bar", 2, 3, 389739685274213895}});
  CHECK(read_range("{" + kHeader + "}").value().entries.empty());
  const Transaction asked{{}, {{Step::Kind::kPut, {"foo"}}, {Step::Kind::kRange, {"foo"}}}, {}};
  const TransactionReply done = read_transaction("{" + kHeader + R"(,"succeeded":true,"responses":[{"response_put":{}},{"response_range":{"kvs":[)" + kEntry + "]}}]}", asked).value();
  CHECK((done.held && done.entries[0].empty() && done.entries[1].size() == 1));
  CHECK(read_transaction("{" + kHeader + R"(,"succeeded":true,"responses":[]})", asked).has_error());
  CHECK_FALSE(read_transaction("{" + kHeader + "}", asked).value().held);
  CHECK(read_renewal("{\"result\":{" + kHeader + R"(,"ID":"77","TTL":"5"}})" "\n").value().seconds == 5);
  CHECK(read_renewal("{\"result\":{" + kHeader + R"(,"ID":"77"}})").value().seconds == 0);
  CHECK(read_renewal(R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}})").error().trouble == Trouble::kUnreachable);
  CHECK(read_renewal(R"({"error":{"code":14,"message":"etcdserver: no leader"}})").error().trouble == Trouble::kUnreachable);  // 3.6
  CHECK(read_grant("{" + kHeader + R"(,"ID":"78","TTL":"9"})").value().id == 78);
  CHECK(read_token(R"({"token":"abc.12"})").value() == "abc.12");
  CHECK(read_token(R"({"token":"a\r\nX: y"})").has_error());
}

TEST_CASE("etcd: refusals are told apart", "[coord]") {
  const auto trouble = [](unsigned status, const char* body) { return read_refusal(status, body).failure.trouble; };
  CHECK(trouble(404, R"({"error":"x","message":"etcdserver: requested lease not found","code":5})") == Trouble::kNotFound);
  CHECK(trouble(400, R"({"error":"etcdserver: authentication failed, invalid user ID or password","code":3})") == Trouble::kDenied);
  CHECK(trouble(403, R"({"error":"x","message":"etcdserver: permission denied","code":7})") == Trouble::kDenied);
  CHECK(trouble(503, R"({"error":"x","message":"etcdserver: request timed out","code":14})") == Trouble::kUnreachable);
  CHECK(trouble(429, R"({"error":"x","message":"etcdserver: too many requests","code":8})") == Trouble::kBusy);
  CHECK(trouble(429, R"({"error":"x","message":"etcdserver: mvcc: database space exceeded","code":8})") == Trouble::kRefused);
  CHECK(trouble(502, "<html>") == Trouble::kUnreachable);
  CHECK(trouble(404, "Not Found") == Trouble::kBadAnswer);
  CHECK(read_refusal(503, R"({"message":"etcdserver: leader changed","code":14})").failure.may_have_happened);
  CHECK_FALSE(read_refusal(404, R"({"message":"etcdserver: requested lease not found","code":5})").failure.may_have_happened);
  CHECK(read_refusal(401, R"({"message":"etcdserver: invalid auth token","code":16})").token_refused);
  CHECK(read_refusal(400, "{\"message\":\"" + std::string(5000, 'x') + "\",\"code\":3}").failure.message.size() < 400);
}

TEST_CASE("etcd: a watch's messages come in pieces of any size", "[coord]") {
  const std::string stream = "{\"result\":{" + kHeader + ",\"created\":true}}\n{\"result\":{" + kHeader + ",\"events\":[{\"kv\":" + kEntry +
                             R"(},{"type":"DELETE","kv":{"key":"Zm9v","mod_revision":"7"}}]}})" "\n{\"result\":{" + kHeader + R"(,"canceled":true,"compact_revision":"5"}})" "\n";
  for (size_t size = 1; size < stream.size(); size += 7) {
    WatchReader reader;
    std::vector<WatchMessage> messages;
    for (size_t at = 0; at < stream.size(); at += size) {
      const Reply<std::vector<WatchMessage>> read = reader.feed(std::string_view(stream).substr(at, size));
      REQUIRE(read.has_value());
      messages.insert(messages.end(), read.value().begin(), read.value().end());
    }
    REQUIRE(messages.size() == 3);
    CHECK((messages[0].created && messages[1].events.size() == 2 && messages[1].revision == 7));
    CHECK((messages[1].events[1].removed && messages[1].events[1].entry.modified == 7));
    CHECK(messages[2].end->compacted == 5);
  }
  WatchReader reader;
  CHECK(reader.feed("{\"result\":{" + kHeader + R"(,"canceled":true,"cancel_reason":"permission denied"}})" "\n").value()[0].end->failure.trouble == Trouble::kDenied);
  CHECK(reader.feed(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})" "\n").value()[0].end->failure.trouble == Trouble::kUnreachable);
  CHECK(reader.feed("x\n").has_error());
  WatchReader endless;
  const std::string piece(1u << 20, ' ');
  for (size_t bytes = 0; bytes < kAnswerBytesMax; bytes += piece.size()) CHECK(endless.feed(piece).has_value());
  CHECK_THAT(endless.feed(piece).error().message, Contains("a message of more than"));
}

TEST_CASE("etcd: an answer that is none says what is wrong with it", "[coord]") {
  const auto with_header = [](const std::string& rest) { return "{" + kHeader + "," + rest + "}"; };
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string("[]"), std::string("{}"), std::string(R"({"header":1})"), std::string(R"({"header":{"revision":"-1"}})"),
        std::string(R"({"header":{"member_id":"-1"}})"), with_header(R"("kvs":{})"), with_header(R"("kvs":[1])"), with_header(R"("kvs":[{"key":"!"}])"), with_header(R"("kvs":[{"key":1}])"),
        with_header(R"("kvs":[{"mod_revision":"x"}])"), with_header(R"("kvs":[{"mod_revision":"-1"}])"), with_header(R"("kvs":[{"mod_revision":"9223372036854775808"}])"),
        with_header(R"("kvs":[{"mod_revision":1.5}])"), with_header(R"("kvs":[{"mod_revision":""}])"), with_header(R"("more":"yes")")}) {
    INFO(bad);
    const Reply<Entries> reply = read_range(bad);
    REQUIRE(reply.has_error());
    CHECK(reply.error().trouble == Trouble::kBadAnswer);
    CHECK_FALSE(reply.error().message.empty());
  }
  // Else what is put under it would have no lease, and stay for ever.
  for (const char* const lease : {R"("TTL":"5")", R"("ID":"0","TTL":"5")", R"("ID":"-1","TTL":"5")", R"("ID":"1","TTL":"-1")"}) {
    INFO(lease);
    CHECK(read_grant(with_header(lease)).has_error());
    CHECK(read_renewal("{\"result\":" + with_header(lease) + "}").has_error());
  }
  CHECK(read_renewal("{}").has_error());
  CHECK(read_range("{\"header\":" + std::string(100'000, '[')).has_error());
}

TEST_CASE("etcd: no bytes whatever do harm", "[coord]") {
  const std::string good = "{\"result\":{" + kHeader + ",\"kvs\":[" + kEntry + "],\"events\":[{\"kv\":" + kEntry + "}],\"ID\":\"1\",\"TTL\":\"5\"}}";
  std::mt19937_64 random(7);
  const Transaction asked{{}, {{Step::Kind::kRange, {"foo"}}}, {}};
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (uint64_t changes = random() % 8 + 1; changes > 0; --changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(random() % (bytes.size() + 1));
    static_cast<void>(read_range(bytes));
    static_cast<void>(read_transaction(bytes, asked));
    static_cast<void>(read_renewal(bytes));
    static_cast<void>(read_refusal(500, bytes));
    static_cast<void>(parse_node_record(bytes));
    WatchReader reader;
    static_cast<void>(reader.feed(bytes + "\n"));
  }
}

TEST_CASE("node record: what is written is read again, and what is none is not", "[coord]") {
  const NodeRecord record{"n1", "i", "r", "h:1", "h:2", {"h:3", "h:4"}, "h", "z", 1000, 500, "1"};
  CHECK(parse_node_record(to_text(record)).value() == record);
  CHECK(to_text(record).size() < 1024);
  for (const char* bad : {"", "[]", "{}", "{\"id\":\"n1\"}", "{\"id\":1,\"incarnation\":\"i\",\"registration\":\"r\"}",
                          "{\"id\":\"n\",\"incarnation\":\"i\",\"registration\":\"r\",\"free_bytes\":-1}", "{\"id\":\"n\",\"incarnation\":\"i\",\"registration\":\"r\",\"nbd\":[1]}"}) {
    INFO(bad);
    CHECK(parse_node_record(bad).has_error());
  }
  NodeRecord now = record;
  CHECK_FALSE(worth_telling(record, now));
  now.free_bytes -= 31;
  CHECK_FALSE(worth_telling(record, now));
  now.free_bytes -= 31;
  CHECK(worth_telling(record, now));
  now = record;
  now.zone = "other";
  CHECK(worth_telling(record, now));
}

}  // namespace
}  // namespace ringbolt::coord::etcd

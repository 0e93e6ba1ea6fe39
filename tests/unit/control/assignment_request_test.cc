// The body of an assignment: what is read from it, and what each mistake is answered with.
#include "control/assignment_request.h"

#include <catch2/catch.hpp>
#include <random>

#include "control/config_values.h"

namespace ringbolt {
namespace {

using Catch::Matchers::Contains;
using core::Authority;
using core::ReplicaAddress;

AssignmentOrder order_of(const std::string& body) {
  const Result<AssignmentOrder> order = parse_assignment(body);
  INFO((order.has_error() ? order.error().message : ""));
  REQUIRE(order.has_value());
  return order.value();
}

std::string error_of(const std::string& body) {
  const Result<AssignmentOrder> order = parse_assignment(body);
  CAPTURE(body.substr(0, 200));
  REQUIRE(order.has_error());
  CHECK(order.error().code == Errc::kInvalid);
  CHECK(order.error().message.size() < 1000);
  CHECK(order.error().message.find('\n') == std::string::npos);
  return order.error().message;
}

/// `more`: members after the two that are required.
std::string primary(const std::string& more) { return R"({"role": "primary", "epoch": 2)" + more + "}"; }

std::string replica(const std::string& id, const std::string& address) {
  return R"({"id": ")" + id + R"(", "address": ")" + address + R"("})";
}

TEST_CASE("assignment: every key is read", "[assignment]") {
  const AssignmentOrder order = order_of(
      R"({"role": "primary", "epoch": 9223372036854775807, "replicas": [{"id": "n2", "address": "127.0.0.1:20810"},
          {"address": "[::1]:1", "id": "n3"}], "durability": "sync_quorum", "promote": true, "force": true})");
  CHECK(order == AssignmentOrder{Role::kPrimary, Epoch((uint64_t{1} << 63) - 1), Durability::kSyncQuorum,
                                 std::vector<ReplicaAddress>{{"n2", "127.0.0.1:20810"}, {"n3", "[::1]:1"}}, Authority::kForced});
}

TEST_CASE("assignment: what is left out is absent, not a default", "[assignment]") {
  CHECK(order_of(primary("")) == AssignmentOrder{Role::kPrimary, Epoch(2), std::nullopt, std::nullopt, Authority::kPromoted});
  CHECK(order_of(primary(R"(, "replicas": [])")).replicas == std::vector<ReplicaAddress>{});
  CHECK(order_of(R"( {"epoch": 1, "role": "none"} )").role == Role::kNone);
  CHECK(order_of(R"({"epoch": 1, "role": "replica", "replicas": []})").role == Role::kReplica);
}

TEST_CASE("assignment: an operator's order to be primary is a promotion, said so or not, and may be forced", "[assignment]") {
  CHECK(order_of(primary(R"(, "promote": true)")).authority == Authority::kPromoted);
  CHECK(order_of(primary(R"(, "promote": true, "force": false)")).authority == Authority::kPromoted);
  CHECK(order_of(primary(R"(, "promote": false, "force": false)")).authority == Authority::kPromoted);
  CHECK(order_of(R"({"role": "replica", "epoch": 1})").authority == Authority::kAssigned);
  CHECK(error_of(primary(R"(, "force": true)")) == "force: only a promotion can be forced: it needs \"promote\": true");
  CHECK(error_of(R"({"role": "replica", "epoch": 1, "promote": true})") ==
        "promote: only to primary is there a promotion; the role is \"replica\"");
  CHECK_THAT(error_of(R"({"role": "none", "epoch": 1, "promote": true, "force": true})"), Contains("promote: "));
  CHECK(error_of(primary(R"(, "promote": 1)")) == "promote: expected true or false, got an integer");
  CHECK(error_of(primary(R"(, "promote": true, "force": "yes")")) == "force: expected true or false, got a string");
}

TEST_CASE("assignment: role and epoch are required", "[assignment]") {
  CHECK(error_of("{}") == "the body has no \"role\", which is required");
  CHECK(error_of(R"({"role": "primary"})") == "the body has no \"epoch\", which is required");
  CHECK(error_of(R"({"epoch": 1})") == "the body has no \"role\", which is required");
}

TEST_CASE("assignment: an unknown key names the nearest known one", "[assignment]") {
  CHECK(error_of(R"({"role": "primary", "epcoh": 1})") == "unknown key \"epcoh\"; the nearest known one is \"epoch\"");
  CHECK_THAT(error_of(primary(R"(, "forced": true)")), Contains("\"force\""));
  CHECK_THAT(error_of(primary(R"(, "Promote": true)")), Contains("nearest known one is \"promote\""));
  CHECK(error_of(primary(R"(, "replicas": [{"id": "n2", "adress": "h:1"}])")) ==
        "replicas[0]: unknown key \"adress\"; the nearest known one is \"address\"");
  // What is repeated is bounded and printable.
  CHECK_THAT(error_of(primary(",\"" + std::string(50'000, 'k') + "\": 1")), Contains("kkk...\""));
  CHECK_THAT(error_of(primary(R"(, "a\u0000\nb\u001b": 1)")), Contains("\"a??b?\""));
}

TEST_CASE("assignment: a key that is given twice is refused, in every object", "[assignment]") {
  CHECK_THAT(error_of(primary(R"(, "epoch": 3)")), Contains("\"epoch\" is given twice in one object, the second time before byte "));
  CHECK_THAT(error_of(primary(R"(, "replicas": [{"id": "n2", "id": "n3", "address": "h:1"}])")), Contains("\"id\" is given twice"));
  CHECK_THAT(error_of(primary(R"(, "\u0065poch": 3)")), Contains("\"epoch\" is given twice"));
  // Not twice in one object.
  order_of(primary(R"(, "replicas": [{"id": "n2", "address": "h:1"}, {"id": "n3", "address": "h:2"}])"));
}

TEST_CASE("assignment: a wrong type names the key and what was expected", "[assignment]") {
  CHECK(error_of("[]") == "the body: expected an object, got an array");
  CHECK(error_of("1") == "the body: expected an object, got an integer");
  CHECK(error_of("null") == "the body: expected an object, got null");
  CHECK(error_of(R"({"role": 1, "epoch": 1})") == "role: expected a string, got an integer");
  CHECK(error_of(R"({"role": null, "epoch": 1})") == "role: expected a string, got null");
  CHECK(error_of(R"({"role": "leader", "epoch": 1})") == "role: \"leader\" is none of \"primary\", \"replica\", \"none\"");
  CHECK_THAT(error_of(R"({"role": ")" + std::string(50'000, 'r') + R"(", "epoch": 1})"), Contains("rrr...\" is none of"));
  CHECK_THAT(error_of(primary(R"(, "durability": "async")")), Contains("durability: \"async\" is none of") && Contains("\"sync_all\""));
  CHECK(error_of(primary(R"(, "durability": null)")) == "durability: expected a string, got null");
  CHECK(error_of(primary(R"(, "replicas": {})")) == "replicas: expected an array of objects, got an object");
  CHECK(error_of(primary(R"(, "replicas": null)")) == "replicas: expected an array of objects, got null");
  CHECK(error_of(primary(R"(, "replicas": ["n2"])")) == "replicas[0]: expected an object, got a string");
  CHECK(error_of(primary(R"(, "replicas": [{"id": 2, "address": "h:1"}])")) == "replicas[0].id: expected a string, got an integer");
}

TEST_CASE("assignment: an epoch is a whole number from 1 to 2^63 - 1", "[assignment]") {
  const auto with = [](const std::string& epoch) { return R"({"role": "none", "epoch": )" + epoch + "}"; };
  CHECK(order_of(with("1")).epoch == Epoch(1));
  const std::string range = "epoch: expected an integer from 1 to 9223372036854775807, got ";
  CHECK(error_of(with("0")) == range + "0");
  CHECK(error_of(with("-1")) == range + "-1");
  CHECK(error_of(with("9223372036854775808")) == range + "9223372036854775808");
  CHECK(error_of(with("18446744073709551615")) == range + "18446744073709551615");
  const std::string number = range + "a number with a fraction or out of range";
  CHECK(error_of(with("18446744073709551616")) == number);
  CHECK(error_of(with("1.5")) == number);
  CHECK(error_of(with("1.0")) == number);
  CHECK(error_of(with("1e3")) == number);
  CHECK(error_of(with("\"1\"")) == range + "a string");
  CHECK(error_of(with("true")) == range + "a boolean");
}

TEST_CASE("assignment: replicas are checked one by one", "[assignment]") {
  const auto with = [](const std::string& replicas) { return primary(R"(, "replicas": [)" + replicas + "]"); };
  CHECK(error_of(with(R"({"id": "n2"})")) == "replicas[0] has no \"address\", which is required");
  CHECK(error_of(with(R"({"address": "h:1"})")) == "replicas[0] has no \"id\", which is required");
  CHECK_THAT(error_of(with(replica("n/2", "h:1"))), Contains("replicas[0].id: \"n/2\" is not allowed"));
  CHECK_THAT(error_of(with(replica("", "h:1"))), Contains("replicas[0].id: must not be empty"));
  CHECK_THAT(error_of(with(replica(std::string(64, 'n'), "h:1"))), Contains("replicas[0].id: is 64 bytes long"));
  CHECK_THAT(error_of(with(replica("n2", "h:1") + "," + replica("n3", "h"))), Contains("replicas[1].address: ") && Contains("HOST:PORT"));
  CHECK_THAT(error_of(with(replica("n2", "h:0"))), Contains("port 0"));
  CHECK_THAT(error_of(with(replica("n2", "h:70000"))), Contains("replicas[0].address: "));
  CHECK_THAT(error_of(with(replica("n2", "unix:/x"))), Contains("not a unix socket"));
  CHECK_THAT(error_of(with(replica("n2", std::string(50'000, 'h') + ":1"))), Contains("at most 127"));
  CHECK(error_of(with(replica("n2", "h:1") + "," + replica("n2", "h:2"))) == "replicas[1].id: \"n2\" is already replicas[0]");
  CHECK(error_of(with(replica("n2", "h:1") + "," + replica("n3", "h:1"))) ==
        "replicas[1].address: \"h:1\" is already the address of replicas[0]");
  std::string many;
  for (uint32_t i = 1; i <= kReplicasMax; ++i) {
    many += (i == 1 ? "" : ",") + replica("n" + std::to_string(i + 1), "h:" + std::to_string(i));
  }
  CHECK(order_of(with(many)).replicas->size() == kReplicasMax);
  CHECK(error_of(with(many + "," + replica("n99", "h:99"))) == "replicas: 9 replicas, at most 8 are allowed");
  CHECK(error_of(R"({"role": "replica", "epoch": 1, "replicas": [)" + replica("n2", "h:1") + "]}") ==
        "replicas: only a primary has replicas; the role is \"replica\"");
}

TEST_CASE("assignment: what is no JSON says where", "[assignment]") {
  CHECK_THAT(error_of(""), Contains("the body is empty"));
  CHECK_THAT(error_of(" \n"), Contains("the body is empty"));
  CHECK_THAT(error_of(R"({"role": primary})"), Contains("the body is not JSON: ") && Contains("at byte 9"));
  CHECK_THAT(error_of(R"({"role": "primary", "epoch": 2)"), Contains("the body is not JSON: ") && Contains("incomplete"));
  CHECK_THAT(error_of(primary(",")), Contains("not JSON"));
  CHECK_THAT(error_of(primary("") + "{}"), Contains("more than one JSON document"));
  CHECK_THAT(error_of(primary("") + " x"), Contains("more than one JSON document"));
  CHECK_THAT(error_of("role=primary&epoch=2"), Contains("not JSON"));
  CHECK_THAT(error_of(primary(", \"a\xff\": 1")), Contains("not JSON"));
  CHECK_THAT(error_of(std::string(60'000, '[')), Contains("not JSON"));
  CHECK_THAT(error_of(std::string("{\0}", 3)), Contains("not JSON"));
}

TEST_CASE("assignment: any bytes give an order within limits or an error", "[assignment]") {
  const std::string valid = primary(R"(, "replicas": [{"id": "n2", "address": "127.0.0.1:20810"}], "durability": "sync_all", "promote": true)");
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string body = valid;
    for (uint64_t n = random() % 4 + 1; n > 0; --n) {
      const size_t at = random() % body.size();
      switch (random() % 3) {
        case 0: body[at] = static_cast<char>(random()); break;
        case 1: body.erase(at, random() % 8); break;
        default: body.insert(at, valid.substr(random() % valid.size(), random() % 12)); break;
      }
      if (body.empty()) break;
    }
    const Result<AssignmentOrder> order = parse_assignment(body);
    if (order.has_error()) {
      CHECK(order.error().message.size() < 1000);
      continue;
    }
    CHECK((order.value().epoch >= Epoch(1) && order.value().epoch.value() <= kEpochMax));
    for (const ReplicaAddress& one : order.value().replicas.value_or(std::vector<ReplicaAddress>{})) {
      CHECK(check_node_id(one.id).has_value());
      CHECK(check_peer_address(one.address).has_value());
    }
  }
}

}  // namespace
}  // namespace ringbolt

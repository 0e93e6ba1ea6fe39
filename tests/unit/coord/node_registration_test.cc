// A node's registration and the directory of nodes, on the model of etcd.
#include "coord/node_registration.h"

#include <catch2/catch.hpp>

#include "coord/node_directory.h"
#include "tests/unit/coord/model_store.h"

namespace ringbolt::coord {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using State = NodeRegistration::State;

constexpr Span kLease = 10s;
constexpr const char* kKey = "/ringbolt/c/nodes/n1";

NodeRecord node_called(const std::string& id, const std::string& registration, const std::string& incarnation) {
  NodeRecord record;
  record.id = id;
  record.registration = registration;
  record.incarnation = incarnation;
  record.host = "host-of-" + registration;
  record.capacity_bytes = record.free_bytes = 1000;
  return record;
}

/// A daemon: what it asks goes to a store of its own.
struct Node {
  Node(ModelEtcd& etcd, const NodeRecord& record)
      : store(etcd), registration(std::make_shared<NodeRegistration>(store, "c", record, kLease, [&etcd] { return etcd.now(); }, [] {})) {}
  void work() {
    registration->turn();
    store.run();
  }
  ModelStore store;
  std::shared_ptr<NodeRegistration> registration;
};

/// As an operator would.
void write(ModelStore& store, const Step& step) {
  store.commit({{}, {step}, {}}, [](const Reply<TransactionReply>&) {});
  store.run();
}

/// Time passes for all, in steps.
void pass(ModelEtcd& etcd, Span time, std::initializer_list<Node*> nodes) {
  for (Span passed{}; passed < time; passed += 100ms) {
    etcd.advance(100ms);
    for (Node* const node : nodes) node->work();
  }
}

TEST_CASE("registration: it is kept without a write, for as long as the daemon runs", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  CHECK(node.registration->state() == State::kRegistered);
  CHECK(node.registration->surely_registered());
  REQUIRE(etcd.find(kKey) != nullptr);
  const uint64_t changes = etcd.changes();
  const LeaseId lease = node.registration->lease().id();
  for (int i = 0; i < 600; ++i) {
    pass(etcd, 100ms, {&node});
    REQUIRE(node.registration->surely_registered());
  }
  CHECK(etcd.changes() == changes);
  CHECK(node.registration->lease().id() == lease);
  NodeRecord record = node.registration->record();
  record.free_bytes -= 10;
  node.registration->change(record);
  pass(etcd, kLease, {&node});
  CHECK(etcd.changes() == changes);
  record.zone = "z";
  node.registration->change(record);
  pass(etcd, kLease, {&node});
  CHECK(etcd.changes() == changes + 1);
  CHECK(parse_node_record(etcd.find(kKey)->value).value() == record);
  bool left = false;
  node.registration->leave([&left] { left = true; });
  node.store.run();
  CHECK(left);
  CHECK(etcd.find(kKey) == nullptr);
}

TEST_CASE("registration: a daemon that was stopped for longer than its lease is not sure for a moment, and registers again", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  etcd.advance(9s);
  CHECK_FALSE(node.registration->surely_registered());  // nobody has told it
  etcd.advance(21s);
  CHECK(etcd.find(kKey) == nullptr);
  CHECK_FALSE(node.registration->surely_registered());
  node.work();
  CHECK(node.registration->surely_registered());
  CHECK(etcd.find(kKey) != nullptr);
}

TEST_CASE("registration: a second daemon with the same id is refused until the first one's lease ends", "[coord]") {
  ModelEtcd etcd;
  Node first(etcd, node_called("n1", "r1", "i1")), second(etcd, node_called("n1", "r2", "i2"));
  first.work();
  second.work();
  CHECK(second.registration->state() == State::kRefused);
  CHECK_THAT(second.registration->reason(), Contains("node id n1 is in use by another daemon") && Contains("host-of-r1"));
  pass(etcd, 3 * kLease, {&first, &second});
  CHECK(first.registration->surely_registered());
  CHECK(second.registration->state() == State::kRefused);
  CHECK_FALSE(second.registration->surely_registered());
  pass(etcd, 3 * kLease, {&second});
  CHECK(second.registration->surely_registered());
  // The first one, should it only have been stopped.
  first.work();
  CHECK_FALSE(first.registration->surely_registered());
  CHECK(first.registration->state() == State::kRefused);
}

TEST_CASE("registration: the same daemon started again takes its own over at once", "[coord]") {
  ModelEtcd etcd;
  Node killed(etcd, node_called("n1", "r1", "i1"));
  killed.work();
  Node again(etcd, node_called("n1", "r1", "i2"));
  again.work();
  CHECK(again.registration->surely_registered());
  CHECK(etcd.find(kKey)->lease == again.registration->lease().id());
  etcd.advance(kLease / 2);
  again.work();
  etcd.end_lease(killed.registration->lease().id());  // what it was under does not take it away
  CHECK(etcd.find(kKey) != nullptr);
  // Should the earlier one still run (a copy of the data directory), it does not take it back.
  pass(etcd, 3 * kLease, {&killed, &again});
  CHECK(again.registration->surely_registered());
  CHECK(killed.registration->state() == State::kRefused);
  CHECK_THAT(killed.registration->reason(), Contains("copy of this data directory"));
}

TEST_CASE("registration: answers that are lost do no harm", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.registration->turn();  // the grant
  node.store.run();
  REQUIRE(node.registration->surely_registered());
  NodeRecord record = node.registration->record();
  record.zone = "z";
  node.registration->change(record);
  for (int round = 0; round < 300; ++round) {
    node.store.lose_answers = round % 3 == 0;
    etcd.advance(500ms);
    node.work();
    if (node.registration->surely_registered()) CHECK(etcd.find(kKey) != nullptr);
  }
  node.store.lose_answers = false;
  pass(etcd, kLease, {&node});
  CHECK(node.registration->surely_registered());
  CHECK(parse_node_record(etcd.find(kKey)->value).value().zone == "z");
}

TEST_CASE("registration: etcd that is gone for a while leaves it unsure, and it comes back by itself", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  node.store.reachable = false;
  pass(etcd, 5s, {&node});
  CHECK(node.registration->surely_registered());  // its lease still lives
  pass(etcd, 10s, {&node});
  CHECK_FALSE(node.registration->surely_registered());
  node.store.reachable = true;
  pass(etcd, 3s, {&node});
  CHECK(node.registration->surely_registered());
}

TEST_CASE("registration: one denial does not cost a lease, and who is denied does not insist", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  node.store.denies = true;
  pass(etcd, kLease / 2, {&node});  // over a renewal, at least
  node.store.denies = false;
  for (int i = 0; i < 100; ++i) {
    pass(etcd, 100ms, {&node});
    REQUIRE(node.registration->surely_registered());
  }
  node.store.denies = true;
  pass(etcd, 2 * kLease, {&node});
  CHECK_FALSE(node.registration->surely_registered());
  const uint64_t calls = node.store.calls();
  pass(etcd, 4 * kLease, {&node});
  CHECK(node.store.calls() - calls <= 4);
}

TEST_CASE("registration: once it leaves, nothing that was asked before brings it back", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  etcd.advance(kLease / 2);
  node.registration->turn();  // a renewal, whose answer is still to come
  const LeaseId lease = node.registration->lease().id();
  bool left = false;
  node.registration->leave([&left] { left = true; });
  etcd.end_lease(lease);
  node.store.run();
  CHECK(left);
  pass(etcd, kLease, {&node});
  CHECK(node.registration->lease().id() == lease);  // no other one was granted
  CHECK(etcd.find(kKey) == nullptr);
}

TEST_CASE("registration: a member that leads no more and confirms a lease that is gone is not believed", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  node.work();
  node.store.leads_no_more = true;
  etcd.elect();
  // Whenever it is sure, the record is there.
  for (int i = 0; i < 300; ++i) {
    pass(etcd, 100ms, {&node});
    if (node.registration->surely_registered()) REQUIRE(etcd.find(kKey) != nullptr);
  }
  node.store.leads_no_more = false;
  pass(etcd, 5s, {&node});
  CHECK(node.registration->surely_registered());
}

TEST_CASE("registration: what is no record under its key is not overwritten", "[coord]") {
  ModelEtcd etcd;
  Node node(etcd, node_called("n1", "r1", "i1"));
  write(node.store, {Step::Kind::kPut, {kKey}, "somebody's"});
  node.work();
  CHECK(node.registration->state() == State::kRefused);
  CHECK(etcd.find(kKey)->value == "somebody's");
}

TEST_CASE("directory: nodes are seen as they come and go, whatever becomes of the watch", "[coord]") {
  ModelEtcd etcd;
  ModelStore store(etcd);
  const auto directory = std::make_shared<NodeDirectory>(store, "/ringbolt/c/nodes/", 1s, 30s, [&etcd] { return etcd.now(); }, [] {});
  const auto work = [&](Span time) {
    for (Span passed{}; passed <= time; passed += 500ms) {
      directory->turn();
      store.run();
      etcd.advance(500ms);
    }
  };
  const auto put = [&](const std::string& id, const std::string& text) {
    write(store, {Step::Kind::kPut, {"/ringbolt/c/nodes/" + id}, text});
  };
  put("n1", to_text(node_called("n1", "r", "i")));
  work(0s);
  CHECK(directory->current());
  CHECK(directory->nodes().contains("n1"));
  put("n2", to_text(node_called("n2", "r", "i")));
  put("n3", "rubbish");
  put("n4", to_text(node_called("n5", "r", "i")));  // not what its key says
  CHECK(directory->nodes().size() == 2);
  write(store, {Step::Kind::kRemove, {"/ringbolt/c/nodes/n1"}});
  CHECK(directory->nodes().size() == 1);

  SECTION("it breaks off") {
    store.break_watches();
    CHECK_FALSE(directory->current());
    put("n6", to_text(node_called("n6", "r", "i")));
    work(2s);
  }
  SECTION("it says nothing any more") {
    store.deaf = true;
    put("n6", to_text(node_called("n6", "r", "i")));
    CHECK_FALSE(directory->nodes().contains("n6"));
    work(31s);
  }
  SECTION("it is late, and what it was to say is compacted") {
    store.deaf = true;
    put("n6", to_text(node_called("n6", "r", "i")));
    put("n7", to_text(node_called("n7", "r", "i")));
    etcd.compact(etcd.revision());
    store.deaf = false;
    store.run();
    work(0s);
  }
  CHECK(directory->nodes().contains("n6"));
  CHECK(directory->current());
}

TEST_CASE("directory: so many nodes are seen, and no more, whether found or watched", "[coord]") {
  ModelEtcd etcd;
  ModelStore store(etcd);
  const auto directory = std::make_shared<NodeDirectory>(store, "/ringbolt/c/nodes/", 1s, 30s, [&etcd] { return etcd.now(); }, [] {});
  const auto put = [&](size_t i) {
    const std::string id = "n" + std::to_string(10'000 + i);
    write(store, {Step::Kind::kPut, {"/ringbolt/c/nodes/" + id}, to_text(node_called(id, "r", "i"))});
  };
  for (size_t i = 0; i < NodeDirectory::kNodesMax - 1; ++i) put(i);
  directory->turn();
  store.run();
  for (size_t i = NodeDirectory::kNodesMax - 1; i < NodeDirectory::kNodesMax + 5; ++i) put(i);
  put(0);  // one that is seen already
  CHECK(directory->nodes().size() == NodeDirectory::kNodesMax);
  CHECK(directory->current());
  etcd.advance(31s);
  directory->turn();
  store.run();
  CHECK(directory->nodes().size() == NodeDirectory::kNodesMax);
  CHECK_FALSE(directory->nodes().contains("n11000"));
}

}  // namespace
}  // namespace ringbolt::coord

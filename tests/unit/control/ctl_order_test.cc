// ringboltctl assign, promote and why: what the daemon is sent, and what a person is told.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <sstream>
#include <thread>

#include "control/json.h"
#include "ctl/commands.h"
#include "ctl/table.h"
#include "tests/unit/control/admin_fixture.h"
#include "tests/unit/control/ctl_call.h"

namespace ringbolt::ctl {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using core::Authority;
using core::ReplicaAddress;
using test::AdminFixture;
using test::volume_status;

TEST_CASE("ctl: assign sends what it was told and nothing more", "[ctl]") {
  AdminFixture admin;
  const Outcome outcome = call(admin.address(), {"assign", "vol0", "--role", "primary", "--epoch", "7", "--replica", "n2=127.0.0.1:20810",
                                                 "--replica", "n3=[::1]:1", "--durability", "sync_quorum"});
  CHECK(outcome.err.empty());
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("primary, epoch 7"));
  CHECK(call(admin.address(), {"assign", "vol1", "--role=replica", "--epoch=9223372036854775807"}).code == 0);
  CHECK(call(admin.address(), {"assign", "--epoch", "8", "--no-replicas", "--role", "primary", "vol0"}).code == 0);
  // An option's value ends where it ends: the name may follow.
  CHECK(call(admin.address(), {"assign", "--role", "primary", "--epoch", "9", "--replica", "n2=h:1", "vol0"}).code == 0);
  const auto orders = admin.daemon().orders();
  REQUIRE(orders.size() == 4);
  CHECK(orders[0].first == "vol0");
  CHECK(orders[0].second == AssignmentOrder{Role::kPrimary, Epoch(7), Durability::kSyncQuorum,
                                            std::vector<ReplicaAddress>{{"n2", "127.0.0.1:20810"}, {"n3", "[::1]:1"}},
                                            Authority::kPromoted});
  CHECK(orders[1].first == "vol1");
  CHECK(orders[1].second ==
        AssignmentOrder{Role::kReplica, Epoch((uint64_t{1} << 63) - 1), std::nullopt, std::nullopt, Authority::kAssigned});
  CHECK(orders[2].second ==
        AssignmentOrder{Role::kPrimary, Epoch(8), std::nullopt, std::vector<ReplicaAddress>{}, Authority::kPromoted});
  CHECK(orders[3].second.replicas == std::vector<ReplicaAddress>{{"n2", "h:1"}});
}

TEST_CASE("ctl: promote is an assignment to primary, forced only if told so", "[ctl]") {
  AdminFixture admin;
  CHECK(call(admin.address(), {"promote", "vol0", "--epoch", "7"}).code == 0);
  CHECK(call(admin.address(), {"promote", "vol0", "--epoch", "8", "--force", "--replica", "n1=h:1", "--durability", "sync_all"}).code == 0);
  const auto orders = admin.daemon().orders();
  REQUIRE(orders.size() == 2);
  CHECK(orders[0].second == AssignmentOrder{Role::kPrimary, Epoch(7), std::nullopt, std::nullopt, Authority::kPromoted});
  CHECK(orders[1].second == AssignmentOrder{Role::kPrimary, Epoch(8), Durability::kSyncAll, std::vector<ReplicaAddress>{{"n1", "h:1"}},
                                            Authority::kForced});
}

TEST_CASE("ctl: an order that cannot be meant is a mistake of usage and is not sent", "[ctl]") {
  using Arguments = std::vector<std::string>;
  AdminFixture admin;
  const auto [words, message] = GENERATE(table<Arguments, std::string>({
      {Arguments{"assign", "vol0"}, "--role"},
      {Arguments{"assign", "vol0", "--role", "primary"}, "--epoch"},
      {Arguments{"assign", "--role", "primary", "--epoch", "1"}, "NAME"},
      {Arguments{"assign", "vol0", "--role", "leader", "--epoch", "1"}, "leader"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "0"}, "from 1 to"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "-1"}, "from 1 to"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "0x10"}, "from 1 to"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "9223372036854775808"}, "from 1 to"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "n2"}, "ID=HOST:PORT"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "n2=h"}, "HOST:PORT"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "n/2=h:1"}, "n/2"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "a=h:1", "--replica", "a=h:2"}, "id is given twice"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "a=h:1", "--replica", "b=h:1"}, "address is given twice"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "a=h:1", "b=h:2"}, "not expected"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--replica", "a=h:1", "--no-replicas"}, "exclude"},
      {Arguments{"assign", "vol0", "--role", "replica", "--epoch", "1", "--replica", "a=h:1"}, "only a primary"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--durability", "async"}, "async"},
      {Arguments{"assign", "vol0", "--role", "primary", "--epoch", "1", "--force"}, "--force"},
      {Arguments{"promote", "vol0"}, "--epoch"},
      {Arguments{"promote", "vol0", "--epoch", "1", "--role", "replica"}, "not expected"},
      {Arguments{"why"}, "NAME"},
  }));
  CAPTURE(words);
  const Outcome outcome = call(admin.address(), words);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK_THAT(outcome.err, Contains(message));
  CHECK(admin.daemon().orders().empty());
}

TEST_CASE("ctl: a refused order is exit code 1 and says what to do next", "[ctl]") {
  AdminFixture admin;
  const std::vector<std::string> promote{"promote", "vol0", "--epoch", "4"};
  const auto refused = [&](Errc code, const std::vector<std::string>& words) {
    admin.daemon().refuse_orders(make_error(code, "the reason"));
    const Outcome outcome = call(admin.address(), words);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, StartsWith("ringboltctl: the reason\n"));
    return outcome.err;
  };
  CHECK_THAT(refused(Errc::kStaleEpoch, promote), Contains("next: repeat it with an --epoch higher"));
  CHECK_THAT(refused(Errc::kNotPermitted, promote),
             Contains("assign vol0 --role replica --epoch 4") && Contains("--force takes this copy as it is"));
  // Whoever forced it already is not told to force it.
  CHECK_THAT(refused(Errc::kNotPermitted, {"promote", "vol0", "--epoch", "4", "--force"}),
             Contains("ringboltctl why vol0") && !Contains("--force"));
  CHECK_THAT(refused(Errc::kNotPermitted, {"assign", "vol0", "--role", "primary", "--epoch", "4"}), Contains("promote --force takes this copy"));
  CHECK_THAT(refused(Errc::kNotPermitted, {"assign", "vol0", "--role", "replica", "--epoch", "4"}), !Contains("--force"));
  CHECK_THAT(refused(Errc::kNotFound, promote), Contains("next: ringboltctl status"));
  CHECK_THAT(refused(Errc::kBusy, promote), Contains("nothing was changed"));
  // Trying again would undo what took its place.
  CHECK_THAT(refused(Errc::kSuperseded, promote), Contains("next: ringboltctl volume show vol0") && !Contains("again"));
  CHECK(refused(Errc::kInvalid, promote) == "ringboltctl: the reason\n");
}

TEST_CASE("ctl: --json prints the API's answer to an order, refused or not", "[ctl]") {
  AdminFixture admin;
  VolumeStatus after = volume_status("vol0");
  after.role = "replica";
  after.epoch = 5;
  CHECK(call(admin.address(), {"assign", "vol0", "--role", "replica", "--epoch", "5", "--json"}).out == to_json(after) + "\n");
  admin.daemon().refuse_orders(make_error(Errc::kStaleEpoch, "epoch 4 is over"));
  const Outcome refused = call(admin.address(), {"--json", "promote", "vol0", "--epoch", "4"});
  CHECK(refused.code == 1);
  CHECK(refused.out == error_json(ErrorCode::kStaleEpoch, "epoch 4 is over") + "\n");
  CHECK_THAT(refused.err, StartsWith("ringboltctl: epoch 4 is over\n"));
}

TEST_CASE("ctl: a reason with terminal escapes is not passed on as it is", "[ctl]") {
  AdminFixture admin;
  admin.daemon().refuse_orders(make_error(Errc::kNotPermitted, "x\x1b[2J\ny"));
  CHECK_THAT(call(admin.address(), {"promote", "vol0", "--epoch", "4"}).err, StartsWith("ringboltctl: x?[2J?y\n"));
}

/// Listens on loopback; reads one request of `bytes` or more, then closes the connection.
class Closing {
 public:
  Closing() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(listen(listener_, 1) == 0);
    REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] {
      const int client = accept(listener_, nullptr, nullptr);
      char byte;
      while (received_.find('}') == std::string::npos && recv(client, &byte, 1, 0) == 1) received_ += byte;
      close(client);
    });
  }
  ~Closing() {
    join();
    close(listener_);
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  /// After join().
  [[nodiscard]] const std::string& received() const { return received_; }

 private:
  int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string address_, received_;
  std::thread thread_;
};

TEST_CASE("ctl: an order without an answer is exit code 3 and may have been carried out", "[ctl]") {
  Closing daemon;
  const Outcome outcome = call(daemon.address(), {"assign", "vol0", "--role", "none", "--epoch", "4"});
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err, Contains("no answer from " + daemon.address()) && Contains("next: the order may have been carried out"));
  daemon.join();
  CHECK_THAT(daemon.received(), StartsWith("POST /v1/volumes/vol0/assignment HTTP/1.1\r\n") &&
                                    Contains("Content-Type: application/json\r\n") && Contains("Content-Length: 25\r\n") &&
                                    Catch::Matchers::EndsWith("\r\n\r\n{\"role\":\"none\",\"epoch\":4}"));
}

TEST_CASE("ctl: an order that could not be sent was not carried out", "[ctl]") {
  std::string address;
  {
    AdminFixture admin;
    address = admin.address();
  }
  const Outcome outcome = call(address, {"assign", "vol0", "--role", "none", "--epoch", "4"});
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err, Contains("no answer from " + address) && !Contains("may have been carried out"));
}

TEST_CASE("ctl: why lists the facts in order", "[ctl]") {
  AdminFixture admin;
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "degraded";
  volume.healthy = false;
  volume.reason = "awaiting_barrier_durability";
  volume.why = {"assigned primary at epoch 3", "replica n2 \x1b[2J has been away", std::string(200, 'x')};
  admin.daemon().set_answer({volume});
  const Outcome outcome = call(admin.address(), {"why", "vol0"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("vol0, primary at epoch 3") && Contains("degraded, not healthy") &&
                              Contains("awaiting_barrier_durability") && Contains("because 1.    assigned primary at epoch 3\n") &&
                              Contains("        2.    replica n2 ?[2J has been away\n"));
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= kTerminalColumns);
  CHECK(call(admin.address(), {"why", "vol0", "--json"}).out == why_json(volume) + "\n");
  CHECK(call(admin.address(), {"why", "none"}).code == 1);
}

std::string show(const VolumeStatus& volume, const std::vector<std::string>& words = {"volume", "show", "vol0"}) {
  AdminFixture admin;
  admin.daemon().set_answer({volume});
  const Outcome outcome = call(admin.address(), words);
  CHECK(outcome.code == 0);
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= kTerminalColumns);
  return outcome.out;
}

TEST_CASE("ctl: a catch-up shows how far it is", "[ctl]") {
  VolumeStatus volume = volume_status("vol0");
  volume.replicas[0].in_sync = false;
  volume.replicas[0].written_lsn = 150;
  volume.replicas[0].lag_bytes = 3u << 20;
  SessionStatus& session = *volume.replicas[0].session;
  session.kind = "catchup";
  session.base_lsn = 100;
  session.target_lsn = 300;
  CHECK_THAT(show(volume), Contains("7: catchup running 25%, base 100, target 300, achieved -") && Contains("lag 3.0 MiB"));
  CHECK_THAT(show(volume, {"status"}), Contains("catchup running 25%") && Contains("3.0 MiB"));
  // Nothing is made up where a number is missing or makes no sense.
  session.target_lsn = 100;
  CHECK_THAT(show(volume), !Contains("%"));
  session.target_lsn.reset();
  CHECK_THAT(show(volume), !Contains("%"));
}

TEST_CASE("ctl: a rebuild under way shows how far it is", "[ctl]") {
  VolumeStatus volume = volume_status("vol0");
  SessionStatus& session = *volume.replicas[0].session;
  session.kind = "rebuild";
  session.base_bytes_total = 1000;
  session.base_bytes_done = 300;
  session.base_bytes_skipped = 200;
  const std::string out = show(volume);
  CHECK_THAT(out, Contains("rebuild running 50%") && Contains("  rebuild     50% (300 B of 1000 B, 200 B skipped)\n"));
  CHECK_THAT(out, !Contains("next") && !Contains("losing"));
  session.base_bytes_per_second = 3 << 20;
  session.seconds_left = 125;
  CHECK_THAT(show(volume), Contains("skipped), 3.0 MiB/s, 2 min 5 s left\n"));
  // What is said of the time that is left would not be true.
  session.losing_ground = true;
  CHECK_THAT(show(volume), Contains("  losing ground\n") && Contains("writes come faster than the replica takes them") && !Contains("left"));
}

TEST_CASE("ctl: a replica that needs a rebuild is named with the reason and what follows", "[ctl]") {
  VolumeStatus volume = volume_status("vol0");
  volume.mode = "needs_rebuild";
  volume.healthy = false;
  volume.replicas[0].in_sync = false;
  SessionStatus& session = *volume.replicas[0].session;
  session.kind = "rebuild";
  session.phase = "idle";
  session.reason = "its position 12 is no longer in the WAL";
  for (const std::string& out : {show(volume), show(volume, {"status"})}) {
    CHECK_THAT(out, Contains("its position 12 is no longer in the WAL") && Contains("next") && Contains("it is rebuilt by itself as soon as that can begin") &&
                        Contains("ringboltctl why vol0"));
  }
}

TEST_CASE("ctl: a cancelled rebuild is said to be one, and how to begin it; an ordered one that it comes", "[ctl]") {
  VolumeStatus volume = volume_status("vol0");
  ReplicaStatus& replica = volume.replicas[0];
  replica.in_sync = false;
  replica.session->kind = "rebuild";
  replica.session->phase = "idle";
  replica.rebuild_order = RebuildOrderStatus::kCancelled;
  for (const std::string& out : {show(volume), show(volume, {"status"})}) {
    CHECK_THAT(out, Contains("ringboltctl rebuild vol0 n2 begins the rebuild") && !Contains("by itself"));
  }
  // One that needs none is not told to begin one.
  replica.session->kind = "keepup";
  replica.session->phase = "running";
  CHECK_THAT(show(volume), !Contains("ringboltctl rebuild"));
  replica.rebuild_order = RebuildOrderStatus::kOrdered;
  CHECK_THAT(show(volume), Contains("a rebuild was ordered and begins soon"));
}

TEST_CASE("ctl: what to do next is said where there is something to do", "[ctl]") {
  CHECK_THAT(show(volume_status("vol0")), !Contains("next"));
  VolumeStatus away = volume_status("vol0");
  away.healthy = false;
  away.replicas[0].connected = false;
  away.replicas[0].session.reset();
  CHECK_THAT(show(away), Contains("see that n2 runs there"));
  VolumeStatus none = volume_status("vol0");
  none.role = "none";
  none.healthy = false;
  CHECK_THAT(show(none), Contains("ringboltctl assign vol0 --role"));
}

}  // namespace
}  // namespace ringbolt::ctl

// The model does what etcd does: the same cases run against both. Those against etcd need one, whose endpoints (with spaces
// between; the last one has to answer) are in $RINGBOLT_ETCD: tests/e2e/coordinator.py has it.
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "coord/etcd_client.h"
#include "coord/registration_id.h"
#include "tests/unit/coord/model_store.h"
#include "tests/unit/coord/store_cases.h"

namespace ringbolt::coord {
namespace {

using Case = void (*)(StoreUnderTest&);
constexpr Case kCases[] = {check_entries, check_transactions, check_leases, check_watches, check_compaction};
/// Not an expectation: as long as a loaded machine may need.
constexpr std::chrono::seconds kPatience{60};

TEST_CASE("store: the model does all that is wanted of one", "[coord]") {
  for (const Case one : kCases) {
    ModelEtcd etcd;
    ModelStore store(etcd);
    StoreUnderTest under_test{store, "/p/", [&](const auto& is_done) {
                                store.run();
                                REQUIRE(is_done());
                              },
                              [&](Revision revision) { etcd.compact(revision); }};
    one(under_test);
  }
}

TEST_CASE("store: etcd does all that is wanted of one", "[.etcd]") {
  const char* const urls = std::getenv("RINGBOLT_ETCD");
  REQUIRE(urls != nullptr);
  EtcdOptions options;
  std::istringstream words(urls);
  for (std::string url; words >> url;) options.endpoints.push_back(parse_endpoint(url).value());
  options.attempt_time = std::chrono::seconds(5);
  const auto compact = [&options](boost::asio::io_context& io, Revision revision) {
    // No part of a store: asked for directly.
    const auto resolver = make_resolver(io);
    const auto connection = make_http_connection(io, *resolver, options.endpoints.back(), nullptr);
    std::optional<HttpOutcome> outcome;
    connection->exchange({"/v3/kv/compaction", "{\"revision\":\"" + std::to_string(revision) + "\",\"physical\":true}", ""}, kPatience,
                         [&](HttpOutcome is) { outcome = std::move(is); });
    while (!outcome && io.run_one_for(kPatience) != 0) {
    }
    REQUIRE(outcome);
    REQUIRE(std::get<HttpAnswer>(*outcome).status == 200);
  };
  for (const Case one : kCases) {
    boost::asio::io_context io;
    EtcdClient store(io, options);
    StoreUnderTest under_test{store, "/store-test/" + random_id() + "/", [&](const auto& is_done) {
                                io.restart();
                                while (!is_done()) REQUIRE(io.run_one_for(kPatience) != 0);
                              },
                              [&](Revision revision) {
                                io.restart();
                                compact(io, revision);
                              }};
    one(under_test);
  }
}

}  // namespace
}  // namespace ringbolt::coord

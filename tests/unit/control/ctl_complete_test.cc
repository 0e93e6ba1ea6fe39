// What ringboltctl offers to shells while a command line is typed.
#include <stdlib.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "ctl/commands.h"
#include "ctl/complete.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::ctl {
namespace {

using test::AdminFixture;
using Words = std::vector<std::string>;

std::vector<Candidate> offered(Words words) {
  words.insert(words.begin(), std::string(kCompleteCommand));
  std::ostringstream out, err;
  CHECK(run(words, out, err) == kDone);
  CHECK(err.str().empty());
  std::vector<Candidate> candidates;
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = line.find('\t');
    REQUIRE(tab != std::string::npos);
    candidates.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  return candidates;
}

Words words_offered(Words words) {
  Words result;
  for (const Candidate& candidate : offered(std::move(words))) result.push_back(candidate.word);
  return result;
}

bool contains(const Words& words, const std::string& word) { return std::find(words.begin(), words.end(), word) != words.end(); }

TEST_CASE("ctl complete: commands, with what they are for", "[ctl]") {
  CHECK(offered({"st"}) == std::vector<Candidate>{{"status", "every volume on the node"}});
  CHECK(words_offered({"volume", ""}) == Words{"show", "create", "delete", "resize"});
  const Words all = words_offered({""});
  for (const char* const command : {"status", "assign", "promote", "why", "rebuild", "verify", "watch", "volume", "doctor", "bench"}) CHECK(contains(all, command));
  CHECK(!contains(all, std::string(kCompleteCommand)));
  CHECK(words_offered({"nonsense", "st"}).empty());  // whatever it is, it is no command before another one
}

TEST_CASE("ctl complete: options of a command and of those above it, once each unless they may be repeated", "[ctl]") {
  Words options = words_offered({"assign", "vol0", "--"});
  for (const char* const option : {"--role", "--epoch", "--replica", "--no-replicas", "--durability", "--admin", "--json", "--help"}) {
    CHECK(std::count(options.begin(), options.end(), option) == 1);
  }
  CHECK(!contains(options, "--force"));
  options = words_offered({"--json", "assign", "vol0", "--epoch", "2", "--role=primary", "--replica", "n2=h:1", "-"});
  CHECK(contains(options, "--replica"));
  for (const char* const given : {"--json", "--epoch", "--role"}) CHECK(!contains(options, given));
  CHECK(words_offered({"promote", "--fo"}) == Words{"--force"});
}

TEST_CASE("ctl complete: values of options that are one of a few", "[ctl]") {
  CHECK(words_offered({"assign", "vol0", "--role", ""}) == Words{"primary", "replica", "none"});
  CHECK(words_offered({"assign", "vol0", "--role", "re"}) == Words{"replica"});
  CHECK(words_offered({"assign", "vol0", "--durability=sync_"}) == Words{"--durability=sync_quorum", "--durability=sync_all"});
  CHECK(words_offered({"assign", "vol0", "--epoch", ""}).empty());
  CHECK(words_offered({"--json="}).empty());
  CHECK(words_offered({"--none="}).empty());
}

TEST_CASE("ctl complete: volumes and replicas as the daemon has them", "[ctl]") {
  AdminFixture admin;
  const std::string& address = admin.address();
  CHECK(offered({"--admin", address, "why", ""}) ==
        std::vector<Candidate>{{"vol0", "primary, publish_healthy"}, {"vol1", "primary, publish_healthy"}});
  CHECK(words_offered({"--admin=" + address, "watch", "--interval", "2", "vol1"}) == Words{"vol1"});
  CHECK(words_offered({"--admin", address, "why", "vol0", ""}).empty());
  CHECK(words_offered({"--admin", address, "volume", "delete", ""}) == Words{"vol0", "vol1"});
  CHECK(words_offered({"--admin", address, "volume", "create", ""}).empty());  // what it is to be called is not there yet
  CHECK(words_offered({"--admin", address, "rebuild", ""}) == Words{"cancel", "vol0", "vol1"});
  CHECK(offered({"--admin", address, "rebuild", "vol0", ""}) == std::vector<Candidate>{{"n2", "in sync"}});
  CHECK(words_offered({"--admin", address, "rebuild", "cancel", "vol0", "n"}) == Words{"n2"});
  CHECK(words_offered({"--admin", address, "rebuild", "other", ""}).empty());
  CHECK(words_offered({"--admin", address, "verify", "vol0", "--replica", ""}) == Words{"n2"});
  CHECK(words_offered({"--admin", address, "verify", "vol0", "--replica=n"}) == Words{"--replica=n2"});
  CHECK(words_offered({"--admin", address, "bench", "vol0", ""}) == Words{"vol0", "vol1"});  // any number of them
  CHECK(words_offered({"--admin", address, "assign", "vol0", "--replica", ""}).empty());  // an address belongs to it
}

TEST_CASE("ctl complete: files, below the directory that is begun", "[ctl]") {
  char path[] = "/tmp/ringbolt-complete-XXXXXX";
  REQUIRE(mkdtemp(path) != nullptr);
  const std::string top = path;
  std::filesystem::create_directories(top + "/data/inner");
  std::ofstream(top + "/data.toml") << "x";
  std::ofstream(top + "/.hidden") << "x";
  CHECK(words_offered({"doctor", "--config", top + "/"}) == Words{top + "/data.toml", top + "/data/"});
  CHECK(words_offered({"doctor", "--config", top + "/."}) == Words{top + "/.hidden"});
  CHECK(words_offered({"doctor", "--path=" + top + "/data/"}) == Words{"--path=" + top + "/data/inner/"});
  CHECK(words_offered({"doctor", "--config", top + "/none/x"}).empty());
  CHECK(words_offered({"bench", top + "/data/"}) == Words{top + "/data/inner/"});
  CHECK(words_offered({"doctor", ""}).empty());
  std::filesystem::remove_all(top);
}

TEST_CASE("ctl complete: where no daemon answers nothing is offered and nothing said", "[ctl]") {
  CHECK(words_offered({"--admin", "127.0.0.1:1", "why", ""}).empty());
  CHECK(words_offered({"--admin", "nonsense", "why", ""}).empty());
  CHECK(words_offered({"--admin", "127.0.0.1:1", "rebuild", ""}) == Words{"cancel"});
  CHECK(words_offered({}).empty() == false);  // no word yet: the first one
}

}  // namespace
}  // namespace ringbolt::ctl

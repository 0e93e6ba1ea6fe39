// The API's description against the code that it describes, and the page that is part of the program.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "control/admin_routes.h"
#include "control/embedded.h"
#include "control/error_codes.h"
#include "control/json.h"
#include "control/status.h"
#include "tests/unit/control/admin_fixture.h"

namespace ringbolt::test {
namespace {

namespace json = boost::json;
using Catch::Matchers::Contains;

json::value description() { return json::parse(json::string_view(embedded::kOpenApi.data(), embedded::kOpenApi.size())); }

std::set<std::string> words(const json::value& list) {
  std::set<std::string> result;
  for (const json::value& word : list.as_array()) result.emplace(word.as_string());
  return result;
}

TEST_CASE("openapi: it describes every path and method that there is, and no other", "[openapi]") {
  const json::value document = description();
  std::set<std::string> described, there;
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& member : path.value().as_object()) {
      std::string method = member.key();
      if (method == "parameters") continue;
      for (char& c : method) c = static_cast<char>(std::toupper(c));
      described.insert(method + " " + std::string(path.key()));
    }
  }
  for (const AdminPath& path : admin_paths()) {
    std::string_view rest = path.methods;
    while (!rest.empty()) {
      const size_t comma = rest.find(", ");
      const std::string method(rest.substr(0, comma));
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 2);
      if (method != "HEAD") there.insert(method + " " + path.path);  // said once, for all
    }
  }
  CHECK(described == there);
}

TEST_CASE("openapi: it has exactly the codes of errors and alarms that there are", "[openapi]") {
  const json::value document = description();
  std::set<std::string> errors, alarms;
  for (const ErrorCode code : kErrorCodes) errors.insert(to_string(code));
  for (const Alarm alarm : kAlarms) alarms.insert(to_string(alarm));
  CHECK(errors.size() == static_cast<size_t>(ErrorCode::kUnfinished) + 1);  // all of them, each once
  CHECK(alarms.size() == static_cast<size_t>(Alarm::kNotAnswering) + 1);
  const json::value& schemas = document.at("components").at("schemas");
  CHECK(words(schemas.at("Error").at("properties").at("error").at("properties").at("code").at("enum")) == errors);
  CHECK(words(schemas.at("Alarm").at("properties").at("code").at("enum")) == alarms);
}

TEST_CASE("openapi: it has exactly the events that there are", "[openapi]") {
  std::set<std::string> there{"node", "end"}, described;
  for (size_t i = 0; i < std::variant_size_v<decltype(Event::what)>; ++i) {
    static const Event kAll[] = {{0, VolumeSeen{}}, {0, ProjectionChanged{}}, {0, SessionChanged{}}, {0, AlarmChanged{}}, {0, WhySeen{}}, {0, RebuildSeen{}}, {0, VolumeGone{}}};
    REQUIRE(kAll[i].what.index() == i);
    there.insert(name_of(kAll[i]));
  }
  const json::value document = description();
  for (const auto& event : document.at("paths").at("/v1/events").at("get").at("x-events").as_object()) described.emplace(event.key());
  CHECK(described == there);
}

TEST_CASE("admin: the page and the description are there before and after the daemon", "[admin]") {
  AdminFixture admin({}, false);
  const std::string page = get(admin.address(), "/");
  CHECK(status_of(page) == "200");
  CHECK_THAT(page, Contains("Content-Type: text/html; charset=utf-8\r\n") && Contains("X-Content-Type-Options: nosniff\r\n"));
  CHECK_THAT(page, Contains("Content-Security-Policy: default-src 'none'; script-src 'sha256-"));
  const bool same_page = body_of(page) == embedded::kPage;  // not shown: it is long
  CHECK(same_page);
  const std::string openapi = get(admin.address(), "/openapi.json");
  CHECK_THAT(openapi, Contains("Content-Type: application/json\r\n") && !Contains("Content-Security-Policy"));
  const bool same_description = body_of(openapi) == embedded::kOpenApi;
  CHECK(same_description);
}

TEST_CASE("page: it is one piece of bounded size that asks nobody else", "[page]") {
  CHECK(embedded::kPage.size() < 150'000);
  CHECK(embedded::kPage.find("src=") == std::string_view::npos);
  CHECK(embedded::kPage.find("@import") == std::string_view::npos);
  // The only address in it is the name of a language.
  std::string page(embedded::kPage);
  for (size_t at; (at = page.find("http://www.w3.org/2000/svg")) != std::string::npos;) page.erase(at, 26);
  CHECK(page.find("//") != std::string::npos);  // comments
  CHECK(page.find("http:") == std::string::npos);
  CHECK(page.find("https:") == std::string::npos);
  // What the server says becomes text, never markup.
  for (const char* way : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"}) {
    CAPTURE(way);
    CHECK(page.find(way) == std::string::npos);
  }
}

}  // namespace
}  // namespace ringbolt::test

// Orders to create volumes, as text: what is taken, and what is refused with what words.
#include "control/volume_request.h"

#include <catch2/catch.hpp>

#include "control/volume_places.h"
#include "control/volume_record.h"

namespace ringbolt {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("volume request: everything that may be said, and what holds if it is not", "[control]") {
  const auto all = parse_volume_request(R"({"name": "vol1", "size": "1GiB", "wal_size": 16777216, "path": "/dev/sdb", "wal_path": "/x/log"})");
  REQUIRE(all.has_value());
  CHECK(all.value().name == "vol1");
  CHECK(all.value().size_bytes == uint64_t{1} << 30);
  CHECK(all.value().wal_bytes == 16u << 20);
  CHECK(all.value().path == "/dev/sdb");
  CHECK(all.value().wal_path == "/x/log");
  CHECK(all.value().role == Role::kNone);
  const auto least = parse_volume_request(R"({"name": "v", "size": 4096})");
  REQUIRE(least.has_value());
  CHECK(least.value().wal_bytes == uint64_t{256} << 20);
  CHECK(least.value().path.empty());
  CHECK(least.value().wal_path.empty());
}

TEST_CASE("volume request: what cannot be meant is refused with what and where", "[control]") {
  const auto [body, words] = GENERATE(table<std::string, std::string>({
      {"", "\"name\" and \"size\""},
      {"{}", "no \"name\""},
      {R"({"name": "v"})", "no \"size\""},
      {R"({"name": "", "size": 4096})", "name: "},
      {R"({"name": "..", "size": 4096})", "name: "},
      {R"({"name": "a/b", "size": 4096})", "name: "},
      {R"({"name": 7, "size": 4096})", "name: expected a string"},
      {R"({"name": "v", "size": 0})", "size: 0 is out of range"},
      {R"({"name": "v", "size": -1})", "size: expected an integer"},
      {R"({"name": "v", "size": 4097})", "size: 4097 bytes are not whole blocks"},
      {R"({"name": "v", "size": 1.5})", "size: expected an integer"},
      {R"({"name": "v", "size": "1Gib"})", "size: "},
      {R"({"name": "v", "size": "32TiB"})", "size: 32TiB is out of range"},
      {R"({"name": "v", "size": true})", "size: "},
      {R"({"name": "v", "size": 4096, "wal_size": "4MiB"})", "wal_size: 4MiB is out of range, allowed are 8MiB"},
      {R"({"name": "v", "size": 4096, "path": "disk"})", "path: \"disk\" is not absolute"},
      {R"({"name": "v", "size": 4096, "path": "/dev/"})", "path: \"/dev/\" is a directory"},
      {R"({"name": "v", "size": 4096, "wal_path": "/a\nb"})", "wal_path: contains a control character"},
      {R"({"name": "v", "size": 4096, "role": "primary"})", "unknown key \"role\""},
      {R"({"name": "v", "size": 4096, "size": 8192})", "given twice"},
  }));
  CAPTURE(body);
  const auto parsed = parse_volume_request(body);
  REQUIRE(parsed.has_error());
  CHECK(parsed.error().code == Errc::kInvalid);
  CHECK_THAT(parsed.error().message, Contains(words));
}

TEST_CASE("volume record: what is kept is what was said", "[control]") {
  VolumeRecord record;
  record.volume = parse_volume_request(R"({"name": "vol1", "size": "17592186044416", "path": "/data/\u00e9", "wal_path": "/x\"y"})").value();
  record.state = GENERATE(VolumeRecord::State::kCreating, VolumeRecord::State::kReady);
  record.made_path = GENERATE(false, true);
  record.made_wal_path = !record.made_path;
  const auto read = parse_volume_record(to_json(record));
  REQUIRE(read.has_value());
  CHECK(read.value() == record);
}

TEST_CASE("volume places: one file is never two things", "[control]") {
  VolumeConfig other;
  other.name = "vol0";
  other.path = "/data/a/../image";
  VolumeConfig fresh;
  fresh.name = "vol1";
  VolumePlaces places("/var/lib/x");
  places.add(other);
  const auto check = [&] { return places.check(fresh); };
  CHECK(check().has_value());
  fresh.path = "/data/image";
  REQUIRE(check().has_error());
  CHECK(check().error().code == Errc::kExists);
  CHECK_THAT(check().error().message, Contains("/data/image") && Contains("vol0"));
  fresh.path = "/data/b";
  fresh.wal_path = "/data/./image";
  CHECK(check().has_error());
  fresh.wal_path = "/data/c/../b";
  REQUIRE(check().has_error());
  CHECK_THAT(check().error().message, Contains("both /data/b"));
  fresh.wal_path = "/var/lib/x/volumes/vol0/wal";
  REQUIRE(check().has_error());
  CHECK_THAT(check().error().message, Contains("where the daemon keeps volumes"));
  fresh.wal_path.clear();
  fresh.name = "vol0";  // the same directory
  fresh.path = "/data/b";
  CHECK_THAT(check().error().message, Contains("/var/lib/x/volumes/vol0/wal"));
}

TEST_CASE("volume request: a new size is one key, in whole blocks", "[control][resize]") {
  CHECK(parse_resize_request(R"({"size": "2GiB"})").value() == uint64_t{2} << 30);
  CHECK(parse_resize_request(R"({"size": 8192})").value() == 8192);
  const auto [body, words] = GENERATE(table<std::string, std::string>({{"", "an object with \"size\""},
                                                                       {"{}", "no \"size\""},
                                                                       {R"({"size": 0})", "size: 0 is out of range"},
                                                                       {R"({"size": 4097})", "size: 4097 bytes are not whole blocks"},
                                                                       {R"({"size": "17TiB"})", "size: 17TiB is out of range"},
                                                                       {R"({"size": 4096, "size": 8192})", "size"},
                                                                       {R"({"size": 4096, "wal_size": 1})", "unknown key \"wal_size\""}}));
  INFO(body);
  const auto refused = parse_resize_request(body);
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kInvalid);
  CHECK_THAT(refused.error().message, Contains(words));
}

}  // namespace
}  // namespace ringbolt

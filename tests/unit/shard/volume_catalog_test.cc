// The catalogue of created volumes on a real directory: what is there after a crash between any two steps, and what is
// never touched.
#include "shard/volume_catalog.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "log/log.h"
#include "tests/unit/io/io_bed.h"

namespace ringbolt::test {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;

/// The process ends here.
struct CatalogCrash {};

/// Crashes before the n-th step that changes something, or in the middle of it, where it has one.
class CatalogCrashingFiles final : public io::DurableFiles {
 public:
  int steps_left = -1;  ///< -1: never
  bool fails = false;   ///< reports an error instead

  Status make_directory(const std::string& path) override {
    if (step()) return error();
    return DurableFiles::make_directory(path);
  }
  Status replace(const std::string& path, const std::string& text) override {
    if (step()) return error();
    if (steps_left == 0 && !fails) std::ofstream(path + kUnfinished) << text.substr(0, text.size() / 2);
    if (step()) return error();
    return DurableFiles::replace(path, text);
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (step()) return error();
    return DurableFiles::rename(from, to);
  }
  Result<bool> make_file(const std::string& path) override {
    if (step()) return error();
    return DurableFiles::make_file(path);
  }
  Result<bool> remove_file(const std::string& path) override {
    if (fs::exists(path) && step()) return error();
    return DurableFiles::remove_file(path);
  }
  Result<bool> remove_directory(const std::string& path) override {
    if (step()) return error();
    return DurableFiles::remove_directory(path);
  }

 private:
  bool step() {
    if (steps_left < 0) return false;
    if (steps_left-- > 0) return false;
    if (!fails) throw CatalogCrash{};
    return true;
  }
  static Error error() { return make_error(Errc::kIo, "the test's error"); }
};

/// A data directory, and a directory that is somebody else's.
class CatalogPlace {
 public:
  CatalogPlace() { fs::create_directories(outside()); }
  [[nodiscard]] std::string data_dir() const { return directory_.path() + "/data"; }
  [[nodiscard]] std::string outside() const { return directory_.path() + "/outside"; }
  [[nodiscard]] std::string of(const std::string& volume) const { return data_dir() + "/volumes/" + volume; }
  /// All files below both, relative.
  [[nodiscard]] std::set<std::string> files() const {
    std::set<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(directory_.path())) {
      if (!entry.is_directory()) found.insert(fs::relative(entry.path(), directory_.path()).string());
    }
    return found;
  }
  static void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }

 private:
  const io::test::TemporaryDirectory directory_;
};

VolumeRecord record_of(const std::string& name, const std::string& path = {}, const std::string& wal_path = {}) {
  VolumeRecord record;
  record.volume.name = name;
  record.volume.size_bytes = 64u << 20;
  record.volume.path = path;
  record.volume.wal_path = wal_path;
  return record;
}

/// What the store does in between: files where the catalogue has not made them.
void make_store(const CatalogPlace& place, const VolumeRecord& record) {
  CatalogPlace::write(place.of(record.volume.name) + "/superblock", "s");
  CatalogPlace::write(record.volume.wal_path.empty() ? place.of(record.volume.name) + "/wal" : record.volume.wal_path, "w");
  CatalogPlace::write(record.volume.path.empty() ? place.of(record.volume.name) + "/base" : record.volume.path, "b");
}

class CatalogQuiet {
 public:
  CatalogQuiet() { log::set_level(log::Level::kError); }
  ~CatalogQuiet() { log::set_level(log::Level::kInfo); }
};

std::vector<std::string> names_of(const std::vector<VolumeRecord>& records) {
  std::vector<std::string> names;
  for (const VolumeRecord& record : records) names.push_back(record.volume.name);
  return names;
}

}  // namespace

TEST_CASE("volume catalog: what was created is there again, what was deleted is not, with all its files", "[volumes]") {
  const CatalogPlace place;
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  REQUIRE(catalog.load().value().empty());
  VolumeRecord plain = record_of("b"), placed = record_of("a", place.outside() + "/image", place.outside() + "/log");
  for (VolumeRecord* record : {&plain, &placed}) {
    REQUIRE(catalog.begin_creation(*record).has_value());
    make_store(place, *record);
    REQUIRE(catalog.finish_creation(*record).has_value());
  }
  CHECK(placed.made_path);
  CHECK(placed.made_wal_path);
  VolumeCatalog later(place.data_dir(), files);
  const auto there = later.load();
  REQUIRE(there.has_value());
  CHECK(there.value() == std::vector<VolumeRecord>{placed, plain});  // by name
  for (VolumeRecord* record : {&plain, &placed}) {
    REQUIRE(later.begin_deletion(*record).has_value());
    CHECK(later.finish_deletion(*record).value().empty());
  }
  CHECK(place.files().empty());
  CHECK(!fs::exists(place.of("a")));
  CHECK(later.load().value().empty());
}

TEST_CASE("volume catalog: files that were there before stay, whatever becomes of the volume", "[volumes]") {
  const CatalogQuiet quiet;
  const CatalogPlace place;
  const std::string image = place.outside() + "/image", wal = place.outside() + "/log";
  CatalogPlace::write(image, "");
  CatalogPlace::write(wal, "");
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a", image, wal);
  REQUIRE(catalog.begin_creation(record).has_value());
  CHECK(!record.made_path);
  make_store(place, record);
  SECTION("deleted") {
    REQUIRE(catalog.finish_creation(record).has_value());
    REQUIRE(catalog.begin_deletion(record).has_value());
    CHECK(catalog.finish_deletion(record).value() == std::vector{wal, image});
  }
  SECTION("taken back") { CHECK(catalog.take_back(record).has_value()); }
  SECTION("taken back at the next start") { CHECK(VolumeCatalog(place.data_dir(), files).load().value().empty()); }
  CHECK(place.files() == std::set<std::string>{"outside/image", "outside/log"});
}

TEST_CASE("volume catalog: nothing is made over what is there", "[volumes]") {
  const CatalogPlace place;
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  const std::string left = GENERATE(std::string("superblock"), std::string("wal"), std::string("base"), std::string("notes"));
  CatalogPlace::write(place.of("a") + "/" + left, "somebody's");
  VolumeRecord record = record_of("a", place.outside() + "/image");
  const Status begun = catalog.begin_creation(record);
  REQUIRE(begun.has_error());
  CHECK(begun.error().code == Errc::kExists);
  CHECK_THAT(begun.error().message, Contains(place.of("a") + "/" + left));
  CHECK(place.files() == std::set<std::string>{"data/volumes/a/" + left});
  CHECK(catalog.load().value().empty());
  CHECK(place.files() == std::set<std::string>{"data/volumes/a/" + left});
}

TEST_CASE("volume catalog: an operator's word on a base image is no obstacle, and outlives a try that failed", "[volumes]") {
  const CatalogPlace place;
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  CatalogPlace::write(place.of("a") + "/use-existing-base", "");
  VolumeRecord record = record_of("a");
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.take_back(record).has_value());
  CHECK(place.files() == std::set<std::string>{"data/volumes/a/use-existing-base"});
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(catalog.begin_deletion(record).has_value());
  REQUIRE(catalog.finish_deletion(record).has_value());
  CHECK(place.files().empty());
}

TEST_CASE("volume catalog: a record that cannot be read stops the start, and says which it is", "[volumes]") {
  const CatalogPlace place;
  io::DurableFiles files;
  const auto [text, words] = GENERATE(table<std::string, std::string>({
      {"", "empty"},
      {"{", "not JSON"},
      {R"({"format":2,"name":"a","size":4096,"wal_size":8388608,"path":"","wal_path":"","state":"ready","made_path":false,"made_wal_path":false})", "format"},
      {R"({"format":1,"name":"b","size":4096,"wal_size":8388608,"path":"","wal_path":"","state":"ready","made_path":false,"made_wal_path":false})", "of \"a\""},
      {R"({"format":1,"name":"a","size":4097,"wal_size":8388608,"path":"","wal_path":"","state":"ready","made_path":false,"made_wal_path":false})", "size"},
      {R"({"format":1,"name":"a","size":4096,"wal_size":8388608,"path":"","wal_path":"","state":"gone","made_path":false,"made_wal_path":false})", "state"},
      {R"({"format":1,"name":"a","size":4096,"wal_size":8388608,"path":"","state":"ready","made_path":false,"made_wal_path":false})", "wal_path"},
      {std::string(70'000, ' '), "longer"},
  }));
  CatalogPlace::write(place.of("a") + "/volume.json", text);
  CatalogPlace::write(place.of("a") + "/base", "data");
  const auto loaded = VolumeCatalog(place.data_dir(), files).load();
  REQUIRE(loaded.has_error());
  CHECK_THAT(loaded.error().message, Contains(place.of("a") + "/volume.json") && Contains(words));
  CHECK(place.files().size() == 2);
}

TEST_CASE("volume catalog: directories of other volumes are none of its business", "[volumes]") {
  const CatalogPlace place;
  io::DurableFiles files;
  CatalogPlace::write(place.of("configured") + "/superblock", "s");
  CatalogPlace::write(place.data_dir() + "/volumes/a file", "x");
  fs::create_directories(place.of("empty"));
  CHECK(VolumeCatalog(place.data_dir(), files).load().value().empty());
  CHECK(place.files().size() == 2);
}

TEST_CASE("volume catalog: a crash anywhere in a creation leaves no volume, or a whole one, and a second try works", "[volumes]") {
  const CatalogQuiet quiet;
  const bool existing = GENERATE(false, true);
  int crashes = 0;
  for (int steps = 0;; ++steps) {
    CAPTURE(existing, steps);
    const CatalogPlace place;
    const std::string image = place.outside() + "/image";
    if (existing) CatalogPlace::write(image, "");
    CatalogCrashingFiles files;
    files.steps_left = steps;
    VolumeRecord record = record_of("a", image);
    bool finished = false;
    try {
      VolumeCatalog catalog(place.data_dir(), files);
      // Not inside an assertion, which would not let the exception through.
      const Status begun = catalog.begin_creation(record);
      REQUIRE(begun.has_value());
      make_store(place, record);
      const Status ended = catalog.finish_creation(record);
      REQUIRE(ended.has_value());
      finished = true;
    } catch (const CatalogCrash&) {
      ++crashes;
    }
    files.steps_left = -1;
    VolumeCatalog catalog(place.data_dir(), files);
    const auto there = catalog.load();
    REQUIRE(there.has_value());
    if (finished) {
      CHECK(names_of(there.value()) == std::vector<std::string>{"a"});
      break;
    }
    CHECK(there.value().empty());
    // Of what the volume was to be nothing is left. A file that was just being made may be there, empty.
    std::set<std::string> left = place.files();
    const bool image_left = left.erase("outside/image") == 1;
    if (existing) CHECK(image_left);
    if (!existing && image_left) CHECK(fs::file_size(image) == 0);
    CHECK(left.empty());
    VolumeRecord again = record_of("a", image);
    REQUIRE(catalog.begin_creation(again).has_value());
    make_store(place, again);
    REQUIRE(catalog.finish_creation(again).has_value());
    CHECK(names_of(catalog.load().value()) == std::vector<std::string>{"a"});
  }
  CHECK(crashes > 5);
}

TEST_CASE("volume catalog: a crash anywhere in a deletion ends in the deletion, or has changed nothing", "[volumes]") {
  const CatalogQuiet quiet;
  int before = 0, after = 0;
  for (int steps = 0;; ++steps) {
    CAPTURE(steps);
    const CatalogPlace place;
    CatalogCrashingFiles files;
    VolumeRecord record = record_of("a", place.outside() + "/image");
    VolumeCatalog first(place.data_dir(), files);
    REQUIRE(first.begin_creation(record).has_value());
    make_store(place, record);
    REQUIRE(first.finish_creation(record).has_value());
    const std::set<std::string> whole = place.files();
    files.steps_left = steps;
    bool begun = false, finished = false;
    try {
      const Status marked = first.begin_deletion(record);
      REQUIRE(marked.has_value());
      begun = true;
      const auto removed = first.finish_deletion(record);
      REQUIRE(removed.has_value());
      finished = true;
    } catch (const CatalogCrash&) {
    }
    files.steps_left = -1;
    const auto there = VolumeCatalog(place.data_dir(), files).load();
    REQUIRE(there.has_value());
    if (!begun) {
      ++before;
      CHECK(there.value().size() == 1);
      CHECK(place.files() == whole);
    } else {
      ++after;
      CHECK(there.value().empty());
      CHECK(place.files().empty());
      if (finished) CHECK(!fs::exists(place.of("a")));  // else it may be there, empty
    }
    if (finished) break;
  }
  CHECK(before >= 1);
  CHECK(after > 4);
}

TEST_CASE("volume catalog: an error anywhere in a creation is told, and leaves nothing of it", "[volumes]") {
  const CatalogQuiet quiet;
  int errors = 0;
  for (int steps = 0;; ++steps) {
    CAPTURE(steps);
    const CatalogPlace place;
    CatalogCrashingFiles files;
    files.steps_left = steps;
    files.fails = true;
    VolumeCatalog catalog(place.data_dir(), files);
    VolumeRecord record = record_of("a", place.outside() + "/image");
    Status status = catalog.begin_creation(record);
    if (status.has_value()) {
      make_store(place, record);
      status = catalog.finish_creation(record);
      if (status.has_error()) REQUIRE(catalog.take_back(record).has_value());
    }
    if (status.has_value()) break;
    ++errors;
    CHECK_THAT(status.error().message, Contains("the test's error"));
    CHECK(place.files().empty());
    CHECK(catalog.load().value().empty());
  }
  CHECK(errors > 4);
}

TEST_CASE("volume catalog: a deletion whose files could not be removed is gone on with, at a start or by a new creation", "[volumes]") {
  const CatalogPlace place;
  CatalogCrashingFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a");
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(catalog.begin_deletion(record).has_value());
  files.steps_left = 1;
  files.fails = true;
  REQUIRE(catalog.finish_deletion(record).has_error());
  files.steps_left = -1;
  REQUIRE(!place.files().empty());
  SECTION("a start") {
    const CatalogQuiet quiet;
    CHECK(catalog.load().value().empty());
    CHECK(place.files().empty());
  }
  SECTION("a creation") {
    VolumeRecord again = record_of("a");
    REQUIRE(catalog.begin_creation(again).has_value());
    CHECK(place.files() == std::set<std::string>{"data/volumes/a/volume.json"});
  }
}

TEST_CASE("volume catalog: files at given paths stay once they are disowned, also after a crash", "[volumes]") {
  const CatalogQuiet quiet;
  const CatalogPlace place;
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a", place.outside() + "/image", place.outside() + "/log");
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(record.made_path);
  REQUIRE(catalog.disown_given_files(record).has_value());
  CHECK(VolumeCatalog(place.data_dir(), files).load().value() == std::vector<VolumeRecord>{record});
  REQUIRE(catalog.begin_deletion(record).has_value());
  SECTION("deleted") { CHECK(catalog.finish_deletion(record).value() == std::vector{place.outside() + "/log", place.outside() + "/image"}); }
  SECTION("the next start goes on") { CHECK(VolumeCatalog(place.data_dir(), files).load().value().empty()); }
  CHECK(place.files() == std::set<std::string>{"outside/image", "outside/log"});
}

TEST_CASE("volume catalog: a file at a given path that cannot be removed is told once, and what comes to be there later is not touched", "[volumes]") {
  const CatalogQuiet quiet;
  const CatalogPlace place;
  const std::string image = place.outside() + "/image";
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a", image);
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(catalog.begin_deletion(record).has_value());
  fs::remove(image);
  fs::create_directory(image);  // nothing that can be removed like a file
  SECTION("deleted") {
    const auto removed = catalog.finish_deletion(record);
    REQUIRE(removed.has_error());
    CHECK_THAT(removed.error().message, Contains(image) && Contains("by hand"));
  }
  SECTION("by the next start") { CHECK(catalog.load().value().empty()); }
  CHECK(place.files().empty());
  fs::remove(image);
  CatalogPlace::write(image, "another's");
  CHECK(catalog.load().value().empty());
  CHECK(place.files() == std::set<std::string>{"outside/image"});
}

TEST_CASE("volume catalog: what comes to be at a given path after a deletion that failed elsewhere is not touched", "[volumes]") {
  const CatalogQuiet quiet;
  const CatalogPlace place;
  const std::string image = place.outside() + "/image", superblock = place.data_dir() + "/volumes/a/superblock";
  io::DurableFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a", image);
  REQUIRE(catalog.begin_creation(record).has_value());
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(catalog.begin_deletion(record).has_value());
  fs::remove(superblock);
  fs::create_directory(superblock);
  const auto removed = catalog.finish_deletion(record);
  REQUIRE(removed.has_error());
  CHECK_THAT(removed.error().message, Contains("the next start tries again") && Contains(image + " stays, if it is there: remove it by hand"));
  fs::remove(superblock);
  CatalogPlace::write(image, "another's");
  CHECK(catalog.load().value().empty());
  CHECK(place.files() == std::set<std::string>{"outside/image"});
}

TEST_CASE("volume catalog: the record of what could not be removed is found", "[volumes]") {
  const CatalogQuiet quiet;
  const CatalogPlace place;
  CatalogCrashingFiles files;
  VolumeCatalog catalog(place.data_dir(), files);
  VolumeRecord record = record_of("a");
  CHECK(!catalog.find_record("a").value());
  REQUIRE(catalog.begin_creation(record).has_value());
  CHECK(catalog.find_record("a").value() == place.of("a") + "/volume.json");
  make_store(place, record);
  REQUIRE(catalog.finish_creation(record).has_value());
  REQUIRE(catalog.begin_deletion(record).has_value());
  files.steps_left = 1;
  files.fails = true;
  REQUIRE(catalog.finish_deletion(record).has_error());
  CHECK(catalog.find_record("a").value() == place.of("a") + "/deleted.json");
  files.steps_left = -1;
  CHECK(catalog.load().value().empty());
  CHECK(!catalog.find_record("a").value());
}

TEST_CASE("volume catalog: two processes never have the same directory", "[volumes]") {
  const CatalogPlace place;
  auto first = io::DirectoryLock::take(place.outside());
  REQUIRE(first.has_value());
  const auto second = io::DirectoryLock::take(place.outside());
  REQUIRE(second.has_error());
  CHECK(second.error().code == Errc::kBusy);
  CHECK_THAT(second.error().message, Contains(place.outside()));
  { const io::DirectoryLock gone = std::move(first).value(); }
  CHECK(io::DirectoryLock::take(place.outside()).has_value());
}

}  // namespace ringbolt::test

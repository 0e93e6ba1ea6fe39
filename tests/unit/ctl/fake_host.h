// A host made of files, for the checks of `ringboltctl doctor`: what /proc and /sys say there is what a test writes.
#pragma once

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "ctl/doctor/finding.h"
#include "ctl/doctor/host_files.h"

namespace ringbolt::ctl::doctor {

class FakeHost {
 public:
  FakeHost() {
    char path[] = "/tmp/ringbolt-host-XXXXXX";
    REQUIRE(mkdtemp(path) != nullptr);
    root_ = path;
  }
  ~FakeHost() { std::filesystem::remove_all(root_); }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  FakeHost& write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream file(root_ + path);
    file << text << "\n";
    REQUIRE(file.good());
    return *this;
  }
  FakeHost& remove(const std::string& path) {
    REQUIRE(std::filesystem::remove_all(root_ + path) > 0);
    return *this;
  }
  FakeHost& link(const std::string& path, const std::string& target) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::filesystem::create_symlink(target, root_ + path);
    return *this;
  }
  [[nodiscard]] HostFiles files() const { return HostFiles(root_); }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  std::string root_;
};

/// The one finding of that name; the test fails if there is none or more.
inline Finding found(const Findings& findings, const std::string& check) {
  const Finding* only = nullptr;
  for (const Finding& finding : findings) {
    if (finding.check != check) continue;
    INFO(check);
    REQUIRE(only == nullptr);
    only = &finding;
  }
  INFO(check);
  REQUIRE(only != nullptr);
  // What can be put right has a remedy, and nothing else has.
  CHECK(only->remedy.empty() == (only->state == State::kOk || only->state == State::kUnknown));
  CHECK_FALSE(only->found.empty());
  return *only;
}

/// What `check(findings)` says under that name.
template <class Check>
Finding finding_of(const std::string& name, const Check& check) {
  Findings findings;
  check(findings);
  return found(findings, name);
}

}  // namespace ringbolt::ctl::doctor

// Catch2 shows a state by its name.
namespace Catch {
template <>
struct StringMaker<ringbolt::ctl::doctor::State> {
  static std::string convert(ringbolt::ctl::doctor::State state) { return ringbolt::ctl::doctor::to_string(state); }
};
}  // namespace Catch

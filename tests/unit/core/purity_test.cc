// The core decides without I/O, clock, randomness and threads. What its library takes from outside
// is listed here, whole: a new name in this list must be one of a pure function.
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

extern const char* const kCoreArchive;

namespace {

/// The output lines of a command; fails the test if it cannot be run.
std::vector<std::string> lines_of(const std::string& command) {
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::vector<std::string> lines;
  std::array<char, 4096> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) {
    std::string text = line.data();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    lines.push_back(text);
  }
  INFO(command << ": " << (lines.empty() ? "" : lines.front()));
  REQUIRE(pclose(pipe) == 0);
  return lines;
}

/// Undefined names that no other member of the archive defines.
std::set<std::string> names_from_outside(const std::string& archive) {
  std::set<std::string> defined, undefined;
  for (const std::string& line : lines_of("nm '" + archive + "'")) {
    const size_t name = line.rfind(' ');
    if (name == std::string::npos || name < 2) continue;
    const char kind = line[name - 1];
    (kind == 'U' || kind == 'w' ? undefined : defined).insert(line.substr(name + 1));
  }
  for (const std::string& name : defined) undefined.erase(name);
  return undefined;
}

bool is_allowed(const std::string& name) {
  static const std::set<std::string> kAllowed = {
      // memory and bytes
      "memcpy", "memmove", "memset", "memcmp", "strlen", "_Znwm", "_ZdlPv", "_ZdlPvm",
      // names of values: to_string(Durability), to_string(Role)
      "_ZN8ringbolt9to_stringENS_10DurabilityE", "_ZN8ringbolt9to_stringENS_4RoleE",
      // failing assertions, exceptions of std::string, their unwinding
      "_ZN8ringbolt16assertion_failedEPKcS1_i", "_Unwind_Resume", "__gxx_personality_v0",
      "__stack_chk_fail", "abort", "__cxa_begin_catch", "__cxa_end_catch", "__cxa_rethrow",
      "__cxa_throw_bad_array_new_length", "_ZSt9terminatev", "_ZSt28__throw_bad_array_new_lengthv",
      "_GLOBAL_OFFSET_TABLE_", "DW.ref.__gxx_personality_v0"};
  if (kAllowed.count(name) > 0) return true;
  // std::string, the exceptions it throws, and what sanitizers and coverage add to every object.
  for (const char* prefix :
       {"_ZNSt7__cxx1112basic_string", "_ZNKSt7__cxx1112basic_string", "_ZNSaIcE",
        "_ZSt17__throw_bad_alloc", "_ZSt19__throw_logic_error", "_ZSt20__throw_length_error",
        "_ZSt24__throw_out_of_range_fmt", "_ZStplIcSt11char_traits", "__asan_", "__ubsan_",
        "__tsan_", "__sanitizer_", "__gcov_", "__llvm_"}) {
    if (name.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("core: its library takes nothing from outside that is not pure", "[core]") {
  const std::set<std::string> names = names_from_outside(kCoreArchive);
  REQUIRE_FALSE(names.empty());
  // Proof that the names were read: it does use assertions.
  CHECK(names.count("_ZN8ringbolt16assertion_failedEPKcS1_i") == 1);
  for (const std::string& name : names) {
    INFO(name);
    CHECK(is_allowed(name));
  }
}

TEST_CASE("core: the list of pure names has no room for I/O, clocks, randomness and threads",
          "[core]") {
  for (const char* name :
       {"read", "open", "printf", "clock_gettime", "time", "getrandom", "rand", "pthread_create",
        "syscall", "getenv", "_ZNSt6chrono3_V212steady_clock3nowEv",
        "_ZNSt13random_device7_M_initERKNSt7__cxx1112basic_stringE"}) {
    INFO(name);
    CHECK_FALSE(is_allowed(name));
  }
}

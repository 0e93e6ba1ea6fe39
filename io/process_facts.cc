#include "io/process_facts.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

// jemalloc's. Sanitizers bring an allocator of their own.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old_value, size_t* old_length, void* new_value, size_t new_length);

namespace ringbolt::io {

namespace {

/// Empty if it cannot be read.
std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = text.find_first_not_of(" \n");
    if (begin == std::string_view::npos) return words;
    const size_t end = text.find_first_of(" \n", begin);
    words.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end);
  }
}

/// The names in a directory; nullopt if it cannot be read.
std::optional<std::vector<std::string>> entries_of(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) return std::nullopt;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

/// proc(5), /proc/pid/stat: numbers of fields, where the first one after the name in parentheses is the third.
enum Field : size_t { kUserTicks = 14, kSystemTicks = 15, kStartTicks = 22, kVirtualBytes = 23, kResidentPages = 24 };
constexpr size_t kFieldAfterName = 3;

void read_stat(const std::string& proc, ProcessFacts& facts) {
  const std::string stat = text_of(proc + "/self/stat");
  const size_t name_end = stat.rfind(')');  // the name may have any bytes
  if (name_end == std::string::npos) return;
  const auto fields = words_of(std::string_view(stat).substr(name_end + 1));
  const auto field = [&fields](Field which) { return which - kFieldAfterName < fields.size() ? number(fields[which - kFieldAfterName]) : std::nullopt; };
  facts.virtual_bytes = field(kVirtualBytes);
  if (const auto pages = field(kResidentPages)) facts.resident_bytes = *pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto user = field(kUserTicks), system = field(kSystemTicks), started = field(kStartTicks);
  if (user && system) facts.cpu_seconds = static_cast<double>(*user + *system) / ticks;
  const std::string of_host = text_of(proc + "/stat");
  constexpr std::string_view kBootTime = "\nbtime ";
  const size_t boot = of_host.find(kBootTime);
  if (!started || boot == std::string::npos) return;
  const size_t value = boot + kBootTime.size();
  const auto booted_at = number(std::string_view(of_host).substr(value, of_host.find('\n', value) - value));
  if (booted_at) facts.started_at = static_cast<double>(*booted_at) + static_cast<double>(*started) / ticks;
}

void read_threads(const std::string& proc, ProcessFacts& facts) {
  const auto threads = entries_of(proc + "/self/task");
  if (!threads) return;
  facts.threads = facts.ring_workers = 0;
  for (const std::string& thread : *threads) {
    // One that has ended since has no name any more.
    const std::string name = text_of(proc + "/self/task/" + thread + "/comm");
    if (!name.empty()) ++*(name.starts_with("iou-wrk-") ? facts.ring_workers : facts.threads);
  }
}

}  // namespace

ProcessFacts read_process_facts(const std::string& proc) {
  ProcessFacts facts;
  read_stat(proc, facts);
  read_threads(proc, facts);
  if (const auto files = entries_of(proc + "/self/fd")) facts.open_files = files->size();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) facts.open_files_max = limit.rlim_cur;
  return facts;
}

double thread_cpu_seconds() {
  timespec time{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::optional<uint64_t> thread_allocated_bytes() {
  uint64_t bytes = 0;
  size_t length = sizeof bytes;
  if (mallctl == nullptr || mallctl("thread.allocated", &bytes, &length, nullptr, 0) != 0) return std::nullopt;
  return bytes;
}

}  // namespace ringbolt::io

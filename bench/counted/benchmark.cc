// Bodies of benchmark.h.
#include "benchmark.h"

#include <valgrind/callgrind.h>

namespace benchmark {

void State::begin_counting() {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

void State::end_counting() {
  CALLGRIND_STOP_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS_AT(name_.c_str());
  counted_ = true;
}

Benchmark* Benchmark::Args(std::vector<int64_t> values) {
  arguments_.push_back(std::move(values));
  return this;
}

Benchmark* Benchmark::ArgsProduct(const std::vector<std::vector<int64_t>>& lists) {
  std::vector<std::vector<int64_t>> product = {{}};
  for (const std::vector<int64_t>& list : lists) {
    std::vector<std::vector<int64_t>> longer;
    for (const std::vector<int64_t>& begun : product) {
      for (const int64_t value : list) {
        longer.push_back(begun);
        longer.back().push_back(value);
      }
    }
    product = std::move(longer);
  }
  arguments_.insert(arguments_.end(), product.begin(), product.end());
  return this;
}

Benchmark* Benchmark::ArgNames(std::vector<std::string> names) {
  argument_names_ = std::move(names);
  return this;
}

Benchmark* Benchmark::Apply(void (*change)(Benchmark*)) {
  change(this);
  return this;
}

std::vector<Benchmark::Case> Benchmark::cases() const {
  if (arguments_.empty()) return {{name_, {}}};
  std::vector<Case> result;
  for (const std::vector<int64_t>& arguments : arguments_) {
    std::string name = name_;
    for (size_t i = 0; i < arguments.size(); ++i) {
      name += '/';
      if (i < argument_names_.size()) name += argument_names_[i] + ':';
      name += std::to_string(arguments[i]);
    }
    result.push_back({std::move(name), arguments});
  }
  return result;
}

std::deque<Benchmark>& all_benchmarks() {
  static std::deque<Benchmark> all;
  return all;
}

Benchmark* enter(const char* name, void (*function)(State&)) { return &all_benchmarks().emplace_back(name, function); }

}  // namespace benchmark

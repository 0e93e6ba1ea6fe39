// As much of Google Benchmark's interface as bench/micro uses, for instructions instead of time: the loop of a benchmark runs as
// often as bench/counted/main.cc says, valgrind counts just that, and what was prepared before it costs nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace benchmark {

enum TimeUnit { kNanosecond, kMicrosecond };

class State {
 public:
  State(std::string name, std::vector<int64_t> arguments, int64_t iterations)
      : name_(std::move(name)), arguments_(std::move(arguments)), iterations_(iterations), operations_(iterations) {}

  [[nodiscard]] int64_t range(size_t at = 0) const { return arguments_.at(at); }
  [[nodiscard]] int64_t iterations() const { return iterations_; }
  void SkipWithError(const char* error) { error_ = error; }
  void SetItemsProcessed(int64_t items) { operations_ = items; }
  void SetBytesProcessed(int64_t) {}

  struct [[maybe_unused]] Value {};  // or the loop's variable would be one that nobody uses
  class Iterator {
   public:
    Iterator(State* state, int64_t left) : state_(state), left_(left) {}
    Value operator*() const { return {}; }
    void operator++() { --left_; }
    bool operator!=(const Iterator&) const {
      if (left_ > 0) [[likely]]
        return true;
      state_->end_counting();
      return false;
    }

   private:
    State* state_;
    int64_t left_;
  };
  Iterator begin() {
    begin_counting();
    return {this, iterations_};
  }
  Iterator end() { return {this, 0}; }

  /// Empty: nothing went wrong.
  [[nodiscard]] const std::string& error() const { return error_; }
  /// What the count is to be divided by.
  [[nodiscard]] int64_t operations() const { return operations_; }
  [[nodiscard]] bool counted() const { return counted_; }

 private:
  void begin_counting();
  void end_counting();

  std::string name_;
  std::vector<int64_t> arguments_;
  int64_t iterations_;
  int64_t operations_;
  std::string error_;
  bool counted_ = false;
};

/// A function and what it is to be called with.
class Benchmark {
 public:
  Benchmark(std::string name, void (*function)(State&)) : name_(std::move(name)), function_(function) {}
  Benchmark* Arg(int64_t value) { return Args({value}); }
  Benchmark* Args(std::vector<int64_t> values);
  Benchmark* ArgsProduct(const std::vector<std::vector<int64_t>>& lists);
  Benchmark* ArgName(std::string name) { return ArgNames({std::move(name)}); }
  Benchmark* ArgNames(std::vector<std::string> names);
  Benchmark* Apply(void (*change)(Benchmark*));
  Benchmark* Unit(TimeUnit) { return this; }
  Benchmark* UseRealTime() { return this; }

  struct Case {
    std::string name;  ///< as Google Benchmark would call it: "function/64", "function/batch:32"
    std::vector<int64_t> arguments;
  };
  [[nodiscard]] std::vector<Case> cases() const;
  void run(State& state) const { function_(state); }

 private:
  std::string name_;
  void (*function_)(State&);
  std::vector<std::vector<int64_t>> arguments_;
  std::vector<std::string> argument_names_;
};

namespace internal {
using benchmark::Benchmark;
}

/// Entered by BENCHMARK() before main() begins.
std::deque<Benchmark>& all_benchmarks();
Benchmark* enter(const char* name, void (*function)(State&));

/// The compiler must have the value, and may assume nothing about it afterwards.
template <class T>
inline __attribute__((always_inline)) void DoNotOptimize(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}
template <class T>
inline __attribute__((always_inline)) void DoNotOptimize(T& value) {
  asm volatile("" : "+m,r"(value) : : "memory");
}
/// What is in memory must be there, and may be something else afterwards.
inline __attribute__((always_inline)) void ClobberMemory() { asm volatile("" : : : "memory"); }

}  // namespace benchmark

#define BENCHMARK(function) [[maybe_unused]] static ::benchmark::Benchmark* const entered_##function = ::benchmark::enter(#function, function)

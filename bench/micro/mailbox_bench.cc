// The mailbox: what a message costs within one thread, and how many get through from one and from
// two producers on other threads. With fewer cores than threads the latter measures the scheduler
// too.
#include "bench/micro/benchmark.h"

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "io/mailbox.h"

namespace ringbolt {
namespace {

/// Belongs to its producer again once it has run.
struct CountingMessage final : io::Message {
  void run() override { away.store(false, std::memory_order_release); }
  void discard() override {}
  std::atomic<bool> away{false};
};

int64_t run_all(io::Mailbox& mailbox) {
  int64_t count = 0;
  for (io::Message* message = mailbox.take_all(); message != nullptr; ++count) {
    io::Message* next = message->next_in_mailbox;
    message->run();  // from here on it may be pushed again
    message = next;
  }
  return count;
}

/// state.range(0) pushes, then one take.
void mailbox_push_take(benchmark::State& state) {
  std::vector<CountingMessage> messages(static_cast<size_t>(state.range(0)));
  io::Mailbox mailbox;
  bool rang = false;
  int64_t ran = 0;
  for (auto _ : state) {
    for (CountingMessage& message : messages) rang |= mailbox.push(&message);
    ran += run_all(mailbox);
  }
  benchmark::DoNotOptimize(rang);
  if (ran != state.iterations() * state.range(0)) state.SkipWithError("messages were lost");
  state.SetItemsProcessed(ran);
}
BENCHMARK(mailbox_push_take)->ArgName("batch")->Arg(1)->Arg(32);

/// Pushes without end, each message as soon as it has run.
class Producer {
 public:
  explicit Producer(io::Mailbox& mailbox) : mailbox_(mailbox), thread_([this] { produce(); }) {}
  ~Producer() { join(); }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;
  void stop() { stop_.store(true, std::memory_order_relaxed); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  void produce() {
    for (size_t i = 0; !stop_.load(std::memory_order_relaxed); i = (i + 1) % messages_.size()) {
      CountingMessage& message = messages_[i];
      while (message.away.load(std::memory_order_acquire)) {
        if (stop_.load(std::memory_order_relaxed)) return;
        std::this_thread::yield();
      }
      message.away.store(true, std::memory_order_relaxed);
      benchmark::DoNotOptimize(mailbox_.push(&message));
    }
  }

  io::Mailbox& mailbox_;
  std::array<CountingMessage, 1024> messages_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// The measured thread is the consumer; one iteration is one message.
void mailbox_producers(benchmark::State& state) {
  io::Mailbox mailbox;
  std::vector<std::unique_ptr<Producer>> producers;
  for (int64_t i = 0; i < state.range(0); ++i)
    producers.push_back(std::make_unique<Producer>(mailbox));
  int64_t ready = 0;
  for (auto _ : state) {
    while (ready == 0) {
      ready = run_all(mailbox);
      if (ready == 0) std::this_thread::yield();
    }
    --ready;
  }
  for (auto& producer : producers) producer->stop();
  for (auto& producer : producers) producer->join();
  run_all(mailbox);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(mailbox_producers)->ArgName("producers")->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
}  // namespace ringbolt

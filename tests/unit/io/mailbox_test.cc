// Mailbox: nothing is lost or reordered per producer, and a sleeper is woken exactly once.
#include "io/mailbox.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

using namespace ringbolt::io;

namespace {
struct Numbered : Message {
  void run() override {}
  int producer = 0;
  int number = 0;
};
}  // namespace

TEST_CASE("mailbox: messages come out oldest first", "[mailbox]") {
  Mailbox mailbox;
  Numbered messages[5];
  CHECK(mailbox.empty());
  CHECK(mailbox.take_all() == nullptr);
  uint64_t pushed = 0;
  for (Numbered& message : messages) {
    CHECK(mailbox.count() == pushed++);
    CHECK_FALSE(mailbox.push(&message));
  }
  CHECK(mailbox.count() == 5);
  Message* at = mailbox.take_all();
  for (Numbered& message : messages) {
    REQUIRE(at == &message);
    at = at->next_in_mailbox;
  }
  CHECK(at == nullptr);
  CHECK(mailbox.empty());
}

TEST_CASE("mailbox: only the first push to a sleeper rings", "[mailbox]") {
  Mailbox mailbox;
  Numbered messages[4];
  REQUIRE(mailbox.prepare_sleep());
  CHECK(mailbox.push(&messages[0]));
  CHECK_FALSE(mailbox.push(&messages[1]));
  mailbox.woke();
  CHECK_FALSE(mailbox.push(&messages[2]));
  CHECK_FALSE(mailbox.prepare_sleep());  // something is there
  CHECK_FALSE(mailbox.push(&messages[3]));
  mailbox.take_all();
  CHECK(mailbox.prepare_sleep());
  mailbox.woke();
}

TEST_CASE("mailbox: many producers, one sleeping consumer, nothing lost, one ring per sleep",
          "[mailbox]") {
  constexpr int kProducers = 4;
  constexpr int kEach = 20000;
  Mailbox mailbox;
  std::vector<std::vector<Numbered>> messages(kProducers);
  for (auto& list : messages) list = std::vector<Numbered>(kEach);
  // The doorbell: a counting one, so that a ring too many or too few shows. A producer may ring for
  // a sleep that the consumer announced and then gave up, so each announcement allows one ring.
  std::mutex mutex;
  std::condition_variable bell;
  int rings = 0;
  int rings_total = 0;
  int announced = 0;
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < kEach; ++i) {
        Numbered& message = messages[static_cast<size_t>(p)][static_cast<size_t>(i)];
        message.producer = p;
        message.number = i;
        if (!mailbox.push(&message)) continue;
        const std::lock_guard lock(mutex);
        ++rings;
        ++rings_total;
        bell.notify_one();
      }
    });
  }
  std::vector<int> next(kProducers, 0);
  int total = 0;
  bool ordered = true;
  while (total < kProducers * kEach) {
    for (Message* at = mailbox.take_all(); at != nullptr; at = at->next_in_mailbox) {
      const auto& message = static_cast<Numbered&>(*at);
      int& expected = next[static_cast<size_t>(message.producer)];
      ordered = ordered && message.number == expected;
      ++expected;
      ++total;
    }
    if (total == kProducers * kEach) break;
    ++announced;
    if (!mailbox.prepare_sleep()) continue;
    // Blocks for ever if a wake-up is lost.
    std::unique_lock lock(mutex);
    bell.wait(lock, [&] { return rings > 0; });
    rings = 0;
    mailbox.woke();
  }
  for (std::thread& producer : producers) producer.join();
  CHECK(ordered);
  CHECK(total == kProducers * kEach);
  CHECK(rings_total <= announced);
}

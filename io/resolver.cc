#include "io/resolver.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace ringbolt::io {

struct Resolver::State {
  Resolve resolve;
  Post post;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::unique_ptr<Question>> waiting;
  size_t threads = 0;
  size_t idle = 0;
  bool closed = false;
};

Resolver::Resolver(Resolve resolve, Post post) : state_(std::make_shared<State>()) {
  state_->resolve = std::move(resolve);
  state_->post = std::move(post);
}

Resolver::~Resolver() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->waiting.clear();
  state_->changed.notify_all();
}

void Resolver::ask(std::unique_ptr<Question> question) {
  const std::lock_guard lock(state_->mutex);
  state_->waiting.push_back(std::move(question));
  state_->changed.notify_one();
  if (state_->waiting.size() <= state_->idle || state_->threads == kThreadsMax) return;
  try {
    std::thread([state = state_] { work(state); }).detach();
    ++state_->threads;
  } catch (const std::system_error& failure) {
    if (state_->threads > 0) return;  // one of those will come to it
    std::unique_ptr<Question> unanswered = std::move(state_->waiting.back());
    state_->waiting.pop_back();
    unanswered->addresses = make_error(Errc::kNoSpace, std::string("no thread to look up a name: ") + failure.what());
    state_->post(unanswered.release());
  }
}

void Resolver::work(const std::shared_ptr<State>& state) {
  pthread_setname_np(pthread_self(), "resolver");
  std::unique_lock lock(state->mutex);
  for (;;) {
    ++state->idle;
    state->changed.wait(lock, [&] { return state->closed || !state->waiting.empty(); });
    --state->idle;
    if (state->closed) return;
    std::unique_ptr<Question> question = std::move(state->waiting.front());
    state->waiting.pop_front();
    lock.unlock();
    question->addresses = state->resolve(question->address);
    lock.lock();
    // Under the lock: whom it is posted to is not gone before the destructor has had the lock.
    if (state->closed) return;
    state->post(question.release());
  }
}

}  // namespace ringbolt::io

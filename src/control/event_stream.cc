#include "control/event_stream.h"

#include <fmt/format.h>

#include <utility>

namespace ringbolt {

std::string event_text(uint64_t id, std::string_view name, std::string_view data) {
  std::string text = fmt::format("id: {}\nevent: {}\n", id, name);
  while (true) {
    const size_t end = data.find('\n');
    text += fmt::format("data: {}\n", data.substr(0, end));
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  return text + "\n";
}

void EventStream::push(Text text) {
  if (closed_ || overrun_ || ended_) return;
  bytes_ += text->size();
  overrun_ = bytes_ > bytes_max_;
  if (overrun_) {
    queue_.clear();
    newest_.clear();
  } else {
    queue_.push_back({{}, std::move(text)});
  }
  wake();
}

void EventStream::push_newest(const std::string& key, Text text) {
  if (closed_ || overrun_ || ended_) return;
  // Behind what has come since, so that ids grow.
  const auto found = newest_.find(key);
  if (found != newest_.end()) queue_.erase(found->second);
  queue_.push_back({key, std::move(text)});
  newest_[key] = std::prev(queue_.end());
  wake();
}

void EventStream::end() {
  if (std::exchange(ended_, true)) return;
  wake();
}

std::string EventStream::take(size_t bytes) {
  std::string taken;
  while (!queue_.empty() && (taken.empty() || taken.size() + queue_.front().text->size() <= bytes)) {
    const Entry& first = queue_.front();
    taken += *first.text;
    if (first.key.empty()) {
      bytes_ -= first.text->size();
    } else {
      newest_.erase(first.key);
    }
    queue_.pop_front();
  }
  return taken;
}

void EventStream::close() {
  closed_ = true;
  queue_.clear();
  newest_.clear();
  ready_ = nullptr;
}

void EventStream::wake() {
  if (!ready_) return;
  // It may close this stream, and itself.
  const std::function<void()> ready = ready_;
  ready();
}

}  // namespace ringbolt

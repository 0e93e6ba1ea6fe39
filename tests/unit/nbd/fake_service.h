// A volume in memory for tests of client protocols: a BlockService that checks the contract of
// volume/request.h on every request and answers at once, later in random order, or on demand.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/sim_world.h"
#include "ringbolt/assert.h"
#include "volume/request.h"

namespace ringbolt::test {

class FakeService final : public BlockService {
 public:
  enum class Answer : uint8_t { kInside, kLater, kHeld };
  enum class Payload : uint8_t { kConsumeAtOnce, kNeedUntilDone, kKeepBuffer };

  FakeService(io::SimWorld& world, io::BufferPool& pool, uint64_t size_bytes)
      : bytes(size_bytes), world_(world), pool_(pool), alive_(std::make_shared<bool>(true)) {}
  ~FakeService() override { *alive_ = false; }
  FakeService(const FakeService&) = delete;
  FakeService& operator=(const FakeService&) = delete;

  Answer answer = Answer::kLater;
  Payload payload = Payload::kConsumeAtOnce;
  io::SimRange delay{0, io::kMillisecond};
  /// The error of a request, if set; a failed write changes nothing.
  std::function<RequestError(const Request&)> fault;
  std::string refuse;

  struct Seen {
    RequestKind kind;
    bool fua;
    uint64_t offset, length;
    bool has_buffer;
  };
  std::vector<Seen> seen;
  std::vector<std::byte> bytes;
  std::vector<Request*> held;
  size_t open = 0, open_max = 0, clients = 0;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] uint64_t size_bytes() const override { return bytes.size(); }
  [[nodiscard]] std::string refusal() const override { return refuse; }
  void attach(ClientObserver& client) override {
    observers_.push_back(&client);
    ++clients;
  }
  void detach(ClientObserver& client) override {
    RINGBOLT_ASSERT(std::erase(observers_, &client) == 1);
    --clients;
  }
  void tell_gone(const std::string& reason) {
    for (ClientObserver* client : observers_) client->on_volume_gone(reason);
  }

  [[nodiscard]] io::MemoryShare& payload_memory() override { return payload_memory_; }
  [[nodiscard]] io::MemoryShare& reply_memory() override { return reply_memory_; }
  [[nodiscard]] DurationHistogram& reply_times() override { return reply_times_; }

  void submit(Request& request) override {
    check(request);
    seen.push_back({request.kind, request.fua, request.offset, request.length,
                    static_cast<bool>(request.buffer)});
    open_max = std::max(open_max, ++open);
    if (request.kind == RequestKind::kWrite) take_payload(request);
    switch (answer) {
      case Answer::kInside:
        return finish(request);
      case Answer::kHeld:
        held.push_back(&request);
        return;
      case Answer::kLater:
        world_.after(world_.random().between(delay), [this, &request, alive = alive_] {
          if (*alive) finish(request);
        });
    }
  }

  void release_held(bool newest_first = false) {
    std::vector<Request*> requests = std::exchange(held, {});
    if (newest_first) std::reverse(requests.begin(), requests.end());
    for (Request* request : requests) finish(*request);
  }

 private:
  void check(const Request& request) const {
    const uint64_t end = request.offset + request.length;
    RINGBOLT_ASSERT(request.done != nullptr);
    if (request.kind == RequestKind::kFlush) {
      RINGBOLT_ASSERT(request.offset == 0 && request.length == 0);
      return;
    }
    RINGBOLT_ASSERT(request.length >= 1 && end <= bytes.size());
    if (request.kind == RequestKind::kZero || request.kind == RequestKind::kTrim) return;
    const uint64_t blocks = (end + kBlockBytes - 1) / kBlockBytes - request.offset / kBlockBytes;
    RINGBOLT_ASSERT(blocks <= kFramePayloadBytesMax / kBlockBytes);
    if (request.kind == RequestKind::kRead) {
      RINGBOLT_ASSERT(request.buffer && request.buffer.bytes >= blocks * kBlockBytes);
    }
    if (request.kind == RequestKind::kWrite) {
      RINGBOLT_ASSERT(request.payload != nullptr && !request.payload_consumed);
      if (request.buffer) {
        const std::byte* in_frame =
            request.buffer.data + kBlockBytes + request.offset % kBlockBytes;
        RINGBOLT_ASSERT(request.payload == in_frame);
        RINGBOLT_ASSERT(request.buffer.bytes >= (1 + blocks) * kBlockBytes);
        RINGBOLT_ASSERT(request.share == &payload_memory_);
      }
    }
  }

  void take_payload(Request& request) {
    if (payload == Payload::kConsumeAtOnce) {
      auto copy = std::make_unique<Copy>();
      copy->data.assign(request.payload, request.payload + request.length);
      remember(request, std::move(copy));
      request.payload_consumed = true;
    } else if (payload == Payload::kKeepBuffer && request.buffer) {
      auto copy = std::make_unique<Copy>();
      copy->kept = std::exchange(request.buffer, io::Buffer{});
      request.share->forgo(copy->kept.bytes);
      copy->kept_payload = request.payload;
      remember(request, std::move(copy));
      request.payload_consumed = true;
    }
  }

  void finish(Request& request) {
    RequestError error = fault ? fault(request) : RequestError::kNone;
    if (error == RequestError::kNone) apply(request);
    if (Copy* copy = find(request)) {
      if (copy->kept) pool_.release(copy->kept);
      forget(request);
    }
    --open;
    request.done(request, error);
  }

  void apply(Request& request) {
    std::byte* at = bytes.data() + request.offset;
    switch (request.kind) {
      case RequestKind::kRead: {
        const uint64_t first = request.offset / kBlockBytes * kBlockBytes;
        const uint64_t end =
            std::min<uint64_t>(bytes.size(), (request.offset + request.length + kBlockBytes - 1) /
                                                 kBlockBytes * kBlockBytes);
        std::memcpy(request.buffer.data, bytes.data() + first, end - first);
        return;
      }
      case RequestKind::kWrite: {
        const std::byte* from = request.payload;
        if (const Copy* copy = find(request)) {
          from = copy->kept ? copy->kept_payload : copy->data.data();
        }
        std::memcpy(at, from, request.length);
        return;
      }
      case RequestKind::kZero:
      case RequestKind::kTrim:
        std::memset(at, 0, request.length);
        return;
      case RequestKind::kFlush:
      case RequestKind::kCache:
        return;
    }
  }

  struct Copy {
    const Request* request = nullptr;
    std::vector<std::byte> data;
    io::Buffer kept;
    const std::byte* kept_payload = nullptr;
  };
  void remember(const Request& request, std::unique_ptr<Copy> copy) {
    copy->request = &request;
    copies_.push_back(std::move(copy));
  }
  Copy* find(const Request& request) {
    for (const auto& copy : copies_) {
      if (copy->request == &request) return copy.get();
    }
    return nullptr;
  }
  void forget(const Request& request) {
    std::erase_if(copies_, [&](const auto& copy) { return copy->request == &request; });
  }

  io::SimWorld& world_;
  io::BufferPool& pool_;
  io::MemoryShare payload_memory_{pool_}, reply_memory_{pool_};
  DurationHistogram reply_times_;
  std::shared_ptr<bool> alive_;
  std::string name_ = "vol0";
  std::vector<ClientObserver*> observers_;
  std::vector<std::unique_ptr<Copy>> copies_;
};

}  // namespace ringbolt::test

// Reads frames back from the WAL for a replica that is behind, as they lie: many in one read, and the next ones while
// those are being sent. What it hands out is checked.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "volume/store.h"

namespace ringbolt::repl {

class WalReaderListener {
 public:
  virtual ~WalReaderListener() = default;
  /// find() may succeed now.
  virtual void on_wal_read() = 0;
  /// The WAL could not be read, or what was read is not what was written.
  virtual void on_wal_unreadable(const std::string& why) = 0;
};

class WalReader {
 public:
  /// A frame in a read buffer: header block and payload.
  struct ReadFrame {
    FramePlace place;
    const std::byte* bytes = nullptr;
  };

  WalReader(io::Io& io, io::BufferPool& pool, Store& store, WalReaderListener& listener);
  ~WalReader();
  WalReader(const WalReader&) = delete;
  WalReader& operator=(const WalReader&) = delete;

  /// The frame that holds `lsn`, which is not in memory; null if it is not read yet: then the listener is told when it
  /// is. It stays until sent() with a later position.
  const ReadFrame* find(Lsn lsn);
  /// Nothing before `next` is needed any more.
  void sent(Lsn next);
  /// Nothing at all is.
  void drop();
  /// A read is in flight: it ends before this may be destroyed.
  [[nodiscard]] bool pending() const;

 private:
  /// One buffer with consecutive frames.
  struct Span {
    explicit Span(WalReader& reader) : owner(&reader) {}
    void on_read(int32_t result) { owner->on_span_read(*this, result); }
    WalReader* owner;
    io::Buffer buffer;
    std::vector<ReadFrame> frames;  // in order
    uint64_t position = 0;
    uint32_t blocks = 0;
    bool ready = false;
    bool dropped = false;  // while it was being read
    io::Op<&Span::on_read> read{*this};
    [[nodiscard]] bool free() const { return frames.empty() && !read.pending(); }
  };
  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(WalReader& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).reader->listener_.on_wal_read(); }), reader(&owner) {}
    WalReader* reader;
  };

  static constexpr size_t kFramesPerSpanMax = 64;

  void read_ahead(Lsn from);
  bool start(Span& span, Lsn from);
  void on_span_read(Span& span, int32_t result);
  [[nodiscard]] const char* check(const ReadFrame& frame) const;
  void release(Span& span);

  io::Io& io_;
  io::BufferPool& pool_;
  Store& store_;
  WalReaderListener& listener_;
  std::array<Span, 2> spans_{Span{*this}, Span{*this}};
  MemoryWaiter memory_{*this};
};

}  // namespace ringbolt::repl

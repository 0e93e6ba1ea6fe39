// Reads a file or device from its beginning until it finds something other than zeros: whether it is
// unused, as what a new volume is made of must be. Start-up only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "io/io.h"

namespace ringbolt {

class ZeroScan {
 public:
  struct Outcome {
    int error = 0;                    ///< errno of a read that failed, at `at`
    std::optional<uint64_t> data_at;  ///< byte of the first block that holds something
    uint64_t at = 0;
  };
  using Done = std::function<void(const Outcome&)>;

  /// `bytes`: of what is looked at. A part of a block at the end counts as data: nothing that was made
  /// for a volume has one.
  ZeroScan(io::Io& io, io::File file, uint64_t bytes, Done done);
  ~ZeroScan();
  ZeroScan(const ZeroScan&) = delete;
  ZeroScan& operator=(const ZeroScan&) = delete;

  /// Begins; `done` is called once, never from inside. It may destroy this.
  void run();

 private:
  static constexpr uint32_t kReads = 4;
  struct Read {
    void on_read(int32_t result) { owner->read_done(*this, result); }
    ZeroScan* owner = nullptr;
    std::byte* data = nullptr;
    uint64_t offset = 0;
    uint32_t bytes = 0;
    io::Op<&Read::on_read> read{*this};
  };
  void read_more();
  void read_done(Read& read, int32_t result);
  void finish();

  io::Io& io_;
  io::File file_;
  uint64_t bytes_;
  Done done_;
  Outcome outcome_;
  uint64_t next_ = 0;
  uint32_t pending_ = 0;
  std::byte* memory_ = nullptr;
  std::array<Read, kReads> reads_;
  io::DeferredOf<&ZeroScan::finish> finish_{*this};
};

}  // namespace ringbolt

// A copy that is being rebuilt, on a simulated host. `model` is the volume as it should become:
// what a session would do here (apply records and mark them, write what the base lane brings) the
// test does.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "store_bed.h"

namespace ringbolt::test {

class RebuildBed : public StoreBed {
 public:
  explicit RebuildBed(const BedOptions& options = {.volume_blocks = 64});
  ~RebuildBed() override;

  /// A history that goes on in a new term behind `base`.
  [[nodiscard]] core::TermHistory history_after(Lsn base) const;
  /// From now on `model` is another volume's content, with records up to `base`: of what this copy
  /// holds, nothing is right.
  void take_source(Lsn base);
  /// Calls begin_rebuild() at the model's head, with a fresh bitmap; `begun` is set when it ends.
  void start();
  /// take_source() and start(), to the end; then records can be appended.
  void begin(Lsn base);
  /// Once begun: records appended are of the new term.
  void set_term();

  /// Appends a record that the WAL lane brings. Its bits are set when it is written.
  Lsn put(RecordKind kind, uint64_t lba, uint32_t blocks);

  struct Base {
    BaseWrite job;
    io::Buffer buffer;
    io::BufferPool* pool = nullptr;
    std::optional<int> error;  ///< set when it ended
  };
  /// The base lane brings blocks as the model has them now (not zeros for blocks that are, but
  /// data).
  Base& begin_base(uint64_t lba, uint32_t blocks);
  /// ... or as zeros.
  Base& begin_zeros(uint64_t lba, uint32_t blocks);
  /// ... as a range without a payload where all of it is zeros.
  Base& begin_chunk(uint64_t lba, uint32_t blocks);
  void settle_base();
  [[nodiscard]] bool base_settled() const;
  /// Of the base image, on the disk.
  [[nodiscard]] bool base_block_is(uint64_t lba, uint64_t stamp) const;

  /// Calls finish_rebuild(); `finished` is set when it ends.
  void start_finish(Lsn achieved);
  Status finish(Lsn achieved);
  /// All that is missing: the whole base image, a flush, the end.
  Status complete();

  /// The process ends; what hung on it goes with it.
  void crash(uint64_t how);

  std::unique_ptr<RebuildBitmap> bitmap;
  std::optional<Status> begun, finished;

 private:
  Base& add_base(uint64_t lba, uint32_t blocks, bool data);
  void mark_written();

  struct Put {
    Lsn lsn;
    Lba lba;
    uint32_t blocks;
  };
  std::deque<Put> unmarked_;
  std::deque<Base> bases_;
  std::vector<std::unique_ptr<RebuildBitmap>> old_bitmaps_;  // jobs may still look at them
};

}  // namespace ringbolt::test

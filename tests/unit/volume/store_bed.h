// A Store on a simulated host that tests write to, cut the power of, and compare with a model.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block_model.h"
#include "io/sim_io.h"
#include "volume/checkpoint_memory.h"
#include "volume/store.h"

namespace ringbolt::test {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct BedOptions {
  uint64_t seed = 1;
  uint64_t volume_blocks = 512;
  uint64_t wal_bytes = kWalBytesMin;
  uint64_t pool_bytes = 16u << 20;
};

class StoreBed : public StoreListener {
 public:
  explicit StoreBed(const BedOptions& options = {});
  ~StoreBed() override;

  // --- life of the process -----------------------------------------------------------------------
  /// A process starts and opens the store.
  Status open();
  /// Starts opening only; `open_result` is set when it ends.
  void begin_open();
  /// After open(): a new term begins, with its record.
  void begin_term();
  /// open() and begin_term(), both of which must succeed.
  void serve();
  /// The process ends in the middle of whatever goes on.
  void kill();
  void power_loss(io::SimPowerLoss mode);
  /// Closes the store; the process exits.
  Status close();

  // --- writing
  // -------------------------------------------------------------------------------------
  /// Appends to the open frame, or as a frame of its own; empty if the store has no room.
  std::optional<Lsn> try_append(RecordKind kind, uint64_t lba, uint32_t blocks,
                                bool own_frame = false);
  /// The same; there must be room.
  Lsn append(RecordKind kind, uint64_t lba, uint32_t blocks);
  Lsn write(uint64_t lba, uint32_t blocks = 1) { return append(RecordKind::kWrite, lba, blocks); }
  /// Waits until all is written, flushed, or copied to the base image and recorded.
  void settle_written();
  void flush();
  void checkpoint_all();
  /// Makes the frames in memory go, as if others needed it: reads then go to the WAL's device.
  void drop_cache();
  /// Discards the records after `fork`, in the store and in the model.
  Status cut(Lsn fork);

  // --- reading
  // -------------------------------------------------------------------------------------
  struct Read {
    ReadJob job;
    io::Buffer buffer;
    std::vector<uint64_t> expected;  ///< stamps of the model when the read began
    bool done = false;
    int error = 0;
  };
  /// Begins a read; valid until the bed or the process ends.
  Read& begin_read(uint64_t lba, uint32_t blocks);
  /// Waits, and true if it succeeded and returned what the model had when it began.
  bool read_is_right(Read& read);
  /// The error of reading one block; 0 if it can be read (whatever it is).
  int read_error(uint64_t lba);
  /// Reads the whole volume and compares with the model. Empty, or what differs.
  std::string difference();
  /// Likewise the base image on the disk with the model's content at `lsn`.
  std::string base_difference(Lsn lsn);

  bool run(const std::function<bool()>& done) { return world.run_until(done, 1000 * io::kSecond); }
  [[nodiscard]] std::string path(const char* leaf) const { return config.directory + "/" + leaf; }
  /// Byte in the WAL file of the header of the frame that holds `lsn`.
  [[nodiscard]] uint64_t frame_offset(Lsn lsn) const;

  io::SimWorld world;
  io::SimNode& node;
  StoreConfig config;
  BlockModel model;
  std::unique_ptr<io::SimIo> io;
  std::unique_ptr<io::BufferPool> pool;
  std::unique_ptr<CheckpointMemory> memory;
  std::unique_ptr<Store> store;
  std::optional<Status> open_result;

  /// All that becomes durable is stable at once: no replicas.
  bool stable_follows = true;
  uint64_t durable_calls = 0;
  uint64_t space_calls = 0;
  std::vector<std::string> failures;
  std::function<void()> on_written;

 private:
  void on_store_sealed() override {}
  void on_store_written() override {
    if (on_written) on_written();
  }
  void on_store_durable() override;
  void on_store_space() override { ++space_calls; }
  void on_store_failed(const std::string& reason) override { failures.push_back(reason); }
  void end_process();
  std::optional<Lsn> append_own(uint64_t lba, uint32_t blocks);

  uint64_t pool_bytes_;
  bool had_info_ = false;
  std::vector<std::unique_ptr<Read>> reads_;
};

}  // namespace ringbolt::test

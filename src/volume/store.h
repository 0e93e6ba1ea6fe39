// One copy of a volume on this node: superblock, WAL, dirty index, base image, put together. Knows
// nothing of roles, clients or peers: the primary appends through it, a replica applies through it.
// One thread: the volume's shard.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "ringbolt/result.h"
#include "volume/base_writer.h"
#include "volume/block_reader.h"
#include "volume/checkpointer.h"
#include "volume/dirty_index.h"
#include "volume/reader_gate.h"
#include "volume/superblock_writer.h"
#include "volume/wal.h"
#include "volume/wal_recovery.h"
#include "volume/zero_scan.h"

namespace ringbolt {

struct StoreConfig {
  std::string name;
  std::string node_id;
  std::string directory;  ///< of this volume; holds the superblock, and WAL and base by default
  std::string base_path;  ///< empty: under `directory`
  std::string wal_path;   ///< likewise
  uint64_t volume_bytes = 0;
  uint64_t wal_bytes = 0;
  uint32_t wal_retain_percent = 50;  ///< share of the WAL that is kept for replicas that lag, 0 .. 90
  /// If the store does not exist yet and a base image that holds data is to be used (store_make.cc),
  /// what that means. True: it is the volume's content (a primary takes it over). False: it is garbage,
  /// and the copy is unusable until it has been rebuilt.
  bool adopt_base = false;
  /// A copy whose log is damaged may be made anew from another one (a replica's): it opens, see
  /// Store::damage(). False: opening it fails.
  bool rebuildable = false;
  /// The volume's own memory (io/memory_share.h), for a pool that may have none just then; null: there is enough.
  std::shared_ptr<io::BufferReserve> reserve;
};

class StoreListener {
 public:
  virtual ~StoreListener() = default;
  virtual void on_store_sealed() = 0;    ///< a frame can be shipped
  virtual void on_store_written() = 0;   ///< wal().written() moved
  virtual void on_store_durable() = 0;   ///< wal().durable() moved
  virtual void on_store_space() = 0;     ///< an append that was refused may succeed now
  virtual void on_store_failed(const std::string& reason) = 0;  ///< see failed(); again when also the superblock fails
};

class Store final : private WalListener, private CheckpointListener, private WalRecovery::Listener {
 public:
  using Done = std::function<void(Status)>;

  Store(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, StoreConfig config, StoreListener& listener);
  ~Store() override;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Opens what is there, or makes it, and recovers: afterwards the WAL's end is known and flushed.
  /// Errors: kInvalid (other sizes, names or files than the configuration says, or making it might
  /// destroy something), kUnsupported, kCorrupt, kBusy (another process, or the late writes of a killed
  /// one, hold the files), kNoSpace, kIo, kNotPermitted. For a log that is kCorrupt or cannot be read,
  /// see damage().
  void open(Done done);
  /// Everything appended is flushed, everything stable is copied to the base image, the superblock
  /// says "clean", files are closed. Requires: no reads in flight, no further calls. Base writes under way
  /// end first. A failed store just closes.
  void close(Done done);

  [[nodiscard]] const StoreConfig& config() const { return config_; }
  /// Changes StoreConfig::wal_retain_percent, at any time.
  void set_wal_retain(uint32_t percent);
  [[nodiscard]] bool is_open() const { return open_; }
  /// The device failed: nothing is appended any more. The superblock may still become durable, if superblock() has not failed.
  [[nodiscard]] bool failed() const { return !failure_.empty(); }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// The base image can be trusted, with the log on top of it: no damage, no rebuild mark, none that is just
  /// being taken away, or about to be made, either.
  [[nodiscard]] bool base_usable() const {
    return !superblock_.current().rebuild_mark && !finishing_ && damage_.empty() && stopping_ != Stopping::kForRebuild;
  }
  /// Not empty: what recovery found wrong with the log of a copy that may be rebuilt, or is to be. The log
  /// then looks empty, nothing can be appended, and only begin_rebuild() leaves that state. On disk all is as it
  /// was found: nothing is lost by a mere start, and an operator can look at it.
  [[nodiscard]] const std::string& damage() const { return damage_; }
  [[nodiscard]] bool base_full() const { return base_full_; }

  // --- appending (see Wal) -----------------------------------------------------------------------
  void set_term(Term term) { wal_->set_term(term); }
  /// kNoSpace: the WAL or the dirty index is full until a checkpoint ends, or so full that records are taken only
  /// as fast as others are copied.
  Wal::Admission prepare(RecordKind kind, uint32_t blocks);
  std::byte* payload_space() { return wal_->payload_space(); }
  Lsn append(RecordKind kind, Lba lba, uint32_t blocks);
  Wal::Admission append_buffer(io::Buffer buffer, Lba lba, uint32_t blocks, Lsn* lsn);
  Wal::Admission append_frame(io::Buffer buffer);
  void seal() { wal_->seal(); }
  void request_flush(Lsn target) { wal_->request_flush(target); }

  // --- reading -------------------------------------------------------------------------------------
  void read(ReadJob& job) { reader_->read(job); }

  // --- what others decided --------------------------------------------------------------------------
  /// All up to it is flushed on every copy that counts: it may go into the base image.
  void set_stable(Lsn stable);
  /// Discards the records after `fork` by recovering again up to it. Nothing may be appended or read
  /// meanwhile. Errors as for open(), the store has failed then; or kInvalid, with nothing changed:
  /// the base image may hold records after `fork`.
  void cut(Lsn fork, Done done);
  /// Tells a blank replica whose volume it is. Requires: nothing logged yet.
  void adopt_volume(const Uuid& volume);

  // --- its size: store_grow.cc ---------------------------------------------------------------------
  /// The base image gets room for `bytes`, and reads as zeros from the volume's end up to there. The volume stays what it is; a
  /// crash leaves at most a file that is longer than needed. Requires: !growing(). Errors: kNoSpace, kIo (no room, or a device
  /// that cannot do it: nothing else has changed; or the store has failed).
  void make_room(uint64_t bytes, Done done);
  /// The volume has `bytes` from now on, whatever happens; make_room() first if it was not called. The same errors. `done` is
  /// called when that is durable. Requires: !growing(), and bytes >= config().volume_bytes, whole blocks.
  void grow(uint64_t bytes, Done done);
  [[nodiscard]] bool growing() const { return growth_.has_value(); }
  /// What it was made with: it is never smaller.
  [[nodiscard]] uint64_t least_bytes() const { return facts().made_bytes != 0 ? facts().made_bytes : facts().volume_bytes; }
  /// Takes a growth back of which nobody was told: nothing that counts was ever written beyond `bytes`. Requires: !growing(),
  /// least_bytes() <= bytes <= config().volume_bytes. Durable with the next version of the superblock.
  void take_growth_back(uint64_t bytes);

  // --- a rebuild: store_rebuild.cc -----------------------------------------------------------------
  /// This copy is to be made anew from `base` on: its log begins again, empty, behind it, in `history`, and
  /// its base image is garbage until finish_rebuild(). Any copy will do, whatever it holds, also one that
  /// has the rebuild mark already. What it had is given up when the mark is durable, all at once: a crash
  /// leaves the copy as it was, or with the mark. Nothing may be appended or read meanwhile; base writes of an
  /// earlier rebuild end first. A WAL that could not be read is written from end to end first. Errors: kInvalid, with nothing changed (the history is none that can be
  /// kept); kIo, the store has failed then. Whoever gives up a rebuild just leaves it: the mark stays.
  void begin_rebuild(Lsn base, const core::TermHistory& history, Done done);
  /// Writes blocks of the base lane where no newer record has been applied (base_writer.h). Requires: between
  /// begin_rebuild() and finish_rebuild(). Ends with EIO if the store has failed.
  void write_base(BaseWrite& job);
  /// The base image and the log up to `achieved` are all there: flushes the base image, then takes the mark
  /// away. Records may be appended meanwhile. Requires: no base write under way, and wal().durable() >=
  /// achieved, which is at least the newest record of which the base lane may have brought anything. An
  /// error is the store's failure.
  void finish_rebuild(Lsn achieved, Done done);

  [[nodiscard]] Wal& wal() { return *wal_; }
  [[nodiscard]] const Wal& wal() const { return *wal_; }
  [[nodiscard]] const DirtyIndex& index() const { return *index_; }
  [[nodiscard]] Lsn checkpoint() const { return checkpointer_->checkpoint(); }
  [[nodiscard]] const Checkpointer& checkpointer() const { return *checkpointer_; }
  [[nodiscard]] const BlockReader& reader() const { return *reader_; }
  /// Records after this one are in the index, all of their blocks. Not beyond base_limit().
  [[nodiscard]] Lsn index_limit() const { return checkpointer_->index_limit(); }
  /// The base image may hold records up to this one, so the log cannot be cut below it. Beyond
  /// checkpoint() while a checkpoint runs, or after a crash during one.
  [[nodiscard]] Lsn base_limit() const { return superblock_.current().base_limit; }
  /// What payloads that are not logged yet are charged to, clients' or a primary's.
  [[nodiscard]] io::MemoryShare& payload_memory() { return payload_memory_; }
  [[nodiscard]] const io::MemoryShare& payload_memory() const { return payload_memory_; }
  [[nodiscard]] SuperblockWriter& superblock() { return superblock_; }
  [[nodiscard]] const Superblock& facts() const { return superblock_.current(); }

 private:
  // store_open.cc
  void open_superblock();
  void wait_or_fail(const Error& error, void (Store::*retry)());
  void on_open_retry();
  void read_slots();
  void on_slot_read(uint32_t slot, int32_t result);
  void on_slot0_read(int32_t result) { on_slot_read(0, result); }
  void on_slot1_read(int32_t result) { on_slot_read(1, result); }
  void open_existing(const Superblock& found);
  void open_existing_files();
  Status open_data_files(bool create);
  Status build_parts();
  [[nodiscard]] uint32_t index_entries(uint64_t volume_bytes) const;
  void recover(std::optional<Lsn> limit);
  void on_recovered(Status status) override;
  bool on_record(Lsn lsn, const WalRecord& record, uint32_t wal_block, const FrameHeader& header, uint32_t first_crc) override;
  void on_wal_clean(int32_t result);
  void on_opened();
  void on_opened_damaged();
  void open_failed(Error error);
  void close_files();
  [[nodiscard]] std::string path_of(const char* leaf, const std::string& configured) const;

  // store_rebuild.cc
  void continue_rebuild();
  void on_rebuild_begun();
  void renew_wal();
  void on_wal_renewed(int32_t result);
  void on_renewal_flushed(int32_t result);
  void begin_rebuilt_log();
  void on_rebuild_flushed(int32_t result);
  void on_rebuild_finished();
  void end_finish();

  // store_grow.cc
  void begin_growth(uint64_t bytes, bool room_only, Done done);
  void zero_room();
  void on_last_block_written(int32_t result);
  void on_room_zeroed(int32_t result);
  void on_room_flushed(int32_t result);
  void on_room_made();
  void on_grown();
  void end_growth(Status status);
  void stop_growth();
  void set_size(uint64_t bytes);

  // store_make.cc
  void survey();
  Result<io::FileInfo> open_surveyed(const std::string& path);
  void survey_wal();
  void survey_base();
  void scan(io::File file, uint64_t bytes, const std::string& path, std::function<void(uint64_t data_at)> refuse, void (Store::*next)());
  void close_surveyed();
  void refuse_to_make(const char* what, const std::string& path, uint64_t data_at, const std::string& remedy);
  [[nodiscard]] std::string marker_path() const;
  Result<bool> is_marked();
  void use_up_marker();
  void make_superblock();
  void on_made();
  void make_files();
  void write_wal_zeros();
  void on_zeros_written(int32_t result);
  void on_zeros_flushed(int32_t result);
  void on_base_flushed(int32_t result);

  // store.cc
  void on_wal_sealed() override;
  void on_wal_written() override;
  void on_wal_durable() override;
  void on_wal_failed(int error, const char* operation) override;
  void on_wal_quieter() override { continue_stopping(); }
  void on_checkpoint_round_ended() override;
  void on_checkpoint_progress() override { listener_.on_store_space(); }
  void on_checkpoint_failed(int error, const char* what) override;
  void on_base_full(bool full) override;
  void fail(std::string reason);
  void continue_stopping();
  void continue_cut();
  void end_pause(Status status);
  void continue_close();
  void on_marked_clean();
  void on_tick();
  [[nodiscard]] bool takes_records() const { return !failed() && damage_.empty(); }
  [[nodiscard]] uint32_t index_blocks(const FrameHeader& header) const;
  bool take_index_room(uint32_t blocks);

  io::Io& io_;
  io::BufferPool& pool_;
  io::MemoryShare payload_memory_{pool_};
  CheckpointMemory& memory_;
  StoreConfig config_;
  StoreListener& listener_;
  SuperblockWriter superblock_;
  io::File superblock_file_, wal_file_, base_file_;
  std::unique_ptr<DirtyIndex> index_;
  ReaderGate gate_;
  std::unique_ptr<Wal> wal_;
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<BlockReader> reader_;
  std::unique_ptr<BaseWriter> base_writer_;
  std::unique_ptr<WalRecovery> recovery_;
  bool open_ = false;
  bool base_full_ = false;
  std::string failure_;
  std::string damage_;
  bool wal_unreadable_ = false;  // the damage is that the device cannot read the WAL somewhere
  Done done_;  // of open, cut, begin_rebuild or close
  enum class Stopping : uint8_t {
    kNo,
    kForCut,
    kCutting,
    kRecordingCut,
    kForRebuild,
    kRecordingRebuild,
    kForClose,
    kMarking,
    kClosed
  } stopping_ = Stopping::kNo;
  Lsn cut_to_;
  std::optional<Lsn> recovery_limit_;
  Lsn rebuild_base_;
  core::TermHistory rebuild_history_;
  struct Growth {
    uint64_t bytes;
    uint64_t zeroed;  // up to here the new part is zeros
    bool room_only;
    Done done;
  };
  std::optional<Growth> growth_;
  uint64_t room_bytes_ = 0;  // what make_room() has made for the volume as large as it is now
  bool rebuilding_ = false;  // base writes are allowed
  bool finishing_ = false;   // until the mark is durably gone
  Lsn rebuild_achieved_;
  Done finish_done_;
  io::Nanos busy_since_ = 0;
  bool busy_ = false;
  void (Store::*retry_)() = nullptr;
  bool slot_readable_[2] = {};
  uint32_t write_first_ = 0;
  Superblock making_;
  std::unique_ptr<ZeroScan> scan_;
  std::byte* scratch_ = nullptr;  // slots, zeros; while opening, or while the WAL is written anew
  uint64_t zeroed_bytes_ = 0;
  uint64_t flush_requested_position_ = 0;
  Lsn head_at_tick_;
  io::Op<&Store::on_slot0_read> slot0_read_{*this};
  io::Op<&Store::on_slot1_read> slot1_read_{*this};
  io::Op<&Store::on_zeros_written> zeros_written_{*this};
  io::Op<&Store::on_zeros_flushed> zeros_flushed_{*this};
  io::Op<&Store::on_base_flushed> base_flushed_{*this};
  io::Op<&Store::on_wal_clean> wal_cleaned_{*this};
  io::Op<&Store::on_rebuild_flushed> rebuild_flush_{*this};
  io::Op<&Store::on_wal_renewed> renewal_write_{*this};
  io::Op<&Store::on_renewal_flushed> renewal_flush_{*this};
  io::Op<&Store::on_last_block_written> last_block_write_{*this};
  io::Op<&Store::on_room_zeroed> room_zero_{*this};
  io::Op<&Store::on_room_flushed> room_flush_{*this};
  SuperblockWaiterOf<&Store::on_grown> grown_{*this};
  SuperblockWaiterOf<&Store::on_rebuild_begun> rebuild_begun_{*this};
  SuperblockWaiterOf<&Store::on_rebuild_finished> rebuild_finished_{*this};
  SuperblockWaiterOf<&Store::on_made> made_{*this};
  SuperblockWaiterOf<&Store::on_opened> opened_{*this};
  SuperblockWaiterOf<&Store::on_marked_clean> marked_clean_{*this};
  io::DeferredOf<&Store::on_opened_damaged> opened_damaged_{*this};
  io::TimerOf<&Store::on_tick> tick_{*this};
  io::TimerOf<&Store::on_open_retry> open_retry_{*this};
};

}  // namespace ringbolt

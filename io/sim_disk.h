// The files of one simulated node. They survive crashes and power losses, each in its own way.
//
// What a file is: its *live* content (what a read returns), its *durable* content (what a power
// loss leaves at least), between them the writes that landed and were not flushed, and the writes
// still in flight. A write takes the caller's bytes at some moment between submission and
// completion and lands in pieces; a flush makes durable exactly the writes whose completion was
// delivered before it was submitted; completions come in any order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/io.h"
#include "io/sim_world.h"
#include "ringbolt/types.h"

namespace ringbolt::io {

enum class SimOpKind : uint8_t { kRead, kWrite, kFlush, kZero };

/// Which file operations a fault or a hold means. A flush touches the whole file.
struct SimOpMatch {
  std::optional<SimOpKind> kind;  ///< none: any
  std::string path;               ///< part of the path; empty: any
  uint64_t from = 0;              ///< operations that touch a byte of [from, to)
  uint64_t to = UINT64_MAX;
};

struct SimFault {
  SimOpMatch match;
  uint32_t skip = 0;     ///< matching operations that still succeed first
  int error = 5;         ///< EIO; a failed write may have changed part of its range
  bool forever = false;  ///< else once
};

/// What a power loss leaves of the writes that were not flushed.
enum class SimPowerLoss : uint8_t { kDropAll, kKeepAll, kRandom };

class SimDisk {
 public:
  SimDisk(SimWorld& world, std::string node, uint64_t node_index) : world_(world), node_(std::move(node)), node_index_(node_index) {}
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // --- for tests -------------------------------------------------------------------------------

  /// Live content; zeros beyond the end. Requires: the file exists.
  [[nodiscard]] std::vector<std::byte> read_file(const std::string& path, uint64_t offset,
                                                 uint64_t bytes) const;
  /// Changes live and durable content alike (creates the file if needed): for corruption.
  void write_file(const std::string& path, uint64_t offset, std::span<const std::byte> data);
  /// Flips a bit wherever the byte is kept: live, durable, not yet flushed.
  void flip_bit(const std::string& path, uint64_t offset, uint32_t bit);
  [[nodiscard]] bool exists(const std::string& path) const;
  [[nodiscard]] uint64_t file_bytes(const std::string& path) const;
  [[nodiscard]] std::vector<std::string> list_files() const;
  /// Requires: not open.
  void remove_file(const std::string& path);
  void add_block_device(const std::string& path, uint64_t bytes);
  /// Writes to space that was never written or was punched fail with ENOSPC beyond this.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  /// Bytes that hold data, of all files.
  [[nodiscard]] uint64_t used_bytes() const { return used_pages_ * kBlockBytes; }
  /// False: a file can be opened although writes of a killed process are in flight, as if nothing were locked.
  void set_locks(bool locks) { locks_ = locks; }
  /// Latencies are multiplied by this.
  void set_slow_factor(uint32_t factor) { slow_factor_ = factor; }

  /// Sectors of 512 bytes that touch the range cannot be read (EIO) until they are written: as on a device that
  /// lost them and remaps what is written again. Requires: the file exists.
  void make_unreadable(const std::string& path, uint64_t offset, uint64_t bytes);
  /// How many such sectors are left.
  [[nodiscard]] size_t unreadable_sectors(const std::string& path) const { return existing(path).unreadable.size(); }

  uint64_t add_fault(const SimFault& fault);
  void remove_fault(uint64_t id) { faults_.erase(id); }
  void clear_faults() { faults_.clear(); }
  /// From now on matching operations stop before the device sees them, until release().
  uint64_t hold(const SimOpMatch& match);
  /// How many operations this hold has stopped.
  [[nodiscard]] size_t held(uint64_t hold_id) const;
  /// Lets the stopped ones go and stops no more.
  void release(uint64_t hold_id);
  /// Calls `then` when `count` more operations have been submitted, from inside the submission of the last one. One at a time:
  /// the newest counts. Null: none.
  void after_operations(uint64_t count, std::function<void()> then) {
    tripwire_count_ = count;
    tripwire_ = std::move(then);
  }
  /// Operations submitted since the beginning.
  [[nodiscard]] uint64_t operations() const { return operations_; }
  /// Everything that was ever written to it survives a power loss.
  [[nodiscard]] bool is_durable(const std::string& path) const { return existing(path).unflushed.empty() && existing(path).in_flight.empty(); }
  /// A flush has failed since power was lost last: what it was to make durable never becomes so.
  [[nodiscard]] bool flush_failed() const { return flush_failed_; }
  /// Operations submitted and not completed, held ones included.
  [[nodiscard]] size_t in_flight() const;
  /// Some operation is going to fail, or has failed and its process does not know it yet: faults that are cleared still show in it.
  [[nodiscard]] bool is_failing() const;

  // --- for SimIo and SimNode -------------------------------------------------------------------

  struct Request {
    uint64_t io_id = 0;
    uint64_t op_id = 0;
    SimOpKind kind = SimOpKind::kRead;
    int32_t fd = -1;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    std::byte* target = nullptr;
    const std::byte* source = nullptr;
  };
  Result<FileInfo> open(const std::string& path, const OpenOptions& options);
  Status make_directory(const std::string& path);
  void close(int32_t fd);
  void submit(const Request& request);
  /// Just before the operation's callback runs: from here on a flush covers it.
  void delivered(uint64_t op_id);
  /// One of several SimIos of a running process ended: nothing of it may be touched any more.
  void forget_io(uint64_t io_id);
  /// kill -9: descriptors are gone, writes in flight may still land.
  void crash();
  void power_loss(SimPowerLoss mode);

 private:
  using PageBytes = std::array<std::byte, kBlockBytes>;
  using PagePointer = std::shared_ptr<PageBytes>;  // shared by pages that are equal, copied on write
  using Bytes = std::shared_ptr<std::vector<std::byte>>;
  static constexpr uint64_t kSectorBytes = 512;
  static constexpr size_t kSectors = kBlockBytes / kSectorBytes;

  /// A landed piece of a write (or a punched hole, or a new length) that is not durable yet.
  struct Landed {
    uint64_t sequence = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    bool zeros = false;
    Bytes data;              ///< of the whole operation
    uint64_t data_at = 0;    ///< of this piece in it
    uint64_t length = 0;     ///< the file is at least this long once this is durable
    uint64_t completed = 0;  ///< 0: its completion was not delivered yet
    bool abandoned = false;  ///< a flush that covered it failed: no later flush helps
  };
  struct DurablePage {
    PagePointer data;
    std::array<uint64_t, kSectors> sequence{};  ///< of the Landed each sector is from
  };
  struct Op;
  struct File {
    std::string path;
    bool is_block_device = false;
    int32_t fd = -1;
    uint64_t orphans = 0;  ///< writes in flight of a killed process; they keep the lock
    uint64_t length = 0;
    uint64_t durable_length = 0;
    uint64_t completions = 0;
    std::map<uint64_t, PagePointer> live;
    std::map<uint64_t, DurablePage> durable;
    std::deque<std::shared_ptr<Landed>> unflushed;
    std::set<uint64_t> unreadable;  ///< sectors
    std::map<uint64_t, std::shared_ptr<Op>> in_flight;
  };
  struct Op {
    Request request;
    File* file = nullptr;
    Bytes copy;  ///< of what it writes
    bool copied = false;
    int error = 0;
    uint64_t covers = 0;      ///< flush: completions up to here
    uint64_t generation = 0;  ///< events of an older one do nothing
    bool orphan = false;
    std::vector<std::pair<uint64_t, uint64_t>> unlanded;  ///< offset within the op, bytes
    std::vector<std::shared_ptr<Landed>> landed;
  };
  using OpPointer = std::shared_ptr<Op>;
  struct Hold {
    SimOpMatch match;
    std::vector<OpPointer> ops;
  };
  struct Fault {
    SimFault fault;
    uint32_t seen = 0;
  };

  File& existing(const std::string& path);
  [[nodiscard]] const File& existing(const std::string& path) const;
  [[nodiscard]] bool parent_exists(const std::string& path) const;
  [[nodiscard]] static bool matches(const SimOpMatch& match, const Request& request,
                                    const std::string& path);
  int fault_for(const Op& op);
  void start(const OpPointer& op);
  void start_write(const OpPointer& op, Nanos latency);
  void schedule(const OpPointer& op, Nanos delay, void (SimDisk::*stage)(const OpPointer&));
  void snapshot_read(const OpPointer& op);
  void take_data(const OpPointer& op);
  void land_one(const OpPointer& op);
  void land_orphan(const OpPointer& op);
  void finish(const OpPointer& op);
  void orphan_write(const OpPointer& op);
  static void complete_landed(Op& op);
  [[nodiscard]] Nanos latency(SimOpKind kind);

  PageBytes& writable(PagePointer& page);
  static PagePointer page_of(const std::byte* data);
  [[nodiscard]] uint64_t pages_needed(const File& file, uint64_t offset, uint64_t bytes) const;
  void apply_live(File& file, uint64_t offset, uint64_t bytes, const std::byte* data);
  [[nodiscard]] bool land(Op& op, uint64_t offset, uint64_t bytes);
  void copy_live(const File& file, uint64_t offset, uint64_t bytes, std::byte* to) const;
  /// Of each sector `keep_of_8` in 8 chances to become durable; 8: all.
  void make_durable(File& file, const Landed& landed, uint32_t keep_of_8);
  void persist(File& file, uint64_t covers);
  void lose_power(File& file, SimPowerLoss mode);

  void narrate(const Op& op, const char* what) const;

  SimWorld& world_;
  std::string node_;
  uint64_t node_index_;
  uint64_t operations_ = 0;
  bool flush_failed_ = false;
  uint64_t tripwire_count_ = 0;
  std::function<void()> tripwire_;
  uint64_t capacity_ = UINT64_MAX;
  uint64_t used_pages_ = 0;
  uint32_t slow_factor_ = 1;
  bool locks_ = true;
  uint64_t next_landed_ = 1;
  std::map<std::string, std::unique_ptr<File>> files_;
  std::map<std::string, bool> directories_;
  std::map<int32_t, File*> open_;
  std::map<uint64_t, OpPointer> undelivered_;  // finished, callback not run yet
  std::map<uint64_t, Fault> faults_;
  std::map<uint64_t, Hold> holds_;
};

}  // namespace ringbolt::io

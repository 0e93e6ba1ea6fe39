// A RebuildSession on a real Store on a simulated host. The test is the primary: `source` is its volume, records and
// chunks go to the session in whatever order the test wants. `model` is what the log here has brought.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../volume/rebuild_bed.h"
#include "repl/rebuild_session.h"

namespace ringbolt::test {

class SessionBed : public RebuildBed, public repl::RebuildListener {
 public:
  explicit SessionBed(const BedOptions& options = {.volume_blocks = 64});
  ~SessionBed() override;

  /// The store is open, with records 1 .. 12 of its own if not `blank`; the session is idle. The source has records up to
  /// `base`, none of which are here.
  void prepare(Lsn base, bool blank = false);
  /// What the primary asks for: everything behind the source's head through the log.
  [[nodiscard]] repl::RebuildConfig wanted(uint64_t id = 1) const;
  /// prepare(), start and on_rebuild_running().
  void run_session(Lsn base, uint64_t id = 1);
  [[nodiscard]] bool wait_running();
  [[nodiscard]] bool wait_quiet();

  /// The primary writes; the record is on its way (to be delivered in order).
  void source_record(RecordKind kind, uint64_t lba, uint32_t blocks);
  /// The next one of those comes here. False: there is none, or no room.
  bool deliver_record(bool own_frame = false);
  /// Both, and sealed.
  Lsn put(RecordKind kind, uint64_t lba, uint32_t blocks);

  struct Chunk {
    repl::SessionDataFields fields;
    std::vector<std::byte> data;
  };
  /// The next blocks as the source has them at this moment.
  Chunk read_chunk(uint32_t blocks);
  /// Chunks begin at the first block again.
  void rewind();
  /// Gives it to the session, as of its id and epoch.
  repl::OrRefused<bool> give(const Chunk& chunk);
  repl::OrRefused<bool> give(const Chunk& chunk, SessionId session, Epoch epoch);
  /// The whole base image, in chunks of `blocks`, and waits until it is written.
  void give_all(uint32_t blocks = 16);
  repl::OrRefused<void> base_complete(Lsn barrier);

  /// The end of the process, however; then the store is opened again.
  void crash_session(uint64_t how);
  void reopen(uint64_t how);
  [[nodiscard]] bool marked_on_disk() const;

  void on_rebuild_running() override { ++running; }
  void on_base_applied(uint64_t chunk) override { applied_chunk = chunk; }
  void on_rebuild_completed(Lsn achieved) override { completed.push_back(achieved); }
  void on_rebuild_failed(repl::Reason reason, const std::string& text) override { failed.emplace_back(reason, text); }
  void on_rebuild_quiet() override { ++quiet; }

  BlockModel source;
  repl::RebuildLimits limits;
  std::unique_ptr<repl::RebuildSession> session;
  uint64_t running = 0, quiet = 0, applied_chunk = 0;
  std::vector<Lsn> completed;
  std::vector<std::pair<repl::Reason, std::string>> failed;
  Lsn newest_read;  ///< of the chunks read

 private:
  void on_store_durable() override;
  void make_session();

  struct Record {
    RecordKind kind;
    uint64_t lba;
    uint32_t blocks;
  };
  std::deque<Record> on_their_way_;
  uint64_t next_chunk_ = 1, next_block_ = 0;
};

}  // namespace ringbolt::test

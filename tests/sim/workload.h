// Clients of a simulated volume: keeps a number of random requests open, gives every write values
// of its own, and enters what was asked and answered into the model.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cell_model.h"
#include "io/sim_io.h"
#include "volume/request.h"

namespace ringbolt::sim {

struct LoadOptions {
  uint32_t depth = 8;
  uint64_t first_cell = 0;  ///< only cells from here on
  uint64_t cells = 0;       ///< and this many; 0: all
  uint32_t cells_max = 64;  ///< per request
  uint32_t aligned_percent = 50;
  uint32_t reads = 30, writes = 60, zeros = 3, trims = 3, flushes = 4;  ///< weights
  uint32_t fua_percent = 5;
  io::Nanos pause_max = 200 * io::kMicrosecond;  ///< between an answer and the next request
  uint64_t requests_left = UINT64_MAX;           ///< then no more are sent
};

class Workload {
 public:
  Workload(io::SimWorld& world, CellModel& model, uint64_t seed);
  ~Workload();
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  LoadOptions& options() { return options_; }
  /// Begins to send requests to `service`, which works with `pool`.
  void start(BlockService& service, io::BufferPool& pool);
  /// The volume, and the model with it, has more cells from now on.
  void grow() {
    shared_.resize(model_.cells());
    exclusive_.resize(model_.cells());
  }
  /// Sends no more; what is open stays open.
  void pause() { running_ = false; }
  /// After pause().
  void resume();
  /// The clients are gone: outcomes of what was open are unknown. The service may live on: what it acknowledges later is
  /// entered all the same, since whoever sees it may rely on it.
  void lost();
  [[nodiscard]] bool idle() const { return open_ == 0; }
  [[nodiscard]] bool attached() const { return service_ != nullptr; }

  /// Reads the whole volume, cells of the options or not; `seen` gets every cell. Needs idle().
  void read_all(std::function<void(uint64_t cell, std::optional<uint64_t> value)> seen,
                std::function<void(bool ok)> done);

  [[nodiscard]] uint64_t answered() const { return answered_; }
  [[nodiscard]] uint64_t writes_answered() const { return writes_answered_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }  ///< kShutdown
  [[nodiscard]] uint64_t failed() const { return failed_; }    ///< other errors
  /// Called after every successful answer to anything but a read.
  std::function<void()> on_write_answered;

 private:
  struct Op;
  struct Scan;
  void issue(Op& op);
  bool choose(Op& op);
  bool prepare(Op& op);
  bool lock(const Op& op, bool exclusive);
  void unlock(const Op& op);
  void begin(Op& op);
  void answered(Op& op, RequestError error);
  void answered_late(Op& op, RequestError error);
  void scanned(Scan& scan, RequestError error);
  void scan_on();
  void enter(Op& op);
  void again(Op& op);

  io::SimWorld& world_;
  CellModel& model_;
  io::SimRandom random_;
  LoadOptions options_;
  BlockService* service_ = nullptr;
  io::BufferPool* pool_ = nullptr;
  bool running_ = false;
  uint64_t generation_ = 0;  ///< of the service; events of an older one do nothing
  uint64_t open_ = 0;
  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<std::unique_ptr<Op>> graveyard_;  ///< open when the service was lost
  std::vector<std::unique_ptr<Scan>> scan_graveyard_;
  std::vector<uint32_t> shared_;                ///< per cell: requests that touch it
  std::vector<bool> exclusive_;                 ///< per cell: being zeroed
  std::unique_ptr<Scan> scan_;
  uint64_t answered_ = 0, writes_answered_ = 0, refused_ = 0, failed_ = 0;
};

}  // namespace ringbolt::sim

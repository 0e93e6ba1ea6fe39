// One host of the simulated cluster, and the ringbolt process on it, if there is one: the real volume and acceptor on the
// simulated disk, network and clock. Begins and ends processes; what for is the operator's business (operator.h).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "../sim/process.h"

namespace ringbolt::sim {

class Node {
 public:
  enum class Phase : uint8_t {
    kDown,
    kOpening,
    kUp,
    kStopping,  ///< cleanly; down before long
  };

  Node(io::SimWorld& world, std::string id);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // None of these may be called from inside the process, that is from a callback of it.
  /// Requires: down.
  void boot(const repl::VolumeOptions& options, uint64_t pool_bytes);
  void kill();
  void power_loss(io::SimPowerLoss mode);
  /// Requires: up. Clients must be gone.
  void begin_stop();
  /// An empty disk. Requires: down.
  void replace_disk();

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool down() const { return phase_ == Phase::kDown; }
  [[nodiscard]] bool up() const { return phase_ == Phase::kUp; }
  /// Why the last boot came to nothing, until the next one.
  [[nodiscard]] const std::optional<Error>& open_error() const { return open_error_; }
  /// Likewise, of the last clean stop.
  [[nodiscard]] const std::optional<Error>& stop_error() const { return stop_error_; }
  /// Counts processes: what belongs to another one is over.
  [[nodiscard]] uint64_t boots() const { return boots_; }
  /// Requires: up.
  [[nodiscard]] repl::Volume& volume() { return *process_->volume; }
  [[nodiscard]] io::BufferPool& pool() { return *process_->pool; }
  [[nodiscard]] io::SimNode& host() { return host_; }
  [[nodiscard]] const io::SimNode& host() const { return host_; }
  [[nodiscard]] const std::string& id() const { return host_.name(); }
  [[nodiscard]] std::string address() const { return id() + ":7000"; }
  static std::string directory() { return "/data/vol0"; }

 private:
  void opened(const Status& status);
  void gone();
  void end_soon();

  io::SimWorld& world_;
  io::SimNode& host_;
  Phase phase_ = Phase::kDown;
  uint64_t boots_ = 0;
  std::unique_ptr<Process> process_;
  std::optional<Error> open_error_, stop_error_;
};

}  // namespace ringbolt::sim

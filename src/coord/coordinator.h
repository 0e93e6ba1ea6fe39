// This node's part in the cluster, on the control thread: etcd, the registration and the directory of nodes, with a timer and the
// clock that they want.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coord/etcd_client.h"
#include "coord/node_directory.h"
#include "coord/node_registration.h"
#include "coord/status.h"

namespace ringbolt::coord {

struct CoordinatorOptions {
  EtcdOptions etcd;
  std::string cluster;
  Span lease{};
  std::string data_dir;  ///< whose free space counts
};

/// As the configuration has it.
struct CoordinatorSource {
  std::vector<std::string> endpoints;
  std::string user, password_file;
  TlsFiles tls;
  Span lease{};
};
/// Reads the files that it names, which blocks. Errors: which one cannot be used, and why.
Result<EtcdOptions> read_etcd_options(const CoordinatorSource& source);

/// Thread: all members on the thread that runs `io`.
class Coordinator final : public CoordinatorView {
 public:
  /// `record`: of this node; capacity and free space are found here. Requires: `io` outlives it.
  Coordinator(boost::asio::io_context& io, CoordinatorOptions options, NodeRecord record);
  ~Coordinator() override;

  /// Whatever else of the record has changed.
  void change(NodeRecord record);
  /// Ends the registration; `done` is called once, soon.
  void leave(std::function<void()> done);
  [[nodiscard]] CoordinatorStatus status() const override;

 private:
  void turn();
  void arm();
  [[nodiscard]] NodeRecord measured(NodeRecord record) const;

  const CoordinatorOptions options_;
  EtcdClient etcd_;
  std::shared_ptr<NodeRegistration> registration_;
  std::shared_ptr<NodeDirectory> directory_;
  boost::asio::steady_timer timer_;
  Instant measured_at_{};
  bool turning_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ringbolt::coord

// Bodies of Node.
#include "node.h"

#include "ringbolt/assert.h"

namespace ringbolt::sim {

Node::Node(io::SimWorld& world, std::string id) : world_(world), host_(world.add_node(std::move(id))) {}

Node::~Node() { kill(); }

void Node::boot(const repl::VolumeOptions& options, uint64_t pool_bytes) {
  RINGBOLT_ASSERT(down());
  phase_ = Phase::kOpening;
  ++boots_;
  open_error_.reset();
  process_ = std::make_unique<Process>(host_, pool_bytes);
  static_cast<void>(process_->io->make_directory("/data"));
  process_->volume = std::make_unique<repl::Volume>(*process_->io, *process_->pool, *process_->memory, options);
  process_->volume->open([this](const Status& status) { opened(status); });
}

void Node::opened(const Status& status) {
  if (!status.has_value()) {
    open_error_ = status.error();
    if (world_.narrating()) world_.narrate(id() + ": cannot open: " + status.error().message);
    phase_ = Phase::kStopping;
    return end_soon();
  }
  repl::CallRouter& router = *process_;
  process_->acceptor = std::make_unique<repl::PeerAcceptor>(*process_->io, router);
  RINGBOLT_ASSERT(process_->acceptor->listen(address()).has_value());
  phase_ = Phase::kUp;
}

/// Not from inside the process.
void Node::end_soon() {
  world_.after(0, [this, boot = boots_] {
    if (boot == boots_ && phase_ == Phase::kStopping) gone();
  });
}

void Node::gone() {
  process_.reset();
  phase_ = Phase::kDown;
}

void Node::kill() {
  if (down()) return;
  host_.resume();
  host_.crash();
  gone();
}

void Node::power_loss(io::SimPowerLoss mode) {
  host_.resume();
  host_.power_loss(mode);
  gone();
}

void Node::begin_stop() {
  RINGBOLT_ASSERT(up());
  phase_ = Phase::kStopping;
  stop_error_.reset();
  process_->acceptor->stop([this, boot = boots_] {
    if (boot != boots_ || phase_ != Phase::kStopping) return;
    process_->volume->stop([this](const Status& status) {
      if (!status.has_value()) stop_error_ = status.error();
      end_soon();
    });
  });
}

void Node::replace_disk() {
  RINGBOLT_ASSERT(down());
  host_.power_loss(io::SimPowerLoss::kDropAll);  // nothing is in flight any more
  host_.disk().clear_faults();
  for (const std::string& path : host_.disk().list_files()) host_.disk().remove_file(path);
}

}  // namespace ringbolt::sim

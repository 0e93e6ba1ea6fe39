// Bodies of Node.
#include "node.h"

#include "ringbolt/assert.h"

namespace ringbolt::sim {

/// What dies with the process.
struct Node::Boot final : repl::CallRouter {
  explicit Boot(io::SimNode& host)
      : io(host.create_io()), pool(std::make_unique<io::BufferPool>(kPoolBytes)), memory(std::make_unique<CheckpointMemory>(*pool)) {
    io->attach_pool(pool.get());
  }
  ~Boot() override {
    acceptor.reset();
    volume.reset();
    memory.reset();
    io->attach_pool(nullptr);
    pool.reset();
    io.reset();
  }
  void route(repl::PeerCall call) override { volume->take_call(call); }

  std::unique_ptr<io::SimIo> io;
  std::unique_ptr<io::BufferPool> pool;
  std::unique_ptr<CheckpointMemory> memory;
  std::unique_ptr<repl::Volume> volume;
  std::unique_ptr<repl::PeerAcceptor> acceptor;
};

repl::Volume& Node::volume() { return *boot_->volume; }
io::BufferPool& Node::pool() { return *boot_->pool; }

Node::Node(io::SimWorld& world, std::string id) : world_(world), host_(world.add_node(std::move(id))) {}

Node::~Node() { kill(); }

void Node::boot(const repl::VolumeOptions& options) {
  RINGBOLT_ASSERT(down());
  phase_ = Phase::kOpening;
  ++boots_;
  open_error_.reset();
  boot_ = std::make_unique<Boot>(host_);
  static_cast<void>(boot_->io->make_directory("/data"));
  boot_->volume = std::make_unique<repl::Volume>(*boot_->io, *boot_->pool, *boot_->memory, options);
  boot_->volume->open([this](const Status& status) { opened(status); });
}

void Node::opened(const Status& status) {
  if (!status.has_value()) {
    open_error_ = status.error();
    if (world_.narrating()) world_.narrate(id() + ": cannot open: " + status.error().message);
    phase_ = Phase::kStopping;
    return end_soon();
  }
  repl::CallRouter& router = *boot_;
  boot_->acceptor = std::make_unique<repl::PeerAcceptor>(*boot_->io, router);
  RINGBOLT_ASSERT(boot_->acceptor->listen(address()).has_value());
  phase_ = Phase::kUp;
}

/// Not from inside the process.
void Node::end_soon() {
  world_.after(0, [this, boot = boots_] {
    if (boot == boots_ && phase_ == Phase::kStopping) gone();
  });
}

void Node::gone() {
  boot_.reset();
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
  boot_->acceptor->stop([this, boot = boots_] {
    if (boot != boots_ || phase_ != Phase::kStopping) return;
    boot_->volume->stop([this](const Status&) { end_soon(); });
  });
}

void Node::replace_disk() {
  RINGBOLT_ASSERT(down());
  host_.power_loss(io::SimPowerLoss::kDropAll);  // nothing is in flight any more
  host_.disk().clear_faults();
  for (const std::string& path : host_.disk().list_files()) host_.disk().remove_file(path);
}

}  // namespace ringbolt::sim

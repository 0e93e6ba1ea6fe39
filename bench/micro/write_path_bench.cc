// The whole path of a write of 4 KiB, from submit() to its answer, in a volume with one copy and with two: queue, log, commit
// rule, replica and back, and the checkpoint behind it. Disks and network are memory (bench/memory_host.h), so nearly all of it
// is ringbolt; of a write on io/'s simulation that is most. A client keeps `depth` writes open.
#include "bench/micro/benchmark.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bench/memory_host.h"
#include "bench/random_bytes.h"
#include "io/buffer_pool.h"
#include "log/log.h"
#include "repl/peer_acceptor.h"
#include "repl/volume.h"
#include "volume/checkpoint_memory.h"

namespace ringbolt {
namespace {

constexpr uint64_t kVolumeBlocks = 4096;
constexpr uint64_t kPoolBytes = 32u << 20;
constexpr int kTurnsMax = 1000000;  // of 20 us each: only what hangs reaches it

/// One daemon's worth: a copy of the volume, and who takes a primary's call for it.
struct Copy final : repl::CallRouter {
  Copy(bench::MemoryNetwork& network, const repl::VolumeOptions& options)
      : io(network, kVolumeBlocks * kBlockBytes), pool(kPoolBytes), memory(pool), volume(io, pool, memory, options), acceptor(io, *this) {}
  void route(repl::PeerCall call) override { volume.take_call(call); }

  bench::MemoryHost io;
  io::BufferPool pool;
  CheckpointMemory memory;
  repl::Volume volume;
  repl::PeerAcceptor acceptor;
};

class WritePathBed {
 public:
  WritePathBed(int64_t copies, int64_t depth)
      : lbas_(bench::random_lbas(kVolumeBlocks / 16)), payload_(bench::random_bytes(kBlockBytes)), requests_(static_cast<size_t>(depth)) {
    log::set_level(log::Level::kError);
    if (copies == 2) add("n2", Role::kReplica);
    add("n1", Role::kPrimary);
    for (Request& request : requests_) idle_.push_back(&request);
  }
  ~WritePathBed() {
    size_t stopped = 0;
    for (auto& copy : copies_) {
      copy->acceptor.stop([&stopped] { ++stopped; });
      copy->volume.stop([&stopped](const Status&) { ++stopped; });
    }
    run_until([&] { return stopped == 2 * copies_.size(); });
    log::set_level(log::Level::kInfo);
  }
  WritePathBed(const WritePathBed&) = delete;
  WritePathBed& operator=(const WritePathBed&) = delete;

  /// Serves, and all copies count; false: it never does.
  [[nodiscard]] bool ready() {
    return run_until([this] {
      if (!primary().refusal().empty()) return false;
      const VolumeStatus status = primary().status();
      const auto counts = [](const ReplicaStatus& replica) { return replica.in_sync && replica.session && replica.session->kind == "keepup"; };
      return status.mode == "publish_healthy" && std::ranges::all_of(status.replicas, counts);
    });
  }
  /// One more write, as soon as the client may have one more open.
  void write() {
    while (idle_.empty()) turn();
    Request& request = *idle_.back();
    idle_.pop_back();
    request = Request{};
    request.kind = RequestKind::kWrite;
    request.offset = lbas_[next_++ % lbas_.size()] * kBlockBytes;
    request.length = kBlockBytes;
    request.payload = payload_.data();
    request.owner = this;
    request.done = [](Request& answered, RequestError error) { static_cast<WritePathBed*>(answered.owner)->on_answer(answered, error); };
    primary().submit(request);
  }
  /// Until all are answered.
  bool finish() {
    return run_until([this] { return idle_.size() == requests_.size(); });
  }
  [[nodiscard]] int64_t written() const { return written_; }

 private:
  repl::Volume& primary() { return copies_.back()->volume; }

  void on_answer(Request& request, RequestError error) {
    if (error == RequestError::kNone) ++written_;
    idle_.push_back(&request);
  }

  void turn() {
    for (auto& copy : copies_) copy->io.turn(copy->pool);
  }
  template <class Condition>
  bool run_until(const Condition& condition) {
    for (int turns = 0; turns < kTurnsMax; ++turns) {
      if (condition()) return true;
      turn();
    }
    return condition();
  }

  void add(const std::string& name, Role role) {
    repl::VolumeOptions options;
    options.store.name = "vol0";
    options.store.node_id = name;
    options.store.directory = "/vol0";
    options.store.volume_bytes = kVolumeBlocks * kBlockBytes;
    options.store.wal_bytes = kWalBytesMin;
    options.role = role;
    options.new_volume.bytes.fill(1);
    if (role == Role::kPrimary && !copies_.empty()) options.replicas.push_back({"n2", "n2:7000"});
    copies_.push_back(std::make_unique<Copy>(network_, options));
    Copy& copy = *copies_.back();
    static_cast<void>(copy.acceptor.listen(name + ":7000"));  // cannot fail in memory
    copy.volume.open([](const Status&) {});                   // ready() tells
    turn();
  }

  bench::MemoryNetwork network_;
  std::vector<std::unique_ptr<Copy>> copies_;  ///< the primary is the last one
  std::vector<uint64_t> lbas_;
  std::vector<std::byte> payload_;
  std::vector<Request> requests_;
  std::vector<Request*> idle_;
  size_t next_ = 0;
  int64_t written_ = 0;
};

void write_path(benchmark::State& state) {
  WritePathBed bed(state.range(0), state.range(1));
  if (!bed.ready()) return state.SkipWithError("not healthy");
  for (auto _ : state) bed.write();
  if (!bed.finish() || bed.written() != state.iterations()) state.SkipWithError("a write failed");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(write_path)->ArgNames({"copies", "depth"})->ArgsProduct({{1, 2}, {1, 32}});

}  // namespace
}  // namespace ringbolt

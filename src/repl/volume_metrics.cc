#include "repl/volume.h"

namespace ringbolt::repl {

namespace {

MemoryShareMetrics metrics_of(const io::MemoryShare& share) { return {share.held(), share.limit(), share.waiting}; }

}  // namespace

VolumeMetrics Volume::metrics() const {
  VolumeMetrics m;
  m.ops = meter_.ops();
  m.request_stages = meter_.stages();
  m.reply_memory = metrics_of(reply_memory_);
  m.payload_memory = metrics_of(store_.payload_memory());
  if (opened_) {
    const auto stage = [&m](DeviceStage which) -> DurationHistogram& { return m.stages[static_cast<size_t>(which)]; };
    const Wal& wal = store_.wal();
    const Checkpointer& checkpoints = store_.checkpointer();
    stage(DeviceStage::kWalWrite) = wal.write_times();
    stage(DeviceStage::kWalFlush) = wal.flush_times();
    stage(DeviceStage::kWalRead) = store_.reader().wal_times();
    stage(DeviceStage::kBaseRead) = store_.reader().base_times();
    stage(DeviceStage::kBaseWrite) = checkpoints.write_times();
    stage(DeviceStage::kBaseFlush) = checkpoints.flush_times();
    m.wal_written_bytes = wal.written_bytes();
    m.checkpointed_bytes = checkpoints.blocks_copied() * kBlockBytes;
    m.checkpoint_rounds = checkpoints.rounds();
    m.dirty_blocks = store_.index().size();
  }
  if (primary_ == nullptr) return m;
  m.requests_open = primary_->client_load().open();
  m.stable_lsn = primary_->stable().value();
  m.unstable_bytes = primary_->unstable_blocks() * kBlockBytes;
  m.unstable_limit_bytes = primary_->unstable_limit_blocks() * kBlockBytes;
  for (size_t i = 0; i < primary_->members().size(); ++i) {
    const Shipper& shipper = primary_->members().shipper(i);
    ReplicaMetrics r;
    r.id = shipper.peer().id;
    r.round_trip = shipper.round_trips().times();
    r.sent_bytes = shipper.sent_bytes();
    r.connections = shipper.connections_made();
    if (shipper.shipping()) {
      const auto since = primary_->behind_since(shipper.log_written());
      r.lag_seconds = since ? static_cast<double>(io_.now() - *since) / static_cast<double>(io::kSecond) : 0;
    }
    m.replicas.push_back(std::move(r));
  }
  return m;
}

}  // namespace ringbolt::repl

// Counts what clients asked of a volume, by kind: how long the answer took and where that time went, how many bytes, how often
// it was an error. For people and monitoring, nothing is decided from it. Outlives roles, so that no count ever goes back. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "control/node_metrics.h"
#include "io/io.h"
#include "repl/latency_histogram.h"
#include "ringbolt/assert.h"
#include "volume/request.h"

namespace ringbolt::repl {

class RequestMeter {
 public:
  using Ops = std::array<ClientOpMetrics, kClientOps.size()>;

  using Stages = std::array<DurationHistogram, kRequestStages.size()>;

  /// `request` is answered with `error` at `now`.
  void answered(const Request& request, RequestError error, io::Nanos now) {
    if (request.kind == RequestKind::kCache) return;  // advice that costs nothing here
    const io::Nanos latency = now - request.submitted_at;
    ClientOpMetrics& op = ops_[static_cast<size_t>(op_of(request))];
    op.latency.add(latency);
    if (request.kind == RequestKind::kRead) reads_.add(latency);
    if (request.kind == RequestKind::kWrite) writes_.add(latency);
    if (error == RequestError::kNone) {
      op.bytes += request.length;
      if (is_logged(request.kind)) passed(request, now);
    } else {
      ++op.errors[static_cast<size_t>(error_of(error))];
    }
  }
  [[nodiscard]] const Ops& ops() const { return ops_; }
  [[nodiscard]] const Stages& stages() const { return stages_; }
  /// Added to by whoever sends replies.
  [[nodiscard]] DurationHistogram& reply_times() { return of(RequestStage::kReply); }
  /// Finer: for percentiles of a short time.
  [[nodiscard]] RequestCounts reads() const { return {buckets(reads_), bytes_of(ClientOp::kRead)}; }
  [[nodiscard]] RequestCounts writes() const { return {buckets(writes_), bytes_of(ClientOp::kWrite) + bytes_of(ClientOp::kWriteFua)}; }

 private:
  static ClientOp op_of(const Request& request) {
    switch (request.kind) {
      case RequestKind::kRead: return ClientOp::kRead;
      case RequestKind::kWrite: return request.fua ? ClientOp::kWriteFua : ClientOp::kWrite;
      case RequestKind::kFlush: return ClientOp::kFlush;
      case RequestKind::kTrim: return ClientOp::kTrim;
      case RequestKind::kZero:
      case RequestKind::kCache: break;
    }
    return ClientOp::kZeroes;
  }
  static ClientError error_of(RequestError error) {
    switch (error) {
      case RequestError::kNoSpace: return ClientError::kNoSpace;
      case RequestError::kShutdown: return ClientError::kShutdown;
      case RequestError::kInvalid: return ClientError::kInvalid;
      case RequestError::kIo:
      case RequestError::kNone: break;
    }
    return ClientError::kIo;
  }

  DurationHistogram& of(RequestStage stage) { return stages_[static_cast<size_t>(stage)]; }
  /// All stages at once, when it is known that there was each of them: together they are the request's duration.
  void passed(const Request& request, io::Nanos now) {
    RINGBOLT_ASSERT(request.sealed);
    of(RequestStage::kAdmission).add(request.logged_at - request.submitted_at);
    of(RequestStage::kStaging).add(request.sealed_at - request.logged_at);
    of(RequestStage::kCommit).add(now - request.sealed_at);
  }

  static std::vector<LatencyBucket> buckets(const LatencyHistogram& histogram) {
    std::vector<LatencyBucket> result;
    histogram.each([&result](io::Nanos upper, uint32_t count) { result.push_back({static_cast<uint64_t>(upper), count}); });
    return result;
  }
  [[nodiscard]] uint64_t bytes_of(ClientOp op) const { return ops_[static_cast<size_t>(op)].bytes; }

  Ops ops_;
  Stages stages_;
  LatencyHistogram reads_, writes_;  ///< with FUA or without
};

}  // namespace ringbolt::repl

#include "repl/request_meter.h"

#include <catch2/catch.hpp>

namespace ringbolt::repl {
namespace {

const ClientOpMetrics& of(const RequestMeter& meter, ClientOp op) { return meter.ops()[static_cast<size_t>(op)]; }

TEST_CASE("request_meter: each kind of request is counted as what it is") {
  const auto [kind, fua, op] = GENERATE(table<RequestKind, bool, ClientOp>({{RequestKind::kRead, false, ClientOp::kRead},
                                                                            {RequestKind::kWrite, false, ClientOp::kWrite},
                                                                            {RequestKind::kWrite, true, ClientOp::kWriteFua},
                                                                            {RequestKind::kFlush, false, ClientOp::kFlush},
                                                                            {RequestKind::kZero, false, ClientOp::kZeroes},
                                                                            {RequestKind::kZero, true, ClientOp::kZeroes},
                                                                            {RequestKind::kTrim, true, ClientOp::kTrim}}));
  RequestMeter meter;
  Request request;
  request.kind = kind;
  request.fua = fua;
  request.length = kind == RequestKind::kFlush ? 0 : 4096;
  request.sealed = true;
  meter.answered(request, RequestError::kNone, 20'000);
  CHECK(of(meter, op).latency.count() == 1);
  CHECK(of(meter, op).latency.sum_ns() == 20'000);
  CHECK(of(meter, op).bytes == request.length);
  uint64_t all = 0;
  for (const ClientOpMetrics& one : meter.ops()) all += one.latency.count();
  CHECK(all == 1);
}

TEST_CASE("request_meter: an error counts as a request of its kind, and not its bytes; advice to cache counts as none") {
  RequestMeter meter;
  Request request;
  request.kind = RequestKind::kWrite;
  request.length = 4096;
  for (const RequestError error : {RequestError::kIo, RequestError::kNoSpace, RequestError::kShutdown, RequestError::kInvalid, RequestError::kIo}) {
    meter.answered(request, error, 1000);
  }
  CHECK(of(meter, ClientOp::kWrite).latency.count() == 5);
  CHECK(of(meter, ClientOp::kWrite).bytes == 0);
  CHECK(of(meter, ClientOp::kWrite).errors == std::array<uint64_t, 4>{2, 1, 1, 1});
  request.kind = RequestKind::kCache;
  RequestMeter idle;
  idle.answered(request, RequestError::kNone, 1000);
  for (const ClientOpMetrics& one : idle.ops()) CHECK(one.latency.count() == 0);
}

TEST_CASE("request_meter: what is logged passes three stages, each once; what is not, or failed, none") {
  RequestMeter meter;
  Request request;
  request.length = 4096;
  request.submitted_at = 1'000;
  request.logged_at = 3'000;
  request.sealed_at = 7'000;
  request.sealed = true;
  const auto in = [&meter](RequestStage stage) { return meter.stages()[static_cast<size_t>(stage)]; };
  for (const RequestKind kind : {RequestKind::kRead, RequestKind::kFlush, RequestKind::kCache}) {
    request.kind = kind;
    meter.answered(request, RequestError::kNone, 15'000);
  }
  request.kind = RequestKind::kWrite;
  meter.answered(request, RequestError::kIo, 15'000);
  for (const RequestStage stage : kRequestStages) CHECK(in(stage).count() == 0);
  uint64_t passed = 0;
  for (const RequestKind kind : {RequestKind::kWrite, RequestKind::kTrim, RequestKind::kZero}) {
    request.kind = kind;
    meter.answered(request, RequestError::kNone, 15'000);
    ++passed;
    CHECK(in(RequestStage::kAdmission).count() == passed);
    CHECK(in(RequestStage::kAdmission).sum_ns() == passed * 2'000);
    CHECK(in(RequestStage::kStaging).count() == passed);
    CHECK(in(RequestStage::kStaging).sum_ns() == passed * 4'000);
    CHECK(in(RequestStage::kCommit).count() == passed);
    CHECK(in(RequestStage::kCommit).sum_ns() == passed * 8'000);
  }
  // That is not known here: whoever sends the reply says so.
  CHECK(in(RequestStage::kReply).count() == 0);
  meter.reply_times().add(16'000);
  CHECK(in(RequestStage::kReply).sum_ns() == 16'000);
}

TEST_CASE("request_meter: reads and writes, with FUA or without, have finer counts; what else there is has not") {
  RequestMeter meter;
  Request request;
  request.length = 4096;
  request.sealed = true;
  const auto answer = [&](RequestKind kind, bool fua, io::Nanos latency, RequestError error = RequestError::kNone) {
    request.kind = kind;
    request.fua = fua;
    meter.answered(request, error, latency);
  };
  answer(RequestKind::kRead, false, 2'500);
  answer(RequestKind::kRead, false, 2'500);
  answer(RequestKind::kWrite, false, 100'000);
  answer(RequestKind::kWrite, true, 200'000);
  answer(RequestKind::kWrite, true, 200'000, RequestError::kIo);
  for (const RequestKind kind : {RequestKind::kFlush, RequestKind::kTrim, RequestKind::kZero}) answer(kind, false, 5'000'000);
  CHECK(meter.reads() == RequestCounts{{{3'000, 2}}, 8192});
  CHECK(meter.writes() == RequestCounts{{{112'000, 1}, {224'000, 2}}, 8192});
}

}  // namespace
}  // namespace ringbolt::repl

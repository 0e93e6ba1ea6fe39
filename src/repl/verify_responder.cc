#include "repl/verify_responder.h"

#include "ringbolt/assert.h"
#include "ringbolt/crc64.h"

namespace ringbolt::repl {

VerifyResponder::VerifyResponder(io::BufferPool& pool, Store& store, void (*on_quiet)(void* owner), void* owner)
    : pool_(pool), store_(store), on_quiet_(on_quiet), owner_(owner) {
  job_.owner = this;
  job_.done = [](ReadJob& job, int error) { static_cast<VerifyResponder*>(job.owner)->read_done(error); };
}

VerifyResponder::~VerifyResponder() {
  pool_.cancel_wait(memory_);
  if (buffer_) pool_.release(buffer_);
}

bool VerifyResponder::ask(const Verify& question, Link& link) {
  const uint64_t volume_blocks = store_.config().volume_bytes / kBlockBytes;
  if (questions_.size() >= kQuestionsMax || question.first.value() + question.blocks > volume_blocks) return false;
  link_ = &link;
  questions_.push_back(question);
  answer_next();
  return true;
}

void VerifyResponder::forget() {
  link_ = nullptr;
  questions_.clear();
  pool_.cancel_wait(memory_);
}

/// One at a time, in order: the log only grows, so the first one is never ready after the second.
void VerifyResponder::answer_next() {
  if (reading_ || answering_ || questions_.empty()) return;
  const Verify& question = questions_.front();
  if (store_.failed()) {
    link_->send(MessageType::kVerifyAck, VerifyAck{question.id, store_.wal().head(), Reason::kLocalWalCorrupt, {}});
    return questions_.clear();
  }
  if (store_.wal().head() < question.after) return;
  if (!buffer_) buffer_ = pool_.allocate(kVerifyBlocksMax * kBlockBytes);
  if (!buffer_) return pool_.wait(memory_);
  job_.first = question.first;
  job_.blocks = question.blocks;
  job_.data = buffer_.data;
  reading_ = true;
  answering_ = true;  // read() may be done at once: then the loop is here, not in the recursion
  store_.read(job_);
  answering_ = false;
  if (!reading_) answer_next();
}

void VerifyResponder::read_done(int error) {
  reading_ = false;
  const bool wanted = link_ != nullptr;
  if (wanted) {
    VerifyAck ack;
    ack.id = questions_.front().id;
    ack.head = store_.wal().head();
    if (error != 0) {
      ack.reason = Reason::kLocalExtentCorrupt;
    } else {
      for (uint32_t i = 0; i < job_.blocks; ++i) ack.sums.push_back(crc64(job_.data + size_t{i} * kBlockBytes, kBlockBytes));
    }
    questions_.pop_front();
    link_->send(MessageType::kVerifyAck, ack);
  }
  if (buffer_ && questions_.empty()) pool_.release(std::exchange(buffer_, {}));
  if (!wanted) return on_quiet_(owner_);
  answer_next();
}

}  // namespace ringbolt::repl

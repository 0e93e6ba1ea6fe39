#include "repl/refusal.h"

#include "ringbolt/assert.h"

namespace ringbolt::repl {

struct Refusals::One final : LinkListener {
  One(Refusals& refusals, const PeerCall& call) : owner(&refusals), link(refusals.io_, refusals.pool_, call.socket, *this) {}
  void on_message(const MessageHeader&, std::span<const std::byte>) override { link.close("refused"); }
  void on_positions(const MessageHeader&, const WalDataFields&) override { link.close("refused"); }
  bool on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) override {
    link.close("refused");
    return false;
  }
  void on_send_ready(FrameGather&) override {}
  void on_sent() override {}
  void on_link_closed(const std::string&) override {
    closed = true;
    owner->io_.defer(owner->remove_);
  }
  Refusals* owner;
  bool closed = false;
  Link link;
};

Refusals::Refusals(io::Io& io, io::BufferPool& pool) : io_(io), pool_(pool) {}

Refusals::~Refusals() {
  // Each link asserts that nothing is in flight on it.
  io_.undefer(remove_);
}

void Refusals::refuse(const PeerCall& call, Reason reason, const Uuid& volume, Epoch current, const std::string& text) {
  if (open_.size() >= kOpenMax) {
    // Callers that do not even take a refusal are cut off without one.
    io_.close_socket(call.socket);
    return;
  }
  open_.push_back(std::make_unique<One>(*this, call));
  Link& link = open_.back()->link;
  link.set_identity(volume, current);
  link.start_after(call.header.sequence);
  link.send(MessageType::kReject, Reject{reason, current, text});
  link.close_after_sending(text);
}

void Refusals::stop(std::function<void()> stopped) {
  stopped_ = std::move(stopped);
  for (const auto& one : open_) one->link.close("the node stops");
  remove_closed();
}

void Refusals::remove_closed() {
  std::erase_if(open_, [](const std::unique_ptr<One>& one) { return one->closed; });
  if (!open_.empty() || !stopped_) return;
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl

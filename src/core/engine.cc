#include "core/engine.h"

#include <algorithm>

#include "core/plan.h"

namespace ringbolt::core {

Engine::Engine(std::string volume) {
  state_.volume = std::move(volume);
  published_ = projection_of(state_);
}

namespace {

/// Positions that nothing is decided from. They are told often, and must cost no more than their merging.
bool is_boundary(const EngineState& state, const Event& event) {
  if (std::holds_alternative<CheckpointAdvanced>(event)) return true;
  if (const auto* shipped = std::get_if<ShippedAdvanced>(&event)) return state.find(shipped->replica) != nullptr;
  const auto* committed = std::get_if<CommittedAdvanced>(&event);
  return committed != nullptr && state.committed && state.committed->term == committed->term;
}

}  // namespace

std::vector<Command> Engine::apply(const Event& event) {
  const bool boundary = is_boundary(state_, event);
  merge(state_, event);
  if (boundary) return {};
  std::vector<Command> wanted = plan(state_);
  std::vector<Command> emitted;
  for (const Command& command : wanted) {
    if (std::find(outstanding_.begin(), outstanding_.end(), command) == outstanding_.end()) emitted.push_back(command);
  }
  outstanding_ = std::move(wanted);
  Projection projection = projection_of(state_);
  if (projection != published_) {
    published_ = std::move(projection);
    emitted.push_back(PublishProjection{state_.volume, published_});
  }
  return emitted;
}

}  // namespace ringbolt::core

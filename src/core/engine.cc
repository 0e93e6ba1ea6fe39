#include "core/engine.h"

#include <algorithm>

#include "core/plan.h"

namespace ringbolt::core {

Engine::Engine(std::string volume) {
  state_.volume = std::move(volume);
  published_ = projection_of(state_);
}

std::vector<Command> Engine::apply(const Event& event) {
  merge(state_, event);
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

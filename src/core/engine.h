// The engine decides what is done with a volume on this node: which role, which replicas, which session with
// each. One event in; commands out. It knows no socket, file, clock or thread, and does nothing by itself.
//
// Facts go into EngineState, each by its own order, so that their order of arrival and repetitions do not matter.
// What is wanted is computed from that state (plan.h); what is newly wanted is emitted, once.
//
// Three authorities, never mixed: the assignment comes from outside, sessions are decided here and by the primary
// alone, the projection is derived and never looked at again.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/commands.h"
#include "core/engine_state.h"
#include "core/events.h"

namespace ringbolt::core {

class Engine {
 public:
  explicit Engine(std::string volume);

  /// Takes one fact. Returns the commands that it calls for and the ones before did not; they are to be executed in
  /// this order, and each again only if it is returned again.
  std::vector<Command> apply(const Event& event);

  [[nodiscard]] const EngineState& state() const { return state_; }
  /// Every command that is wanted and not answered yet.
  [[nodiscard]] const std::vector<Command>& outstanding() const { return outstanding_; }
  [[nodiscard]] const Projection& projection() const { return published_; }

 private:
  EngineState state_;
  std::vector<Command> outstanding_;
  Projection published_;
};

/// Merges a fact into the state: a pure step, in which an older fact changes nothing.
void merge(EngineState& state, const Event& event);

}  // namespace ringbolt::core

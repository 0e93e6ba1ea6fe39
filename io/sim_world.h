// The simulated world: virtual time, one queue of events and one source of randomness, from which
// everything that happens follows. Same seed and same calls, same run, on any machine.
//
//   SimWorld world({.seed = 7});
//   SimNode& n1 = world.add_node("n1");
//   auto io = n1.create_io();          // one per shard; the node runs from here on
//   ... build volumes etc. on *io ...
//   world.run_until([&] { return ready; }, 10 * kSecond);
//   n1.crash();                        // nothing calls back into the dead objects any more
//
// One thread. The world must outlive its nodes' SimIos. Tests and the simulator only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/io.h"

namespace ringbolt::io {

class SimIo;
class SimNet;
class SimNode;

/// Inclusive bounds of a random duration.
struct SimRange {
  Nanos min = 0;
  Nanos max = 0;
};

struct SimOptions {
  uint64_t seed = 1;
  SimRange read{20 * kMicrosecond, 300 * kMicrosecond};
  SimRange write{20 * kMicrosecond, 400 * kMicrosecond};
  SimRange flush{50 * kMicrosecond, 3 * kMillisecond};
  SimRange zero{20 * kMicrosecond, 600 * kMicrosecond};
  /// One way, per piece of a stream; order within a stream is kept.
  SimRange network{10 * kMicrosecond, 500 * kMicrosecond};
  /// Between something becoming ready and the shard's loop looking at it.
  SimRange turn{0, 30 * kMicrosecond};
  /// When a write in flight at a kill -9 reaches the file after all.
  SimRange landing_after_kill{0, 2 * kSecond};
  Nanos connect_timeout = 127 * kSecond;
  /// What a connection holds per direction between sender and receiver.
  uint32_t socket_buffer_bytes = 256u << 10;
};

/// The world's randomness (splitmix64: short, and the same everywhere).
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t next();
  /// 0 .. bound-1; bound >= 1.
  uint64_t below(uint64_t bound);
  Nanos between(SimRange range);
  /// True `part` times out of `of`.
  bool chance(uint32_t part, uint32_t of) { return below(of) < part; }

 private:
  uint64_t state_;
};

class SimWorld {
 public:
  explicit SimWorld(const SimOptions& options = {});
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  /// Names are unique; order of adding matters to the run.
  SimNode& add_node(const std::string& name);
  /// Requires: added before.
  SimNode& node(const std::string& name);

  [[nodiscard]] Nanos now() const { return now_; }
  /// Latencies etc.; may be changed while running.
  SimOptions& options() { return options_; }
  SimRandom& random() { return random_; }
  /// What the code under test draws: apart from the world's, so that it changes no latencies.
  SimRandom& secrets() { return secrets_; }
  SimNet& net() { return *net_; }

  /// Runs the next event; false if there is none.
  bool step();
  /// Steps until `done` or until `limit` has passed (time then stands at the limit, also when there
  /// was nothing left to do). Returns done().
  bool run_until(const std::function<bool()>& done, Nanos limit);
  /// Steps for `duration` of virtual time.
  void run_for(Nanos duration);

  /// Over everything that happened so far: two runs are the same exactly if it is the same.
  [[nodiscard]] uint64_t trace_hash() const { return trace_hash_; }
  [[nodiscard]] uint64_t events_run() const { return events_run_; }

  // --- for the parts of the world and for test actors ------------------------------------------

  /// Calls `action` after `delay`. Actions at the same time run in the order of these calls.
  void after(Nanos delay, std::function<void()> action);
  /// Who wants to read what happens, line by line, without the time; empty: nobody, and no line is made.
  void set_narrator(std::function<void(const std::string& line)> narrator) { narrator_ = std::move(narrator); }
  [[nodiscard]] bool narrating() const { return narrator_ != nullptr; }
  void narrate(const std::string& line) { narrator_(line); }
  /// Adds to the trace hash.
  void trace(uint64_t what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);
  uint64_t next_id() { return next_id_++; }
  int32_t next_fd() { return next_fd_++; }

 private:
  friend class SimIo;
  friend class SimNet;
  friend class SimDisk;

  struct Event {
    Nanos time;
    uint64_t sequence;
    std::function<void()> action;
  };
  static bool later(const Event& a, const Event& b);
  /// The live SimIo of that id, or null: events hold ids, since a crash ends objects at any time.
  [[nodiscard]] SimIo* find_io(uint64_t id) const;
  /// Completes an operation, if its SimIo still lives.
  void finish(uint64_t io_id, uint64_t op_id, int32_t result);
  /// A test may have released memory between two steps: let the loops notice as the real one would.
  void notice_waiters();

  SimOptions options_;
  SimRandom random_;
  SimRandom secrets_;
  Nanos now_ = kSecond;  // not 0, so that a zero deadline is a past one
  uint64_t next_sequence_ = 1;
  uint64_t next_id_ = 1;
  int32_t next_fd_ = 1000;  // far from real descriptors, never reused
  uint64_t trace_hash_ = 0xcbf29ce484222325;
  std::function<void(const std::string& line)> narrator_;
  uint64_t events_run_ = 0;
  std::vector<Event> events_;  // a heap
  std::map<uint64_t, SimIo*> ios_;
  std::unique_ptr<SimNet> net_;
  std::map<std::string, std::unique_ptr<SimNode>> nodes_;
};

}  // namespace ringbolt::io

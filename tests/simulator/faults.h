// Carries out the events of a plan, and puts right what they did when their time is over. An event that is not possible at its
// moment, or not allowed (fault_limits.h), does nothing: so a plan stays one whatever is taken out of it.
#pragma once

#include "cluster.h"
#include "operator.h"

namespace ringbolt::sim {

class Faults {
 public:
  Faults(Cluster& cluster, Operator& assigning) : c_(cluster), operator_(assigning) {}

  /// True: something happened.
  bool carry_out(const Event& event);
  /// All of it, at once: from here on nothing is wrong any more, and everybody is to come back.
  void put_all_right();

 private:
  bool on_process(const Event& event);
  bool on_network(const Event& event);
  bool on_disk(const Event& event);
  bool on_roles(const Event& event);
  bool kill_at_io(const Event& event, bool power);
  bool fail_io(const Event& event);
  bool cut_at_send(const Event& event);
  bool read_errors(const Event& event);
  bool rot_in_log(const Event& event);
  bool rot_in_superblock(const Event& event);
  /// Unless everything has been put right before.
  void later(io::Nanos delay, std::function<void()> what);

  Cluster& c_;
  Operator& operator_;
  uint64_t era_ = 0;
};

}  // namespace ringbolt::sim

// How fast a volume and its replicas get on, from what the API said twice, and how far a catch-up or rebuild is. Honest:
// what does not follow from numbers that are there is not said. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <map>
#include <optional>
#include <string>

#include "control/status.h"

namespace ringbolt::ctl {

inline constexpr const char* kLosingGround = "writes come faster than the replica takes them; as things are, it does not end";

/// "[#####.....]" of `columns`, which is at least 2. `percent`: 0 to 100.
std::string bar(uint64_t percent, size_t columns);
/// "32 s", "5 min 3 s", "2 h 10 min", "3 d 4 h".
std::string human_time(uint64_t seconds);

/// "42% (4.2 GiB of 10.0 GiB, 12.0 MiB skipped), 180.0 MiB/s, 32 s left". `rate`: bytes per second as measured, if the
/// daemon does not say.
std::string rebuild_words(const boost::json::value& replica, std::optional<double> rate);

/// Compares each look at a volume with the one before.
class Pace {
 public:
  /// `seconds`: since the last call.
  void look(const boost::json::value& volume, double seconds);

  /// Records per second that the volume took; empty if unknown.
  [[nodiscard]] std::optional<double> writes() const { return writes_; }
  /// Clients' requests of one kind that were answered between the last two looks.
  struct Answered {
    double per_second = 0;
    double bytes_per_second = 0;
    uint64_t p50_us = 0, p99_us = 0;  ///< 0: there were none
  };
  /// Empty if unknown.
  [[nodiscard]] const std::optional<Answered>& client_reads() const { return client_reads_; }
  [[nodiscard]] const std::optional<Answered>& client_writes() const { return client_writes_; }
  /// How far its catch-up or rebuild is: percent and words; empty if none goes on. Requires: of the volume looked at last.
  struct Progress {
    std::optional<uint64_t> percent;
    std::string words;
  };
  [[nodiscard]] std::optional<Progress> progress(const boost::json::value& replica) const;

 private:
  struct Replica {
    std::optional<uint64_t> session, written, base;
    std::optional<double> records, base_bytes;  ///< per second
  };
  [[nodiscard]] std::string catchup_words(const boost::json::value& session, const Replica& known) const;

  std::optional<RequestCounts> reads_counted_, writes_counted_;
  std::optional<Answered> client_reads_, client_writes_;
  std::optional<uint64_t> epoch_, head_;
  std::optional<double> writes_;
  std::map<std::string, Replica> replicas_;
};

}  // namespace ringbolt::ctl

// Reads a copy of a volume off a simulated disk, without the code under test's recovery:
// superblock, the live records of the WAL, the base image. For comparing copies.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "volume/superblock.h"
#include "volume/wal_format.h"

namespace ringbolt::sim {

struct LoggedRecord {
  Lsn lsn;
  Term term;
  RecordKind kind = RecordKind::kTerm;
  uint64_t lba = 0;
  uint32_t blocks = 0;
  std::vector<uint32_t> crcs;
  bool operator==(const LoggedRecord&) const = default;
};

struct CopyOnDisk {
  Superblock superblock;
  std::vector<LoggedRecord> records;  ///< from the WAL's tail to its end, without gaps
  Lsn said_durable;                   ///< the last that superblock or frames call flushed: more may be
  [[nodiscard]] Lsn head() const {
    return records.empty() ? Lsn(superblock.tail_first.value() - 1) : records.back().lsn;
  }
};

/// The newer valid superblock in `directory`; empty if there is none.
std::optional<Superblock> read_superblock(const io::SimNode& node, const std::string& directory);
std::optional<CopyOnDisk> read_copy(const io::SimNode& node, const std::string& directory);

/// Empty if wherever both have a record it is the same; else the first difference.
std::string compare_logs(const CopyOnDisk& a, const CopyOnDisk& b);

/// Empty if the base image holds no block of a record after `committed`; else which.
std::string find_uncommitted_in_base(const io::SimNode& node, const std::string& directory,
                                     Lsn committed);

}  // namespace ringbolt::sim

// What coordination needs of a store with revisions, leases and watches: just that, as an interface, so that the same code
// runs on etcd (`EtcdClient`) and on a model of it (tests), which a simulation can drive.
//
// Reads may be stale, and a lease may be confirmed that is gone (etcd 3.4 does both). A decision rests on transactions that
// compare revisions, on nothing else.
#pragma once

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/all_narrow.hpp>
#include <boost/outcome/try.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringbolt::coord {

/// The store's position; +1 with every transaction that changes something. 0: none.
using Revision = int64_t;
/// 0: none.
using LeaseId = int64_t;

/// What a caller can decide on.
enum class Trouble : uint8_t {
  kUnreachable,  ///< no member answered in time, or one that is cut off did
  kBusy,         ///< too many calls at once; this one was not begun
  kDenied,       ///< name, password or permission
  kNotFound,     ///< the lease is gone
  kRefused,      ///< it was understood and not done
  kBadAnswer,    ///< not what this store answers
};

struct Failure {
  Trouble trouble = Trouble::kUnreachable;
  std::string message;            ///< one line: what and where
  bool may_have_happened = false;  ///< whether a change was made is not known
};

template <class T>
using Reply = boost::outcome_v2::basic_result<T, Failure, boost::outcome_v2::policy::all_narrow>;
/// Called once, later, on the store's thread; not at all once the store has ended.
template <class T>
using Done = std::function<void(const Reply<T>&)>;

/// Who answered, and how things stood for it. Equal member and term in two answers: the same leader for all that this
/// member did between them.
struct Stamp {
  uint64_t member = 0, term = 0;
  Revision revision = 0;
  bool operator==(const Stamp&) const = default;
};

struct Entry {
  std::string key, value;
  Revision created = 0, modified = 0;
  LeaseId lease = 0;
  bool operator==(const Entry&) const = default;
};

/// One key, or with `prefix` all that begin so.
struct Range {
  std::string key;
  bool prefix = false;
  int64_t limit = 0;  ///< 0: no limit
};

struct Entries {
  Stamp stamp;
  std::vector<Entry> entries;  ///< by key
  bool more = false;           ///< there are others, beyond the limit
};

/// What `key` has to have. One that is not there has revisions and lease 0.
struct Compare {
  enum class Of : uint8_t { kCreated, kModified, kLease };
  std::string key;
  Of of = Of::kModified;
  int64_t number = 0;
};

struct Step {
  enum class Kind : uint8_t { kPut, kRemove, kRange };
  Kind kind = Kind::kRange;
  Range range;             ///< kPut: only its key counts
  std::string value = {};  ///< of kPut
  LeaseId lease = 0;       ///< likewise
};

struct Transaction {
  std::vector<Compare> compares;  ///< all of them must hold
  std::vector<Step> then, otherwise;
};

struct TransactionReply {
  Stamp stamp;
  bool held = false;                        ///< the comparisons; so `then` was done, else `otherwise`
  std::vector<std::vector<Entry>> entries;  ///< for each step that was done; empty where it is no kRange
};

struct Lease {
  Stamp stamp;  ///< as things stood before
  LeaseId id = 0;
  int64_t seconds = 0;  ///< 0: there is no such lease (any more)
};

struct Event {
  Entry entry;  ///< `removed`: only its key and `modified` count
  bool removed = false;
  bool operator==(const Event&) const = default;
};

struct WatchEnd {
  Failure failure;
  Revision compacted = 0;  ///< not 0: what was asked for is gone up to here; look again, and watch from there
};

/// What a watch says, in order. Nothing after `on_end`; a new watch from the last revision goes on.
struct WatchTaker {
  /// Everything up to `revision` has been told; `events` may be empty (progress).
  std::function<void(Revision revision, const std::vector<Event>& events)> on_events;
  std::function<void(const WatchEnd&)> on_end;
};

/// Ends the watch, in silence, when it is destroyed. Must not outlive its store.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Store {
 public:
  virtual ~Store() = default;

  virtual void range(const Range& range, Done<Entries> done) = 0;
  virtual void commit(const Transaction& transaction, Done<TransactionReply> done) = 0;

  virtual void grant(int64_t seconds, Done<Lease> done) = 0;
  virtual void renew(LeaseId id, Done<Lease> done) = 0;
  virtual void revoke(LeaseId id, Done<Stamp> done) = 0;

  /// All changes from revision `from` on.
  [[nodiscard]] virtual std::unique_ptr<Watch> watch(const Range& range, Revision from, WatchTaker taker) = 0;
};

}  // namespace ringbolt::coord

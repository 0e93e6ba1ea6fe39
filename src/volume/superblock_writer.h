// The one writer of a volume's superblock. Changes are made in memory with change() and become durable
// together with the next version written; several changes share one.
//
// A version is durable when both slots hold it: a device that loses one slot, at any time, then loses
// nothing. Each slot is flushed before the other one is touched, so one good slot is always there.
#pragma once

#include <cstdint>

#include "io/io.h"
#include "volume/superblock.h"

namespace ringbolt {

/// Somebody who waits until a change is durable. Intrusive.
class SuperblockWaiter {
 public:
  using Function = void (*)(SuperblockWaiter&);
  explicit SuperblockWaiter(Function function) : function_(function) {}
  SuperblockWaiter(const SuperblockWaiter&) = delete;
  SuperblockWaiter& operator=(const SuperblockWaiter&) = delete;
  [[nodiscard]] bool waiting() const { return waiting_; }

 private:
  friend class SuperblockWriter;
  Function function_;
  uint64_t version_ = 0;
  SuperblockWaiter* next_ = nullptr;
  bool waiting_ = false;
};

template <auto Method>
class SuperblockWaiterOf : public SuperblockWaiter {
 public:
  using Owner = typename io::detail::MemberClass<decltype(Method)>::type;
  explicit SuperblockWaiterOf(Owner& owner) : SuperblockWaiter(&SuperblockWaiterOf::call), owner_(&owner) {}

 private:
  static void call(SuperblockWaiter& waiter) { (static_cast<SuperblockWaiterOf&>(waiter).owner_->*Method)(); }
  Owner* owner_;
};

class SuperblockWriter {
 public:
  /// Called once if a write or flush fails; nothing becomes durable any more.
  using Failed = void (*)(void* owner, int error);

  SuperblockWriter(io::Io& io, Failed on_failed, void* owner);
  ~SuperblockWriter();
  SuperblockWriter(const SuperblockWriter&) = delete;
  SuperblockWriter& operator=(const SuperblockWriter&) = delete;

  /// Takes over what was read (or made) and the file that it is in. `write_first`: see SuperblockSlots.
  void open(io::File file, const Superblock& current, uint32_t write_first);

  [[nodiscard]] const Superblock& current() const { return current_; }
  /// The copy in memory, for changing; the change is written soon.
  Superblock& change();
  /// Calls `waiter` when everything changed before this call is durable (from a later turn's
  /// completion, never from inside). At most one wait per waiter. After a failure it is never called.
  void wait(SuperblockWaiter& waiter);
  [[nodiscard]] bool failed() const { return failed_; }
  /// Everything changed is durable.
  [[nodiscard]] bool settled() const { return changed_version_ == durable_version_; }

 private:
  [[nodiscard]] bool busy() const { return write_.pending() || flush_.pending(); }
  void start();
  void write_slot();
  void on_written(int32_t result);
  void on_flushed(int32_t result);
  void fail(int32_t result);

  io::Io& io_;
  Failed failed_callback_;
  void* owner_;
  io::File file_;
  Superblock current_;
  uint64_t changed_version_ = 0;
  uint64_t writing_version_ = 0;
  uint64_t durable_version_ = 0;
  uint32_t write_first_ = 0;
  uint32_t slots_done_ = 0;  // of the version being written
  bool failed_ = false;
  SuperblockWaiter* first_ = nullptr;
  SuperblockWaiter* last_ = nullptr;
  std::byte* slot_ = nullptr;  // kSlotBytes, aligned: the version being written
  io::DeferredOf<&SuperblockWriter::start> start_{*this};
  io::Op<&SuperblockWriter::on_written> write_{*this};
  io::Op<&SuperblockWriter::on_flushed> flush_{*this};
};

}  // namespace ringbolt

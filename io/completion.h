// The intrusive record of one operation in flight. Its address identifies the operation to the
// kernel, so it must not move or die while pending() is true. One Completion carries one operation
// at a time and is reused for the next; nothing is allocated per operation.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <type_traits>

namespace ringbolt::io {

class Completion {
 public:
  /// Called once per operation, on the owning shard, after pending() became false. `result` >= 0 is
  /// the operation's own meaning (see io::Io), < 0 is -errno. Must not throw.
  using Function = void (*)(Completion&, int32_t result);

  explicit Completion(Function function) : function_(function) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  [[nodiscard]] bool pending() const { return state_.pending; }

  /// Private to the implementations of io::Io: what is needed to finish a short transfer.
  struct State {
    bool pending = false;
    uint8_t kind = 0;
    uint8_t flags = 0;
    int32_t fd = -1;
    char* data = nullptr;
    uint64_t offset = 0;
    uint32_t length = 0;
    uint32_t done = 0;
    uint64_t bytes_left = 0;       ///< of zero(), whose length does not fit `length`
    int32_t result = 0;            ///< of an operation that failed before it was submitted
    Completion* next = nullptr;    ///< in the list of those
    iovec* iov = nullptr;
    msghdr message{};
    void* extra = nullptr;
  };
  State& state() { return state_; }

  /// Private to the implementations of io::Io.
  void complete(int32_t result) {
    state_.pending = false;
    function_(*this, result);
  }

 private:
  Function function_;
  State state_;
};

namespace detail {
template <class>
struct MemberClass;
template <class C, class R, class... A>
struct MemberClass<R (C::*)(A...)> {
  using type = C;
};
template <class C, class R, class... A>
struct MemberClass<R (C::*)(A...) noexcept> {
  using type = C;
};
}  // namespace detail

/// A Completion that calls a member function: `io::Op<&Connection::on_received> receive_{*this};`
/// with `void on_received(int32_t result)`.
template <auto Method>
class Op : public Completion {
 public:
  using Owner = typename detail::MemberClass<decltype(Method)>::type;
  explicit Op(Owner& owner) : Completion(&Op::call), owner_(&owner) {}

 private:
  static void call(Completion& completion, int32_t result) {
    (static_cast<Op&>(completion).owner_->*Method)(result);
  }
  Owner* owner_;
};

}  // namespace ringbolt::io

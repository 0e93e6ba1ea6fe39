// The server's side of the fixed newstyle handshake as a pure state machine: client bytes in,
// server bytes and an outcome out. No I/O, no clock; the listener feeds it. Whatever a client sends
// leads to a reply or to kClose with a reason, never to an assertion and never to memory by a
// length field.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nbd/exports.h"
#include "nbd/protocol.h"

namespace ringbolt::nbd {

/// Flags of the transmission phase that every export has; DF depends on structured replies.
uint16_t transmission_flags(bool structured_replies);

class Handshake {
 public:
  enum class State : uint8_t {
    kTalking,  ///< wants more bytes (once output() is on its way)
    kAttach,   ///< send output(), then go over to transmission as negotiated() says
    kClose,    ///< send output(), then close; close_reason() says why
  };

  /// Option data up to this is looked at; more, up to the next limit, is skipped and answered with
  /// an error so that the client can go on; yet more ends the connection.
  static constexpr uint32_t kOptionBytesMax = 16u << 10;
  static constexpr uint32_t kOptionSkipBytesMax = 128u << 10;
  static constexpr uint32_t kOptionsMax = 1024;
  /// consume() stops in front of the next option when this much output waits.
  static constexpr size_t kOutputBytesPause = 16u << 10;

  /// The greeting is in output() from the start. `directory` must outlive the handshake.
  explicit Handshake(ExportDirectory& directory);

  /// Takes client bytes and returns how many it took: all, unless the state is no longer kTalking
  /// or output() has reached kOutputBytesPause; then send, clear output(), and offer the rest
  /// again.
  size_t consume(std::span<const std::byte> input);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] std::vector<std::byte>& output() { return output_; }
  /// For the log, one line; empty if the client left in an orderly way.
  [[nodiscard]] const std::string& close_reason() const { return close_reason_; }
  [[nodiscard]] const Negotiated& negotiated() const { return negotiated_; }

 private:
  enum class Phase : uint8_t { kClientFlags, kOptionHeader, kOptionData, kSkipData };

  size_t take_fixed(std::span<const std::byte> input, size_t bytes_wanted);
  void on_client_flags();
  void on_option_header();
  void run_option();
  void run_known_option(std::span<const std::byte> data);
  void option_export_name(std::span<const std::byte> data);
  void option_list();
  void option_info(std::span<const std::byte> data);
  void option_meta_context(std::span<const std::byte> data);
  bool select_contexts(FieldReader reader, uint32_t queries, bool& selected);
  void reply_export_info(const ExportLookup& found, uint32_t infos_wanted);
  bool reply_lookup_error(const ExportLookup& found);
  void reply(uint32_t type, std::span<const std::byte> payload = {});
  void reply_text(uint32_t type, std::string_view text);
  void append(std::string_view text);
  template <class Integer>
  void append_number(Integer value);
  void begin_reply(uint32_t type, size_t payload_bytes);
  void attach(const ExportLookup& found, std::string_view asked_name);
  void close(std::string reason);

  ExportDirectory& directory_;
  State state_ = State::kTalking;
  Phase phase_ = Phase::kClientFlags;
  bool fixed_newstyle_ = false;
  bool no_zeroes_ = false;
  std::array<std::byte, kOptionHeaderBytes> fixed_{};  // client flags or option header
  size_t fixed_bytes_ = 0;
  uint32_t option_ = 0;
  uint32_t options_ = 0;
  uint32_t data_bytes_ = 0;  // of the option
  uint32_t skip_bytes_left_ = 0;
  std::vector<std::byte> data_;
  std::vector<std::byte> output_;
  Negotiated negotiated_;
  std::string meta_export_;  // the export name that base_allocation was selected for
  std::string close_reason_;
};

}  // namespace ringbolt::nbd

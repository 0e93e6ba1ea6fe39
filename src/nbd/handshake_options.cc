// The options of the handshake, one function each.
#include <algorithm>

#include "nbd/handshake.h"
#include "ringbolt/types.h"

namespace ringbolt::nbd {

void Handshake::run_option() {
  const bool skipped = phase_ == Phase::kSkipData;
  phase_ = Phase::kOptionHeader;
  const std::span<const std::byte> data(data_);
  if (option_ == kOptExportName) {
    if (skipped) return close("export name of " + std::to_string(data_bytes_) + " bytes");
    return option_export_name(data);
  }
  if (option_ == kOptAbort) {
    reply(kRepAck);
    return close("");
  }
  if (option_ < kOptList || option_ > kOptSetMetaContext || option_ == 4) {
    return reply_text(kRepErrUnsupported, "this server does not know the option");
  }
  // A new selection replaces the old one even where it fails.
  if (option_ == kOptSetMetaContext) negotiated_.base_allocation = false;
  if (skipped) return reply_text(kRepErrTooBig, "the option carries too much data");
  run_known_option(data);
}

void Handshake::run_known_option(std::span<const std::byte> data) {
  switch (option_) {
    case kOptList:
      if (!data.empty()) return reply_text(kRepErrInvalid, "LIST carries no data");
      return option_list();
    case kOptStartTls:
      if (!data.empty()) return reply_text(kRepErrInvalid, "STARTTLS carries no data");
      return reply_text(kRepErrUnsupported, "this server does not speak TLS");
    case kOptInfo:
    case kOptGo:
      return option_info(data);
    case kOptStructuredReply:
      if (!data.empty()) return reply_text(kRepErrInvalid, "STRUCTURED_REPLY carries no data");
      negotiated_.structured_replies = true;
      return reply(kRepAck);
    default:
      return option_meta_context(data);
  }
}

void Handshake::option_export_name(std::span<const std::byte> data) {
  const std::string_view name(reinterpret_cast<const char*>(data.data()), data.size());
  if (name.size() > kStringBytesMax) {
    return close("export name of " + std::to_string(name.size()) + " bytes");
  }
  const ExportLookup found = directory_.find(name);
  // This option has no error reply: the protocol demands that the connection ends.
  if (found.status == ExportLookup::Status::kUnknown) {
    return close("no export \"" + printable(name) + "\"");
  }
  if (found.status == ExportLookup::Status::kRefused) return close(found.reason);
  append_number(found.size_bytes);
  append_number(transmission_flags(negotiated_.structured_replies));
  constexpr size_t kZeroes = 124;
  if (!no_zeroes_) output_.resize(output_.size() + kZeroes);
  attach(found, name);
}

void Handshake::option_list() {
  std::vector<std::string> names;
  directory_.list(names);
  for (const std::string& name : names) {
    begin_reply(kRepServer, sizeof(uint32_t) + name.size());
    append_number(static_cast<uint32_t>(name.size()));
    append(name);
  }
  reply(kRepAck);
}

void Handshake::option_info(std::span<const std::byte> data) {
  FieldReader reader(data);
  uint32_t name_bytes = 0;
  std::string_view name;
  uint16_t infos = 0;
  if (!reader.take(name_bytes) || !reader.take_string(name_bytes, name) || !reader.take(infos) ||
      reader.bytes_left() != size_t{infos} * sizeof(uint16_t)) {
    return reply_text(kRepErrInvalid, "the lengths in the option contradict each other");
  }
  if (name_bytes > kStringBytesMax) return reply_text(kRepErrInvalid, "export name too long");
  uint32_t infos_wanted = 0;  // a bit for each known kind: however often asked, answered once
  for (uint16_t info = 0; reader.take(info);) {
    if (info <= kInfoBlockSize) infos_wanted |= 1u << info;
  }
  const ExportLookup found = directory_.find(name);
  if (reply_lookup_error(found)) return;
  reply_export_info(found, infos_wanted);
  reply(kRepAck);
  if (option_ == kOptGo) attach(found, name);
}

bool Handshake::reply_lookup_error(const ExportLookup& found) {
  switch (found.status) {
    case ExportLookup::Status::kFound:
      return false;
    case ExportLookup::Status::kUnknown:
      reply_text(kRepErrUnknown, "no export of this name");
      return true;
    case ExportLookup::Status::kRefused:
      reply_text(kRepErrPolicy, found.reason);
      return true;
  }
  return false;
}

void Handshake::reply_export_info(const ExportLookup& found, uint32_t infos_wanted) {
  begin_reply(kRepInfo, 2 + 8 + 2);
  append_number(kInfoExport);
  append_number(found.size_bytes);
  append_number(transmission_flags(negotiated_.structured_replies));
  if ((infos_wanted & (1u << kInfoName)) != 0) {
    begin_reply(kRepInfo, 2 + found.name.size());
    append_number(kInfoName);
    append(found.name);
  }
  if ((infos_wanted & (1u << kInfoDescription)) != 0 && !found.description.empty()) {
    begin_reply(kRepInfo, 2 + found.description.size());
    append_number(kInfoDescription);
    append(found.description);
  }
  // Sent unasked too: it costs 34 bytes and tells every client what suits the volume.
  begin_reply(kRepInfo, 2 + 3 * 4);
  append_number(kInfoBlockSize);
  append_number(uint32_t{1});
  append_number(kBlockBytes);
  append_number(kRequestBytesMax);
}

void Handshake::option_meta_context(std::span<const std::byte> data) {
  const bool is_set = option_ == kOptSetMetaContext;
  if (!negotiated_.structured_replies) {
    return reply_text(kRepErrInvalid, "metadata contexts need structured replies first");
  }
  FieldReader reader(data);
  uint32_t name_bytes = 0;
  std::string_view name;
  uint32_t queries = 0;
  bool selected = false;
  if (!reader.take(name_bytes) || !reader.take_string(name_bytes, name) || !reader.take(queries) ||
      !select_contexts(reader, queries, selected)) {
    return reply_text(kRepErrInvalid, "the lengths in the option contradict each other");
  }
  if (name_bytes > kStringBytesMax) return reply_text(kRepErrInvalid, "export name too long");
  if (reply_lookup_error(directory_.find(name))) return;
  if (selected) {
    begin_reply(kRepMetaContext, sizeof(uint32_t) + kBaseAllocation.size());
    append_number(is_set ? kBaseAllocationId : uint32_t{0});
    append(kBaseAllocation);
    if (is_set) {
      negotiated_.base_allocation = true;
      meta_export_ = name;
    }
  }
  reply(kRepAck);
}

bool Handshake::select_contexts(FieldReader reader, uint32_t queries, bool& selected) {
  const bool is_list = option_ == kOptListMetaContext;
  selected = is_list && queries == 0;
  // Each query takes at least four bytes, so the data's length bounds this loop.
  for (uint32_t i = 0; i < queries; ++i) {
    uint32_t bytes = 0;
    std::string_view query;
    if (!reader.take(bytes) || !reader.take_string(bytes, query)) return false;
    // Only listing knows the wildcard "everything in a namespace".
    if (query == kBaseAllocation || (is_list && query == "base:")) selected = true;
  }
  return reader.at_end();
}

void Handshake::attach(const ExportLookup& found, std::string_view asked_name) {
  negotiated_.export_name = found.name;
  negotiated_.shard = found.shard;
  // A selection holds for the export that it named and for no other one.
  if (asked_name != meta_export_) negotiated_.base_allocation = false;
  state_ = State::kAttach;
}

}  // namespace ringbolt::nbd

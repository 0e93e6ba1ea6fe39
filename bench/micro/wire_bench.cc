// Replication messages: the header that every message has, and the fixed part of wal_data.
#include "bench/micro/benchmark.h"

#include <array>

#include "repl/wire.h"

namespace ringbolt::repl {
namespace {

MessageHeader sample_header() {
  MessageHeader header;
  header.type = MessageType::kWalData;
  header.volume.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  header.epoch = Epoch(3);
  header.session = SessionId(4);
  header.payload_bytes = WalDataFields::kBytes + 8192;
  header.payload_crc = 0x12345678;
  return header;
}

void wire_header_encode(benchmark::State& state) {
  MessageHeader header = sample_header();
  std::array<std::byte, kHeaderBytes> bytes;
  for (auto _ : state) {
    ++header.sequence;
    encode_header(header, bytes.data());
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(wire_header_encode);

void wire_header_decode(benchmark::State& state) {
  std::array<std::byte, kHeaderBytes> bytes;
  encode_header(sample_header(), bytes.data());
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
    auto header = decode_header(bytes);
    if (!header.has_value()) {
      state.SkipWithError("not decoded");
      break;
    }
    benchmark::DoNotOptimize(header.value());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(wire_header_decode);

void wire_wal_data_fields(benchmark::State& state) {
  WalDataFields fields;
  fields.frame_header_bytes = 148;
  fields.data_bytes = 4096;
  std::array<std::byte, WalDataFields::kBytes> bytes;
  for (auto _ : state) {
    fields.head = fields.head.next();
    fields.committed = fields.head;
    encode_fields(fields, bytes.data());
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
    auto decoded = decode_fields(bytes);
    if (!decoded.has_value() || decoded.value().head != fields.head) {
      state.SkipWithError("not decoded");
      break;
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(wire_wal_data_fields);

}  // namespace
}  // namespace ringbolt::repl

// The contract of io::Io for files, on the real and the simulated implementation.
#include <catch2/catch.hpp>
#include <cerrno>

#include "io_bed.h"

using namespace ringbolt;
using namespace ringbolt::io;
using namespace ringbolt::io::test;

namespace {
FileInfo open_fresh(Bed& bed, const std::string& name, uint64_t bytes) {
  auto info =
      bed.io().open_file(bed.directory() + "/" + name, {.create = true, .resize_bytes = bytes});
  if (!info.has_value()) FAIL(info.error().message);
  return info.value();
}
}  // namespace

TEST_CASE("io: what was written is read back, before and after a flush", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const FileInfo info = open_fresh(*bed, "a", 1 << 20);
  CHECK(info.created);
  CHECK(info.bytes == 1 << 20);
  CHECK_FALSE(info.is_block_device);
  Block out(kFrameBytesMax);
  const std::string text = pattern(kFrameBytesMax);
  std::memcpy(out.data(), text.data(), text.size());
  Block in(kFrameBytesMax);
  Awaited op;
  bed->io().write(info.file, out.data(), out.bytes(), kFrameBytesMax, op);
  CHECK(op.pending());
  CHECK_FALSE(op.done);  // never from inside the call
  CHECK(await(*bed, op) == static_cast<int32_t>(kFrameBytesMax));
  bed->io().read(info.file, in.data(), in.bytes(), kFrameBytesMax, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(kFrameBytesMax));
  CHECK(std::memcmp(in.data(), text.data(), text.size()) == 0);
  bed->io().flush(info.file, op);
  CHECK(await(*bed, op) == 0);
  bed->io().read(info.file, in.data(), kBlockBytes, kFrameBytesMax + kBlockBytes, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(kBlockBytes));
  CHECK(std::memcmp(in.data(), text.data() + kBlockBytes, kBlockBytes) == 0);
  bed->io().read(info.file, in.data(), kBlockBytes, 0, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(kBlockBytes));
  CHECK(std::memcmp(in.data(), Block(kBlockBytes).data(), kBlockBytes) == 0);
  CHECK(op.calls == 5);
  bed->io().close_file(info.file);
}

TEST_CASE("io: many operations in flight each complete once with their own data", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  constexpr size_t kCount = 700;  // more than the submission queue holds
  const FileInfo info = open_fresh(*bed, "a", kCount * kBlockBytes);
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<std::unique_ptr<Awaited>> ops;
  const auto all_done = [&] {
    for (const auto& op : ops) {
      if (!op->done) return false;
    }
    return true;
  };
  for (size_t i = 0; i < kCount; ++i) {
    blocks.push_back(std::make_unique<Block>(kBlockBytes, static_cast<int>(i % 251)));
    ops.push_back(std::make_unique<Awaited>());
    bed->io().write(info.file, blocks[i]->data(), kBlockBytes, i * kBlockBytes, *ops[i]);
  }
  REQUIRE(bed->run_until(all_done));
  for (size_t i = 0; i < kCount; ++i) {
    CHECK(ops[i]->result == static_cast<int32_t>(kBlockBytes));
    std::memset(blocks[i]->data(), 0xff, kBlockBytes);
    ops[i]->done = false;
    bed->io().read(info.file, blocks[i]->data(), kBlockBytes, i * kBlockBytes, *ops[i]);
  }
  REQUIRE(bed->run_until(all_done));
  for (size_t i = 0; i < kCount; ++i) {
    CHECK(ops[i]->result == static_cast<int32_t>(kBlockBytes));
    CHECK(ops[i]->calls == 2);
    CHECK(blocks[i]->all(static_cast<int>(i % 251)));
  }
  bed->io().close_file(info.file);
}

TEST_CASE("io: a read that reaches past the end of a file fails", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const FileInfo info = open_fresh(*bed, "a", 3 * kBlockBytes);
  Block block(2 * kBlockBytes);
  Awaited op;
  bed->io().read(info.file, block.data(), 2 * kBlockBytes, 2 * kBlockBytes, op);
  CHECK(await(*bed, op) == -EIO);
  bed->io().read(info.file, block.data(), kBlockBytes, 64 * kBlockBytes, op);
  CHECK(await(*bed, op) == -EIO);
  bed->io().read(info.file, block.data(), kBlockBytes, 2 * kBlockBytes, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(kBlockBytes));
  bed->io().close_file(info.file);
}

TEST_CASE("io: a file that ends within a block cannot be read to its end", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const FileInfo info = open_fresh(*bed, "a", 5000);
  CHECK(info.bytes == 5000);
  Block block(2 * kBlockBytes);
  Awaited op;
  bed->io().read(info.file, block.data(), 2 * kBlockBytes, 0, op);
  CHECK(await(*bed, op) == -EIO);
  bed->io().read(info.file, block.data(), kBlockBytes, 0, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(kBlockBytes));
  bed->io().close_file(info.file);
}

TEST_CASE("io: a zeroed range reads as zeros and its neighbours do not", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const FileInfo info = open_fresh(*bed, "a", 8 * kBlockBytes);
  Block block(8 * kBlockBytes, 0x77);
  Awaited op;
  bed->io().write(info.file, block.data(), block.bytes(), 0, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(block.bytes()));
  bed->io().zero(info.file, 2 * kBlockBytes, 3 * kBlockBytes, op);
  CHECK(await(*bed, op) == 0);
  bed->io().read(info.file, block.data(), block.bytes(), 0, op);
  CHECK(await(*bed, op) == static_cast<int32_t>(block.bytes()));
  for (uint32_t i = 0; i < block.bytes(); ++i) {
    const bool zero = i / kBlockBytes >= 2 && i / kBlockBytes < 5;
    if (block.data()[i] != std::byte{static_cast<uint8_t>(zero ? 0 : 0x77)}) FAIL("byte " << i);
  }
  bed->io().close_file(info.file);
}

TEST_CASE("io: an open file is locked and free again after closing", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const std::string path = bed->directory() + "/a";
  CHECK(bed->io().open_file(path, {}).error().code == Errc::kNotFound);
  const FileInfo first = open_fresh(*bed, "a", kBlockBytes);
  const auto second = bed->io().open_file(path, {});
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::kBusy);
  CHECK(second.error().message.find(path) != std::string::npos);
  bed->io().close_file(first.file);
  const auto third = bed->io().open_file(path, {.create = true, .resize_bytes = 1});
  REQUIRE(third.has_value());
  CHECK_FALSE(third.value().created);
  CHECK(third.value().bytes == kBlockBytes);  // never shortened
  bed->io().close_file(third.value().file);
}

TEST_CASE("io: directories are made with their parents and are no files", "[io]") {
  const std::string kind = GENERATE(from_range(bed_kinds()));
  INFO(kind);
  const auto bed = make_bed(kind);
  const std::string path = bed->directory() + "/x/y/z";
  CHECK(bed->io().open_file(path + "/a", {.create = true}).error().code == Errc::kNotFound);
  CHECK(bed->io().make_directory(path).has_value());
  CHECK(bed->io().make_directory(path).has_value());  // again
  const auto file = bed->io().open_file(path + "/a", {.create = true});
  REQUIRE(file.has_value());
  bed->io().close_file(file.value().file);
  CHECK(bed->io().open_file(path, {}).error().code == Errc::kInvalid);
  CHECK_FALSE(bed->io().make_directory(path + "/a").has_value());
}

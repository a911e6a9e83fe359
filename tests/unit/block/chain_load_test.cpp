// Many requests at once on a chain of three: each read finds what was written there last, by whomever.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qemu_tools.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

constexpr uint64_t kSectors = 8192;  // of 512 bytes: 4 MiB
constexpr size_t kDepth = 64;

// The value is in each word of a sector: compressible, and a piece in a wrong place shows.
void fill_sector(std::byte* to, uint64_t value) {
  for (size_t at = 0; at < kSectorBytes; at += sizeof value) {
    store_le<uint64_t>(to + at, value);
  }
}

class Load {
 public:
  Load(Loop& loop, BlockDevice& disk, std::vector<uint64_t>& values, uint64_t seed)
      : loop_(loop), disk_(disk), values_(values), random_(seed), is_busy_(values.size()), slots_(kDepth) {
    for (Slot& slot : slots_) {
      slot.load = this;
    }
  }

  // `requests` in all, as many of them at once as there are slots, which do not touch the same sectors.
  void run(uint64_t requests) {
    uint64_t begun = 0;
    while (begun < requests && !testing::Test::HasFailure()) {
      for (Slot& slot : slots_) {
        begun += slot.count == 0 && begun < requests && start(slot) ? 1 : 0;
      }
      most_at_once_ = std::max(most_at_once_, in_flight_);
      const uint64_t done = done_;
      if (!loop_.run_until([&] { return done_ > done; })) {
        return;
      }
    }
    loop_.run_until([this] { return in_flight_ == 0; });
  }

  size_t most_at_once() const { return most_at_once_; }

 private:
  struct Slot {
    Load* load = nullptr;
    BlockOp op = BlockOp::kRead;
    uint64_t first = 0;
    uint64_t count = 0;  // 0: free
    uint64_t value = 0;
    std::vector<std::byte> bytes;
    std::array<iovec, 2> vectors{};
  };

  bool start(Slot& slot) {
    const uint64_t count = random_() % 4 == 0 ? 1 + random_() % 300 : 1 + random_() % 16;
    const uint64_t first = random_() % values_.size();
    const auto begin = is_busy_.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(count, values_.size() - first));
    if (std::find(begin, end, true) != end || !disk_.can_accept()) {
      return false;
    }
    std::fill(begin, end, true);
    slot.first = first;
    slot.count = static_cast<uint64_t>(end - begin);
    const uint64_t kind = random_() % 16;
    slot.op = kind < 8    ? BlockOp::kRead
              : kind < 14 ? BlockOp::kWrite
              : kind < 15 ? BlockOp::kWriteZeroes
                          : BlockOp::kFlush;
    slot.value = slot.op == BlockOp::kWrite ? ++next_value_ : 0;
    slot.bytes.assign(slot.count * kSectorBytes, std::byte{0xa5});
    if (slot.op == BlockOp::kWrite) {
      for (uint64_t i = 0; i < slot.count; ++i) {
        fill_sector(slot.bytes.data() + i * kSectorBytes, slot.value + ((slot.first + i) << 32U));
      }
    }
    const size_t cut = slot.bytes.size() / 3;
    slot.vectors[0] = {.iov_base = slot.bytes.data(), .iov_len = cut};
    slot.vectors[1] = {.iov_base = slot.bytes.data() + cut, .iov_len = slot.bytes.size() - cut};
    submit(slot);
    return true;
  }

  void submit(Slot& slot) {
    BlockRequest request;
    request.op = slot.op;
    if (slot.op != BlockOp::kFlush) {
      request.offset = DiskOffset(slot.first * kSectorBytes);
      request.length_bytes = slot.bytes.size();
    }
    if (slot.op == BlockOp::kRead || slot.op == BlockOp::kWrite) {
      request.buffers = slot.vectors;
    }
    request.may_unmap = slot.first % 2 == 0;
    request.completion = Completion(&Load::done, &slot, 0);
    ++in_flight_;
    disk_.submit(std::move(request));
  }

  static void done(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto& slot = *static_cast<Slot*>(context);
    slot.load->finish(slot, status);
  }

  void finish(Slot& slot, IoStatus status) {
    EXPECT_EQ(status, IoStatus::kOk);
    for (uint64_t i = 0; i < slot.count; ++i) {
      uint64_t& value = values_[slot.first + i];
      if (slot.op == BlockOp::kRead) {
        std::array<std::byte, kSectorBytes> wanted{};
        fill_sector(wanted.data(), value);
        EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), slot.bytes.data() + i * kSectorBytes))
            << "sector " << slot.first + i;
      } else if (slot.op != BlockOp::kFlush) {
        value = slot.op == BlockOp::kWrite ? slot.value + ((slot.first + i) << 32U) : 0;
      }
      is_busy_[slot.first + i] = false;
    }
    slot.count = 0;
    --in_flight_;
    ++done_;
  }

  Loop& loop_;
  BlockDevice& disk_;
  std::vector<uint64_t>& values_;
  std::mt19937_64 random_;
  std::vector<bool> is_busy_;
  std::vector<Slot> slots_;
  uint64_t next_value_ = 0x1000;
  uint64_t done_ = 0;
  size_t in_flight_ = 0;
  size_t most_at_once_ = 0;
};

using LoadCase = std::tuple<EngineKind, CacheMode, const char*>;

class ChainUnderLoad : public testing::TestWithParam<LoadCase> {
 protected:
  // The base is compressed; the middle has every 40th to 56th sector of its own; the top begins empty.
  void make() {
    std::vector<std::byte> bytes(kSectors * kSectorBytes);
    for (uint64_t i = 0; i < kSectors; ++i) {
      values_.push_back(i % 64 < 40 ? (i << 32U) + 7 : 0);
      fill_sector(bytes.data() + i * kSectorBytes, values_.back());
    }
    write_file(folder_.file("raw"), bytes);
    must_run({"qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=16k",
              folder_.file("raw"), folder_.file("base")});
    must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "-o", "cluster_size=4k",
              folder_.file("middle")});
    std::vector<std::string> writes = {"qemu-io", "-f", "qcow2"};
    for (uint64_t i = 0; i < kSectors; i += 512) {
      writes.insert(writes.end(), {"-c", fmt::format("write -q -P 3 {} 8192", (i + 40) * kSectorBytes)});
      std::fill_n(values_.begin() + static_cast<std::ptrdiff_t>(i + 40), 16, 0x0303'0303'0303'0303);
    }
    writes.push_back(folder_.file("middle"));
    must_run(writes);
    must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "-o",
              std::get<2>(GetParam()), folder_.file("top")});
  }

  DiskOptions options() const {
    DiskOptions options;
    options.path = folder_.file("top");
    options.format = Format::kQcow2;
    options.io = std::get<0>(GetParam());
    options.cache = std::get<1>(GetParam());
    options.discard = DiscardMode::kUnmap;
    return options;
  }

  TemporaryFolder folder_;
  std::vector<uint64_t> values_;
};

TEST_P(ChainUnderLoad, EveryReadOfManyAtOnceFindsWhatWasWrittenLast) {
  ASSERT_NO_FATAL_FAILURE(make());
  Loop loop;
  for (uint64_t round = 0; round < 3 && !HasFailure(); ++round) {
    const auto disk = open_disk(*loop, options());
    ASSERT_TRUE(disk) << disk.error().message();
    Load load(loop, **disk, values_, 100 + round);
    load.run(2000);
    EXPECT_GE(load.most_at_once(), kDepth * 3 / 4);
    ASSERT_TRUE(drain(*loop, **disk, std::chrono::seconds(30)));
  }
  must_run({"qemu-img", "check", "-q", "-f", "qcow2", folder_.file("top")});
  must_run(
      {"qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", folder_.file("top"), folder_.file("theirs")});
  const std::vector<std::byte> theirs = read_file(folder_.file("theirs"));
  ASSERT_EQ(theirs.size(), kSectors * kSectorBytes);
  for (uint64_t i = 0; i < kSectors; ++i) {
    ASSERT_EQ(load_le<uint64_t>(theirs.data() + i * kSectorBytes), values_[i]) << "QEMU reads sector " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ChainUnderLoad,
                         testing::Combine(testing::Values(EngineKind::kIoUring, EngineKind::kThreads),
                                          testing::Values(CacheMode::kNone, CacheMode::kWriteback),
                                          testing::Values("cluster_size=512",
                                                          "cluster_size=64k,extended_l2=on")));

}  // namespace
}  // namespace vmm::block

// Crashes at any moment of random workloads: what was flushed is there, every other sector is old or new, and
// the image has no corruption.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>

#include "block/compressed_writes.h"
#include "block/compressor.h"
#include "tests/unit/block/qcow2/crafted.h"
#include "tests/unit/block/qcow2/crash_options.h"
#include "tests/unit/block/qcow2/offline.h"
#include "tests/unit/block/qcow2/qcow2_world.h"
#include "tests/unit/block/qcow2/qemu_judge.h"

namespace vmm::block::qcow2 {
namespace {

// What a sector may hold after a crash. Values of one sector come from operations, each with the times of its
// beginning and its end.
class SectorModel {
 public:
  struct Version {
    uint64_t value = 0;
    uint64_t begun = 0;
    uint64_t done = UINT64_MAX;  // not yet
    bool is_hint = false;        // a discard: may be as if it had never been
  };

  explicit SectorModel(uint64_t value) { versions_.push_back({.value = value, .begun = 0, .done = 0}); }

  void begin(const Version& version) { versions_.push_back(version); }
  void end(uint64_t begun, uint64_t now) {
    for (Version& version : versions_) {
      if (version.begun == begun && version.done == UINT64_MAX) {
        version.done = now;
      }
    }
  }
  // A flush that began then is done: what was followed by something done before it is history.
  void flushed(uint64_t begun) {
    uint64_t newest = 0;
    for (const Version& version : versions_) {
      if (version.done < begun && !version.is_hint) {
        newest = std::max(newest, version.begun);
      }
    }
    superseded(newest);
  }
  // What began then is durable.
  void superseded(uint64_t begun) {
    std::erase_if(versions_, [begun](const Version& version) { return version.done < begun; });
  }
  bool allows(uint64_t value) const {
    return std::ranges::any_of(versions_, [value](const Version& version) { return version.value == value; });
  }

 private:
  std::vector<Version> versions_;
};

// How much is done, and what came of it.
struct Session {
  uint64_t offline_one_in = 6;  // of the calls of an offline change, one in so many is judged
  uint64_t crashes = 0;
  uint64_t snapshots = 0;  // whose contents were compared
  QemuJudge qemu;
};

class Workload {
 public:
  Workload(const WorldOptions& options, uint64_t seed, std::shared_ptr<CrashDisk> disk, Session& session)
      : session_(session), options_(options), random_(seed), disk_(std::move(disk)) {
    snapshots_ = state_of(disk_->content(), options_).snapshots;
    image_ = std::make_unique<OpenImage>(disk_, options_, false);
    compressor_ = make_compressor(
        options_.create.compression == CompressionType::kZstd ? Compression::kZstd : Compression::kDeflate);
    const auto content = image_->read_all();
    for (size_t at = 0; at < content.size(); at += kSectorBytes) {
      sectors_.emplace_back(load_le<uint64_t>(content.data() + at));
    }
  }
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  ~Workload() { image_.reset(); }

  // One step: a new operation, or an answer of the disk.
  void step() {
    ++now_;
    const bool may_begin = in_flight_ < 8;
    if (image_->waiting() == 0 || (may_begin && random_() % 3 == 0)) {
      begin();
    } else {
      image_->answer(random_() % image_->waiting());
    }
  }

  void judge_crash() {
    ++session_.crashes;
    auto left = std::make_shared<CrashDisk>(disk_->crash(random_));
    const CheckResult result = check_of(*left);
    ASSERT_EQ(result.corruptions, 0U) << text_of(result);
    ASSERT_NO_FATAL_FAILURE(judge_snapshots(*left));
    OpenImage reopened(left, options_, true);
    judge_content(reopened);
  }

  // Nothing that is done to the disk changes them.
  void judge_snapshots(CrashDisk& left) {
    const auto table = read_snapshot_table(left, read_header(left).value());
    ASSERT_TRUE(table) << table.error().message();
    ASSERT_EQ(table->snapshots.size(), snapshots_.size());
    for (const Snapshot& snapshot : table->snapshots) {
      ++session_.snapshots;
      ASSERT_EQ(content_of(left.content(), options_, &snapshot),
                snapshots_[snapshot.id + " " + snapshot.name])
          << "snapshot " << snapshot.name << " at step " << now_;
    }
  }

  void judge_by_qemu() {
    if (session_.qemu.has_time()) {
      session_.qemu.judge(disk_->crash(random_), options_);
    }
  }

  void judge_content(OpenImage& image) {
    const auto content = image.read_all();
    for (size_t sector = 0; sector < sectors_.size(); ++sector) {
      const std::byte* bytes = content.data() + sector * kSectorBytes;
      const auto value = load_le<uint64_t>(bytes);
      ASSERT_TRUE(sectors_[sector].allows(value))
          << "sector " << sector << " holds " << std::hex << value << " at step " << std::dec << now_;
      for (size_t at = 8; at < kSectorBytes; at += 8) {
        ASSERT_EQ(load_le<uint64_t>(bytes + at), value) << "sector " << sector << " is torn";
      }
    }
  }

  // Closed as it should be: nothing is lost, nothing leaks.
  void close() {
    image_->settle();
    image_.reset();
    const CheckResult result = check_of(*disk_);
    EXPECT_TRUE(result.is_clean()) << text_of(result);
  }

  std::shared_ptr<CrashDisk> crashed() { return std::make_shared<CrashDisk>(disk_->crash(random_)); }

 private:
  struct Operation {
    Workload* workload = nullptr;
    uint64_t begun = 0;
    BlockOp op = BlockOp::kWrite;
    uint64_t first = 0;
    uint64_t count = 0;
    std::vector<std::byte> data;
    std::vector<std::byte> stored;  // compressed
    std::array<iovec, 2> vectors{};
  };

  void begin() {
    Operation* operation = operations_.emplace_back(std::make_unique<Operation>()).get();
    operation->workload = this;
    operation->begun = now_;
    const uint64_t kind = random_() % 16;
    operation->op = kind < 9    ? BlockOp::kWrite
                    : kind < 11 ? BlockOp::kWriteZeroes
                    : kind < 13 ? BlockOp::kDiscard
                                : BlockOp::kFlush;
    BlockRequest request;
    request.op = operation->op;
    const bool is_compressed =
        operation->op == BlockOp::kWrite && random_() % 4 == 0 && (*image_)->compressed_writes() != nullptr;
    if (operation->op != BlockOp::kFlush) {
      choose_range(*operation);
      if (is_compressed) {
        become_one_cluster(*operation);
      }
      request.offset = DiskOffset(operation->first * kSectorBytes);
      request.length_bytes = operation->count * kSectorBytes;
    }
    uint64_t value = 0;
    if (operation->op == BlockOp::kWrite) {
      value = ++next_value_;
      fill(*operation, value);
      request.buffers = operation->vectors;
      request.force_unit_access = random_() % 16 == 0;
      if (request.force_unit_access) {
        operation->op = BlockOp::kRead;  // see done()
      }
    }
    request.may_unmap = random_() % 2 == 0;
    for (uint64_t i = 0; i < operation->count; ++i) {
      sectors_[operation->first + i].begin(
          {.value = value, .begun = now_, .is_hint = operation->op == BlockOp::kDiscard});
    }
    request.completion = Completion(&Workload::done, operation, 0);
    ++in_flight_;
    if (is_compressed && compress(*operation)) {
      request.buffers = std::span(operation->vectors).first(1);
      (*image_)->compressed_writes()->submit_compressed(std::move(request));
    } else {
      (*image_)->submit(std::move(request));
    }
  }

  void become_one_cluster(Operation& operation) const {
    const uint64_t cluster_sectors = (uint64_t{1} << options_.create.cluster_bits) / kSectorBytes;
    operation.first -= operation.first % cluster_sectors;
    operation.count = std::min<uint64_t>(cluster_sectors, sectors_.size() - operation.first);
  }

  // Into the first vector.
  bool compress(Operation& operation) {
    std::vector<std::byte> cluster(size_t{1} << options_.create.cluster_bits);
    std::ranges::copy(operation.data, cluster.begin());
    operation.stored.resize(cluster.size() - 1);
    const size_t bytes = compressor_->run(cluster, operation.stored);
    // Of some length between that and a cluster: what follows does not count.
    const size_t padded = bytes + random_() % (cluster.size() - bytes);
    operation.vectors[0] = {.iov_base = operation.stored.data(), .iov_len = padded};
    return bytes > 0;
  }

  void choose_range(Operation& operation) {
    const uint64_t cluster_sectors =
        std::max<uint64_t>((uint64_t{1} << options_.create.cluster_bits) / kSectorBytes, 1);
    const uint64_t most = random_() % 3 == 0 ? 4 * cluster_sectors : 6;
    operation.count = 1 + random_() % most;
    operation.first = random_() % sectors_.size();
    if (random_() % 2 == 0) {
      operation.first -= operation.first % cluster_sectors;
      operation.count = cluster_sectors * (1 + random_() % 3);
    }
    operation.count = std::min<uint64_t>(operation.count, sectors_.size() - operation.first);
  }

  static void fill(Operation& operation, uint64_t value) {
    operation.data.resize(operation.count * kSectorBytes);
    for (size_t at = 0; at < operation.data.size(); at += 8) {
      store_le<uint64_t>(operation.data.data() + at, value);
    }
    const size_t cut = operation.data.size() / 3;
    operation.vectors[0] = {.iov_base = operation.data.data(), .iov_len = cut};
    operation.vectors[1] = {.iov_base = operation.data.data() + cut, .iov_len = operation.data.size() - cut};
  }

  static void done(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto* operation = static_cast<Operation*>(context);
    Workload& self = *operation->workload;
    EXPECT_EQ(status, IoStatus::kOk);
    --self.in_flight_;
    const uint64_t now = ++self.now_;
    for (uint64_t i = 0; i < operation->count; ++i) {
      self.sectors_[operation->first + i].end(operation->begun, now);
    }
    if (operation->op == BlockOp::kFlush) {
      for (SectorModel& sector : self.sectors_) {
        sector.flushed(operation->begun);
      }
    } else if (operation->op == BlockOp::kRead) {  // with force_unit_access: durable at its end
      for (uint64_t i = 0; i < operation->count; ++i) {
        self.sectors_[operation->first + i].superseded(operation->begun);
      }
    }
    std::erase_if(self.operations_, [operation](const auto& each) { return each.get() == operation; });
  }

  Session& session_;
  WorldOptions options_;
  std::mt19937_64 random_;
  std::shared_ptr<CrashDisk> disk_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::unique_ptr<OpenImage> image_;
  std::map<std::string, std::vector<std::byte>> snapshots_;  // contents, by "ID name"
  std::vector<SectorModel> sectors_;
  uint64_t now_ = 1;
  uint64_t next_value_ = 0x1000;
  uint32_t in_flight_ = 0;
  std::unique_ptr<Compressor> compressor_;
};

// What is done to an image that is not in use: snapshots, another size, emptying.
Change random_change(CrashDisk& disk, const WorldOptions& options, std::mt19937_64& random) {
  const Header header = read_header(disk).value();
  const auto snapshots = read_snapshot_table(disk, header)->snapshots;
  if (random() % 10 == 0) {
    return empties();
  }
  const uint64_t kind = random() % 8;
  if (snapshots.empty() || (kind < 3 && snapshots.size() < 5)) {
    return creates(fmt::format("s{}", random() % 100));
  }
  const Snapshot& any = snapshots[random() % snapshots.size()];
  if (kind < 5) {
    return applies(any.id);
  }
  if (kind == 5 || header.version == 2) {
    return deletes(any.name);
  }
  const uint64_t now = header.size_bytes / kSectorBytes;
  if (kind == 6 && now > 64) {
    return shrinks((now - random() % 32) * kSectorBytes);
  }
  const uint64_t size_bytes = align_up((now + random() % 64) * kSectorBytes, header.cluster_bytes());
  return grows(size_bytes, options.base_sectors * kSectorBytes,
               random() % 2 == 0 ? Preallocation::kMetadata : Preallocation::kOff);
}

void change_offline(const std::shared_ptr<CrashDisk>& disk, const WorldOptions& options,
                    std::mt19937_64& random, Session& session) {
  for (int i = 0; i < 2 && !testing::Test::HasFailure(); ++i) {
    const Status done = change_and_crash(disk, options, random_change(*disk, options, random), random,
                                         {.one_in = session.offline_one_in, .judged = &session.crashes});
    if (!done) {
      EXPECT_NE(done.error().message().find("would be used by more than refcounts of"), std::string::npos)
          << done.error().message();
    }
    const CheckResult result = check_of(*disk);
    EXPECT_EQ(result.corruptions, 0U) << text_of(result);
  }
}

void run_case(uint64_t seed, Session& session) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  const WorldOptions options = random_options(random);
  SCOPED_TRACE(text_of(options));
  auto disk = make_disk(options);
  craft(*disk, options, random);
  for (int generation = 0; generation < 2 && !testing::Test::HasFailure(); ++generation) {
    Workload workload(options, random(), disk, session);
    for (int step = 0; step < 150; ++step) {
      workload.step();
      if (random() % 8 == 0) {
        workload.judge_crash();
        if (testing::Test::HasFailure()) {
          return;
        }
      }
    }
    workload.judge_by_qemu();
    disk = workload.crashed();
    if (generation == 0) {
      workload.close();
    }
    change_offline(disk, options, random, session);
  }
}

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// VMM_CRASH_SEEDS=100000 VMM_CRASH_FIRST_SEED=1: many more.
TEST(Qcow2Crash, AtAnyMomentLeavesASoundImageWithWhatWasFlushed) {
  const uint64_t first = number_from_environment("VMM_CRASH_FIRST_SEED", 1);
  const uint64_t seeds = number_from_environment("VMM_CRASH_SEEDS", 60);
  Session session{.offline_one_in = number_from_environment("VMM_CRASH_OFFLINE_ONE_IN", 6),
                  .qemu = QemuJudge(number_from_environment("VMM_CRASH_QEMU_CHECKS", 30))};
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    run_case(seed, session);
    if (testing::Test::HasFailure()) {
      return;
    }
  }
  std::cout << session.crashes << " crashes judged, and the contents of " << session.snapshots
            << " snapshots in them; " << session.qemu.judged() << " states by qemu-img check\n";
}

}  // namespace
}  // namespace vmm::block::qcow2

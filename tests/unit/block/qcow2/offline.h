// Changes of images that are not in use: what an image holds as a whole, disk and snapshots, and a file that
// can be crashed or fail at each step of a change.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>

#include "block/qcow2/make_empty.h"
#include "block/qcow2/resize.h"
#include "block/qcow2/snapshot.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {

// On a CrashDisk; each call is told when it is done, and may be made to fail.
class WatchedFile final : public SyncFile {
 public:
  explicit WatchedFile(std::shared_ptr<CrashDisk> disk) : disk_(std::move(disk)) {}

  std::function<void()> after_call = [] {};
  uint64_t calls = 0;
  // Calls from the one on fail, those from the other on not any more.
  uint64_t fail_from = UINT64_MAX;
  uint64_t fail_until = UINT64_MAX;

  const std::string& path() const override { return disk_->path(); }
  Result<uint64_t> size() override { return disk_->size(); }
  Status read(FileOffset offset, std::span<std::byte> to) override { return disk_->read(offset, to); }
  Status write(FileOffset offset, std::span<const std::byte> from) override {
    return counted([&] { return disk_->write(offset, from); });
  }
  Status sync() override {
    return counted([&] { return disk_->sync(); });
  }
  Status resize(uint64_t bytes) override {
    return counted([&] { return disk_->resize(bytes); });
  }
  void discard(FileOffset offset, uint64_t bytes) override {
    static_cast<void>(!counted([&] {
      disk_->discard(offset, bytes);
      return Status();
    }));
  }

 private:
  template <typename Call>
  Status counted(Call call) {
    const uint64_t number = calls++;
    if (number >= fail_from && number < fail_until) {
      return fail("{}: the disk is full", path());
    }
    VMM_TRY(call());
    after_call();
    return {};
  }

  std::shared_ptr<CrashDisk> disk_;
};

struct WholeState {
  std::vector<std::byte> disk;
  std::map<std::string, std::vector<std::byte>> snapshots;  // by "ID name"

  bool operator==(const WholeState&) const = default;
};

// As a disk: what the header says, but with the snapshot's L1 table.
inline std::vector<std::byte> content_of(const std::vector<std::byte>& bytes, const WorldOptions& options,
                                         const Snapshot* snapshot = nullptr) {
  auto disk = std::make_shared<CrashDisk>(bytes);
  if (snapshot != nullptr) {
    Header header = read_header(*disk).value();
    header.l1_offset = snapshot->l1_offset;
    header.l1_entries = snapshot->l1_entries;
    header.size_bytes = snapshot->disk_bytes;
    EXPECT_TRUE(write_header(*disk, header));
  }
  OpenImage image(disk, options, true);
  return image.read_all();
}

inline WholeState state_of(const std::vector<std::byte>& bytes, const WorldOptions& options) {
  WholeState state{.disk = content_of(bytes, options), .snapshots = {}};
  CrashDisk disk(bytes);
  const auto table = read_snapshot_table(disk, read_header(disk).value());
  EXPECT_TRUE(table) << table.error().message();
  for (const Snapshot& snapshot : table->snapshots) {
    state.snapshots[snapshot.id + " " + snapshot.name] = content_of(bytes, options, &snapshot);
  }
  return state;
}

using Change = std::function<Status(SyncFile& file, Header& header)>;

inline Status change_image(SyncFile& file, const Change& change) {
  auto header = read_header(file);
  EXPECT_TRUE(header) << header.error().message();
  VMM_TRY(prepare_for_maintenance(file, *header));
  return change(file, *header);
}

// Makes the change, and at each of its writes and syncs looks at what a crash would leave there: an image
// without errors, that is the old one or the new one.
struct Judging {
  uint64_t one_in = 1;         // one of so many calls is looked at
  uint64_t* judged = nullptr;  // counts those
};
inline Status change_and_crash(const std::shared_ptr<CrashDisk>& disk, const WorldOptions& options,
                               const Change& change, std::mt19937_64& random, Judging judging = {}) {
  // The new state, by a change without a crash.
  auto copy = std::make_shared<CrashDisk>(disk->content());
  if (const Status done = change_image(*copy, change); !done) {
    return done;
  }
  const WholeState before = state_of(disk->content(), options);
  const WholeState after = state_of(copy->content(), options);
  WatchedFile file(disk);
  file.after_call = [&] {
    if (random() % judging.one_in != 0 || testing::Test::HasFailure()) {
      return;
    }
    if (judging.judged != nullptr) {
      ++*judging.judged;
    }
    const std::vector<std::byte> left = disk->crash(random);
    CrashDisk crashed(left);
    const CheckResult result = check_of(crashed);
    ASSERT_EQ(result.corruptions, 0U) << "at call " << file.calls << ": " << text_of(result);
    const WholeState state = state_of(left, options);
    EXPECT_TRUE(state == before || state == after) << "neither old nor new, at call " << file.calls;
  };
  const Status done = change_image(file, change);
  if (done && !testing::Test::HasFailure()) {
    EXPECT_EQ(state_of(disk->content(), options), after);
  }
  return done;
}

// Makes the change once for each of its writes, syncs and resizes, which fails then, alone or with all that
// follow: an error in words, an image that is the old one or the new one and has no errors, and where it is
// the old one the next try works. `disk` stays as it is.
inline void fail_at_each_step(const CrashDisk& disk, const WorldOptions& options, const Change& change) {
  const WholeState before = state_of(disk.content(), options);
  auto changed = std::make_shared<CrashDisk>(disk.content());
  ASSERT_TRUE(change_image(*changed, change));
  const WholeState after = state_of(changed->content(), options);
  for (const uint64_t times : std::initializer_list<uint64_t>{1, 1'000'000}) {
    uint64_t failures = 0;
    bool is_over = false;
    for (uint64_t step = 0; !is_over; ++step) {
      SCOPED_TRACE(fmt::format("step {}, {} times", step, times));
      ASSERT_LT(step, 1000U);
      auto copy = std::make_shared<CrashDisk>(disk.content());
      WatchedFile file(copy);
      file.fail_from = step;
      file.fail_until = step + times;
      const Status done = change_image(file, change);
      is_over = file.calls <= step;
      failures += done ? 0 : 1;
      EXPECT_TRUE(done || done.error().message().find("the disk is full") != std::string::npos)
          << done.error().message();
      const CheckResult result = check_of(*copy);
      ASSERT_TRUE(result.is_clean()) << text_of(result);
      const WholeState left = state_of(copy->content(), options);
      ASSERT_TRUE(left == before || left == after);
      if (!done && left == before) {
        ASSERT_TRUE(change_image(*copy, change));
        ASSERT_TRUE(check_of(*copy).is_clean());
        ASSERT_EQ(state_of(copy->content(), options), after);
      }
    }
    EXPECT_GT(failures, 2U);
  }
}

inline Change creates(const std::string& name) {
  return [name](SyncFile& file, Header& header) {
    return create_snapshot(file, header,
                           {.name = name, .date_seconds = 1'700'000'000, .date_nanoseconds = 5});
  };
}
inline Change applies(const std::string& which) {
  return [which](SyncFile& file, Header& header) { return apply_snapshot(file, header, which); };
}
inline Change deletes(const std::string& which) {
  return [which](SyncFile& file, Header& header) { return delete_snapshot(file, header, which); };
}

inline Change empties() {
  return [](SyncFile& file, Header& header) { return make_empty(file, header); };
}

// Where zeroes would be needed, it remains at the preparation.
inline Change grows(uint64_t size_bytes, uint64_t backing_bytes, Preallocation preallocation) {
  return [=](SyncFile& file, Header& header) -> Status {
    VMM_TRY(check_resize(file, header, size_bytes));
    VMM_TRY(begin_growing(file, header, size_bytes, preallocation));
    return zeroes_needed(header, size_bytes, backing_bytes, preallocation)
               ? Status()
               : finish_growing(file, header, size_bytes);
  };
}
inline Change shrinks(uint64_t size_bytes) {
  return [=](SyncFile& file, Header& header) -> Status {
    VMM_TRY(check_resize(file, header, size_bytes));
    return shrink(file, header, size_bytes);
  };
}

}  // namespace vmm::block::qcow2

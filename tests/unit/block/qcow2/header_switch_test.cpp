// Another header in place of the old one: whatever crash comes, a reader finds the old one or the new one.
#include "block/qcow2/header_switch.h"

#include <gmock/gmock.h>

#include "tests/unit/block/qcow2/offline.h"

namespace vmm::block::qcow2 {
namespace {

using testing::HasSubstr;

// All that a header says, but for names of features.
std::vector<std::byte> meaning_of(const Header& header) {
  std::vector<std::byte> bytes = serialise_short_header(header, 1);
  const auto name = as_bytes(header.backing_file);
  bytes.insert(bytes.end(), name.begin(), name.end());
  return bytes;
}

class Headers {
 public:
  explicit Headers(uint64_t seed) : random_(seed) {}

  Header any() {
    Header header;
    header.version = chance(4) ? 2 : 3;
    header.cluster_bits = std::array{9U, 10U, 11U, 12U, 16U}.at(random_() % 5);
    header.size_bytes = uint64_t{1} << 20U;
    header.l1_entries = static_cast<uint32_t>(header.l1_entries_of_disk());
    header.refcount_table_offset = header.cluster_bytes();
    header.refcount_table_clusters = 1;
    header.l1_offset = 8 * header.cluster_bytes();
    if (header.version == 3 && !chance(4)) {
      header.feature_names = known_feature_names();
    }
    change(header);
    return header;
  }

  void change(Header& header) {
    header.l1_offset += header.cluster_bytes();
    if (chance(2)) {
      const uint64_t most = header.cluster_bits < 12 ? 400 : kMaxBackingNameBytes;
      header.backing_file =
          std::string(chance(4) ? 0 : random_() % most, static_cast<char>('a' + random_() % 26));
    }
    if (chance(2)) {
      header.backing_format =
          chance(3) ? std::nullopt : std::optional<std::string>(chance(2) ? "raw" : "qcow2");
    }
    if (chance(3)) {
      header.unknown_extensions = {{.type = 0x12345678, .bytes = std::vector(random_() % 100, std::byte{7})}};
    }
    if (header.version == 3 && chance(2)) {
      header.bitmaps.reset();
      header.autoclear = chance(2) ? 0 : kAutoclearBitmaps;
      if (header.autoclear != 0) {
        header.bitmaps = {.count = 1, .directory_bytes = 24, .directory_offset = 9 * header.cluster_bytes()};
      }
    }
  }

  bool chance(uint64_t one_in) { return random_() % one_in == 0; }
  std::mt19937_64& random() { return random_; }

 private:
  std::mt19937_64 random_;
};

std::vector<std::byte> content_with(const Header& header, bool has_name_at_end) {
  std::vector<std::byte> area = serialise_header(header, "a.qcow2").value_or(std::vector<std::byte>());
  const bool fits = !area.empty();
  area.resize(fits ? header.cluster_bytes() : 0);
  if (fits && has_name_at_end && !header.backing_file.empty()) {
    const uint64_t place = area.size() - header.backing_file.size();
    std::ranges::copy(as_bytes(header.backing_file), area.begin() + static_cast<ptrdiff_t>(place));
    store_be<uint64_t>(area.data() + 8, place);
  }
  return area;
}

// True: it was switched.
bool run_case(uint64_t seed) {
  Headers headers(seed);
  const Header old = headers.any();
  auto disk = std::make_shared<CrashDisk>(content_with(old, headers.chance(3)));
  if (disk->content().empty()) {
    return false;
  }
  Header now = old;
  headers.change(now);
  const auto before = meaning_of(old);
  const auto after = meaning_of(now);
  EXPECT_EQ(meaning_of(read_header(*disk).value()), before);
  WatchedFile file(disk);
  const auto judge = [&](const std::vector<std::byte>& left) {
    const auto found = parse_header(left, "left");
    ASSERT_TRUE(found) << "at call " << file.calls << ": " << found.error().message();
    const auto meaning = meaning_of(*found);
    EXPECT_TRUE(meaning == before || meaning == after) << "neither old nor new, at call " << file.calls;
  };
  file.after_call = [&] {
    for (int i = 0; i < 4; ++i) {
      judge(disk->crash(headers.random()));
    }
  };
  const Status done = switch_header(file, now);
  if (!done) {
    EXPECT_THAT(done.error().message(), HasSubstr("header"));
  }
  const Header left = read_header(*disk).value();
  EXPECT_EQ(meaning_of(left), done ? after : before);
  // Where there is room.
  EXPECT_TRUE(!done || now.cluster_bits < 16 || left.feature_names.size() == now.feature_names.size());
  return done.has_value();
}

TEST(Qcow2HeaderSwitch, AtAnyCrashTheHeaderIsTheOldOneOrTheNewOne) {
  int switched = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    switched += run_case(seed) ? 1 : 0;
    if (testing::Test::HasFailure()) {
      return;
    }
  }
  EXPECT_GT(switched, 2000);
}

TEST(Qcow2HeaderSwitch, NamesOfFeaturesAreThereAgainAfterwards) {
  Header header = Headers(1).any();
  header.version = 3;
  header.cluster_bits = 16;
  header.refcount_table_offset = header.cluster_bytes();
  header.l1_offset = 2 * header.cluster_bytes();
  header.bitmaps.reset();
  header.autoclear = 0;
  header.feature_names = known_feature_names();
  header.backing_file = "old";
  CrashDisk disk(content_with(header, false));
  for (const size_t bytes : {size_t{1023}, size_t{5}, size_t{0}, size_t{600}, size_t{600}}) {
    header.backing_file = std::string(bytes, 'n');
    ASSERT_TRUE(switch_header(disk, header));
    EXPECT_EQ(header.backing_file, std::string(bytes, 'n'));
    EXPECT_EQ(header.feature_names.size(), known_feature_names().size());
  }
}

TEST(Qcow2HeaderSwitch, WhatDoesNotFitIsRefusedAndNothingChanges) {
  Header header = Headers(1).any();
  header.version = 3;
  header.cluster_bits = 12;
  header.refcount_table_offset = header.cluster_bytes();
  header.l1_offset = 2 * header.cluster_bytes();
  header.bitmaps.reset();
  header.autoclear = 0;
  CrashDisk disk(content_with(header, false));
  const auto before = disk.content();
  Header now = header;
  now.unknown_extensions = {{.type = 0x12345678, .bytes = std::vector<std::byte>(500)}};
  const Status done = switch_header(disk, now);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("too long to be changed safely"));
  EXPECT_EQ(disk.content(), before);
}

}  // namespace
}  // namespace vmm::block::qcow2

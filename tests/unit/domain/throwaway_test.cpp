#include "vmm/domain/throwaway.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::HasSubstr;
using testing::read;

std::string written_disk(const std::string& target, const std::string& more = "") {
  return "<disk type='file'><source file='" + target + ".img'/><target dev='" + target + "'/>" + more +
         "</disk>";
}

Domain domain_of(const std::string& devices) {
  Reading reading = read(DomainText{.devices = devices});
  EXPECT_TRUE(reading.domain.has_value()) << (reading.diagnostics.empty() ? "" : reading.diagnostics[0].text);
  return *std::move(reading.domain);
}

std::string refusal(const std::string& devices, const ThrowawayOptions& options) {
  Domain domain = domain_of(devices);
  const Status status = make_throwaway(domain, options);
  if (status) {
    return "";
  }
  EXPECT_EQ(status.error().kind(), ErrorKind::kConfiguration);
  return status.error().message();
}

TEST(ThrowawayDomain, EveryDiskThatIsWrittenTo) {
  Domain domain = domain_of(written_disk("vda") + written_disk("vdb", "<readonly/>") + written_disk("vdc"));
  ASSERT_TRUE(make_throwaway(domain, {.every_disk = true, .folder = "here"}));
  EXPECT_TRUE(domain.disks[0].transient);
  EXPECT_FALSE(domain.disks[1].transient);
  EXPECT_TRUE(domain.disks[2].transient);
  EXPECT_EQ(domain.throwaway.folder, std::filesystem::current_path() / "here");
  EXPECT_FALSE(domain.throwaway.in_memory);
}

TEST(ThrowawayDomain, WithoutOptionsNothingChanges) {
  Domain domain = domain_of(written_disk("vda", "<transient/>") + written_disk("vdb"));
  ASSERT_TRUE(make_throwaway(domain, {}));
  EXPECT_TRUE(domain.disks[0].transient);
  EXPECT_FALSE(domain.disks[1].transient);
}

TEST(ThrowawayDomain, TheOnlyDiskIsKeptByItsFile) {
  Domain domain = domain_of(written_disk("vda") + written_disk("vdb", "<transient/>"));
  ASSERT_TRUE(make_throwaway(domain, {.keep = {"/kept=1.qcow2"}}));
  EXPECT_EQ(domain.disks[1].kept_as, "/kept=1.qcow2");
}

TEST(ThrowawayDomain, OneOfSeveralIsKeptByItsName) {
  Domain domain = domain_of(written_disk("vda") + written_disk("vdb"));
  ASSERT_TRUE(make_throwaway(domain, {.every_disk = true, .keep = {"vdb=/kept.qcow2"}}));
  EXPECT_TRUE(domain.disks[0].kept_as.empty());
  EXPECT_EQ(domain.disks[1].kept_as, "/kept.qcow2");
}

TEST(ThrowawayDomain, WhatDoesNotGoTogetherIsRefused) {
  const std::string two = written_disk("vda") + written_disk("vdb");
  EXPECT_THAT(refusal(two, {.every_disk = true, .in_memory = true, .folder = "x"}),
              HasSubstr("--ephemeral=memory and --ephemeral-dir"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .in_memory = true, .keep = {"x"}}),
              HasSubstr("--ephemeral=memory and --keep"));
  EXPECT_THAT(refusal(two, {.folder = "x"}), HasSubstr("--ephemeral-dir: no disk of guest.xml is throwaway"));
  EXPECT_THAT(refusal(two, {.keep = {"x"}}), HasSubstr("--keep: no disk of guest.xml is throwaway"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"/x"}}), HasSubstr("say which: --keep vda=/x"));
  EXPECT_THAT(refusal(written_disk("vda") + written_disk("vdb", "<transient/>"), {.keep = {"vda=/x"}}),
              HasSubstr("the disk vda is not throwaway"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vda=/x", "vda=/y"}}),
              HasSubstr("vda is kept as /x already"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vda=/x", "vdb=/x"}}),
              HasSubstr("does not write over it"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vda=/dev/null"}}),
              HasSubstr("there is such a file already"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {""}}), HasSubstr("names no file"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vdb="}}), HasSubstr("--keep vdb=: names no file"));
  EXPECT_THAT(refusal(written_disk("vda", "<shareable/>"), {.every_disk = true}), HasSubstr("<shareable/>"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .in_memory = true, .is_committed = true}),
              HasSubstr("--ephemeral=memory and --commit"));
  EXPECT_THAT(
      refusal(two, {.every_disk = true, .is_encrypted = true, .is_committed = true}),
      HasSubstr("--ephemeral-encrypt and --commit: only one of them is possible; what stays needs a key"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vda=/x"}, .is_encrypted = true}),
              HasSubstr("--ephemeral-encrypt and --keep"));
  EXPECT_THAT(refusal(two, {.limit = "1G"}),
              HasSubstr("--ephemeral-limit: no disk of guest.xml is throwaway"));
  EXPECT_THAT(refusal(two, {.is_encrypted = true}), HasSubstr("--ephemeral-encrypt: no disk"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vda=/tmp/x", "vdb=/tmp/./y/../x"}}),
              HasSubstr("does not write over it"));
  EXPECT_THAT(refusal(two, {.every_disk = true, .keep = {"vdc=x"}}),
              HasSubstr("--keep vdc=x: there is no disk vdc; of a file with such a name, write ./vdc=x"));
  EXPECT_THAT(refusal(written_disk("vda"), {.every_disk = true, .keep = {"/x"}, .is_committed = true}),
              HasSubstr("nothing is committed"));
  EXPECT_THAT(refusal(two, {.is_committed = true}), HasSubstr("--commit: no disk"));
}

TEST(ThrowawayDomain, ALimitIsASizeOfSomeUse) {
  Domain domain = domain_of(written_disk("vda"));
  ASSERT_TRUE(make_throwaway(domain, {.every_disk = true, .limit = "500M"}));
  EXPECT_EQ(domain.throwaway.limit_bytes, uint64_t{500} << 20U);
  for (const std::string limit : {"0", "1000k", "much", "-1", "1M2", "99E"}) {
    EXPECT_THAT(refusal(written_disk("vda"), {.every_disk = true, .limit = limit}),
                HasSubstr("--ephemeral-limit"));
  }
}

TEST(ThrowawayDomain, WhatIsKeptIsNotCommitted) {
  Domain domain = domain_of(written_disk("vda") + written_disk("vdb") + written_disk("vdc", "<readonly/>"));
  ASSERT_TRUE(make_throwaway(domain, {.every_disk = true, .keep = {"vda=/kept"}, .is_committed = true}));
  EXPECT_FALSE(domain.disks[0].is_committed);
  EXPECT_TRUE(domain.disks[1].is_committed);
  EXPECT_FALSE(domain.disks[2].is_committed);
}

}  // namespace
}  // namespace vmm::domain

// <memballoon> and <currentMemory>.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using testing::warnings;

DomainText with_balloon(const std::string& balloon, const std::string& others = "") {
  DomainText text;
  text.others = others;
  text.devices = balloon;
  return text;
}

TEST(DomainBalloon, IsThereWhereTheFileHasIt) {
  EXPECT_FALSE(read(DomainText{}).domain->balloon);
  EXPECT_FALSE(read(with_balloon("<memballoon model='none'/>")).domain->balloon);
  const auto reading = read(with_balloon("<memballoon model='virtio'/>"));
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain && reading.domain->balloon);
  EXPECT_FALSE(reading.domain->balloon->deflates_on_oom);
  EXPECT_FALSE(reading.domain->balloon->reports_free_pages);
  EXPECT_FALSE(reading.domain->balloon->address);
  EXPECT_EQ(reading.domain->current_memory_bytes, reading.domain->memory_bytes);
}

TEST(DomainBalloon, OptionsAndPlaceAreKept) {
  const auto reading = read(
      with_balloon("<memballoon model='virtio' autodeflate='on' freePageReporting='on'><address type='pci' "
                   "domain='0x0000' "
                   "bus='0x00' slot='0x05' function='0x0'/></memballoon>",
                   "<currentMemory unit='KiB'>32769</currentMemory>"));
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  ASSERT_TRUE(reading.domain && reading.domain->balloon);
  EXPECT_TRUE(reading.domain->balloon->deflates_on_oom);
  EXPECT_TRUE(reading.domain->balloon->reports_free_pages);
  ASSERT_TRUE(reading.domain->balloon->address);
  EXPECT_EQ(reading.domain->balloon->address->slot, 5);
  EXPECT_EQ(reading.domain->current_memory_bytes, uint64_t{33} << 20);
}

TEST(DomainBalloon, MistakesAreRefused) {
  EXPECT_THAT(errors(read(with_balloon("<memballoon/>"))),
              ElementsAre(HasSubstr("guest.xml:8: <memballoon>: has no model=")));
  EXPECT_THAT(errors(read(with_balloon("<memballoon model='virtio'/><memballoon model='none'/>"))),
              ElementsAre(HasSubstr("stands twice")));
  EXPECT_THAT(
      errors(read(with_balloon("<memballoon model='virtio'><address type='pci' slot='4'/></memballoon>\n"
                               "<disk type='file'><source file='a'/><target dev='vda'/>"
                               "<address type='pci' slot='4'/></disk>"))),
      ElementsAre(HasSubstr("the device of line 8 stands there")));
}

TEST(DomainBalloon, NeedsAPlaceOnMicrovm) {
  std::string devices = "<memballoon model='virtio'/>";
  for (uint32_t i = 0; i < kMaxMicrovmDisks; ++i) {
    devices += fmt::format("<disk type='file'><source file='{0}'/><target dev='vd{0}'/></disk>",
                           static_cast<char>('a' + i));
  }
  DomainText text = with_balloon(devices);
  text.os = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>";
  EXPECT_THAT(errors(read(text)),
              ElementsAre(HasSubstr(
                  "guest.xml:8: <memballoon>: the 8 places that machine='microvm' has for virtio devices "
                  "are taken")));
}

TEST(DomainBalloon, MemoryThatStaysIsTold) {
  for (const std::string kind : {"hugepages", "locked"}) {
    const std::string backing = fmt::format("<memoryBacking><{}/></memoryBacking>", kind);
    EXPECT_THAT(warnings(read(with_balloon("<memballoon model='virtio'/>", backing))),
                ElementsAre(HasSubstr(fmt::format("<{}> keeps all of the guest's memory", kind))));
  }
}

}  // namespace
}  // namespace vmm::domain

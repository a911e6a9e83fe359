// <iotune>: what a disk may do in a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;

Reading with_iotune(const std::string& inside) {
  return read(DomainText{.devices = "<disk><source file='a'/><target dev='vda'/><iotune>" + inside +
                                    "</iotune></disk>"});
}

IoTune tune_of(const std::string& inside) {
  const Reading reading = with_iotune(inside);
  EXPECT_THAT(errors(reading), IsEmpty());
  const bool is_there = reading.domain && reading.domain->disks.front().iotune;
  EXPECT_TRUE(is_there);
  return is_there ? *reading.domain->disks.front().iotune : IoTune{};
}

TEST(DomainIoTune, LimitsAllOrEachDirection) {
  const IoTune all = tune_of("<total_bytes_sec>1000</total_bytes_sec><total_iops_sec>20</total_iops_sec>");
  EXPECT_EQ(all.total_bytes.per_second, 1000U);
  EXPECT_EQ(all.total_bytes.burst_per_second, 0U);
  EXPECT_EQ(all.total_bytes.burst_seconds, 1U);
  EXPECT_EQ(all.total_operations.per_second, 20U);
  EXPECT_EQ(all.read_bytes.per_second, 0U);
  EXPECT_EQ(all.operation_bytes, 0U);
  const IoTune each = tune_of(
      "<read_bytes_sec>1</read_bytes_sec><write_bytes_sec>2</write_bytes_sec>"
      "<read_iops_sec>3</read_iops_sec><write_iops_sec>4</write_iops_sec>");
  EXPECT_EQ(each.read_bytes.per_second, 1U);
  EXPECT_EQ(each.write_bytes.per_second, 2U);
  EXPECT_EQ(each.read_operations.per_second, 3U);
  EXPECT_EQ(each.write_operations.per_second, 4U);
}

TEST(DomainIoTune, HasBurstsAndTheSizeOfAnOperation) {
  const IoTune tune = tune_of(
      "<write_iops_sec>10</write_iops_sec><write_iops_sec_max>100</write_iops_sec_max>"
      "<write_iops_sec_max_length>60</write_iops_sec_max_length><size_iops_sec>4096</size_iops_sec>"
      "<read_bytes_sec>5</read_bytes_sec><read_bytes_sec_max>5</read_bytes_sec_max>");
  EXPECT_EQ(tune.write_operations.burst_per_second, 100U);
  EXPECT_EQ(tune.write_operations.burst_seconds, 60U);
  EXPECT_EQ(tune.operation_bytes, 4096U);
  EXPECT_EQ(tune.read_bytes.burst_per_second, 5U);
  EXPECT_EQ(tune.read_bytes.burst_seconds, 1U);
}

TEST(DomainIoTune, WithoutALimitThereIsNone) {
  for (const char* const inside :
       {"", "<total_bytes_sec>0</total_bytes_sec><read_bytes_sec>0</read_bytes_sec>"}) {
    const Reading reading = with_iotune(inside);
    EXPECT_THAT(reading.diagnostics, IsEmpty());
    EXPECT_FALSE(reading.domain->disks.front().iotune);
  }
}

TEST(DomainIoTune, MistakesAreRefusedOnceEach) {
  struct Case {
    const char* inside;
    const char* error;
  };
  for (const Case& each : {
           Case{"<total_bytes_sec>many</total_bytes_sec>", "'many' is no whole number"},
           Case{"<total_bytes_sec>-1</total_bytes_sec>", "'-1' is no whole number"},
           Case{"<total_iops_sec>1000000000000001</total_iops_sec>", "up to 1000000000000000"},
           Case{"<total_bytes_sec>1</total_bytes_sec><read_bytes_sec>1</read_bytes_sec>",
                "<total_bytes_sec> is there too"},
           Case{"<total_iops_sec>1</total_iops_sec><write_iops_sec>1</write_iops_sec>",
                "<total_iops_sec> is there too"},
           Case{"<read_bytes_sec_max>1</read_bytes_sec_max>", "<read_bytes_sec>, which is not there"},
           Case{"<read_bytes_sec>2</read_bytes_sec><read_bytes_sec_max>1</read_bytes_sec_max>",
                "lower than <read_bytes_sec>"},
           Case{"<read_bytes_sec>2</read_bytes_sec><read_bytes_sec_max_length>1</read_bytes_sec_max_length>",
                "<read_bytes_sec_max> holds, which is not there"},
           Case{"<read_iops_sec>2</read_iops_sec><read_iops_sec_max>1000000000000000</read_iops_sec_max>"
                "<read_iops_sec_max_length>2</read_iops_sec_max_length>",
                "too long for <read_iops_sec_max>"},
           Case{"<read_bytes_sec>2</read_bytes_sec><size_iops_sec>1</size_iops_sec>",
                "<total_iops_sec> and its like"},
           Case{"<group_name>a</group_name>", "disks do not share limits"},
           Case{"<total_bytes>1</total_bytes>", "unknown element"},
       }) {
    EXPECT_THAT(errors(with_iotune(each.inside)), ElementsAre(HasSubstr(each.error))) << each.inside;
  }
}

TEST(DomainIoTune, IsForCdRomDrivesToo) {
  const Reading reading =
      read(DomainText{.devices = "<disk device='cdrom'><target dev='hdc' "
                                 "bus='ide'/><iotune><read_bytes_sec>1</read_bytes_sec></iotune></disk>"});
  ASSERT_THAT(errors(reading), IsEmpty());
  EXPECT_TRUE(reading.domain->disks.front().iotune);
}

}  // namespace
}  // namespace vmm::domain

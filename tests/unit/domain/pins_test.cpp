// <vcpu cpuset=…> and <cputune>: on which of the host's CPUs threads run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/cpu_set.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using testing::warnings;

Reading with_pins(const std::string& tune, const std::string& vcpu = "<vcpu>2</vcpu>") {
  return read(DomainText{.others = vcpu + "<iothreads>2</iothreads><cputune>" + tune + "</cputune>"});
}

TEST(CpuSets, AreNumbersRangesAndWhatIsLeftOut) {
  EXPECT_EQ(parse_cpu_set("3"), std::vector<uint32_t>{3});
  EXPECT_EQ(parse_cpu_set("0-3,^1"), (std::vector<uint32_t>{0, 2, 3}));
  EXPECT_EQ(parse_cpu_set("8, 1-2,1"), (std::vector<uint32_t>{1, 2, 8}));
  EXPECT_EQ(parse_cpu_set("0-3,^2,2"), (std::vector<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(parse_cpu_set("8191"), std::vector<uint32_t>{8191});
}

TEST(CpuSets, WhatIsNoneIsRefused) {
  for (const char* const text : {"", " ", "a", "1,", ",1", "2-1", "1-", "-1", "1--2", "^1", "1,^1", "8192",
                                 "0-4294967295", "0-99999999999999999999", "1 2", "^", "0x1", "1;2"}) {
    EXPECT_FALSE(parse_cpu_set(text)) << text;
  }
}

TEST(CpuSets, AreWrittenAsTheyAreRead) {
  for (const char* const text : {"0", "0-1", "0-3,5,7-8", "1,3,5"}) {
    EXPECT_EQ(cpu_set_text(*parse_cpu_set(text)), text);
  }
}

TEST(DomainPins, WithoutThemNothingIsPinned) {
  const Reading reading = read(DomainText{.others = "<vcpu placement='static'>2</vcpu><cputune/>"});
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  const CpuPins& pins = reading.domain->pins;
  EXPECT_FALSE(pins.all || pins.emulator || !pins.vcpus.empty() || !pins.iothreads.empty());
}

TEST(DomainPins, AreOfVcpusOfIoThreadsAndOfTheRest) {
  const Reading reading = with_pins(
      "<vcpupin vcpu='1' cpuset='2'/><vcpupin vcpu='0' cpuset='0-1'/><emulatorpin cpuset='3'/>"
      "<iothreadpin iothread='2' cpuset='4,6'/>",
      "<vcpu cpuset='0-7'>2</vcpu>");
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  const CpuPins& pins = reading.domain->pins;
  EXPECT_THAT(pins.all->cpus, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(pins.all->line, 6);
  EXPECT_THAT(pins.vcpus.at(0).cpus, ElementsAre(0, 1));
  EXPECT_THAT(pins.vcpus.at(1).cpus, ElementsAre(2));
  EXPECT_THAT(pins.emulator->cpus, ElementsAre(3));
  EXPECT_THAT(pins.iothreads.at(2).cpus, ElementsAre(4, 6));
}

TEST(DomainPins, PlacementByNumadTakesThePlaceOfTheSet) {
  const Reading reading = with_pins("", "<vcpu placement='auto' cpuset='0'>2</vcpu>");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("<vcpu placement='auto'>: nothing asks numad")));
  EXPECT_FALSE(reading.domain->pins.all);
}

TEST(DomainPins, OneOfAVcpuThatIsNotThereIsPassedOver) {
  const Reading reading = with_pins("<vcpupin vcpu='2' cpuset='0'/>");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("<cputune>/<vcpupin>: the guest has no vCPU 2")));
  EXPECT_TRUE(reading.domain && reading.domain->pins.vcpus.empty());
}

TEST(DomainPins, SharesAndSchedulersAreToldOf) {
  const Reading reading =
      with_pins("<shares>2048</shares><quota>1</quota><vcpusched vcpus='0' scheduler='fifo' priority='1'/>");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("<shares>: shares"), HasSubstr("<quota>: shares"),
                                             HasSubstr("<vcpusched>: the host's scheduler")));
  EXPECT_TRUE(reading.domain);
}

TEST(DomainPins, MistakesAreRefusedOnceEach) {
  struct Case {
    const char* tune;
    const char* error;
  };
  for (const Case& each : {
           Case{"<vcpupin cpuset='0'/>", "<vcpupin>: has no vcpu="},
           Case{"<vcpupin vcpu='0'/>", "<vcpupin>: has no cpuset="},
           Case{"<vcpupin vcpu='x' cpuset='0'/>", "vcpu='x'>: give a whole number"},
           Case{"<vcpupin vcpu='0' cpuset='1-'/>", "cpuset='1-'>: give CPUs of the host"},
           Case{"<vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='0' cpuset='1'/>", "vcpu='0' stands twice"},
           Case{"<iothreadpin cpuset='0'/>", "<iothreadpin>: has no iothread="},
           Case{"<iothreadpin iothread='3' cpuset='0'/>", "there is no I/O thread 3; <iothreads> makes 2"},
           Case{"<emulatorpin/>", "<emulatorpin>: has no cpuset="},
           Case{"<emulatorpin cpuset='0'/><emulatorpin cpuset='1'/>", "stands twice"},
       }) {
    EXPECT_THAT(errors(with_pins(each.tune)), ElementsAre(HasSubstr(each.error))) << each.tune;
  }
  EXPECT_THAT(errors(with_pins("", "<vcpu cpuset='9999'>2</vcpu>")),
              ElementsAre(HasSubstr("<vcpu cpuset='9999'>")));
}

}  // namespace
}  // namespace vmm::domain

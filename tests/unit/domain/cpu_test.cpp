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

Reading with(const std::string& others) { return read(DomainText{.others = others}); }

TEST(DomainVcpus, From1To255) {
  EXPECT_EQ(with("<vcpu>1</vcpu>").domain.value_or(Domain{}).vcpus, 1U);
  EXPECT_EQ(with("<vcpu placement='static'> 255 </vcpu>").domain.value_or(Domain{}).vcpus, 255U);
  EXPECT_THAT(errors(with("<vcpu>0</vcpu>")), ElementsAre("guest.xml:6: <vcpu>: 0; give at least 1"));
  EXPECT_THAT(errors(with("<vcpu>256</vcpu>")), ElementsAre("guest.xml:6: <vcpu>: 256; give at most 255"));
  EXPECT_THAT(errors(with("<vcpu>10000</vcpu>")),
              ElementsAre("guest.xml:6: <vcpu>: 10000; give at most 255"));
  for (const std::string count : {"", "-1", "two", "0x2", "1e2", "4294967297", "99999999999999999999999"}) {
    EXPECT_THAT(errors(with("<vcpu>" + count + "</vcpu>")), ElementsAre(HasSubstr("guest.xml:6: <vcpu>: ")))
        << count;
  }
}

TEST(DomainVcpus, HotPlugIsRefused) {
  EXPECT_TRUE(with("<vcpu current='2'>2</vcpu>").domain);
  EXPECT_THAT(errors(with("<vcpu current='1'>2</vcpu>")), ElementsAre(HasSubstr("write <vcpu>1</vcpu>")));
}

TEST(DomainTopology, IsASocketPerVcpuByDefault) {
  const auto reading = with("<vcpu>3</vcpu>");
  ASSERT_TRUE(reading.domain);
  EXPECT_EQ(reading.domain->topology.sockets, 3U);
  EXPECT_EQ(reading.domain->topology.cores, 1U);
  EXPECT_EQ(reading.domain->topology.threads, 1U);
}

TEST(DomainTopology, MustAgreeWithVcpus) {
  const auto reading =
      with("<vcpu>12</vcpu><cpu><topology sockets='1' dies='2' cores='3' threads='2'/></cpu>");
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  EXPECT_EQ(reading.domain->topology.dies, 2U);
  EXPECT_EQ(reading.domain->topology.cores, 3U);
  EXPECT_EQ(reading.domain->topology.threads, 2U);
  EXPECT_EQ(reading.domain->cpu.mode, CpuMode::kHostPassthrough);
  EXPECT_THAT(
      errors(with("<vcpu>4</vcpu><cpu><topology sockets='1' cores='3' threads='1'/></cpu>")),
      ElementsAre("guest.xml:6: <cpu>/<topology>: makes 3 vCPUs, and <vcpu> says 4; make them agree"));
  EXPECT_THAT(errors(with("<cpu><topology cores='1' threads='1'/></cpu>")),
              ElementsAre(HasSubstr("has no sockets=")));
  EXPECT_THAT(errors(with("<cpu><topology sockets='0' cores='1' threads='1'/></cpu>")),
              ElementsAre(HasSubstr("<cpu>/<topology sockets='0'>: give a whole number from 1 to 255")));
}

TEST(DomainCpu, ModesAndFeaturesAreRead) {
  const auto reading = with(
      "<cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>EPYC</model>"
      "<feature policy='disable' name='cx16'/><feature name='popcnt'/></cpu>");
  ASSERT_TRUE(reading.domain) << errors(reading).front();
  const Cpu& cpu = reading.domain->cpu;
  EXPECT_EQ(cpu.mode, CpuMode::kCustom);
  EXPECT_EQ(cpu.model, "EPYC");
  ASSERT_EQ(cpu.features.size(), 2U);
  EXPECT_EQ(cpu.features[0].name, "cx16");
  EXPECT_EQ(cpu.features[0].policy, FeaturePolicy::kDisable);
  EXPECT_EQ(cpu.features[0].line, 6);
  EXPECT_EQ(cpu.features[1].policy, FeaturePolicy::kRequire);
  EXPECT_EQ(with("<cpu mode='host-model'/>").domain.value_or(Domain{}).cpu.mode, CpuMode::kHostModel);
}

TEST(DomainCpu, IsMigratableUnlessTheFileSaysOtherwise) {
  const auto is_migratable = [](const std::string& cpu) {
    const auto reading = with(cpu);
    EXPECT_TRUE(reading.domain) << cpu;
    return reading.domain.value_or(Domain{}).cpu.migratable;
  };
  for (const std::string mode : {"host-passthrough", "maximum"}) {
    EXPECT_TRUE(is_migratable("<cpu mode='" + mode + "'/>"));
    EXPECT_TRUE(is_migratable("<cpu mode='" + mode + "' migratable='on'/>"));
    EXPECT_FALSE(is_migratable("<cpu mode='" + mode + "' migratable='off'/>"));
  }
  EXPECT_TRUE(is_migratable(""));
  EXPECT_TRUE(is_migratable("<cpu mode='host-model'/>"));
}

TEST(DomainCpu, MigratableIsSaidOfTheHostsProcessorsOnly) {
  for (const std::string cpu : {"<cpu mode='host-model' migratable='on'/>", "<cpu migratable='off'/>",
                                "<cpu mode='custom' migratable='off'><model>Westmere</model></cpu>"}) {
    EXPECT_THAT(errors(with(cpu)),
                ElementsAre(HasSubstr("has a meaning only with mode='host-passthrough' or 'maximum'")))
        << cpu;
  }
}

TEST(DomainCpu, WithoutModeAndModelItIsTheHosts) {
  EXPECT_EQ(with("<cpu/>").domain.value_or(Domain{}).cpu.mode, CpuMode::kHostPassthrough);
  const auto reading = with("<cpu><model>Haswell</model></cpu>");
  ASSERT_TRUE(reading.domain);
  EXPECT_EQ(reading.domain->cpu.mode, CpuMode::kCustom);
}

TEST(DomainCpu, BadOnesAreRefused) {
  for (const std::string cpu :
       {"<cpu><feature name='cx16'/></cpu>", "<cpu mode='custom'><model/></cpu>",
        "<cpu mode='host-model'><feature/></cpu>", "<cpu mode='fast'/>", "<cpu><numa/></cpu>",
        "<cpu mode='host-model'><feature name='a'/><feature name='a'/></cpu>"}) {
    EXPECT_THAT(errors(with(cpu)), ElementsAre(HasSubstr("guest.xml:6: <cpu"))) << cpu;
  }
}

TEST(DomainIoThreads, AreNumberedFrom1) {
  EXPECT_THAT(with("<iothreads>3</iothreads>").domain.value_or(Domain{}).iothread_ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(with("<iothreads>0</iothreads>").domain.value_or(Domain{}).iothread_ids, IsEmpty());
  EXPECT_THAT(with("<iothreadids><iothread id='7'/><iothread id='2'/></iothreadids>")
                  .domain.value_or(Domain{})
                  .iothread_ids,
              ElementsAre(2, 7));
  EXPECT_THAT(with("<iothreads>3</iothreads><iothreadids><iothread id='2'/></iothreadids>")
                  .domain.value_or(Domain{})
                  .iothread_ids,
              ElementsAre(1, 2, 3));
}

TEST(DomainIoThreads, BadOnesAreRefused) {
  for (const std::string threads :
       {"<iothreads>65</iothreads>", "<iothreads>many</iothreads>", "<iothreadids><iothread/></iothreadids>",
        "<iothreadids><iothread id='0'/></iothreadids>",
        "<iothreadids><iothread id='1'/><iothread id='1'/></iothreadids>"}) {
    EXPECT_THAT(errors(with(threads)), ElementsAre(HasSubstr("guest.xml:6: <iothread"))) << threads;
  }
}

}  // namespace
}  // namespace vmm::domain

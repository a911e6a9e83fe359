// The example domains in configs/.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/domain/domain_text.h"
#include "vmm/domain/boot_order.h"

namespace vmm::domain {
namespace {

std::vector<std::filesystem::path> examples() {
  std::vector<std::filesystem::path> result;
  for (const auto& entry : std::filesystem::directory_iterator(VMM_CONFIGS_FOLDER)) {
    if (entry.path().extension() == ".xml") {
      result.push_back(entry.path());
    }
  }
  return result;
}

Domain load_example(const std::string& name) {
  auto domain = load_domain(std::filesystem::path(VMM_CONFIGS_FOLDER) / name);
  EXPECT_TRUE(domain) << domain.error().message();
  return domain.value_or(Domain{});
}

TEST(Examples, AllAreAccepted) {
  const auto found = examples();
  EXPECT_GE(found.size(), 6U);
  for (const auto& path : found) {
    const auto domain = load_domain(path);
    EXPECT_TRUE(domain) << domain.error().message();
  }
}

TEST(Examples, MicrovmIsAMicrovm) {
  const Domain domain = load_example("microvm.xml");
  EXPECT_EQ(domain.os.machine, MachineType::kMicrovm);
  ASSERT_EQ(domain.disks.size(), 1U);
  EXPECT_EQ(domain.disks[0].source, "/var/lib/libvirt/images/root.img");
}

TEST(Examples, SmpHasFourVcpusAndTwoDisks) {
  const Domain domain = load_example("smp.xml");
  EXPECT_EQ(domain.vcpus, 4U);
  EXPECT_EQ(domain.topology.threads, 2U);
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[0].queues, 4U);
  EXPECT_TRUE(domain.disks[1].read_only);
}

TEST(Examples, HeadlessHasTheConsoleOfItsSerialPort) {
  const Domain domain = load_example("headless.xml");
  ASSERT_EQ(domain.serials.size(), 1U);
  EXPECT_EQ(domain.serials[0].backend, CharBackend::kUnix);
  ASSERT_TRUE(domain.disks[0].address);
  EXPECT_EQ(domain.disks[0].address->slot, 4);
}

TEST(Examples, InstallBootsItsDiskAndThenItsDiscByFirmware) {
  const Domain domain = load_example("install.xml");
  EXPECT_TRUE(domain.os.kernel.empty());
  ASSERT_EQ(domain.disks.size(), 2U);
  EXPECT_EQ(domain.disks[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(domain.disks[1].device, DiskDevice::kCdrom);
  const auto order = boot_order(domain, "");
  ASSERT_EQ(order.size(), 2U);
  EXPECT_EQ(order[0]->target, "vda");
  EXPECT_EQ(order[1]->target, "hdc");
}

}  // namespace
}  // namespace vmm::domain

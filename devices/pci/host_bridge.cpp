#include "devices/pci/host_bridge.h"

namespace vmm::pci {
namespace {

// By these firmware knows a virtual machine of QEMU's kind, with a configuration device and nothing to train.
constexpr uint16_t kSubsystemVendor = 0x1af4;
constexpr uint16_t kSubsystem = 0x1100;

constexpr size_t kPmccfg = 0x50;
constexpr size_t kPam0 = 0x59;  // to PAM6, 0x5f
constexpr size_t kPamCount = 7;
constexpr size_t kSmram = 0x72;

}  // namespace

HostBridge::HostBridge()
    : PciFunction({.vendor_id = 0x8086,
                   .device_id = 0x1237,
                   .revision = 2,
                   .class_code = 0x06'00'00,
                   .subsystem_vendor_id = kSubsystemVendor,
                   .subsystem_id = kSubsystem}) {
  const MutexLock lock(config_mutex_);
  config_.define<uint16_t>(kPmccfg, 0, 0xffff);
  for (size_t i = 0; i < kPamCount; ++i) {
    // Two attributes (read, write enable) for each half, section 3.2.14.
    config_.define<uint8_t>(kPam0 + i, 0, 0x33);
  }
  // DOPEN, DCLS, DLCK, G_SMRAME; C_BASE_SEG reads as 010b (section 3.2.18).
  config_.define<uint8_t>(kSmram, 0x02, 0x78);
}

}  // namespace vmm::pci

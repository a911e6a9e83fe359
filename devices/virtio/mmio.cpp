#include "devices/virtio/mmio.h"

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

namespace vmm::virtio {
namespace {

// Section 4.2.2.
constexpr uint64_t kMagicValue = 0x000;
constexpr uint64_t kVersion = 0x004;
constexpr uint64_t kDeviceId = 0x008;
constexpr uint64_t kVendorId = 0x00c;
constexpr uint64_t kDeviceFeatures = 0x010;
constexpr uint64_t kDeviceFeaturesSel = 0x014;
constexpr uint64_t kDriverFeatures = 0x020;
constexpr uint64_t kDriverFeaturesSel = 0x024;
constexpr uint64_t kQueueSel = 0x030;
constexpr uint64_t kQueueNumMax = 0x034;
constexpr uint64_t kQueueNum = 0x038;
constexpr uint64_t kQueueReady = 0x044;
constexpr uint64_t kQueueNotify = 0x050;
constexpr uint64_t kInterruptStatus = 0x060;
constexpr uint64_t kInterruptAck = 0x064;
constexpr uint64_t kStatus = 0x070;
constexpr uint64_t kQueueDescLow = 0x080;
constexpr uint64_t kQueueDescHigh = 0x084;
constexpr uint64_t kQueueDriverLow = 0x090;
constexpr uint64_t kQueueDriverHigh = 0x094;
constexpr uint64_t kQueueDeviceLow = 0x0a0;
constexpr uint64_t kQueueDeviceHigh = 0x0a4;
constexpr uint64_t kSharedMemoryLengthLow = 0x0b0;
constexpr uint64_t kSharedMemoryBaseHigh = 0x0bc;
constexpr uint64_t kConfigGeneration = 0x0fc;
constexpr uint64_t kConfig = 0x100;

constexpr uint32_t kMagic = 0x74726976;  // "virt"
constexpr uint32_t kModernVersion = 2;
constexpr uint32_t kVendor = 0x1af4;

}  // namespace

Result<std::unique_ptr<VirtioMmio>> VirtioMmio::create(VirtioDevice& device, const World& world) {
  VMM_ASSIGN_OR_RETURN(std::vector<EventFd> doorbells, VirtioCore::make_doorbells(device));
  return std::unique_ptr<VirtioMmio>(new VirtioMmio(device, world, std::move(doorbells)));
}

VirtioMmio::VirtioMmio(VirtioDevice& device, const World& world, std::vector<EventFd> doorbells)
    : registry_(world.doorbells),
      line_(world.line),
      address_(world.address),
      core_(device, world.loop, world.memory, std::move(doorbells), *this),
      has_doorbell_(core_.queue_count()) {}

void VirtioMmio::read(uint64_t offset, std::span<std::byte> data) {
  if (offset >= kConfig) {
    core_.device().read_config(static_cast<uint32_t>(offset - kConfig), data);
    return;
  }
  // Section 4.2.2.2: below the configuration, aligned 32-bit accesses only.
  store_le_sized(data, data.size() == 4 ? read_register(offset) : 0);
}

void VirtioMmio::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset >= kConfig) {
    core_.device().write_config(static_cast<uint32_t>(offset - kConfig), data);
  } else if (data.size() == 4) {
    write_register(offset, load_le<uint32_t>(data.data()));
  }
}

uint32_t VirtioMmio::read_register(uint64_t offset) {
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return kModernVersion;
    case kDeviceId:
      return core_.device().device_id();
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return core_.device_features();
    case kQueueNumMax:
      return core_.queue_size_max();
    case kQueueReady:
      return core_.is_queue_enabled() ? 1 : 0;
    case kInterruptStatus:
      return core_.interrupt_status();
    case kStatus:
      return core_.status();
    case kConfigGeneration:
      return core_.config_generation();
    default:
      // Section 4.2.2: a shared memory region that does not exist has length and base ~0.
      return offset >= kSharedMemoryLengthLow && offset <= kSharedMemoryBaseHigh ? ~0U : 0;
  }
}

void VirtioMmio::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSel:
      core_.select_device_features(value);
      return;
    case kDriverFeatures:
      core_.set_driver_features(value);
      return;
    case kDriverFeaturesSel:
      core_.select_driver_features(value);
      return;
    case kQueueNotify:
      core_.notify(value);
      return;
    case kInterruptAck:
      core_.acknowledge_interrupts(static_cast<uint8_t>(value & 0xff));
      return;
    case kStatus:
      core_.set_status(static_cast<uint8_t>(value & 0xff));
      return;
    default:
      write_queue_register(offset, value);
      return;
  }
}

void VirtioMmio::write_queue_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kQueueSel:
      core_.select_queue(value <= UINT16_MAX ? static_cast<uint16_t>(value) : uint16_t{UINT16_MAX});
      return;
    case kQueueNum:
      core_.set_queue_size(value <= UINT16_MAX ? static_cast<uint16_t>(value) : uint16_t{0});
      return;
    case kQueueReady:
      if (value == 1) {
        core_.enable_queue();
      } else {
        core_.disable_queue();
      }
      return;
    case kQueueDescLow:
    case kQueueDescHigh:
      core_.set_queue_area(QueueArea::kDescriptors, offset == kQueueDescHigh, value);
      return;
    case kQueueDriverLow:
    case kQueueDriverHigh:
      core_.set_queue_area(QueueArea::kDriver, offset == kQueueDriverHigh, value);
      return;
    case kQueueDeviceLow:
    case kQueueDeviceHigh:
      core_.set_queue_area(QueueArea::kDevice, offset == kQueueDeviceHigh, value);
      return;
    default:
      return;
  }
}

void VirtioMmio::interrupt_queue(uint16_t /*queue*/) {
  if (core_.raise_interrupt_status(kInterruptQueue)) {
    line_.pulse();
  }
}

void VirtioMmio::interrupt_config() {
  if (core_.raise_interrupt_status(kInterruptConfig)) {
    line_.pulse();
  }
}

void VirtioMmio::device_activated() {
  for (uint16_t i = 0; i < core_.queue_count(); ++i) {
    if (!core_.is_queue_enabled(i) || has_doorbell_[i].exchange(true)) {
      continue;
    }
    const Doorbell doorbell{.space = AddressSpace::kMemory,
                            .address = address_.value() + kQueueNotify,
                            .length_bytes = 4,
                            .match_value = i};
    // Where it fails, the write reaches write_register(): slower, but it works. Not tried again.
    if (const Status done = registry_.attach(doorbell, core_.doorbell(i)); !done) {
      log::warning("{}: queue {} has no doorbell: {}", core_.device().name(), i, done.error().message());
    }
  }
}

}  // namespace vmm::virtio

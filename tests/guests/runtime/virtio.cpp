#include "tests/guests/runtime/virtio.h"

#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"

namespace guest {
namespace {

constexpr uint16_t kVirtioVendor = 0x1af4;
constexpr uint8_t kVendorCapability = 9;

// Common configuration on PCI (4.1.4.3).
constexpr uint32_t kDeviceFeatureSelect = 0x00;
constexpr uint32_t kDeviceFeature = 0x04;
constexpr uint32_t kDriverFeatureSelect = 0x08;
constexpr uint32_t kDriverFeature = 0x0c;
constexpr uint32_t kDeviceStatus = 0x14;
constexpr uint32_t kQueueSelect = 0x16;
constexpr uint32_t kQueueSize = 0x18;
constexpr uint32_t kQueueVector = 0x1a;
constexpr uint32_t kQueueEnable = 0x1c;
constexpr uint32_t kQueueNotifyOffset = 0x1e;
constexpr uint32_t kQueueDescriptors = 0x20;
constexpr uint32_t kQueueDriver = 0x28;
constexpr uint32_t kQueueDevice = 0x30;

// Registers on MMIO (4.2.2).
constexpr uint64_t kMmioFirst = 0xfeb0'0000;
constexpr uint64_t kMmioEnd = 0xfeb0'8000;
constexpr uint32_t kMmioStep = 0x200;  // QEMU's distance; a multiple of it is ours
constexpr uint32_t kMmioMagic = 0x7472'6976;
constexpr uint32_t kMmioVersion = 0x04;
constexpr uint32_t kMmioDeviceId = 0x08;
constexpr uint32_t kMmioDeviceFeatures = 0x10;
constexpr uint32_t kMmioDeviceFeaturesSelect = 0x14;
constexpr uint32_t kMmioDriverFeatures = 0x20;
constexpr uint32_t kMmioDriverFeaturesSelect = 0x24;
constexpr uint32_t kMmioQueueSelect = 0x30;
constexpr uint32_t kMmioQueueMaximum = 0x34;
constexpr uint32_t kMmioQueueSize = 0x38;
constexpr uint32_t kMmioQueueReady = 0x44;
constexpr uint32_t kMmioQueueNotify = 0x50;
constexpr uint32_t kMmioInterruptStatus = 0x60;
constexpr uint32_t kMmioInterruptAcknowledge = 0x64;
constexpr uint32_t kMmioStatus = 0x70;
constexpr uint32_t kMmioQueueDescriptors = 0x80;
constexpr uint32_t kMmioQueueDriver = 0x90;
constexpr uint32_t kMmioQueueDevice = 0xa0;
constexpr uint32_t kMmioConfig = 0x100;

void write_address(uint64_t where, uint64_t value) {
  write32(where, static_cast<uint32_t>(value));
  write32(where + 4, static_cast<uint32_t>(value >> 32));
}

}  // namespace

void VirtQueue::initialise(uint16_t queue_size, bool use_event_index) {
  memset(descriptors, 0, sizeof descriptors);
  memset(const_cast<uint16_t*>(available), 0, sizeof available);
  memset(const_cast<uint32_t*>(used), 0, sizeof used);
  size = queue_size;
  next_available = published = next_used = 0;
  event_index = use_event_index;
}

void VirtQueue::publish() {
  compiler_barrier();  // x86 does not reorder stores
  available[1] = next_available;
  published = next_available;
  full_fence();  // before the device's wish about notifications is read (2.7.13.4.1)
}

bool VirtQueue::wants_notification(uint16_t published_before) const {
  if (!event_index) return (used[0] & kNoNotify) == 0;
  const auto event = static_cast<uint16_t>(used[1 + size * 2]);
  return static_cast<uint16_t>(published - event - 1) < static_cast<uint16_t>(published - published_before);
}

bool VirtQueue::take_used(UsedElement& element) {
  if (used_index() == next_used) return false;
  compiler_barrier();
  const uint32_t slot = 1 + (next_used % size) * 2U;
  element = {used[slot], used[slot + 1]};
  next_used++;
  return true;
}

void VirtQueue::suppress_interrupts() {
  available[0] = kNoInterrupt;
  // With the event index: an event half a round away (2.7.7).
  if (event_index) available[2 + size] = static_cast<uint16_t>(next_used - 0x8000);
}

void VirtQueue::want_interrupt() {
  available[0] = 0;
  if (event_index) available[2 + size] = next_used;
  full_fence();
}

bool VirtioDevice::find(uint16_t type, uint32_t nth) {
  return (find_on_pci(type, nth) || find_on_mmio(type, nth)) && reset();
}

bool VirtioDevice::find_on_pci(uint16_t type, uint32_t& nth) {
  // A transitional device has an older number, and the modern capabilities beside the old interface
  // (4.1.2.3).
  const uint16_t modern = static_cast<uint16_t>(0x1040 + type);
  const uint16_t transitional = type == kVirtioBlock ? 0x1001 : 0;
  bool found = false;
  for_each_pci([&](PciAddress address) {
    const uint16_t device = pci_read16(address, 2);
    if (found || pci_read16(address, 0) != kVirtioVendor || (device != modern && device != transitional))
      return;
    if (nth > 0) {
      nth--;
      return;
    }
    pci_ = address;
    found = true;
  });
  is_pci_ = found;
  return found && read_capabilities();
}

bool VirtioDevice::read_capabilities() {
  pci_write16(pci_, kPciCommand,
              static_cast<uint16_t>(pci_read16(pci_, kPciCommand) | kPciCommandMemory | kPciCommandMaster));
  common_ = notify_base_ = isr_ = config_ = 0;
  for (uint8_t cap = pci_capability(pci_, kVendorCapability); cap != 0;) {
    const uint8_t type = pci_read8(pci_, cap + 3U);
    const uint8_t bar = pci_read8(pci_, cap + 4U);
    if (type >= 1 && type <= 4 && bar < 6) {
      const uint64_t address = pci_bar_address(pci_, bar) + pci_read32(pci_, cap + 8U);
      if (type == 1) common_ = address;
      if (type == 2) {
        notify_base_ = address;
        notify_multiplier_ = pci_read32(pci_, cap + 16U);
      }
      if (type == 3) isr_ = address;
      if (type == 4) config_ = address;
    }
    cap = pci_capability(pci_, kVendorCapability, cap);
  }
  return common_ != 0 && notify_base_ != 0 && isr_ != 0 && config_ != 0 && (common_ >> 32) == 0;
}

bool VirtioDevice::find_on_mmio(uint16_t type, uint32_t& nth) {
  for (uint64_t address = kMmioFirst; address < kMmioEnd; address += kMmioStep) {
    if (read32(address) != kMmioMagic || read32(address + kMmioVersion) != 2) continue;
    if (read32(address + kMmioDeviceId) != type || nth-- > 0) continue;
    common_ = address;
    config_ = address + kMmioConfig;
    is_pci_ = false;
    return true;
  }
  return false;
}

uint8_t VirtioDevice::status() const {
  return is_pci_ ? read8(common_ + kDeviceStatus) : static_cast<uint8_t>(read32(common_ + kMmioStatus));
}

void VirtioDevice::set_status(uint8_t status) const {
  if (is_pci_) {
    write8(common_ + kDeviceStatus, status);
  } else {
    write32(common_ + kMmioStatus, status);
  }
}

bool VirtioDevice::reset() const {
  set_status(0);
  return wait_until([this] { return status() == 0; });
}

uint64_t VirtioDevice::device_features() const {
  const uint64_t select = common_ + (is_pci_ ? kDeviceFeatureSelect : kMmioDeviceFeaturesSelect);
  const uint64_t feature = common_ + (is_pci_ ? kDeviceFeature : kMmioDeviceFeatures);
  write32(select, 0);
  const uint64_t low = read32(feature);
  write32(select, 1);
  return uint64_t{read32(feature)} << 32 | low;
}

void VirtioDevice::set_driver_features(uint64_t features) const {
  const uint64_t select = common_ + (is_pci_ ? kDriverFeatureSelect : kMmioDriverFeaturesSelect);
  const uint64_t feature = common_ + (is_pci_ ? kDriverFeature : kMmioDriverFeatures);
  write32(select, 0);
  write32(feature, static_cast<uint32_t>(features));
  write32(select, 1);
  write32(feature, static_cast<uint32_t>(features >> 32));
}

bool VirtioDevice::negotiate(uint64_t wanted) {
  if (!reset()) return false;
  set_status(kAcknowledge);
  set_status(kAcknowledge | kDriver);
  features_ = device_features() & (wanted | kVersion1);
  set_driver_features(features_);
  set_status(kAcknowledge | kDriver | kFeaturesOk);
  return (status() & kFeaturesOk) != 0;
}

void VirtioDevice::select_queue(uint16_t index) const {
  if (is_pci_) {
    write16(common_ + kQueueSelect, index);
  } else {
    write32(common_ + kMmioQueueSelect, index);
  }
}

uint16_t VirtioDevice::queue_maximum(uint16_t index) const {
  select_queue(index);
  return is_pci_ ? read16(common_ + kQueueSize) : static_cast<uint16_t>(read32(common_ + kMmioQueueMaximum));
}

void VirtioDevice::set_queue(uint16_t index, uint16_t size, uint64_t descriptors, uint64_t available,
                             uint64_t used) const {
  select_queue(index);
  if (is_pci_) {
    write16(common_ + kQueueSize, size);
    write_address(common_ + kQueueDescriptors, descriptors);
    write_address(common_ + kQueueDriver, available);
    write_address(common_ + kQueueDevice, used);
    write16(common_ + kQueueEnable, 1);
  } else {
    write32(common_ + kMmioQueueSize, size);
    write_address(common_ + kMmioQueueDescriptors, descriptors);
    write_address(common_ + kMmioQueueDriver, available);
    write_address(common_ + kMmioQueueDevice, used);
    write32(common_ + kMmioQueueReady, 1);
  }
}

bool VirtioDevice::queue_enabled(uint16_t index) const {
  select_queue(index);
  return is_pci_ ? read16(common_ + kQueueEnable) == 1 : read32(common_ + kMmioQueueReady) == 1;
}

bool VirtioDevice::enable_queue(uint16_t index, VirtQueue& queue, uint16_t vector) {
  select_queue(index);
  if (is_pci_) {
    write16(common_ + kQueueVector, vector);
    if (vector != kNoVector && read16(common_ + kQueueVector) != vector) return false;
    if (index < 16) {
      notify_address_[index] =
          notify_base_ + uint64_t{read16(common_ + kQueueNotifyOffset)} * notify_multiplier_;
    }
  }
  set_queue(index, queue.size, address_of(queue.descriptors), address_of(queue.available),
            address_of(queue.used));
  return queue_enabled(index);
}

void VirtioDevice::notify(uint16_t index) const {
  if (is_pci_) {
    write16(notify_address_[index], index);
  } else {
    write32(common_ + kMmioQueueNotify, index);
  }
}

void VirtioDevice::submit(uint16_t index, VirtQueue& queue) const {
  const uint16_t before = queue.published;
  queue.publish();
  if (queue.wants_notification(before)) notify(index);
}

uint8_t VirtioDevice::interrupt_status() const {
  if (is_pci_) return read8(isr_);
  const uint32_t status = read32(common_ + kMmioInterruptStatus);
  write32(common_ + kMmioInterruptAcknowledge, status);
  return static_cast<uint8_t>(status);
}

uint64_t VirtioDevice::config(uint32_t offset, uint32_t size) const {
  switch (size) {
    case 1:
      return read8(config_ + offset);
    case 2:
      return read16(config_ + offset);
    case 4:
      return read32(config_ + offset);
    default:  // 64-bit fields are read in halves (2.5.1)
      return uint64_t{read32(config_ + offset + 4)} << 32 | read32(config_ + offset);
  }
}

void VirtioDevice::set_config8(uint32_t offset, uint8_t value) const { write8(config_ + offset, value); }

namespace {

constinit BlockHeader driver_header = {};
constinit volatile uint8_t driver_status = 0;

}  // namespace

bool BlockDriver::start(VirtioDevice& of, VirtQueue& on, uint64_t features, uint16_t queue_size) {
  device = &of;
  queue = &on;
  if (!of.negotiate(features)) {
    fail("virtio-blk start", "FEATURES_OK refused, status ", Hex{of.status()});
    return false;
  }
  const uint16_t maximum = of.queue_maximum(0);
  on.initialise(queue_size < maximum ? queue_size : maximum, (of.features() & kEventIndex) != 0);
  if (maximum == 0 || !of.enable_queue(0, on)) {
    fail("virtio-blk start", "queue 0 cannot be enabled, largest size ", maximum);
    return false;
  }
  on.suppress_interrupts();
  of.start();
  return true;
}

uint8_t BlockDriver::request(uint32_t type, uint64_t sector, void* data, uint32_t length) {
  driver_header = {type, 0, sector};
  driver_status = 0xff;
  const bool device_writes = type == kBlkIn || type == kBlkGetId;
  Descriptor* const d = queue->descriptors;
  d[0] = {address_of(&driver_header), sizeof driver_header, kNext, 1};
  uint16_t last = 1;
  if (length > 0) {
    d[1] = {address_of(data), length, static_cast<uint16_t>(kNext | (device_writes ? kWrite : 0)), 2};
    last = 2;
  }
  d[last] = {address_of(&driver_status), 1, kWrite, 0};
  return run_chain(0, driver_status);
}

uint8_t BlockDriver::run_chain(uint16_t head, const volatile uint8_t& status) {
  queue->offer(head);
  device->submit(0, *queue);
  UsedElement element = {};
  if (!wait_until([&] { return queue->take_used(element); }, 5000)) return kTimeout;
  used_length_ = element.length;
  return element.id == head ? status : kSpoiled;
}

}  // namespace guest

#include "devices/virtio/pci.h"

#include <array>
#include <bit>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::virtio {
namespace {

constexpr uint16_t kVendorVirtio = 0x1af4;
constexpr uint16_t kDeviceIdBase = 0x1040;  // section 4.1.2: plus the virtio device id
constexpr uint16_t kSubsystemId = 0x1100;
constexpr uint8_t kModernRevision = 1;

constexpr uint8_t kStructuresBar = 0;
constexpr uint8_t kMsixBar = 1;
// Each structure of BAR 0 has a page of its own; notification addresses fill the last part.
constexpr uint64_t kRegionBytes = 0x1000;
constexpr uint32_t kCommonOffset = 0x0000;
constexpr uint32_t kIsrOffset = 0x1000;
constexpr uint32_t kDeviceOffset = 0x2000;
constexpr uint32_t kNotifyOffset = 0x3000;
constexpr uint64_t kStructuresBytes = 0x4000;
constexpr uint32_t kNotifyMultiplier = 4;
constexpr size_t kMaxQueues = kRegionBytes / kNotifyMultiplier;

// Section 4.1.4: capability types and layout.
constexpr uint8_t kCapCommon = 1;
constexpr uint8_t kCapNotify = 2;
constexpr uint8_t kCapIsr = 3;
constexpr uint8_t kCapDevice = 4;
constexpr uint8_t kCapWindow = 5;
constexpr uint8_t kCapBytes = 16;
constexpr uint8_t kCapExtraBytes = 4;  // notify: the multiplier; window: its data
constexpr size_t kCapLength = 2;
constexpr size_t kCapType = 3;
constexpr size_t kCapBar = 4;
constexpr size_t kCapOffset = 8;
constexpr size_t kCapRegionLength = 12;
constexpr size_t kCapData = 16;

// Section 4.1.4.3: the common configuration structure.
constexpr uint32_t kCommonBytes = 60;
constexpr uint64_t kDeviceFeatureSelect = 0;
constexpr uint64_t kDeviceFeature = 4;
constexpr uint64_t kDriverFeatureSelect = 8;
constexpr uint64_t kDriverFeature = 12;
constexpr uint64_t kConfigVector = 16;
constexpr uint64_t kNumQueues = 18;
constexpr uint64_t kDeviceStatus = 20;
constexpr uint64_t kPciConfigGeneration = 21;
constexpr uint64_t kQueueSelect = 22;
constexpr uint64_t kQueueSize = 24;
constexpr uint64_t kQueueVector = 26;
constexpr uint64_t kQueueEnable = 28;
constexpr uint64_t kQueueNotifyOffset = 30;
constexpr uint64_t kQueueAreas = 32;  // descriptors, driver, device: 8 bytes each
constexpr uint64_t kQueueAreasEnd = 56;

constexpr uint16_t kNoVector = 0xffff;

bool overlaps(uint64_t offset, size_t length, uint64_t other, size_t other_length) {
  return offset < other + other_length && other < offset + length;
}

QueueArea area_at(uint64_t offset) { return static_cast<QueueArea>((offset - kQueueAreas) / 8); }

pci::Identity identity_of(const VirtioDevice& device) {
  return {.vendor_id = kVendorVirtio,
          .device_id = static_cast<uint16_t>(kDeviceIdBase + device.device_id()),
          .revision = kModernRevision,
          .class_code = device.pci_class_code(),
          .subsystem_vendor_id = kVendorVirtio,
          .subsystem_id = kSubsystemId,
          .interrupt_pin = 1};
}

}  // namespace

Result<std::unique_ptr<VirtioPci>> VirtioPci::create(VirtioDevice& device, const World& world) {
  VMM_ASSIGN_OR_RETURN(std::vector<EventFd> doorbells, VirtioCore::make_doorbells(device));
  return std::unique_ptr<VirtioPci>(new VirtioPci(device, world, std::move(doorbells)));
}

VirtioPci::VirtioPci(VirtioDevice& device, const World& world, std::vector<EventFd> doorbells)
    : PciFunction(identity_of(device)),
      registry_(world.doorbells),
      intx_(world.intx),
      core_(device, world.loop, world.memory, std::move(doorbells), *this),
      structures_(*this),
      // One for each queue and one for configuration changes.
      msix_(static_cast<uint16_t>(core_.queue_count() + 1), world.msi),
      config_vector_(kNoVector),
      queue_vectors_(core_.queue_count()),
      wants_doorbell_(core_.queue_count()),
      attached_(core_.queue_count()) {
  VMM_CHECK(core_.queue_count() <= kMaxQueues, "no room for the notification addresses of so many queues");
  for (auto& vector : queue_vectors_) {
    vector = kNoVector;
  }
  add_bar(kStructuresBar,
          {.kind = pci::BarKind::kMemory32, .length_bytes = kStructuresBytes, .device = &structures_});
  add_bar(kMsixBar,
          {.kind = pci::BarKind::kMemory32, .length_bytes = msix_.bar_length_bytes(), .device = &msix_});
  define_capabilities();
  msix_.set_on_change([this] { core_.interrupts_changed(); });
}

void VirtioPci::define_structure(uint8_t type, uint32_t offset, uint32_t length) {
  const bool has_extra = type == kCapNotify || type == kCapWindow;
  const auto bytes = static_cast<uint8_t>(kCapBytes + (has_extra ? kCapExtraBytes : 0));
  const MutexLock lock(config_mutex_);
  const uint8_t place = config_.add_capability(pci::kCapabilityVendor, bytes);
  config_.define<uint8_t>(place + kCapLength, bytes);
  config_.define<uint8_t>(place + kCapType, type);
  const bool is_window = type == kCapWindow;
  // The driver programs the window; all else is constant (section 4.1.4.9).
  config_.define<uint8_t>(place + kCapBar, is_window ? uint8_t{0} : kStructuresBar,
                          is_window ? uint8_t{0xff} : uint8_t{0});
  config_.define<uint32_t>(place + kCapOffset, offset, is_window ? ~0U : 0U);
  config_.define<uint32_t>(place + kCapRegionLength, length, is_window ? ~0U : 0U);
  if (type == kCapNotify) {
    config_.define<uint32_t>(place + kCapData, kNotifyMultiplier);
  }
  if (is_window) {
    config_.define<uint32_t>(place + kCapData, 0, ~0U);
    window_offset_ = place;
  }
}

void VirtioPci::define_capabilities() {
  define_structure(kCapCommon, kCommonOffset, kCommonBytes);
  define_structure(kCapIsr, kIsrOffset, 1);
  define_structure(kCapDevice, kDeviceOffset, kRegionBytes);
  define_structure(kCapNotify, kNotifyOffset, kNotifyMultiplier * core_.queue_count());
  define_structure(kCapWindow, 0, 0);
  const MutexLock lock(config_mutex_);
  msix_offset_ = msix_.define_capability(config_, kMsixBar);
}

// --- Configuration space ---

bool VirtioPci::touches_window(uint8_t offset, size_t length) const {
  return overlaps(offset, length, window_offset_ + kCapData, kCapExtraBytes);
}

std::optional<VirtioPci::Window> VirtioPci::window() const {
  const MutexLock lock(config_mutex_);
  const Window window{.bar = config_.get<uint8_t>(window_offset_ + kCapBar),
                      .offset = config_.get<uint32_t>(window_offset_ + kCapOffset),
                      .length = config_.get<uint32_t>(window_offset_ + kCapRegionLength)};
  const bool is_size = window.length == 1 || window.length == 2 || window.length == 4;
  if (!is_size || window.offset % window.length != 0 || window.bar >= pci::kBarCount ||
      window.offset >= bars()[window.bar].length_bytes) {
    return std::nullopt;
  }
  return window;
}

void VirtioPci::read_config(uint8_t offset, std::span<std::byte> data) {
  if (touches_window(offset, data.size())) {
    if (const std::optional<Window> target = window(); target) {
      std::array<std::byte, kCapExtraBytes> value{};
      bars()[target->bar].device->read(target->offset, std::span(value).first(target->length));
      const MutexLock lock(config_mutex_);
      config_.put<uint32_t>(window_offset_ + kCapData, load_le<uint32_t>(value.data()));
    }
  }
  if (overlaps(offset, data.size(), pci::kStatus, 2)) {
    const bool is_pending = core_.interrupt_status() != 0 && !msix_.is_enabled();
    const MutexLock lock(config_mutex_);
    const auto status = static_cast<uint16_t>(config_.get<uint16_t>(pci::kStatus) & ~pci::kStatusInterrupt);
    config_.put<uint16_t>(pci::kStatus,
                          static_cast<uint16_t>(status | (is_pending ? pci::kStatusInterrupt : 0)));
  }
  PciFunction::read_config(offset, data);
}

void VirtioPci::write_config(uint8_t offset, std::span<const std::byte> data) {
  PciFunction::write_config(offset, data);
  if (touches_window(offset, data.size())) {
    if (const std::optional<Window> target = window(); target) {
      std::array<std::byte, kCapExtraBytes> value{};
      PciFunction::read_config(static_cast<uint8_t>(window_offset_ + kCapData), value);
      bars()[target->bar].device->write(target->offset, std::span(value).first(target->length));
    }
  }
  if (overlaps(offset, data.size(), msix_offset_ + 2U, 2)) {
    std::array<std::byte, 2> control{};
    PciFunction::read_config(static_cast<uint8_t>(msix_offset_ + 2), control);
    msix_.set_control(load_le<uint16_t>(control.data()));
  }
  update_intx();
}

void VirtioPci::reset() {
  PciFunction::reset();
  core_.power_on_reset();
  msix_.reset();
  forget_vectors();
  for (auto& wants : wants_doorbell_) {
    wants = false;
  }
  update_doorbells();
  update_intx();
}

void VirtioPci::forget_vectors() {
  config_vector_ = kNoVector;
  for (auto& vector : queue_vectors_) {
    vector = kNoVector;
  }
}

// --- The structures ---

void VirtioPci::Structures::read(uint64_t offset, std::span<std::byte> data) {
  const uint64_t place = offset % kRegionBytes;
  switch (offset - place) {
    case kCommonOffset:
      store_le_sized(data, pci_.read_common(place));
      return;
    case kIsrOffset:
      // Section 4.1.4.5: reading clears the bits and lowers the wire.
      store_le_sized(data, place == 0 ? pci_.core_.take_interrupt_status() : 0);
      pci_.update_intx();
      return;
    case kDeviceOffset:
      pci_.core_.device().read_config(static_cast<uint32_t>(place), data);
      return;
    default:
      store_le_sized(data, 0);
      return;
  }
}

void VirtioPci::Structures::write(uint64_t offset, std::span<const std::byte> data) {
  const uint64_t place = offset % kRegionBytes;
  switch (offset - place) {
    case kCommonOffset:
      pci_.write_common(place, load_le_sized(data), data.size());
      return;
    case kDeviceOffset:
      pci_.core_.device().write_config(static_cast<uint32_t>(place), data);
      return;
    case kNotifyOffset:
      pci_.core_.notify(static_cast<uint32_t>(place / kNotifyMultiplier));
      return;
    default:
      return;
  }
}

uint64_t VirtioPci::read_common(uint64_t offset) {
  switch (offset) {
    case kDeviceFeatureSelect:
      return core_.device_feature_select();
    case kDeviceFeature:
      return core_.device_features();
    case kDriverFeatureSelect:
      return core_.driver_feature_select();
    case kDriverFeature:
      return core_.driver_features();
    case kConfigVector:
      return config_vector_;
    case kNumQueues:
      return core_.queue_count();
    case kDeviceStatus:
      return core_.status();
    case kPciConfigGeneration:
      return core_.config_generation();
    case kQueueSelect:
      return core_.queue_select();
    default:
      return read_queue_field(offset);
  }
}

uint64_t VirtioPci::read_queue_field(uint64_t offset) {
  switch (offset) {
    case kQueueSize:
      return core_.queue_size();
    case kQueueVector: {
      const std::atomic<uint16_t>* vector = selected_vector();
      return vector != nullptr ? vector->load() : kNoVector;
    }
    case kQueueEnable:
      return core_.is_queue_enabled() ? 1 : 0;
    case kQueueNotifyOffset:
      return core_.queue_select() < core_.queue_count() ? core_.queue_select() : 0;
    default:
      break;
  }
  if (offset < kQueueAreas || offset >= kQueueAreasEnd || offset % 4 != 0) {
    return 0;
  }
  const QueueArea area = area_at(offset);
  const bool is_high = offset % 8 != 0;
  const uint64_t low = core_.queue_area(area, is_high);
  return is_high ? low : low | (uint64_t{core_.queue_area(area, true)} << 32);
}

void VirtioPci::write_common(uint64_t offset, uint64_t value, size_t length) {
  const auto value32 = static_cast<uint32_t>(value & 0xffff'ffff);
  switch (offset) {
    case kDeviceFeatureSelect:
      core_.select_device_features(value32);
      return;
    case kDriverFeatureSelect:
      core_.select_driver_features(value32);
      return;
    case kDriverFeature:
      core_.set_driver_features(value32);
      return;
    case kConfigVector:
      config_vector_ = valid_vector(value);
      return;
    case kDeviceStatus:
      core_.set_status(static_cast<uint8_t>(value & 0xff));
      if ((value & 0xff) == 0) {
        forget_vectors();
        update_intx();
      }
      return;
    case kQueueSelect:
      core_.select_queue(static_cast<uint16_t>(value & 0xffff));
      return;
    default:
      write_queue_field(offset, value, length);
      return;
  }
}

void VirtioPci::write_queue_field(uint64_t offset, uint64_t value, size_t length) {
  switch (offset) {
    case kQueueSize:
      core_.set_queue_size(static_cast<uint16_t>(value & 0xffff));
      return;
    case kQueueVector:
      if (std::atomic<uint16_t>* vector = selected_vector(); vector != nullptr) {
        *vector = valid_vector(value);
        core_.interrupts_changed();
      }
      return;
    case kQueueEnable:
      // Section 4.1.4.3.2: the driver never writes 0 here.
      if ((value & 0xffff) == 1) {
        core_.enable_queue();
      }
      return;
    default:
      break;
  }
  if (offset < kQueueAreas || offset >= kQueueAreasEnd || offset % 4 != 0 || length < 4) {
    return;
  }
  const QueueArea area = area_at(offset);
  const bool is_high = offset % 8 != 0;
  core_.set_queue_area(area, is_high, static_cast<uint32_t>(value & 0xffff'ffff));
  if (length == 8 && !is_high) {
    core_.set_queue_area(area, true, static_cast<uint32_t>(value >> 32));
  }
}

std::atomic<uint16_t>* VirtioPci::selected_vector() {
  const uint16_t queue = core_.queue_select();
  return queue < queue_vectors_.size() ? &queue_vectors_[queue] : nullptr;
}

uint16_t VirtioPci::valid_vector(uint64_t value) const {
  // Section 4.1.5.1.2: what cannot be mapped reads back as NO_VECTOR.
  const auto vector = static_cast<uint16_t>(value & 0xffff);
  return vector < msix_.vector_count() ? vector : kNoVector;
}

// --- Interrupts ---

void VirtioPci::notify_vector(uint16_t vector) {
  if (vector != kNoVector) {
    msix_.notify(vector);
  }
}

void VirtioPci::interrupt_queue(uint16_t queue) {
  if (msix_.is_enabled()) {
    notify_vector(queue_vectors_[queue]);
  } else if (core_.raise_interrupt_status(kInterruptQueue)) {
    update_intx();
  }
}

const EventFd* VirtioPci::direct_interrupt(uint16_t queue) {
  const uint16_t vector = queue_vectors_[queue];
  return msix_.is_enabled() && vector != kNoVector ? msix_.direct(vector) : nullptr;
}

void VirtioPci::interrupt_config() {
  // Section 4.1.4.5.1: the configuration bit is set with MSI-X too.
  if (!core_.raise_interrupt_status(kInterruptConfig)) {
    return;
  }
  if (msix_.is_enabled()) {
    notify_vector(config_vector_);
  } else {
    update_intx();
  }
}

bool VirtioPci::is_intx_high() {
  if (msix_.is_enabled() || core_.interrupt_status() == 0) {
    return false;
  }
  const MutexLock lock(config_mutex_);
  return (config_.get<uint16_t>(pci::kCommand) & pci::kCommandInterruptDisable) == 0;
}

void VirtioPci::update_intx() {
  intx_settler_.settle([this] { intx_.set(is_intx_high()); });
}

// --- Doorbells ---

void VirtioPci::device_activated() {
  for (uint16_t i = 0; i < core_.queue_count(); ++i) {
    if (core_.is_queue_enabled(i)) {
      wants_doorbell_[i] = true;
    }
  }
  update_doorbells();
}

void VirtioPci::bar_mapped(size_t bar, uint64_t address) {
  if (bar == kStructuresBar) {
    structures_address_ = address;
    update_doorbells();
  }
}

void VirtioPci::bar_unmapped(size_t bar, uint64_t /*address*/) {
  if (bar == kStructuresBar) {
    structures_address_ = 0;
    update_doorbells();
  }
}

void VirtioPci::update_doorbells() {
  doorbell_settler_.settle([this] {
    const uint64_t base = structures_address_;
    for (uint16_t i = 0; i < core_.queue_count(); ++i) {
      update_doorbell(i, base);
    }
  });
}

void VirtioPci::update_doorbell(uint16_t queue, uint64_t base) {
  std::optional<Doorbell>& attached = attached_[queue];
  std::optional<Doorbell> wanted;
  if (base != 0 && wants_doorbell_[queue]) {
    wanted = Doorbell{.space = AddressSpace::kMemory,
                      .address = base + kNotifyOffset + uint64_t{kNotifyMultiplier} * queue,
                      .length_bytes = 0,
                      .match_value = std::nullopt};
  }
  if (wanted == attached) {
    return;
  }
  if (attached) {
    registry_.detach(*attached, core_.doorbell(queue));
    attached.reset();
  }
  if (!wanted) {
    return;
  }
  if (const Status done = registry_.attach(*wanted, core_.doorbell(queue)); !done) {
    // The write reaches Structures::write() then: slower, but it works.
    log::warning("{}: queue {} has no doorbell: {}", core_.device().name(), queue, done.error().message());
    return;
  }
  attached = wanted;
}

VirtioPci::State VirtioPci::state() const {
  State state{.config_vector = config_vector_, .queue_vectors = {}};
  for (const auto& vector : queue_vectors_) {
    state.queue_vectors.push_back(vector);
  }
  return state;
}

}  // namespace vmm::virtio

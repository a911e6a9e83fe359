// The driver's side of a virtio device's registers, over PCI or MMIO: what a guest's kernel does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/virtio/core.h"
#include "devices/virtio/split_queue.h"
#include "tests/unit/fakes/fake_doorbells.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/base/check.h"

namespace vmm::virtio {

class FakeVirtioDriver {
 public:
  virtual ~FakeVirtioDriver() = default;

  virtual uint64_t device_features() = 0;
  virtual void set_driver_features(uint64_t features) = 0;
  virtual uint8_t status() = 0;
  virtual void set_status(uint8_t status) = 0;
  virtual uint16_t queue_size(uint16_t queue) = 0;
  virtual void set_queue(uint16_t queue, const QueueLayout& layout) = 0;
  virtual void enable_queue(uint16_t queue) = 0;
  virtual bool is_queue_enabled(uint16_t queue) = 0;
  virtual uint64_t queue_descriptors(uint16_t queue) = 0;
  virtual void notify(uint16_t queue) = 0;
  virtual uint8_t config_generation() = 0;
  virtual uint32_t config32(uint32_t offset) = 0;
  virtual uint8_t config8(uint32_t offset) = 0;
  virtual void set_config8(uint32_t offset, uint8_t value) = 0;

  // Up to where queues are set up (virtio 1.2, section 3.1.1, steps 1 to 6).
  void negotiate(uint64_t features) {
    set_status(0);
    set_status(kStatusAcknowledge);
    set_status(kStatusAcknowledge | kStatusDriver);
    set_driver_features(features);
    add_status(kStatusFeaturesOk);
  }
  void add_status(uint8_t bits) { set_status(static_cast<uint8_t>(status() | bits)); }
  void bring_up(uint64_t features, const std::vector<QueueLayout>& queues) {
    negotiate(features);
    for (uint16_t i = 0; i < queues.size(); ++i) {
      set_queue(i, queues[i]);
      enable_queue(i);
    }
    add_status(kStatusDriverOk);
  }
};

// Finds everything by the capability list, as a guest does.
class FakePciDriver final : public FakeVirtioDriver {
 public:
  FakePciDriver(pci::PciBus& bus, pci::PciAddress where, const FakeMmio& memory)
      : bus_(bus), where_(where), memory_(memory) {
    for (uint8_t cap = config<uint8_t>(0x34); cap != 0; cap = config<uint8_t>(cap + 1U)) {
      if (config<uint8_t>(cap) == 0x11) {
        msix_capability = cap;
      } else if (config<uint8_t>(cap) == 0x09) {
        const auto type = config<uint8_t>(cap + 3U);
        capabilities.at(type) = cap;
      }
    }
  }

  template <typename T>
  T config(uint32_t offset) {
    select(offset);
    return in<T>(bus_.config_data(), offset & 3U);
  }
  template <typename T>
  void set_config(uint32_t offset, T value) {
    select(offset);
    out<T>(bus_.config_data(), offset & 3U, value);
  }
  uint64_t bar(uint8_t index) { return config<uint32_t>(0x10U + 4U * index) & ~15U; }
  // Where a structure is at present, by its type (section 4.1.4).
  uint64_t structure(uint8_t type) {
    const uint8_t cap = capabilities.at(type);
    return bar(config<uint8_t>(cap + 4U)) + config<uint32_t>(cap + 8U);
  }
  uint64_t notify_address(uint16_t queue) {
    select_queue(queue);
    const auto offset = memory_.read<uint16_t>(common(30));
    return structure(2) + uint64_t{offset} * config<uint32_t>(capabilities.at(2) + 16U);
  }

  void enable_msix(bool function_masked = false) {
    set_config<uint16_t>(msix_capability + 2U, function_masked ? 0xc000 : 0x8000);
  }
  // Vector `index` sends `data`.
  void program_vector(uint16_t index, uint32_t data) {
    const uint64_t entry = bar(1) + 16U * index;
    memory_.write<uint32_t>(entry, 0xfee0'0000);
    memory_.write<uint32_t>(entry + 4, 0);
    memory_.write<uint32_t>(entry + 8, data);
    mask_vector(index, false);
  }
  void mask_vector(uint16_t index, bool masked) {
    memory_.write<uint32_t>(bar(1) + 16U * index + 12, masked ? 1 : 0);
  }
  uint32_t pending_bits() {
    return memory_.read<uint32_t>(bar(1) + (config<uint32_t>(msix_capability + 8U) & ~7U));
  }
  void set_queue_vector(uint16_t queue, uint16_t vector) {
    select_queue(queue);
    memory_.write<uint16_t>(common(26), vector);
  }
  uint16_t queue_vector(uint16_t queue) {
    select_queue(queue);
    return memory_.read<uint16_t>(common(26));
  }
  void set_config_vector(uint16_t vector) { memory_.write<uint16_t>(common(16), vector); }
  uint8_t take_isr() { return memory_.read<uint8_t>(structure(3)); }
  uint64_t common(uint32_t offset) { return structure(1) + offset; }
  void select_queue(uint16_t queue) { memory_.write<uint16_t>(common(22), queue); }

  uint64_t device_features() override {
    memory_.write<uint32_t>(common(0), 0);
    const uint64_t low = memory_.read<uint32_t>(common(4));
    memory_.write<uint32_t>(common(0), 1);
    return low | (uint64_t{memory_.read<uint32_t>(common(4))} << 32);
  }
  void set_driver_features(uint64_t features) override {
    memory_.write<uint32_t>(common(8), 0);
    memory_.write<uint32_t>(common(12), static_cast<uint32_t>(features & 0xffff'ffff));
    memory_.write<uint32_t>(common(8), 1);
    memory_.write<uint32_t>(common(12), static_cast<uint32_t>(features >> 32));
  }
  uint8_t status() override { return memory_.read<uint8_t>(common(20)); }
  void set_status(uint8_t status) override { memory_.write<uint8_t>(common(20), status); }
  uint16_t queue_size(uint16_t queue) override {
    select_queue(queue);
    return memory_.read<uint16_t>(common(24));
  }
  void set_queue(uint16_t queue, const QueueLayout& layout) override {
    select_queue(queue);
    memory_.write<uint16_t>(common(24), layout.size);
    const std::array<uint64_t, 3> areas = {layout.descriptors.value(), layout.available.value(),
                                           layout.used.value()};
    for (uint32_t i = 0; i < areas.size(); ++i) {
      memory_.write<uint32_t>(common(32 + 8 * i), static_cast<uint32_t>(areas[i] & 0xffff'ffff));
      memory_.write<uint32_t>(common(36 + 8 * i), static_cast<uint32_t>(areas[i] >> 32));
    }
  }
  void enable_queue(uint16_t queue) override {
    select_queue(queue);
    memory_.write<uint16_t>(common(28), 1);
  }
  bool is_queue_enabled(uint16_t queue) override {
    select_queue(queue);
    return memory_.read<uint16_t>(common(28)) == 1;
  }
  uint64_t queue_descriptors(uint16_t queue) override {
    select_queue(queue);
    return memory_.read<uint64_t>(common(32));
  }
  void notify(uint16_t queue) override { memory_.write<uint16_t>(notify_address(queue), queue); }
  uint8_t config_generation() override { return memory_.read<uint8_t>(common(21)); }
  uint32_t config32(uint32_t offset) override { return memory_.read<uint32_t>(structure(4) + offset); }
  uint8_t config8(uint32_t offset) override { return memory_.read<uint8_t>(structure(4) + offset); }
  void set_config8(uint32_t offset, uint8_t value) override {
    memory_.write<uint8_t>(structure(4) + offset, value);
  }

  std::array<uint8_t, 6> capabilities{};  // offsets, by type
  uint8_t msix_capability = 0;

 private:
  void select(uint32_t offset) {
    const uint32_t address =
        0x8000'0000U | uint32_t{where_.slot} << 11 | uint32_t{where_.function} << 8 | (offset & 0xfcU);
    out<uint32_t>(bus_.config_address(), 0, address);
  }

  pci::PciBus& bus_;
  const pci::PciAddress where_;
  const FakeMmio& memory_;
};

class FakeMmioDriver final : public FakeVirtioDriver {
 public:
  FakeMmioDriver(uint64_t base, const FakeMmio& memory) : base_(base), memory_(memory) {}

  uint32_t read(uint64_t offset) { return memory_.read<uint32_t>(base_ + offset); }
  void write(uint64_t offset, uint32_t value) { memory_.write<uint32_t>(base_ + offset, value); }

  uint64_t device_features() override {
    write(0x14, 0);
    const uint64_t low = read(0x10);
    write(0x14, 1);
    return low | (uint64_t{read(0x10)} << 32);
  }
  void set_driver_features(uint64_t features) override {
    write(0x24, 0);
    write(0x20, static_cast<uint32_t>(features & 0xffff'ffff));
    write(0x24, 1);
    write(0x20, static_cast<uint32_t>(features >> 32));
  }
  uint8_t status() override { return static_cast<uint8_t>(read(0x70)); }
  void set_status(uint8_t status) override { write(0x70, status); }
  uint16_t queue_size(uint16_t queue) override {
    write(0x30, queue);
    return static_cast<uint16_t>(read(0x34));
  }
  void set_queue(uint16_t queue, const QueueLayout& layout) override {
    write(0x30, queue);
    write(0x38, layout.size);
    const std::array<uint64_t, 3> areas = {layout.descriptors.value(), layout.available.value(),
                                           layout.used.value()};
    for (uint32_t i = 0; i < areas.size(); ++i) {
      write(0x80 + 0x10 * i, static_cast<uint32_t>(areas[i] & 0xffff'ffff));
      write(0x84 + 0x10 * i, static_cast<uint32_t>(areas[i] >> 32));
    }
  }
  void enable_queue(uint16_t queue) override {
    write(0x30, queue);
    write(0x44, 1);
  }
  bool is_queue_enabled(uint16_t queue) override {
    write(0x30, queue);
    return read(0x44) == 1;
  }
  uint64_t queue_descriptors(uint16_t /*queue*/) override { return 0; }  // write-only registers
  void notify(uint16_t queue) override { write(0x50, queue); }
  uint8_t config_generation() override { return static_cast<uint8_t>(read(0xfc)); }
  uint32_t config32(uint32_t offset) override { return memory_.read<uint32_t>(base_ + 0x100 + offset); }
  uint8_t config8(uint32_t offset) override { return memory_.read<uint8_t>(base_ + 0x100 + offset); }
  void set_config8(uint32_t offset, uint8_t value) override {
    memory_.write<uint8_t>(base_ + 0x100 + offset, value);
  }

 private:
  const uint64_t base_;
  const FakeMmio& memory_;
};

}  // namespace vmm::virtio

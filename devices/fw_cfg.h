// FwCfg: hands the firmware what it cannot find out by itself: numbered items and named files (memory map,
// boot order, ACPI and SMBIOS tables), read through a pair of ports or copied to memory by DMA.
//
// Standard: QEMU's docs/specs/fw_cfg.rst, the x86 port interface with DMA; nothing can be written.
//
// Threads: items are added and replaced while no vCPU runs; registers from any vCPU thread.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/register_window.h"
#include "vmm/base/bytes.h"
#include "vmm/base/thread_annotations.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"

namespace vmm {

class FwCfg {
 public:
  static constexpr uint64_t kPorts = 2;     // selector and data, at layout::kFwCfg
  static constexpr uint64_t kDmaPorts = 8;  // at layout::kFwCfgDma
  static constexpr size_t kMaxNameBytes = 55;
  static constexpr size_t kMaxFiles = 0x100;
  // No firmware asks for more at once; a guest that does gets the error bit.
  static constexpr uint32_t kMaxDmaBytes = 64U << 20U;

  enum class Item : uint16_t {
    kSignature = 0x00,
    kInterface = 0x01,
    kUuid = 0x02,
    kRamBytes = 0x03,
    kCpuCount = 0x05,
    kBootMenu = 0x0e,
    kMaxCpus = 0x0f,
    kFileDirectory = 0x19,
    kFirstFile = 0x20,
    kIrq0Override = 0x8002,
  };

  explicit FwCfg(const GuestMemory& memory);

  void set_item(Item item, std::vector<std::byte> content);
  template <std::unsigned_integral T>
  void set_number(Item item, T value) {
    std::vector<std::byte> content(sizeof value);
    store_le<T>(content.data(), value);
    set_item(item, std::move(content));
  }
  // Replaces a file of that name, whose number stays. REQUIRES: at most kMaxNameBytes and kMaxFiles.
  void set_file(std::string_view name, std::vector<std::byte> content);
  void remove_file(std::string_view name);

  BusDevice& ports() { return ports_; }
  BusDevice& dma_ports() { return dma_ports_; }
  // Items stay as they are.
  void reset() VMM_EXCLUDES(mutex_);

 private:
  struct State {
    uint16_t selected = 0;
    uint32_t offset = 0;
    uint64_t dma_address = 0;  // what has been written of it
  };

  void read_port(uint64_t offset, std::span<std::byte> data) VMM_EXCLUDES(mutex_);
  void write_port(uint64_t offset, std::span<const std::byte> data) VMM_EXCLUDES(mutex_);
  void read_dma_port(uint64_t offset, std::span<std::byte> data);
  void write_dma_port(uint64_t offset, std::span<const std::byte> data) VMM_EXCLUDES(mutex_);

  void describe_files();
  void select(uint16_t item) VMM_REQUIRES(mutex_);
  std::byte next_byte() VMM_REQUIRES(mutex_);
  std::span<const std::byte> rest() const VMM_REQUIRES(mutex_);
  void advance(uint32_t bytes) VMM_REQUIRES(mutex_);
  void run_dma(GuestAddress descriptor) VMM_REQUIRES(mutex_);
  bool copy_to_guest(GuestAddress to, uint32_t bytes) VMM_REQUIRES(mutex_);

  const GuestMemory& memory_;
  std::map<uint16_t, std::vector<std::byte>> items_;
  std::map<std::string, uint16_t, std::less<>> files_;

  RegisterWindow<FwCfg, &FwCfg::read_port, &FwCfg::write_port> ports_{*this};
  RegisterWindow<FwCfg, &FwCfg::read_dma_port, &FwCfg::write_dma_port> dma_ports_{*this};
  Mutex mutex_;
  State state_ VMM_GUARDED_BY(mutex_);
};

}  // namespace vmm

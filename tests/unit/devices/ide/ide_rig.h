// An IDE controller with drives in memory, guest RAM, and drivers for both channels.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "devices/ide/ata_disk.h"
#include "devices/ide/atapi_drive.h"
#include "devices/ide/ide_controller.h"
#include "tests/unit/devices/ide/fake_ata_driver.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/guest_ram.h"
#include "vmm/base/event_loop.h"

namespace vmm::ide {

// Bytes; wide, so that products of them are.
inline constexpr size_t kSector = 512;
inline constexpr size_t kCdBlock = kCdBlockBytes;

inline uint8_t pattern_at(uint64_t offset) {
  return static_cast<uint8_t>((offset ^ (offset >> 9) ^ (offset >> 17)) & 0xff);
}

class IdeRig {
 public:
  static constexpr uint64_t kRamBytes = 8 << 20;
  static constexpr uint32_t kData = 0x10'0000;  // where tests have their data in RAM

  IdeRig() {
    controller.enable_channels();
    std::array<std::byte, 2> command{std::byte{0x05}, std::byte{0}};
    controller.write_config(pci::kCommand, command);
  }

  // An image whose bytes tell where they are.
  block::FakeBlockDevice& image(uint64_t size_bytes) {
    auto& made = *images_.emplace_back(std::make_unique<block::FakeBlockDevice>(size_bytes));
    for (size_t i = 0; i < made.bytes().size(); ++i) {
      made.bytes()[i] = std::byte{pattern_at(i)};
    }
    return made;
  }
  block::FakeBlockDevice& add_disk(uint64_t size_bytes, uint8_t drive = 0, AtaDisk::Options options = {},
                                   size_t channel = 0) {
    return add_disk(image(size_bytes), drive, std::move(options), channel);
  }
  block::FakeBlockDevice& add_disk(block::FakeBlockDevice& disk, uint8_t drive, AtaDisk::Options options,
                                   size_t channel = 0) {
    controller.channel(channel).attach_disk(drive, std::make_unique<AtaDisk>(disk, std::move(options)), *loop,
                                            disk);
    return disk;
  }
  // blocks: 0 for an empty drive.
  CdTray& add_cdrom(uint32_t blocks, uint8_t drive = 0, size_t channel = 0,
                    std::optional<uint64_t> world_wide_name = std::nullopt) {
    medium = blocks == 0 ? nullptr : &image(uint64_t{blocks} * kCdBlockBytes);
    if (medium != nullptr) {
      medium->set_read_only(true);
    }
    return controller.channel(channel).attach_cdrom(
        drive,
        std::make_unique<AtapiDrive>(AtapiDrive::Options{
            .serial = "CD1", .is_device_1 = drive == 1, .world_wide_name = world_wide_name}),
        *loop, medium);
  }

  void turn() const {
    for (int i = 0; i < 4; ++i) {
      loop->run_once(std::chrono::nanoseconds(0));
    }
  }

  Bytes ram_bytes(uint32_t address, size_t length) const {
    Bytes bytes(length);
    EXPECT_TRUE(ram.read_bytes(GuestAddress(address), std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }
  void put_ram(uint32_t address, const Bytes& bytes) const {
    EXPECT_TRUE(ram.write_bytes(GuestAddress(address), std::as_bytes(std::span(bytes))));
  }
  static Bytes pattern(uint64_t offset, size_t length) {
    Bytes bytes(length);
    for (size_t i = 0; i < length; ++i) {
      bytes[i] = pattern_at(offset + i);
    }
    return bytes;
  }
  static Bytes contents(block::FakeBlockDevice& disk, uint64_t offset, size_t length) {
    Bytes bytes;
    for (const std::byte byte : disk.bytes().subspan(static_cast<size_t>(offset), length)) {
      bytes.push_back(std::to_integer<uint8_t>(byte));
    }
    return bytes;
  }

  GuestMemory ram = make_guest_ram({{0, kRamBytes}});
  std::unique_ptr<EventLoop> loop = *EventLoop::create();
  std::array<FakeLine, kChannelCount> lines;

 private:
  std::vector<std::unique_ptr<block::FakeBlockDevice>> images_;

 public:
  IdeController controller{{&lines[0], &lines[1]}, ram};
  FakeAtaDriver driver{controller, 0, lines[0], ram, [this] { turn(); }};
  FakeAtaDriver driver2{controller, 1, lines[1], ram, [this] { turn(); }};
  block::FakeBlockDevice* medium = nullptr;  // what add_cdrom() put in
};

}  // namespace vmm::ide

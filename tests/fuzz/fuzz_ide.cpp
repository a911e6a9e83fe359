// An IDE controller with a hard disk, a CD-ROM beside it and another one alone, whose disks answer when the
// input says so; the input writes registers, packets and PRD tables, resets, and changes discs. Whatever it
// does, nothing outside of guest memory and of the disks is touched, one request is in flight for each drive,
// nothing arrives in memory after a reset, and a driver that resets finds working drives.
//
// Input: operations (see Machine::step).
#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <vector>

#include "devices/ide/ata_disk.h"
#include "devices/ide/ide_controller.h"
#include "tests/fuzz/guarded_ram.h"
#include "tests/fuzz/input.h"
#include "tests/unit/fakes/fake_block_device.h"
#include "tests/unit/fakes/fake_interrupts.h"
#include "tests/unit/fakes/port_access.h"
#include "vmm/base/event_loop.h"

namespace vmm {
namespace {

constexpr uint64_t kRamBytes = 64 << 10;
constexpr uint64_t kDiskBytes = 300 << 10;
constexpr uint64_t kCdBytes = 80 * uint64_t{ide::kCdBlockBytes};
constexpr int kMaxSteps = 2000;
constexpr int kTurns = 2;
constexpr size_t kImages = 4;

const fuzz::GuardedRam& ram() {
  static const fuzz::GuardedRam ram({{0, kRamBytes}});
  return ram;
}

class Machine {
 public:
  explicit Machine(fuzz::Input& input) : input_(input) {
    channel(0).attach_disk(
        0, std::make_unique<ide::AtaDisk>(images_[0], ide::AtaDisk::Options{.offers_discard = true}), *loop_,
        images_[0]);
    trays_[0] = &channel(0).attach_cdrom(1, make_cdrom(), *loop_, &images_[1]);
    trays_[1] = &channel(1).attach_cdrom(0, make_cdrom(), *loop_, &images_[2]);
    for (block::FakeBlockDevice& image : images_) {
      image.set_deferred(true);
    }
    enable();
  }
  ~Machine() { finish_all(); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void run() {
    for (int i = 0; i < kMaxSteps && !input_.is_empty(); ++i) {
      step();
      check();
    }
    check_resets();
    for (size_t i = 0; i < ide::kChannelCount; ++i) {
      check_drive(i, 0);
    }
    check_drive(0, 1);
  }

 private:
  static std::unique_ptr<ide::AtapiDrive> make_cdrom() {
    return std::make_unique<ide::AtapiDrive>(ide::AtapiDrive::Options{});
  }
  ide::IdeChannel& channel(size_t index) { return controller_.channel(index); }
  BusDevice& bus_master() { return *controller_.bars()[ide::IdeController::kBusMasterBar].device; }

  void enable() {
    controller_.enable_channels();
    write_config(pci::kCommand, 0x05);
  }
  void write_config(uint8_t offset, uint16_t value) {
    std::array<std::byte, 2> bytes{};
    store_le<uint16_t>(bytes.data(), value);
    controller_.write_config(offset, bytes);
  }

  void step() {
    const uint8_t operation = input_.take<uint8_t>();
    const size_t where = (operation >> 7) & 1;
    switch (operation % 16) {
      case 0:
        return access_command_block(where, input_.below(8));
      case 1:
        return write_command(where);
      case 2:
        return out8(channel(where).control_block(), 0, input_.take<uint8_t>());
      case 3:
        return access(bus_master(), input_.below(16), 16);
      case 4:
        return start_dma(where);
      case 5:
        return put_table();
      case 6:
        return send_packet(where);
      case 7:
        return move_data(where, input_.take<uint16_t>() % 3000U);
      case 8:
        return complete();
      case 9:
        return turn();
      case 10:
        return write_config(static_cast<uint8_t>(input_.below(2) == 0 ? 0x04 : 0x40 + input_.below(4)),
                            input_.take<uint16_t>());
      case 11:
        return use_tray(*trays_[where]);
      case 12:
        return enable();
      case 13:
        return write_task_file(where);
      case 14:
        return fail_next();
      default:
        return reset(where);
    }
  }

  void access(BusDevice& device, uint64_t offset, uint64_t length) {
    const uint8_t kind = input_.below(8);
    const size_t size = std::min<uint64_t>(uint64_t{1} << std::min(kind & 3, 2), length - offset);
    std::array<std::byte, 4> bytes{};
    store_le<uint32_t>(bytes.data(), input_.take<uint32_t>());
    const std::span data = std::span(bytes).first(size == 3 ? 2 : size);
    if ((kind & 4) != 0) {
      device.write(offset, data);
    } else {
      device.read(offset, data);
    }
  }
  void access_command_block(size_t where, uint8_t offset) {
    access(channel(where).command_block(), offset, 8);
  }

  void write_command(size_t where) {
    constexpr std::array<uint8_t, 16> kCodes = {0x06, 0x08, 0x20, 0x24, 0x25, 0x30, 0x34, 0x35,
                                                0x90, 0xa0, 0xa1, 0xc4, 0xc8, 0xca, 0xec, 0xef};
    const uint8_t code = input_.take<uint8_t>();
    out8(channel(where).command_block(), 7, code < 0xc0 ? kCodes[code % kCodes.size()] : code);
  }
  void write_task_file(size_t where) {
    for (uint64_t offset = 1; offset < 7; ++offset) {
      out8(channel(where).command_block(), offset, input_.take<uint8_t>());
    }
  }
  void start_dma(size_t where) {
    const uint64_t base = 8 * where;
    out8(bus_master(), base, 0);
    out<uint32_t>(bus_master(), base + 4,
                  input_.chance() ? input_.take<uint16_t>() : input_.take<uint32_t>());
    out8(bus_master(), base, input_.chance() ? 0x09 : 0x01);
  }
  void put_table() {
    const GuestAddress place(input_.take<uint16_t>() & 0xfff8U);
    const uint64_t entry = uint64_t{input_.take<uint16_t>()} | uint64_t{input_.take<uint32_t>()} << 32;
    VMM_CHECK(ram_.write<uint64_t>(place, entry), "not in memory");
  }
  void send_packet(size_t where) {
    BusDevice& ports = channel(where).command_block();
    out8(ports, 6, where == 0 ? 0xb0 : 0xa0);
    out8(ports, 1, input_.take<uint8_t>());
    out8(ports, 4, input_.take<uint8_t>());
    out8(ports, 5, input_.take<uint8_t>());
    out8(ports, 7, 0xa0);
    for (int i = 0; i < 6; ++i) {
      out<uint16_t>(ports, 0, input_.take<uint16_t>());
    }
  }
  void move_data(size_t where, unsigned words) {
    const bool is_write = input_.chance();
    for (unsigned i = 0; i < words; ++i) {
      if (is_write) {
        out<uint32_t>(channel(where).command_block(), 0, 0x0001'0203U * i);
      } else {
        in<uint32_t>(channel(where).command_block(), 0);
      }
    }
  }

  void complete() {
    block::FakeBlockDevice& image = images_[input_.below(kImages)];
    if (image.in_flight() > 0) {
      image.complete_oldest();
    }
  }
  void fail_next() {
    images_[input_.below(kImages)].fail_next(static_cast<block::BlockOp>(input_.below(5)),
                                             static_cast<block::IoStatus>(1 + input_.below(5)));
  }
  void turn() const {
    for (int i = 0; i < kTurns; ++i) {
      loop_->run_once(std::chrono::nanoseconds(0));
    }
  }

  // As the machine uses it: a medium comes out before another goes in.
  void use_tray(ide::CdTray& tray) {
    switch (input_.below(6)) {
      case 0:
        return static_cast<void>(tray.open(false));
      case 1:
        return static_cast<void>(tray.open(true));
      case 2:
        return tray.close();
      case 3:
        return tray.remove({});
      case 4:
        tray.remove({});
        return tray.insert(images_[1 + input_.below(kImages - 1)], {});
      default:
        VMM_CHECK(tray.open(true) == ide::CdTray::Opened::kOpen && !tray.status().is_locked,
                  "a tray withstands force");
        return;
    }
  }

  void reset(size_t where) {
    channel(where).reset();
    VMM_CHECK(!lines_[where].level, "a channel that was reset interrupts");
  }

  bool is_idle() const {
    return std::ranges::all_of(images_, [](const auto& image) { return image.in_flight() == 0; });
  }
  void finish_all() {
    turn();
    // Each round ends one job of a drive and may begin the next.
    for (int round = 0; round < 20 && !is_idle(); ++round) {
      for (block::FakeBlockDevice& image : images_) {
        image.complete_all();
      }
      turn();
    }
    VMM_CHECK(is_idle(), "a drive does not come to rest");
  }

  std::vector<std::byte> ram_contents() const {
    std::vector<std::byte> bytes(kRamBytes);
    VMM_CHECK(ram_.read_bytes(GuestAddress(0), bytes), "no memory");
    return bytes;
  }

  // SRST ends what runs: results that come later change nothing.
  void check_resets() {
    enable();
    for (size_t i = 0; i < ide::kChannelCount; ++i) {
      out8(channel(i).control_block(), 0, 0x0c);
      out8(channel(i).control_block(), 0, 0x08);
      VMM_CHECK(!lines_[i].level, "a drive that was reset interrupts");
    }
    const std::vector<std::byte> before = ram_contents();
    finish_all();
    VMM_CHECK(ram_contents() == before, "data of before a reset reached memory");
  }

  void check_drive(size_t where, uint8_t drive) {
    BusDevice& ports = channel(where).command_block();
    out8(ports, 6, drive == 0 ? 0xa0 : 0xb0);
    const bool is_packet = in(ports, 4) == 0x14;
    VMM_CHECK(is_packet == (where == 1 || drive == 1), "a drive has the wrong signature");
    out8(ports, 7, is_packet ? 0xa1 : 0xec);
    VMM_CHECK((in(ports, 7) & 0x89) == 0x08, "a drive does not identify itself");
    for (int i = 0; i < 256; ++i) {
      in<uint16_t>(ports, 0);
    }
    VMM_CHECK((in(ports, 7) & 0x89) == 0, "a drive's data have no end");
  }

  void check() {
    for (size_t i = 0; i < kImages; ++i) {
      const block::FakeBlockDevice& image = images_[i];
      VMM_CHECK(image.in_flight() <= 2, "more requests than drives that could share a disc");
      for (; checked_[i] < image.history().size(); ++checked_[i]) {
        const auto& record = image.history()[checked_[i]];
        VMM_CHECK(record.offset.bytes() <= image.size_bytes() &&
                      record.length_bytes <= image.size_bytes() - record.offset.bytes(),
                  "a request beyond the end of the disk");
        const bool is_data = record.op == block::BlockOp::kRead || record.op == block::BlockOp::kWrite;
        VMM_CHECK(!is_data || record.length_bytes <= ide::kStepBytes, "a request is too large");
      }
    }
  }

  fuzz::Input& input_;
  const GuestMemory& ram_ = ram().memory();
  std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
  std::array<FakeLine, ide::kChannelCount> lines_;
  std::array<block::FakeBlockDevice, kImages> images_ = make_images();
  ide::IdeController controller_{{&lines_[0], &lines_[1]}, ram_};
  std::array<ide::CdTray*, 2> trays_{};
  std::array<size_t, kImages> checked_{};  // of each history

  static std::array<block::FakeBlockDevice, kImages> make_images() {
    return {block::FakeBlockDevice(kDiskBytes), block::FakeBlockDevice(kCdBytes),
            block::FakeBlockDevice(kCdBytes), block::FakeBlockDevice(1000)};
  }
};

}  // namespace
}  // namespace vmm

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::fuzz::silence_log();
  vmm::ram().clear();
  vmm::fuzz::Input input(data, size);
  vmm::Machine(input).run();
  return 0;
}

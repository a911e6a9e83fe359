// IDE as firmware and drivers use it, polling: a hard disk alone on the first channel, a CD-ROM alone on the
// second; by port and by the bus master.
//
// Expects --ide-disk and --cdrom of run_guest.py: block n of the disc begins with the number n.
#include "tests/guests/runtime/clock.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/pci.h"
#include "tests/guests/runtime/report.h"
#include "tests/guests/runtime/start.h"

namespace guest {
namespace {

constexpr PciAddress kFunction = {0, 1, 1};
constexpr uint8_t kBusy = 0x80;
constexpr uint8_t kDrq = 0x08;
constexpr uint8_t kError = 0x01;
constexpr uint32_t kDvdBlockBytes = 2048;

struct Prd {
  uint32_t address;
  uint16_t count;
  uint16_t flags;
};

alignas(0x1'0000) constinit uint8_t buffer[0x1'0000] = {};
alignas(16) constinit Prd table[4] = {};
constinit uint16_t identity[256] = {};

class Channel {
 public:
  constexpr Channel(uint16_t command, uint16_t control, uint16_t master_offset)
      : command_(command), control_(control), master_offset_(master_offset) {}

  uint8_t get(uint16_t offset) const { return in8(static_cast<uint16_t>(command_ + offset)); }
  void put(uint16_t offset, uint8_t value) const { out8(static_cast<uint16_t>(command_ + offset), value); }
  uint16_t word() const { return in16(command_); }
  void set_control(uint8_t value) const { out8(control_, value); }

  uint8_t wait() const {
    uint8_t status = kBusy;
    wait_until([&] {
      status = in8(control_);
      return (status & kBusy) == 0;
    });
    return status;
  }
  void reset() const {
    set_control(0x0c);
    wait_microseconds(10);
    set_control(0x08);
    wait_microseconds(3000);
    wait();
  }
  uint32_t signature() const { return uint32_t{get(5)} << 8 | get(4); }

  // A 28-bit command; the status after it.
  uint8_t command(uint8_t code, uint32_t lba = 0, uint8_t count = 0, uint8_t features = 0) const {
    put(6, static_cast<uint8_t>(0xe0 | (lba >> 24 & 0x0f)));
    put(1, features);
    put(2, count);
    put(3, static_cast<uint8_t>(lba & 0xff));
    put(4, static_cast<uint8_t>(lba >> 8 & 0xff));
    put(5, static_cast<uint8_t>(lba >> 16 & 0xff));
    put(7, code);
    return wait();
  }
  void read_words(uint16_t* to, uint32_t words) const {
    for (uint32_t i = 0; i < words; i++) to[i] = word();
  }
  void write_words(const uint16_t* from, uint32_t words) const {
    for (uint32_t i = 0; i < words; i++) out16(command_, from[i]);
  }

  // --- Packets ---

  uint8_t send_packet(const uint8_t (&packet)[12], bool dma = false) const {
    put(6, 0xa0);
    put(1, dma ? 1 : 0);
    put(4, kDvdBlockBytes & 0xff);
    put(5, kDvdBlockBytes >> 8);
    put(7, 0xa0);
    if ((wait() & (kDrq | kError)) != kDrq) return 0xff;
    for (uint32_t i = 0; i < 12; i += 2) {
      out16(command_, static_cast<uint16_t>(packet[i] | packet[i + 1] << 8));
    }
    return dma ? 0 : wait();
  }
  // Bytes of data that came; the status is the last one.
  uint32_t packet_in(const uint8_t (&packet)[12], uint8_t& status) const {
    uint32_t length = 0;
    status = send_packet(packet);
    while ((status & (kBusy | kDrq | kError)) == kDrq && length + kDvdBlockBytes <= sizeof buffer) {
      const uint32_t bytes = uint32_t{get(5)} << 8 | get(4);
      for (uint32_t i = 0; i < bytes; i += 2, length += 2) {
        const uint16_t value = word();
        buffer[length] = static_cast<uint8_t>(value & 0xff);
        buffer[length + 1] = static_cast<uint8_t>(value >> 8);
      }
      status = wait();
    }
    get(7);
    return length;
  }
  // Key << 16 | ASC << 8 | ASCQ.
  uint32_t sense() const {
    uint8_t status = 0;
    if (packet_in({0x03, 0, 0, 0, 18}, status) != 18) return 0xffff'ffff;
    return uint32_t{buffer[2]} << 16 | uint32_t{buffer[12]} << 8 | buffer[13];
  }
  bool is_ready() const {
    uint8_t status = 0;
    packet_in({0x00}, status);
    return (status & kError) == 0;
  }

  // --- Bus master ---

  uint16_t master(uint16_t offset) const {
    return static_cast<uint16_t>(pci_bar_address(kFunction, 4) + master_offset_ + offset);
  }
  void prepare(bool to_memory, uint32_t bytes, uint64_t place) const {
    table[0] = {static_cast<uint32_t>(place), static_cast<uint16_t>(bytes / 2), 0};
    table[1] = {static_cast<uint32_t>(place + bytes / 2), static_cast<uint16_t>(bytes - bytes / 2), 0x8000};
    out8(master(0), 0);
    out8(master(2), 0x06);
    out32(master(4), static_cast<uint32_t>(address_of(table)));
    out8(master(0), to_memory ? 0x08 : 0x00);
  }
  // The bus master's status when it was stopped.
  uint8_t run(bool to_memory) const {
    out8(master(0), to_memory ? 0x09 : 0x01);
    uint8_t status = 0;
    wait_until([&] {
      status = in8(master(2));
      return (status & 0x04) != 0;
    });
    out8(master(0), 0);
    return status;
  }

 private:
  uint16_t command_;
  uint16_t control_;
  uint16_t master_offset_;
};

constexpr Channel kFirst(0x1f0, 0x3f6, 0);
constexpr Channel kSecond(0x170, 0x376, 8);

void fill(uint32_t seed, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) buffer[i] = static_cast<uint8_t>((seed + i * 7 + (i >> 8)) & 0xff);
}
bool is_filled(uint32_t seed, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    if (buffer[i] != static_cast<uint8_t>((seed + i * 7 + (i >> 8)) & 0xff)) return false;
  }
  return true;
}
void clear() {
  for (uint8_t& byte : buffer) byte = 0xee;
}

void test_function() {
  check_equal("the function is PIIX3's IDE", pci_read32(kFunction, 0), 0x7010'8086);
  check_equal("its class: IDE, a bus master, at the old ports", pci_read32(kFunction, 8) >> 8, 0x01'01'80);
  const PciBar bar = pci_bar(kFunction, 4);
  check("BAR 4 is the bus master's", bar.exists && bar.io && bar.size == 16, "size ", bar.size);
  const uint16_t command = pci_read16(kFunction, kPciCommand);
  pci_write16(kFunction, kPciCommand, static_cast<uint16_t>(command | kPciCommandMaster | kPciCommandIo));
}

bool answers(const Channel& channel, uint8_t device) {
  channel.put(6, device);
  channel.put(2, 0x55);
  channel.put(3, 0xaa);
  return channel.get(2) == 0x55 && channel.get(3) == 0xaa;
}

void test_detection() {
  check("the master of the first channel answers", answers(kFirst, 0xa0));
  kFirst.put(6, 0xb0);
  check_equal("its slave has no status", kFirst.get(7), 0);
  check("the master of the second channel answers", answers(kSecond, 0xa0));
  kFirst.reset();
  kSecond.reset();
  kFirst.put(6, 0xa0);  // QEMU leaves the slave selected
  check_equal("a disk's signature", kFirst.signature(), 0x0000);
  check_equal("a packet device's signature", kSecond.signature(), 0xeb14);
  check_equal("the diagnostic passed", kFirst.get(1), 0x01);
}

uint32_t disk_sectors() { return uint32_t{identity[61]} << 16 | identity[60]; }

void test_disk_by_port() {
  const uint8_t status = kFirst.command(0xec);
  check("IDENTIFY DEVICE has data", (status & (kDrq | kError)) == kDrq, Hex{status});
  kFirst.read_words(identity, 256);
  check_equal("and no more than a sector of it", kFirst.wait() & (kDrq | kError), 0);
  check_equal("the size is the image's", disk_sectors(), option_number("disk-sectors", 0));
  fill(1, 1024);
  kFirst.command(0x30, 5, 2);
  kFirst.write_words(at<uint16_t>(address_of(buffer)), 256);
  check("the second sector is asked for", (kFirst.wait() & (kDrq | kError)) == kDrq);
  kFirst.write_words(at<uint16_t>(address_of(buffer)) + 256, 256);
  check_equal("a write by port ends", kFirst.wait() & (kDrq | kError), 0);
  clear();
  kFirst.command(0x20, 5, 2);
  kFirst.read_words(at<uint16_t>(address_of(buffer)), 256);
  check("the second sector is there", (kFirst.wait() & (kDrq | kError)) == kDrq);
  kFirst.read_words(at<uint16_t>(address_of(buffer)) + 256, 256);
  check("what was written by port is read by port", is_filled(1, 1024));
  check("FLUSH CACHE", (kFirst.command(0xe7) & kError) == 0);
}

void test_disk_by_dma() {
  constexpr uint32_t kBytes = 100 * 512;
  fill(9, kBytes);
  kFirst.prepare(false, kBytes, address_of(buffer));
  kFirst.put(6, 0xe0);
  kFirst.command(0xca, 20, 100);
  check_equal("a write by DMA ends", kFirst.run(false) & 0x07, 0x04);
  check_equal("without an error", kFirst.get(7) & (kBusy | kDrq | kError), 0);
  clear();
  kFirst.prepare(true, kBytes, address_of(buffer));
  kFirst.command(0xc8, 20, 100);
  check_equal("a read by DMA ends", kFirst.run(true) & 0x07, 0x04);
  check_equal("without an error", kFirst.get(7) & (kBusy | kDrq | kError), 0);
  check("what was written by DMA is read by DMA", is_filled(9, kBytes));
}

void test_disk_errors() {
  check("a sector beyond the end is an error", (kFirst.command(0x20, disk_sectors(), 1) & kError) != 0);
  check("an unknown command is aborted", (kFirst.command(0xff) & kError) != 0 && kFirst.get(1) == 0x04);
  check("PACKET is not for disks", (kFirst.command(0xa1) & kError) != 0);
}

void test_cd_commands() {
  uint8_t status = 0;
  check("IDENTIFY PACKET DEVICE has data", (kSecond.command(0xa1) & (kDrq | kError)) == kDrq);
  kSecond.read_words(identity, 256);
  check_equal("a removable CD-ROM drive", identity[0] & 0xff80, 0x8580);
  check("IDENTIFY DEVICE is aborted", (kSecond.command(0xec) & kError) != 0);
  check_equal("with the signature", kSecond.signature(), 0xeb14);
  for (int i = 0; i < 4 && !kSecond.is_ready(); i++) kSecond.sense();
  check("the drive becomes ready", kSecond.is_ready());
  check_equal("INQUIRY", kSecond.packet_in({0x12, 0, 0, 0, 36}, status), 36);
  check_equal("says CD-ROM", buffer[0], 0x05);
  check_equal("READ CAPACITY", kSecond.packet_in({0x25}, status), 8);
  const uint32_t last =
      uint32_t{buffer[0]} << 24 | uint32_t{buffer[1]} << 16 | uint32_t{buffer[2]} << 8 | buffer[3];
  check_equal("is the image's", last + 1, option_number("cd-blocks", 0));
  check_equal("READ TOC", kSecond.packet_in({0x43, 0, 0, 0, 0, 0, 0, 0, 20}, status), 20);
}

void test_cd_reads() {
  uint8_t status = 0;
  clear();
  check_equal("READ(10) by port", kSecond.packet_in({0x28, 0, 0, 0, 0, 7, 0, 0, 2}, status),
              2 * kDvdBlockBytes);
  check("is block 7 and the next", buffer[0] == 7 && buffer[kDvdBlockBytes] == 8);
  clear();
  kSecond.prepare(true, 8 * kDvdBlockBytes, address_of(buffer));
  kSecond.send_packet({0x28, 0, 0, 0, 0, 3, 0, 0, 8}, true);
  check_equal("READ(10) by DMA", kSecond.run(true) & 0x07, 0x04);
  check_equal("without an error", kSecond.get(7) & (kBusy | kDrq | kError), 0);
  check("is block 3 and those that follow", buffer[0] == 3 && buffer[7 * kDvdBlockBytes] == 10);
  check_equal("a block beyond the end has no data",
              kSecond.packet_in({0x28, 0, 0x7f, 0, 0, 0, 0, 0, 1}, status), 0);
  check_equal("and a sense", kSecond.sense(), 0x05'21'00);
}

void test_cd_tray() {
  uint8_t status = 0;
  kSecond.packet_in({0x1e, 0, 0, 0, 1}, status);
  kSecond.packet_in({0x1b, 0, 0, 0, 2}, status);
  check("a locked tray does not open", (status & kError) != 0);
  kSecond.packet_in({0x1e, 0, 0, 0, 0}, status);
  kSecond.packet_in({0x1b, 0, 0, 0, 2}, status);
  check("an unlocked one does", (status & kError) == 0);
  check("an open drive is not ready", !kSecond.is_ready());
  check_equal("for want of a medium", kSecond.sense() >> 8, 0x02'3a);
  kSecond.packet_in({0x1b, 0, 0, 0, 3}, status);
  check("the tray closes", (status & kError) == 0);
  if (!option_is("monitor", "qemu")) {
    check("the disc has to be looked at anew", !kSecond.is_ready());
  }
  for (int i = 0; i < 4 && !kSecond.is_ready(); i++) kSecond.sense();
  check("the disc is there again", kSecond.is_ready());
}

}  // namespace

void run() {
  test_function();
  test_detection();
  test_disk_by_port();
  test_disk_by_dma();
  test_disk_errors();
  test_cd_commands();
  test_cd_reads();
  test_cd_tray();
  finish();
}

}  // namespace guest

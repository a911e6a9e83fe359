#include "boot/smbios.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"
#include "vmm/core/layout.h"

namespace vmm::boot {
namespace {

// Handles, as other firmware of virtual machines gives them.
constexpr uint16_t kBiosHandle = 0x0000;
constexpr uint16_t kSystemHandle = 0x0100;
constexpr uint16_t kBoardHandle = 0x0200;
constexpr uint16_t kChassisHandle = 0x0300;
constexpr uint16_t kProcessorHandle = 0x0400;
constexpr uint16_t kOemStringsHandle = 0x0e00;
constexpr uint16_t kMemoryArrayHandle = 0x1000;
constexpr uint16_t kMemoryDeviceHandle = 0x1100;
constexpr uint16_t kMemoryMapHandle = 0x1300;
constexpr uint16_t kBootHandle = 0x2000;
constexpr uint16_t kEndHandle = 0x7f00;
constexpr uint16_t kNoHandle = 0xfffe;  // "not provided"

constexpr uint8_t kOther = 1;
constexpr uint8_t kUnknown = 2;
constexpr uint8_t kSafe = 3;
constexpr uint64_t kKiB = 1024;
constexpr size_t kMaxTextBytes = 64;

// The entry point (section 5.2.1, version 2.8), and what of it is due when the tables have their place.
constexpr uint8_t kAnchorBytes = 31;
constexpr size_t kAnchorChecksum = 4;
constexpr size_t kIntermediateAnchor = 16;
constexpr size_t kIntermediateChecksum = 21;
constexpr size_t kIntermediateBytes = 15;
constexpr size_t kTablesAddress = 24;
// Behind it, with direct boot.
constexpr uint64_t kTablesPlace = align_up(layout::kSmbiosStart + kAnchorBytes, 16);

// One structure: its formatted part, then its strings (section 6.1).
class Structure {
 public:
  Structure(uint8_t type, uint16_t handle) {
    add<uint8_t>(type);
    add<uint8_t>(0);  // the length, known at the end
    add<uint16_t>(handle);
  }

  template <std::unsigned_integral T>
  Structure& add(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    store_le<T>(bytes_.data() + at, value);
    return *this;
  }
  // A reference to a string: its number, from 1; 0 for none.
  Structure& text(std::string_view value) {
    if (value.empty()) {
      return add<uint8_t>(0);
    }
    strings_.emplace_back(value.substr(0, kMaxTextBytes));
    return add<uint8_t>(static_cast<uint8_t>(strings_.size()));
  }
  Structure& string_only(std::string_view value) {
    strings_.emplace_back(value.substr(0, kMaxTextBytes));
    return *this;
  }

  std::vector<std::byte> finish() {
    bytes_[1] = static_cast<std::byte>(bytes_.size());
    for (const std::string& each : strings_) {
      const auto text = std::as_bytes(std::span(each.c_str(), each.size() + 1));
      bytes_.insert(bytes_.end(), text.begin(), text.end());
    }
    bytes_.resize(bytes_.size() + (strings_.empty() ? 2 : 1));
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::string> strings_;
};

class Tables {
 public:
  void add(Structure structure) {
    const auto bytes = structure.finish();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    longest_ = std::max(longest_, bytes.size());
    ++count_;
  }
  size_t size() const { return bytes_.size(); }
  SmbiosTables take();

 private:
  std::vector<std::byte> bytes_;
  size_t longest_ = 0;
  uint16_t count_ = 0;
};

SmbiosTables Tables::take() {
  std::vector<std::byte> anchor;
  const auto put = [&anchor](std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    anchor.insert(anchor.end(), bytes.begin(), bytes.end());
  };
  const auto number = [&anchor]<std::unsigned_integral T>(T value) {
    anchor.resize(anchor.size() + sizeof value);
    store_le<T>(anchor.data() + anchor.size() - sizeof value, value);
  };
  put("_SM_");
  number(uint8_t{0});
  number(kAnchorBytes);
  number(uint8_t{2});
  number(uint8_t{8});
  number(static_cast<uint16_t>(longest_));
  number(uint8_t{0});
  anchor.resize(anchor.size() + 5);
  put("_DMI_");
  number(uint8_t{0});
  number(static_cast<uint16_t>(bytes_.size()));
  number(uint32_t{0});
  number(count_);
  number(uint8_t{0x28});
  return {std::move(anchor), std::move(bytes_)};
}

// "4.11" is 4 and 11; 0xff says "not supported" (section 7.1).
std::pair<uint8_t, uint8_t> release_of(std::string_view text) {
  std::pair<uint8_t, uint8_t> release = {0xff, 0xff};
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) {
    return release;
  }
  const auto read = [](std::string_view digits, uint8_t& to) {
    std::from_chars(digits.data(), digits.data() + digits.size(), to);
  };
  read(text.substr(0, dot), release.first);
  read(text.substr(dot + 1), release.second);
  return release;
}

Structure bios(const SmbiosConfig::Bios& config) {
  constexpr uint64_t kNotSupported = 1U << 3U;       // "BIOS characteristics are not supported"
  constexpr uint16_t kVirtualMachine = 0x10U << 8U;  // second extension byte, bit 4
  constexpr uint16_t kSegment = 0xe800;
  const auto [major, minor] = release_of(config.release);
  Structure structure(0, kBiosHandle);
  structure.text(config.vendor).text(config.version).add<uint16_t>(kSegment).text(config.date);
  structure.add<uint8_t>(0).add<uint64_t>(kNotSupported).add<uint16_t>(kVirtualMachine);
  structure.add<uint8_t>(major).add<uint8_t>(minor).add<uint16_t>(0xffff);
  return structure;
}

// The first three fields of the text are numbers, and stand little-endian (section 7.2.1).
Structure system(const SmbiosConfig& config) {
  constexpr std::array<size_t, 16> kOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  constexpr uint8_t kPowerSwitch = 6;
  const SmbiosConfig::System& text = config.system;
  Structure structure(1, kSystemHandle);
  structure.text(text.manufacturer).text(text.product).text(text.version).text(text.serial);
  for (const size_t at : kOrder) {
    structure.add<uint8_t>(config.uuid ? (*config.uuid)[at] : 0);
  }
  structure.add<uint8_t>(kPowerSwitch).text(text.sku).text(text.family);
  return structure;
}

Structure board(const SmbiosConfig::Board& text) {
  constexpr uint8_t kHosting = 1;
  constexpr uint8_t kMotherboard = 10;
  Structure structure(2, kBoardHandle);
  structure.text(text.manufacturer).text(text.product).text(text.version).text(text.serial).text(text.asset);
  structure.add<uint8_t>(kHosting).text(text.location).add<uint16_t>(kChassisHandle);
  structure.add<uint8_t>(kMotherboard).add<uint8_t>(0);
  return structure;
}

Structure chassis(const SmbiosConfig::Chassis& text) {
  Structure structure(3, kChassisHandle);
  structure.text(text.manufacturer)
      .add<uint8_t>(kOther)
      .text(text.version)
      .text(text.serial)
      .text(text.asset);
  structure.add<uint8_t>(kSafe).add<uint8_t>(kSafe).add<uint8_t>(kSafe).add<uint8_t>(kUnknown);
  structure.add<uint32_t>(0).add<uint8_t>(0).add<uint8_t>(0).add<uint8_t>(0).add<uint8_t>(0).text(text.sku);
  return structure;
}

Structure processor(const SmbiosConfig& config, uint32_t socket) {
  constexpr uint8_t kCentralProcessor = 3;
  constexpr uint8_t kEnabled = 0x41;  // populated, enabled
  constexpr uint16_t kNoCache = 0xffff;
  constexpr uint16_t kSixtyFourBits = 1U << 2U;
  const auto cores = static_cast<uint8_t>(std::min<uint32_t>(config.cores_per_socket, 255));
  const auto threads = static_cast<uint8_t>(std::min<uint32_t>(config.threads_per_socket, 255));
  Structure structure(4, static_cast<uint16_t>(kProcessorHandle + socket));
  structure.text(fmt::format("CPU {}", socket)).add<uint8_t>(kCentralProcessor).add<uint8_t>(kOther);
  structure.text(config.system.manufacturer).add<uint64_t>(0).text(config.system.version).add<uint8_t>(0);
  structure.add<uint16_t>(0).add<uint16_t>(0).add<uint16_t>(0).add<uint8_t>(kEnabled).add<uint8_t>(kOther);
  structure.add<uint16_t>(kNoCache).add<uint16_t>(kNoCache).add<uint16_t>(kNoCache);
  structure.text("").text("").text("").add<uint8_t>(cores).add<uint8_t>(cores).add<uint8_t>(threads);
  structure.add<uint16_t>(kSixtyFourBits).add<uint16_t>(kOther);
  return structure;
}

Structure oem_strings(const std::vector<std::string>& strings) {
  const size_t count = std::min<size_t>(strings.size(), 255);
  Structure structure(11, kOemStringsHandle);
  structure.add<uint8_t>(static_cast<uint8_t>(count));
  for (const std::string& each : std::span(strings).first(count)) {
    structure.string_only(each);
  }
  return structure;
}

Structure memory_array(uint64_t bytes) {
  constexpr uint8_t kSystemMemory = 3;
  constexpr uint8_t kMultiBitEcc = 6;
  constexpr uint32_t kExtended = 0x8000'0000;
  const uint64_t kib = bytes / kKiB;
  Structure structure(16, kMemoryArrayHandle);
  structure.add<uint8_t>(kOther).add<uint8_t>(kSystemMemory).add<uint8_t>(kMultiBitEcc);
  structure.add<uint32_t>(kib < kExtended ? static_cast<uint32_t>(kib) : kExtended);
  structure.add<uint16_t>(kNoHandle).add<uint16_t>(1).add<uint64_t>(kib < kExtended ? 0 : bytes);
  return structure;
}

Structure memory_device(uint64_t bytes) {
  constexpr uint16_t kSizeIsExtended = 0x7fff;
  constexpr uint16_t kUnknownWidth = 0xffff;
  constexpr uint8_t kDimm = 9;
  constexpr uint8_t kRam = 7;
  const uint64_t mib = bytes / kMiB;
  const bool is_large = mib >= kSizeIsExtended;
  Structure structure(17, kMemoryDeviceHandle);
  structure.add<uint16_t>(kMemoryArrayHandle).add<uint16_t>(kNoHandle);
  structure.add<uint16_t>(kUnknownWidth).add<uint16_t>(kUnknownWidth);
  structure.add<uint16_t>(is_large ? kSizeIsExtended : static_cast<uint16_t>(mib));
  structure.add<uint8_t>(kDimm).add<uint8_t>(0).text("DIMM 0").text("").add<uint8_t>(kRam);
  structure.add<uint16_t>(1U << 1U).add<uint16_t>(0).text("").text("").text("").text("").add<uint8_t>(0);
  structure.add<uint32_t>(is_large ? static_cast<uint32_t>(mib) : 0).add<uint16_t>(0);
  structure.add<uint16_t>(0).add<uint16_t>(0).add<uint16_t>(0);
  return structure;
}

Structure memory_range(uint16_t number, uint64_t start, uint64_t bytes) {
  constexpr uint32_t kExtended = 0xffff'ffff;
  const uint64_t last = start + bytes - 1;
  const bool is_high = last / kKiB >= kExtended;
  Structure structure(19, static_cast<uint16_t>(kMemoryMapHandle + number));
  structure.add<uint32_t>(is_high ? kExtended : static_cast<uint32_t>(start / kKiB));
  structure.add<uint32_t>(is_high ? kExtended : static_cast<uint32_t>(last / kKiB));
  structure.add<uint16_t>(kMemoryArrayHandle).add<uint8_t>(1);
  structure.add<uint64_t>(is_high ? start : 0).add<uint64_t>(is_high ? last : 0);
  return structure;
}

Structure boot_status() {
  Structure structure(32, kBootHandle);
  structure.add<uint32_t>(0).add<uint16_t>(0).add<uint8_t>(0);  // six bytes reserved; no errors
  return structure;
}

std::byte checksum_of(std::span<const std::byte> bytes) {
  const auto sum = std::accumulate(bytes.begin(), bytes.end(), 0U, [](unsigned total, std::byte byte) {
    return total + std::to_integer<unsigned>(byte);
  });
  return static_cast<std::byte>((0U - sum) & 0xff);
}

// The checksum of the whole covers the intermediate one.
void bind_anchor(std::span<std::byte> anchor) {
  store_le<uint32_t>(anchor.data() + kTablesAddress, static_cast<uint32_t>(kTablesPlace));
  anchor[kIntermediateChecksum] = checksum_of(anchor.subspan(kIntermediateAnchor, kIntermediateBytes));
  anchor[kAnchorChecksum] = checksum_of(anchor);
}

}  // namespace

SmbiosTables build_smbios(const SmbiosConfig& config) {
  const uint64_t memory = config.low_memory_bytes + config.high_memory_bytes;
  Tables tables;
  if (config.bios) {
    tables.add(bios(*config.bios));
  }
  tables.add(system(config));
  if (config.board) {
    tables.add(board(*config.board));
  }
  tables.add(chassis(config.chassis));
  for (uint32_t socket = 0; socket < config.sockets; ++socket) {
    tables.add(processor(config, socket));
  }
  if (!config.oem_strings.empty()) {
    tables.add(oem_strings(config.oem_strings));
  }
  tables.add(memory_array(memory));
  tables.add(memory_device(memory));
  tables.add(memory_range(0, 0, config.low_memory_bytes));
  if (config.high_memory_bytes > 0) {
    tables.add(memory_range(1, layout::kFourGiB, config.high_memory_bytes));
  }
  tables.add(boot_status());
  tables.add(Structure(127, kEndHandle));
  VMM_CHECK(tables.size() <= layout::kOneMiB - kTablesPlace, "the SMBIOS tables do not fit");
  return tables.take();
}

Status install_smbios(const GuestMemory& memory, const SmbiosConfig& config) {
  SmbiosTables smbios = build_smbios(config);
  bind_anchor(smbios.anchor);
  if (!memory.write_bytes(GuestAddress(kTablesPlace), smbios.tables) ||
      !memory.write_bytes(GuestAddress(layout::kSmbiosStart), smbios.anchor)) {
    return fail_configuration("<memory>: the SMBIOS tables need memory up to 1 MiB; give the guest more");
  }
  return {};
}

}  // namespace vmm::boot
